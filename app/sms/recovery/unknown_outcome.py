"""Batches of unknown outcome: look them up in Sinch's list until it shows them.

This module never sends.  A batch that the list shows becomes ACCEPTED.  A batch that it shows
twice becomes DUPLICATE: its copies are cancelled and its broadcast is halted.  A batch that it
keeps lacking becomes NEEDS_ATTENTION, and its look-ups go on.
"""

from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Select, func, select

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.types import has_come
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
from app.sms.lifecycle.finalize import finalize_in, lock_broadcast
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import Attention, BatchState, BroadcastStatus, Outcome
from app.sms.recovery.confirm import (
    UPDATE_BATCH,
    accept_values,
    mark_duplicate,
    was_restored,
)
from app.sms.recovery.list_result import (
    LIST_MARGIN,
    LOOKUP_PERIOD,
    ListFinding,
    ListResult,
    choose_next_lookup,
    classify_list,
    is_proven_absent,
)
from app.sms.recovery.restored_recipients import believe_list

# Batches of withheld recipients are numbered from 1: if there are any, there are the first ones.
_WITHHELD_LOOKED_UP = 3
_S = BatchState
_LOOKED_UP_STATES = (_S.UNKNOWN, _S.NEEDS_ATTENTION, _S.ACCEPTED)
_LOOKUP_S = 10.0
# The next sweep looks up what one pass does not reach in this time.
_PASS_S = 10.0
# After `unreadable_after_s` and this time, a batch needs attention without another look-up.
_OVERDUE_S = 60.0
_MIN_CANCEL_S = 0.5

_BATCHES = table_of(Batch)


@dataclass(frozen=True, slots=True)
class _Case:
    """A batch to look up: its row, its recipients, and the earliest time Sinch may have got it.

    `may_differ` is True if it may have been sent to other recipients than these.
    """

    batch: Row[Any]
    recipients: list[str]
    since: datetime
    may_differ: bool


def reconcile_due_batches(ctx: Context, *, limit: int = 50) -> int:
    """Look up the batches that are due, for a few seconds.  Returns how many were due."""
    latest = ctx.seconds_from_now(ctx.rules.reconcile_later_every_s + CLOCK_SLACK_S)
    at = _BATCHES.c.next_reconcile_at
    query = select(_BATCHES.c.id).where(at.is_not(None), has_come(at, ctx.now(), latest))
    with ctx.db.read() as tx:
        due = tx.execute(query.order_by(at).limit(limit)).scalars().all()
    deadline = ctx.clock.monotonic() + _PASS_S
    for batch_id in due:
        reconcile_batch(ctx, batch_id)
        if ctx.clock.monotonic() >= deadline:
            break
    return len(due)


def escalate_overdue(ctx: Context, *, limit: int = 1_000) -> int:
    """Move batches that were unknown for too long to NEEDS_ATTENTION.  Returns how many."""
    since = ctx.seconds_from_now(-ctx.rules.unreadable_after_s - _OVERDUE_S)
    overdue = select(Batch.id).where(Batch.state == _S.UNKNOWN, Batch.unknown_at <= since)
    with ctx.db.read() as tx:
        batch_ids = tx.execute(overdue.limit(limit)).scalars().all()
        cases = [case for batch_id in batch_ids if (case := _read_case(tx, ctx, batch_id))]
    for case in cases:
        with ctx.db.write() as tx:
            _apply(tx, ctx, case, None, control_found=False)
    return len(cases)


def reconcile_batch(
    ctx: Context, batch_id: int, *, within_s: float = _LOOKUP_S
) -> BatchState | None:
    """Look up a batch in Sinch's list once, and move it by what the list proves.

    Returns the batch's state, or None if there was nothing to look up.
    """
    with ctx.db.read() as tx:
        case = _read_case(tx, ctx, batch_id)
    if case is None:
        return None
    deadline = ctx.clock.monotonic() + within_s
    result = _look_up(ctx, case, within_s)
    failpoints.reach("C7")
    control_found = False
    if _needs_control(ctx, case, result):
        result = _look_up_parts(ctx, case, within_s)
        control_found = result is not None and _is_control_found(ctx, batch_id, within_s)
    with ctx.db.write() as tx:
        state = _apply(tx, ctx, case, result, control_found=control_found)
    if result and result.duplicate_sinch_ids and state is _S.DUPLICATE:
        remaining_s = deadline - ctx.clock.monotonic()
        _cancel_duplicates(ctx, batch_id, result.duplicate_sinch_ids, within_s=remaining_s)
    return state


def _read_case(tx: Connection, ctx: Context, batch_id: int) -> _Case | None:
    batch = tx.execute(_select_batch(batch_id)).first()
    if batch is None or batch.state not in _LOOKED_UP_STATES:
        return None
    if _is_known(batch):
        return None
    attempted = select(func.min(Attempt.started_at)).where(Attempt.batch_id == batch_id)
    created = select(Broadcast.created_at).where(Broadcast.id == batch.broadcast_id)
    since = tx.execute(attempted).scalar() or tx.execute(created).scalar_one()
    recipients = load_batch_recipients(tx, batch).recipients
    # The clock may have been set back since: never list from a later time than now.
    since = min(since, ctx.now()) - LIST_MARGIN
    return _Case(batch, recipients, since, was_restored(tx, batch.broadcast_id))


def _select_batch(batch_id: int) -> Select[Any]:
    return select(_BATCHES).where(_BATCHES.c.id == batch_id)


def _is_known(batch: Row[Any]) -> bool:
    """Return True for an accepted batch whose id, and if in doubt whose recipients, are known."""
    has_id = batch.sinch_id is not None and batch.next_reconcile_at is None
    return batch.state is _S.ACCEPTED and has_id


def _look_up(ctx: Context, case: _Case, within_s: float) -> ListResult | None:
    """Classify a clean list.  Returns None if it was not clean, which proves nothing."""
    batches = _list(ctx, case.batch.client_reference, case.since, within_s)
    if batches is None:
        return None
    return classify_list(batches, case.recipients, may_differ=case.may_differ)


def _look_up_parts(ctx: Context, case: _Case, within_s: float) -> ListResult | None:
    """Look up the batches that this one may have been split into: halves and withheld recipients.

    A database from a backup may lack them.  Those that it has are looked up by themselves.
    """
    for reference in _list_missing_parts(ctx, case.batch):
        batches = _list(ctx, reference, case.since, within_s)
        if batches is None:
            return None
        if batches:
            return ListResult(ListFinding.MISMATCH, batches[0].id)
    return ListResult(ListFinding.ABSENT)


def _list_missing_parts(ctx: Context, batch: Row[Any]) -> list[str]:
    """Return the references of possible parts of a batch that are not in the database."""
    halves = [(start, batch.level + 1) for start, _ in halve(batch.start, batch.size)]
    withheld = [(number * MAX_BATCH_RECIPIENTS, 0) for number in range(1, _WITHHELD_LOOKED_UP + 1)]
    with ctx.db.read() as tx:
        query = select(Broadcast.public_id).where(Broadcast.id == batch.broadcast_id)
        public_id = tx.execute(query).scalar_one()
        references = [
            make_reference(public_id, batch.chunk, start, level)
            for start, level in halves + withheld
        ]
        stored = select(Batch.client_reference).where(Batch.client_reference.in_(references))
        known = set(tx.execute(stored).scalars())
    return [reference for reference in references if reference not in known]


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


def _needs_control(ctx: Context, case: _Case, result: ListResult | None) -> bool:
    """Return True if this result would prove the batch absent."""
    batch = case.batch
    if result is None or result.finding is not ListFinding.ABSENT or batch.state is not _S.UNKNOWN:
        return False
    if batch.sinch_id is not None:
        return False  # a report has shown that Sinch has it
    return is_proven_absent(
        ctx.rules,
        lists=batch.not_found_count + 1,
        unknown_at=batch.unknown_at,
        absent_before_at=batch.absent_at,
        now=ctx.now(),
    )


def _is_control_found(ctx: Context, batch_id: int, within_s: float) -> bool:
    """Return True if the list shows a batch that Sinch is known to have accepted.

    If the list lacks that batch, it proves nothing about other batches either.
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
    return bool(_list(ctx, known.client_reference, known.started_at - LIST_MARGIN, within_s))


def _apply(
    tx: Connection, ctx: Context, case: _Case, result: ListResult | None, *, control_found: bool
) -> BatchState:
    """Move the batch unless it has moved since it was read.  Returns its state."""
    broadcast = lock_broadcast(tx, case.batch.broadcast_id)
    row = tx.execute(_select_batch(case.batch.id).with_for_update()).one()
    before = case.batch
    if (row.state, row.attempt, row.size) != (before.state, before.attempt, before.size):
        return BatchState(row.state)
    if row.reconcile_attempts != case.batch.reconcile_attempts and not (result and result.sinch_id):
        return BatchState(row.state)  # simultaneous look-ups count once
    if row.state is _S.ACCEPTED:
        # Another look-up may have found the id meanwhile: then none is needed.
        return _S.ACCEPTED if _is_known(row) else _check_accepted(tx, ctx, row, broadcast, result)
    values = _choose_values(ctx, row, result, control_found=control_found)
    status = broadcast.status
    if result and result.listed:
        values |= believe_list(tx, ctx, row, broadcast, result)
    if result and result.finding in (ListFinding.FOUND, ListFinding.MULTIPLE):
        cancelled = status is BroadcastStatus.CANCELLED
        values |= accept_values(ctx, sinch_id=result.sinch_id, cancelled=cancelled)
    if result and result.finding is ListFinding.MULTIPLE:
        duplicate_sinch_ids = list(result.duplicate_sinch_ids)
        values |= mark_duplicate(tx, row, status, duplicate_sinch_ids)
    UPDATE_BATCH.run(tx, row.id, values)
    _log_move(row, values)
    if values["state"] is not row.state or (result and result.listed):
        finalize_in(tx, ctx, row.broadcast_id)
    return BatchState(values["state"])


def _choose_values(
    ctx: Context, row: Row[Any], result: ListResult | None, *, control_found: bool
) -> dict[str, Any]:
    """Return the new values of an UNKNOWN or NEEDS_ATTENTION batch that was not found."""
    now = ctx.now()
    values: dict[str, Any] = {
        "state": row.state,
        "reconcile_attempts": row.reconcile_attempts + 1,
        "next_reconcile_at": choose_next_lookup(ctx.rules, unknown_at=row.unknown_at, now=now),
    }
    finding = result.finding if result else None
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


def _check_accepted(
    tx: Connection,
    ctx: Context,
    row: Row[Any],
    broadcast: Row[Any],
    result: ListResult | None,
) -> BatchState:
    """Store the listed Sinch id of an accepted batch, and its recipients if those were in doubt."""
    now = ctx.now()
    since = row.accepted_at or now
    values: dict[str, Any] = {
        "reconcile_attempts": row.reconcile_attempts + 1,
        "next_reconcile_at": choose_next_lookup(ctx.rules, unknown_at=since, now=now),
    }
    if result and result.sinch_id:
        values |= {"sinch_id": row.sinch_id or result.sinch_id, "next_reconcile_at": None}
        if result.listed:
            values |= believe_list(tx, ctx, row, broadcast, result)
        if result.finding is not ListFinding.FOUND:
            bound = logger.bind(client_reference=row.client_reference)
            bound.error("sinch lists an accepted batch otherwise than it was sent")
    UPDATE_BATCH.run(tx, row.id, values)
    if result and result.listed:
        finalize_in(tx, ctx, row.broadcast_id)
    return _S.ACCEPTED


def check_recipients(ctx: Context, batch_id: int, sinch_id: str, reported: Set[str]) -> None:
    """Believe Sinch's full report, which names all recipients, as its list about a batch in doubt.

    An accepted batch in doubt may be known by a report on one recipient only, from before the
    restore: then others may have been sent to under its own reference.
    """
    with ctx.db.read() as tx:
        case = _read_case(tx, ctx, batch_id)
    if case is None or not case.may_differ:
        return
    report = SinchBatch(sinch_id, None, tuple(reported), canceled=False, created_at=None)
    result = classify_list([report], case.recipients, may_differ=True)
    if case.batch.state is _S.ACCEPTED and not (
        result.listed and result.finding is ListFinding.FOUND
    ):
        return
    with ctx.db.write() as tx:
        _apply(tx, ctx, case, result, control_found=False)


def _log_move(row: Row[Any], values: dict[str, Any]) -> None:
    """Log a change of state; as an error where an operator has to act."""
    bound = logger.bind(client_reference=row.client_reference, recipients=row.size)
    state = values["state"]
    if state is row.state:
        return
    if state is _S.ACCEPTED:
        bound.info("batch found at sinch")
    elif state is _S.NEEDS_ATTENTION:
        bound.bind(reason=values["attention"].value).error("a batch needs attention")


def _cancel_duplicates(
    ctx: Context, batch_id: int, duplicate_sinch_ids: Sequence[str], *, within_s: float
) -> None:
    """Cancel the copies of a batch at Sinch as far as possible.

    A client may be waiting: the look-up's remaining time is shared by all copies.  A sweep retries
    those that Sinch does not answer for.
    """
    copy_s = max(within_s, _MIN_CANCEL_S) / len(duplicate_sinch_ids)
    remaining = list(duplicate_sinch_ids)
    for sinch_id in duplicate_sinch_ids:
        with suppress(SinchError):
            ctx.sinch.cancel_batch(sinch_id, within_s=copy_s)
            remaining.remove(sinch_id)
    with ctx.db.write() as tx:
        UPDATE_BATCH.run(tx, batch_id, {"duplicate_sinch_ids": remaining or None})
