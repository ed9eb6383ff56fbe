"""UNKNOWN to a word: Sinch is asked until its list shows the batch, or an operator must look.

Nothing here ever sends.  A batch that the list shows is ACCEPTED; one that it shows twice is
DUPLICATE, its surplus cancelled and its broadcast stopped; one that it goes on not showing needs
an operator, and is asked for all the same.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import ColumnElement, Connection, Row, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.failpoints import failpoints
from app.sinch.errors import SinchError
from app.sinch.schemas import SinchBatch
from app.sms.audience.chunks import (
    MAX_BATCH_RECIPIENTS,
    halve,
    load_batch_recipients,
    make_reference,
)
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_in, has_open_batches
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import (
    FINAL,
    Attention,
    BatchState,
    BroadcastStatus,
    CancelRequestState,
    Outcome,
)
from app.sms.recovery.confirm import report_values
from app.sms.recovery.list_result import (
    LIST_MARGIN,
    LOOKUP_PERIOD,
    ListFinding,
    ListResult,
    choose_next_lookup,
    classify_list,
    is_proven_absent,
)

# Those set aside first; where there are more, there are these.
_ASIDE_LOOKED_FOR = 3
_S = BatchState
# About which Sinch may be asked.
_ASKABLE = (_S.UNKNOWN, _S.NEEDS_ATTENTION, _S.ACCEPTED)
_QUESTION_S = 10.0
# A sweep has other things to do: what it has not asked by then, the next one does.
_PASS_S = 10.0
# So long after the last question that counted an operator is called without one.
_OVERDUE_S = 60.0
_MIN_CANCEL_S = 0.5


@dataclass(frozen=True, slots=True)
class _Case:
    """A batch in question: its row, whom it was sent to, and since when it may be at Sinch."""

    batch: Row[Any]
    recipients: list[str]
    since: datetime


def reconcile_due_batches(ctx: Context, *, most: int = 50) -> int:
    """Ask about the batches whose time for it has come, for a few seconds; how many were due."""
    with ctx.db.read() as tx:
        due = (
            select(Batch.id)
            .where(Batch.next_reconcile_at.is_not(None), _is_due(ctx))
            .order_by(Batch.next_reconcile_at)
            .limit(most)
        )
        ids = tx.execute(due).scalars().all()
    deadline = ctx.clock.monotonic() + _PASS_S
    for batch_id in ids:
        reconcile_batch(ctx, batch_id)
        if ctx.clock.monotonic() >= deadline:
            break
    return len(ids)


def _is_due(ctx: Context) -> ColumnElement[bool]:
    """Its time has come, or lies further ahead than any of ours: then the clock was set back."""
    latest = ctx.seconds_from_now(ctx.rules.reconcile_later_every_s + CLOCK_SLACK_S)
    return or_(Batch.next_reconcile_at <= ctx.now(), Batch.next_reconcile_at > latest)


def escalate_overdue(ctx: Context, *, most: int = 1_000) -> int:
    """Call an operator for batches that there was no time to ask about any more; how many."""
    since = ctx.seconds_from_now(-ctx.rules.unreadable_after_s - _OVERDUE_S)
    overdue = select(Batch.id).where(Batch.state == _S.UNKNOWN, Batch.unknown_at <= since)
    with ctx.db.read() as tx:
        ids = tx.execute(overdue.limit(most)).scalars().all()
        cases = [case for each in ids if (case := _read_case(tx, ctx, each))]
    for case in cases:
        with ctx.db.write() as tx:
            _apply(tx, ctx, case, None, control_found=False)
    return len(cases)


def reconcile_batch(
    ctx: Context, batch_id: int, *, within_s: float = _QUESTION_S
) -> BatchState | None:
    """Ask Sinch's list once, and move the batch as far as that proves; where it then stands.

    None when nothing was to be asked.
    """
    with ctx.db.read() as tx:
        case = _read_case(tx, ctx, batch_id)
    if case is None:
        return None
    deadline = ctx.clock.monotonic() + within_s
    evidence = _ask(ctx, case, within_s)
    failpoints.reach("C7")
    sighted = False
    if _needs_control(ctx, case, evidence):
        evidence = _ask_for_pieces(ctx, case, within_s)
        sighted = evidence is not None and _control_is_found(ctx, batch_id, within_s)
    with ctx.db.write() as tx:
        state = _apply(tx, ctx, case, evidence, control_found=sighted)
    if evidence and evidence.duplicate_sinch_ids and state is _S.DUPLICATE:
        left_s = deadline - ctx.clock.monotonic()
        _cancel_surplus(ctx, batch_id, evidence.duplicate_sinch_ids, left_s=left_s)
    return state


def _read_case(tx: Connection, ctx: Context, batch_id: int) -> _Case | None:
    batch = tx.execute(select(Batch.__table__).where(Batch.id == batch_id)).first()
    if batch is None or batch.state not in _ASKABLE:
        return None
    if batch.state is _S.ACCEPTED and batch.sinch_id is not None:
        return None
    first = select(Attempt.started_at).where(Attempt.batch_id == batch_id)
    started_at = tx.execute(first.order_by(Attempt.number).limit(1)).scalar()
    created = select(Broadcast.created_at).where(Broadcast.id == batch.broadcast_id)
    since = started_at or tx.execute(created).scalar_one()
    recipients = load_batch_recipients(tx, batch).recipients
    # Our own clock may have been set back since: never ask from a later time than now.
    return _Case(batch, recipients, min(since, ctx.now()) - LIST_MARGIN)


def _ask(ctx: Context, case: _Case, within_s: float) -> ListResult | None:
    """What a clean list proves; None when it was not clean, which says nothing."""
    found = _list(ctx, case.batch.client_reference, case.since, within_s)
    return None if found is None else classify_list(found, case.recipients)


def _ask_for_pieces(ctx: Context, case: _Case, within_s: float) -> ListResult | None:
    """Whether its halves, or what was set aside of its chunk, are at Sinch.

    A database from a backup may know nothing of them; those it knows are batches by themselves.
    """
    for reference in _list_unknown_pieces(ctx, case.batch):
        found = _list(ctx, reference, case.since, within_s)
        if found is None:
            return None
        if found:
            return ListResult(ListFinding.MISMATCH, found[0].id)
    return ListResult(ListFinding.ABSENT)


def _list_unknown_pieces(ctx: Context, batch: Row[Any]) -> list[str]:
    """The references of pieces that this batch may have been taken apart into, but for ours."""
    halves = [(start, batch.level + 1) for start, _ in halve(batch.start, batch.size)]
    aside = [(number * MAX_BATCH_RECIPIENTS, 0) for number in range(1, _ASIDE_LOOKED_FOR + 1)]
    with ctx.db.read() as tx:
        query = select(Broadcast.public_id).where(Broadcast.id == batch.broadcast_id)
        public_id = tx.execute(query).scalar_one()
        references = [
            make_reference(public_id, batch.chunk, start, level) for start, level in halves + aside
        ]
        ours = select(Batch.client_reference).where(Batch.client_reference.in_(references))
        known = set(tx.execute(ours).scalars())
    return [each for each in references if each not in known]


def _list(
    ctx: Context, reference: str, since: datetime, within_s: float
) -> Sequence[SinchBatch] | None:
    since = max(since, ctx.now() - LOOKUP_PERIOD - LIST_MARGIN)
    try:
        return ctx.sinch.list_batches(
            client_reference=reference, created_after=since, within_s=within_s
        )
    except SinchError:
        return None


def _needs_control(ctx: Context, case: _Case, evidence: ListResult | None) -> bool:
    """Whether this answer would be the one that calls an operator."""
    if evidence is None or evidence.finding is not ListFinding.ABSENT:
        return False
    return case.batch.state is _S.UNKNOWN and _would_be_absent(ctx, case.batch)


def _would_be_absent(ctx: Context, batch: Row[Any]) -> bool:
    return is_proven_absent(
        ctx.rules,
        lists=batch.not_found_count + 1,
        unknown_at=batch.unknown_at,
        absent_before_at=batch.absent_at,
        now=ctx.now(),
    )


def _control_is_found(ctx: Context, batch_id: int, within_s: float) -> bool:
    """Whether the same question finds a batch that Sinch is known to have taken.

    If it does not, the list is no witness: neither for it nor for the batch in question.
    """
    with ctx.db.read() as tx:
        known = tx.execute(
            select(Batch.client_reference, Attempt.started_at)
            .join(Attempt, (Attempt.batch_id == Batch.id) & (Attempt.number == Batch.attempt))
            .where(Batch.state == _S.ACCEPTED, Batch.id != batch_id)
            .where(Attempt.outcome == Outcome.ACCEPTED)
            .where(Attempt.started_at > ctx.now() - LOOKUP_PERIOD)
            .order_by(Batch.id.desc())
            .limit(1)
        ).first()
    if known is None:
        return False
    found = _list(ctx, known.client_reference, known.started_at - LIST_MARGIN, within_s)
    return bool(found)


def _apply(
    tx: Connection, ctx: Context, case: _Case, evidence: ListResult | None, *, control_found: bool
) -> BatchState:
    """Move the batch, unless somebody else did meanwhile; where it then stands."""
    query = select(Broadcast.status).where(Broadcast.id == case.batch.broadcast_id)
    status = tx.execute(query.with_for_update()).scalar_one()
    row = tx.execute(
        select(Batch.__table__).where(Batch.id == case.batch.id).with_for_update()
    ).one()
    if (row.state, row.attempt) != (case.batch.state, case.batch.attempt):
        return BatchState(row.state)
    if row.reconcile_attempts != case.batch.reconcile_attempts and not (
        evidence and evidence.sinch_id
    ):
        return BatchState(row.state)  # who asks at the same time has asked once
    if row.state is _S.ACCEPTED:
        # Somebody else who asked may have learnt it meanwhile: then there is nothing more to ask.
        return _S.ACCEPTED if row.sinch_id else _learn_id(tx, ctx, row, evidence)
    values = _judge(ctx, row, evidence, control_found=control_found)
    found = values["state"] in (_S.ACCEPTED, _S.DUPLICATE)
    if found and status is BroadcastStatus.CANCELLED:
        values["cancel_request"] = CancelRequestState.WANTED
    tx.execute(update(Batch).where(Batch.id == row.id).values(values))
    _tell(row, values)
    if values["state"] is _S.DUPLICATE and status not in FINAL:
        broadcast = update(Broadcast).where(Broadcast.id == row.broadcast_id)
        tx.execute(broadcast.values(status=BroadcastStatus.HALTED))
    if values["state"] is not row.state and not has_open_batches(tx, row.broadcast_id):
        finalize_in(tx, ctx, row.broadcast_id)
    return BatchState(values["state"])


def _judge(
    ctx: Context, row: Row[Any], evidence: ListResult | None, *, control_found: bool
) -> dict[str, Any]:
    """The new values of an UNKNOWN or NEEDS_ATTENTION batch after one question."""
    now = ctx.now()
    values: dict[str, Any] = {
        "state": row.state,
        "reconcile_attempts": row.reconcile_attempts + 1,
        "next_reconcile_at": choose_next_lookup(ctx.rules, unknown_at=row.unknown_at, now=now),
    }
    finding = evidence.finding if evidence else None
    if evidence and finding in (ListFinding.TAKEN, ListFinding.SEVERAL):
        several = finding is ListFinding.SEVERAL
        values["state"] = _S.DUPLICATE if several else _S.ACCEPTED
        values["duplicate_sinch_ids"] = list(evidence.duplicate_sinch_ids) or None
        values |= report_values(ctx)
        return values | {
            "sinch_id": evidence.sinch_id,
            "next_reconcile_at": None,
            "attention": None,
        }
    if finding is ListFinding.MISMATCH:
        return values | {"state": _S.NEEDS_ATTENTION, "attention": Attention.MISMATCH}
    if finding is ListFinding.ABSENT:
        values |= {
            "not_found_count": row.not_found_count + 1,
            "absent_before_at": row.absent_at,
            "absent_at": now,
        }
        if control_found and row.state is _S.UNKNOWN:
            return values | {"state": _S.NEEDS_ATTENTION, "attention": Attention.ABSENT}
    unreadable_s = (now - row.unknown_at).total_seconds()
    if row.state is _S.UNKNOWN and unreadable_s >= ctx.rules.unreadable_after_s:
        return values | {"state": _S.NEEDS_ATTENTION, "attention": Attention.UNREADABLE}
    return values


def _learn_id(
    tx: Connection, ctx: Context, row: Row[Any], evidence: ListResult | None
) -> BatchState:
    """A batch taken without an id in the answer: keep the one that the list shows."""
    now = ctx.now()
    query = select(Attempt.started_at).where(Attempt.batch_id == row.id)
    started_at = tx.execute(query.order_by(Attempt.number.desc()).limit(1)).scalar_one()
    values: dict[str, Any] = {
        "reconcile_attempts": row.reconcile_attempts + 1,
        "next_reconcile_at": choose_next_lookup(ctx.rules, unknown_at=started_at, now=now),
    }
    if evidence and evidence.sinch_id:
        values |= {"sinch_id": evidence.sinch_id, "next_reconcile_at": None}
        if evidence.finding is not ListFinding.TAKEN:
            bound = logger.bind(client_reference=row.client_reference)
            bound.error("sinch has a batch otherwise than it was sent")
    tx.execute(update(Batch).where(Batch.id == row.id).values(values))
    return _S.ACCEPTED


def _tell(row: Row[Any], values: dict[str, Any]) -> None:
    """The line for what became of a question: an alert where a person has to act."""
    bound = logger.bind(client_reference=row.client_reference, recipients=row.size)
    state = values["state"]
    if state is row.state:
        return
    if state is _S.ACCEPTED:
        bound.info("batch found at sinch")
    elif state is _S.DUPLICATE:
        bound.error("sinch has this batch more than once: its broadcast is stopped")
    elif state is _S.NEEDS_ATTENTION:
        bound.bind(reason=values["attention"].value).error("a batch needs attention")


def _cancel_surplus(
    ctx: Context, batch_id: int, duplicate_sinch_ids: Sequence[str], *, left_s: float
) -> None:
    """Cancel what can still be cancelled; what is already on its way cannot.

    A client may be waiting: the question's time is shared.  What Sinch does not answer, a sweep
    asks for again.
    """
    each_s = max(left_s, _MIN_CANCEL_S) / len(duplicate_sinch_ids)
    left = list(duplicate_sinch_ids)
    for sinch_id in duplicate_sinch_ids:
        with suppress(SinchError):
            ctx.sinch.cancel_batch(sinch_id, within_s=each_s)
            left.remove(sinch_id)
    with ctx.db.write() as tx:
        tx.execute(
            update(Batch).where(Batch.id == batch_id).values(duplicate_sinch_ids=left or None)
        )
