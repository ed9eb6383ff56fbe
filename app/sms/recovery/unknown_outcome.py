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
from app.sinch.schemas import Batch as SinchBatch
from app.sms.audience.chunks import MAX_BATCH_RECIPIENTS, halve, make_reference, read_slice
from app.sms.context import Context
from app.sms.lifecycle.finalize import has_open_batches, settle_in
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import (
    FINAL,
    Attention,
    BatchState,
    BroadcastStatus,
    Outcome,
    Wish,
)
from app.sms.recovery.confirm import report_values
from app.sms.recovery.list_result import (
    ASK_UNTIL,
    LIST_MARGIN,
    Evidence,
    Finding,
    choose_next_ask,
    is_proven_absent,
    weigh_list,
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


def ask_due_batches(ctx: Context, *, most: int = 50) -> int:
    """Ask about the batches whose time for it has come, for a few seconds; how many were due."""
    with ctx.db.read() as tx:
        due = (
            select(Batch.id)
            .where(Batch.next_ask_at.is_not(None), _is_due(ctx))
            .order_by(Batch.next_ask_at)
            .limit(most)
        )
        ids = tx.execute(due).scalars().all()
    deadline = ctx.clock.monotonic() + _PASS_S
    for batch_id in ids:
        ask_batch(ctx, batch_id)
        if ctx.clock.monotonic() >= deadline:
            break
    return len(ids)


def _is_due(ctx: Context) -> ColumnElement[bool]:
    """Its time has come, or lies further ahead than any of ours: then the clock was set back."""
    latest = ctx.later(ctx.rules.ask_later_every_s + CLOCK_SLACK_S)
    return or_(Batch.next_ask_at <= ctx.now(), Batch.next_ask_at > latest)


def call_for_overdue(ctx: Context, *, most: int = 1_000) -> int:
    """Call an operator for batches that there was no time to ask about any more; how many."""
    since = ctx.later(-ctx.rules.unreadable_after_s - _OVERDUE_S)
    overdue = select(Batch.id).where(Batch.state == _S.UNKNOWN, Batch.unknown_at <= since)
    with ctx.db.read() as tx:
        ids = tx.execute(overdue.limit(most)).scalars().all()
        cases = [case for each in ids if (case := _read_case(tx, ctx, each))]
    for case in cases:
        with ctx.db.write() as tx:
            _apply(tx, ctx, case, None, control_found=False)
    return len(cases)


def ask_batch(ctx: Context, batch_id: int, *, within_s: float = _QUESTION_S) -> BatchState | None:
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
    if evidence and evidence.surplus and state is _S.DUPLICATE:
        left_s = deadline - ctx.clock.monotonic()
        _cancel_surplus(ctx, batch_id, evidence.surplus, left_s=left_s)
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
    recipients = read_slice(tx, batch).recipients
    # Our own clock may have been set back since: never ask from a later time than now.
    return _Case(batch, recipients, min(since, ctx.now()) - LIST_MARGIN)


def _ask(ctx: Context, case: _Case, within_s: float) -> Evidence | None:
    """What a clean list proves; None when it was not clean, which says nothing."""
    found = _list(ctx, case.batch.client_reference, case.since, within_s)
    return None if found is None else weigh_list(found, case.recipients)


def _ask_for_pieces(ctx: Context, case: _Case, within_s: float) -> Evidence | None:
    """Whether its halves, or what was set aside of its chunk, are at Sinch.

    A database from a backup may know nothing of them; those it knows are batches by themselves.
    """
    for reference in _list_unknown_pieces(ctx, case.batch):
        found = _list(ctx, reference, case.since, within_s)
        if found is None:
            return None
        if found:
            return Evidence(Finding.MISMATCH, found[0].id)
    return Evidence(Finding.ABSENT)


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
    since = max(since, ctx.now() - ASK_UNTIL - LIST_MARGIN)
    try:
        return ctx.sinch.list_batches(
            client_reference=reference, created_after=since, within_s=within_s
        )
    except SinchError:
        return None


def _needs_control(ctx: Context, case: _Case, evidence: Evidence | None) -> bool:
    """Whether this answer would be the one that calls an operator."""
    if evidence is None or evidence.finding is not Finding.ABSENT:
        return False
    return case.batch.state is _S.UNKNOWN and _would_be_absent(ctx, case.batch)


def _would_be_absent(ctx: Context, batch: Row[Any]) -> bool:
    return is_proven_absent(
        ctx.rules,
        lists=batch.absent + 1,
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
            .where(Attempt.started_at > ctx.now() - ASK_UNTIL)
            .order_by(Batch.id.desc())
            .limit(1)
        ).first()
    if known is None:
        return False
    found = _list(ctx, known.client_reference, known.started_at - LIST_MARGIN, within_s)
    return bool(found)


def _apply(
    tx: Connection, ctx: Context, case: _Case, evidence: Evidence | None, *, control_found: bool
) -> BatchState:
    """Move the batch, unless somebody else did meanwhile; where it then stands."""
    query = select(Broadcast.status).where(Broadcast.id == case.batch.broadcast_id)
    status = tx.execute(query.with_for_update()).scalar_one()
    row = tx.execute(
        select(Batch.__table__).where(Batch.id == case.batch.id).with_for_update()
    ).one()
    if (row.state, row.attempt) != (case.batch.state, case.batch.attempt):
        return BatchState(row.state)
    if row.asked != case.batch.asked and not (evidence and evidence.sinch_id):
        return BatchState(row.state)  # who asks at the same time has asked once
    if row.state is _S.ACCEPTED:
        # Somebody else who asked may have learnt it meanwhile: then there is nothing more to ask.
        return _S.ACCEPTED if row.sinch_id else _learn_id(tx, ctx, row, evidence)
    values = _judge(ctx, row, evidence, control_found=control_found)
    found = values["state"] in (_S.ACCEPTED, _S.DUPLICATE)
    if found and status is BroadcastStatus.CANCELLED:
        values["wish"] = Wish.WANTED
    tx.execute(update(Batch).where(Batch.id == row.id).values(values))
    _tell(row, values)
    if values["state"] is _S.DUPLICATE and status not in FINAL:
        broadcast = update(Broadcast).where(Broadcast.id == row.broadcast_id)
        tx.execute(broadcast.values(status=BroadcastStatus.STOPPED))
    if values["state"] is not row.state and not has_open_batches(tx, row.broadcast_id):
        settle_in(tx, ctx, row.broadcast_id)
    return BatchState(values["state"])


def _judge(
    ctx: Context, row: Row[Any], evidence: Evidence | None, *, control_found: bool
) -> dict[str, Any]:
    """The new values of an UNKNOWN or NEEDS_ATTENTION batch after one question."""
    now = ctx.now()
    values: dict[str, Any] = {
        "state": row.state,
        "asked": row.asked + 1,
        "next_ask_at": choose_next_ask(ctx.rules, unknown_at=row.unknown_at, now=now),
    }
    finding = evidence.finding if evidence else None
    if evidence and finding in (Finding.TAKEN, Finding.SEVERAL):
        several = finding is Finding.SEVERAL
        values["state"] = _S.DUPLICATE if several else _S.ACCEPTED
        values["surplus"] = list(evidence.surplus) or None
        values |= report_values(ctx)
        return values | {"sinch_id": evidence.sinch_id, "next_ask_at": None, "attention": None}
    if finding is Finding.MISMATCH:
        return values | {"state": _S.NEEDS_ATTENTION, "attention": Attention.MISMATCH}
    if finding is Finding.ABSENT:
        values |= {"absent": row.absent + 1, "absent_before_at": row.absent_at, "absent_at": now}
        if control_found and row.state is _S.UNKNOWN:
            return values | {"state": _S.NEEDS_ATTENTION, "attention": Attention.ABSENT}
    unreadable_s = (now - row.unknown_at).total_seconds()
    if row.state is _S.UNKNOWN and unreadable_s >= ctx.rules.unreadable_after_s:
        return values | {"state": _S.NEEDS_ATTENTION, "attention": Attention.UNREADABLE}
    return values


def _learn_id(tx: Connection, ctx: Context, row: Row[Any], evidence: Evidence | None) -> BatchState:
    """A batch taken without an id in the answer: keep the one that the list shows."""
    now = ctx.now()
    query = select(Attempt.started_at).where(Attempt.batch_id == row.id)
    started_at = tx.execute(query.order_by(Attempt.number.desc()).limit(1)).scalar_one()
    values: dict[str, Any] = {
        "asked": row.asked + 1,
        "next_ask_at": choose_next_ask(ctx.rules, unknown_at=started_at, now=now),
    }
    if evidence and evidence.sinch_id:
        values |= {"sinch_id": evidence.sinch_id, "next_ask_at": None}
        if evidence.finding is not Finding.TAKEN:
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


def _cancel_surplus(ctx: Context, batch_id: int, surplus: Sequence[str], *, left_s: float) -> None:
    """Cancel what can still be cancelled; what is already on its way cannot.

    A client may be waiting: the question's time is shared.  What Sinch does not answer, a sweep
    asks for again.
    """
    each_s = max(left_s, _MIN_CANCEL_S) / len(surplus)
    left = list(surplus)
    for sinch_id in surplus:
        with suppress(SinchError):
            ctx.sinch.cancel_batch(sinch_id, within_s=each_s)
            left.remove(sinch_id)
    with ctx.db.write() as tx:
        tx.execute(update(Batch).where(Batch.id == batch_id).values(surplus=left or None))
