"""Finalization: a broadcast's final status, and ending its unsent batches."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, update

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.db.prepared import Prepared, one_of
from app.sms.context import Context
from app.sms.lifecycle.outbox import EventType, notify_clients
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, FINAL, OPEN, RESEND, UNSENT, BatchState, BroadcastStatus

_S = BatchState
_ATTENTION = (_S.NEEDS_ATTENTION, _S.DUPLICATE)
_BATCHES, _BROADCASTS, _AUDIT = table_of(Batch), table_of(Broadcast), table_of(AuditEntry)

_OPEN_BATCH = Prepared(
    select(_BATCHES.c.id)
    .where(_BATCHES.c.broadcast_id == bindparam("broadcast_id"), one_of(_BATCHES.c.state, OPEN))
    .limit(1)
)
_COUNT_STATES = Prepared(
    select(_BATCHES.c.state, func.count().label("batches"))
    .where(_BATCHES.c.broadcast_id == bindparam("broadcast_id"), _BATCHES.c.state != _S.SPLIT)
    .group_by(_BATCHES.c.state)
)
_LOCK_BROADCAST = Prepared(
    select(_BROADCASTS).where(_BROADCASTS.c.id == bindparam("broadcast_id")).with_for_update()
)
_COMPLETE = Prepared(
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("broadcast_id"))
    .values(
        status=bindparam("final_status"),
        completed_at=bindparam("completion"),
        all_reported_at=bindparam("last_report"),
    )
)
# A final status of a message is still expected, or unknown.
_IS_AWAITED = or_(
    _BATCHES.c.state == _S.NEEDS_ATTENTION,
    and_(one_of(_BATCHES.c.state, AT_SINCH), _BATCHES.c.ended < _BATCHES.c.size),
)
_AWAITED_BATCH = Prepared(
    select(_BATCHES.c.id)
    .where(_BATCHES.c.broadcast_id == bindparam("broadcast_id"), _IS_AWAITED)
    .limit(1)
)
_MISSING = select(_BROADCASTS.c.id).limit(100)
_ITS_BATCH = select(_BATCHES.c.id).where(_BATCHES.c.broadcast_id == _BROADCASTS.c.id)
_ENDED = Prepared(
    _MISSING.where(
        _BROADCASTS.c.completed_at.is_(None),
        (~_BROADCASTS.c.resolving & (_BROADCASTS.c.planned == _BROADCASTS.c.chunks))
        | (_BROADCASTS.c.status == BroadcastStatus.CANCELLED),
        ~_ITS_BATCH.where(one_of(_BATCHES.c.state, OPEN)).exists(),
    )
)
_ALL_REPORTED = Prepared(
    _MISSING.where(
        _BROADCASTS.c.completed_at.is_not(None),
        _BROADCASTS.c.all_reported_at.is_(None),
        ~_ITS_BATCH.where(_IS_AWAITED).exists(),
    )
)
# The audit is read since a database from a backup may lack the attempt.
_RESENT = select(_AUDIT.c.id).where(_AUDIT.c.action == RESEND)
_WAS_RESENT = Prepared(_RESENT.where(_AUDIT.c.subject == bindparam("reference")))
# Batches in these states make a broadcast COMPLETE: at least one text may have been sent.
_COMPLETING = (_S.ACCEPTED, _S.DUPLICATE, _S.CLOSED_UNSENT, _S.NEEDS_ATTENTION)


def has_open_batches(tx: Connection, broadcast_id: int) -> bool:
    """Return True if a batch is unsent, being sent or of unknown outcome."""
    return _OPEN_BATCH.first(tx, {"broadcast_id": broadcast_id}) is not None


def finalize_broadcast(ctx: Context, broadcast_id: int) -> BroadcastStatus | None:
    """Run finalize_in in a transaction of its own."""
    with ctx.db.write() as tx:
        return finalize_in(tx, ctx, broadcast_id)


def finalize_stale(ctx: Context) -> int:
    """Finalize broadcasts that missed finalization.  Returns how many."""
    with ctx.db.read() as tx:
        ids = [row.id for row in [*_ENDED.fetch(tx), *_ALL_REPORTED.fetch(tx)]]
    for broadcast_id in ids:
        finalize_broadcast(ctx, broadcast_id)
    return len(ids)


def finalize_in(tx: Connection, ctx: Context, broadcast_id: int) -> BroadcastStatus | None:
    """Set the final status of a broadcast once every batch has a final state.

    Also sets `all_reported_at` once every message has a final status.  Returns the status, or None
    while a batch is open or recipients have no batch yet.
    """
    broadcast = lock_broadcast(tx, broadcast_id)
    unplanned = broadcast.resolving or broadcast.planned < broadcast.chunks
    cancelled = broadcast.status is BroadcastStatus.CANCELLED
    if (unplanned and not cancelled) or has_open_batches(tx, broadcast_id):
        return None
    rows = _COUNT_STATES.fetch(tx, {"broadcast_id": broadcast_id})
    states: dict[BatchState, int] = {row.state: row.batches for row in rows}
    now = ctx.now()
    # Without a batch its audience was not looked up in time.
    expired = broadcast.status is BroadcastStatus.EXPIRED and not states
    status = broadcast.status if cancelled or expired else choose_final_status(states)
    awaited = _AWAITED_BATCH.first(tx, {"broadcast_id": broadcast_id}) is not None
    all_reported_at = None if awaited else broadcast.all_reported_at or now
    _COMPLETE.change(
        tx,
        {
            "broadcast_id": broadcast_id,
            "final_status": status,
            "completion": broadcast.completed_at or now,
            "last_report": all_reported_at,
        },
    )
    if broadcast.completed_at is None:
        notify_clients(tx, ctx, EventType.BROADCAST_COMPLETED, [broadcast], status)
    if broadcast.all_reported_at is None and all_reported_at:
        notify_clients(tx, ctx, EventType.BROADCAST_ALL_REPORTED, [broadcast], status)
    return status


def lock_broadcast(tx: Connection, broadcast_id: int) -> Row[Any]:
    """Lock a broadcast's row until the transaction ends.  Returns the row."""
    (broadcast,) = _LOCK_BROADCAST.fetch(tx, {"broadcast_id": broadcast_id})
    return cast(Row[Any], broadcast)


def reopen_broadcast(tx: Connection, broadcast: Row[Any]) -> None:
    """Let a broadcast complete anew since a batch is open again; a cancelled one stays so."""
    status: BroadcastStatus = broadcast.status
    if status not in FINAL:
        return
    if status is not BroadcastStatus.CANCELLED:
        status = BroadcastStatus.SENDING
    reopened = update(Broadcast).where(Broadcast.id == broadcast.id)
    tx.execute(reopened.values(status=status, completed_at=None, all_reported_at=None))


def await_reports(tx: Connection, broadcast_id: int) -> None:
    """Await reports again: Sinch has a batch of which none were awaited."""
    reported = update(Broadcast).where(
        Broadcast.id == broadcast_id, Broadcast.all_reported_at.is_not(None)
    )
    tx.execute(reported.values(all_reported_at=None))


def choose_final_status(states: Mapping[BatchState, int]) -> BroadcastStatus:
    """Choose the final status of a broadcast from its number of batches by state.

    >>> choose_final_status({BatchState.ACCEPTED: 2, BatchState.REJECTED: 1})
    <BroadcastStatus.COMPLETE: 'complete'>
    >>> choose_final_status({BatchState.REJECTED: 1})
    <BroadcastStatus.REFUSED: 'refused'>
    """
    if any(states.get(state) for state in _ATTENTION):
        return BroadcastStatus.COMPLETE_NEEDS_ATTENTION
    if any(states.get(state) for state in _COMPLETING):
        return BroadcastStatus.COMPLETE
    if states.get(_S.REJECTED):
        return BroadcastStatus.REFUSED
    if states.get(_S.EXPIRED):
        return BroadcastStatus.EXPIRED
    # All recipients are excluded, or the audience is empty.
    if states.get(_S.SUPPRESSED) or not any(states.values()):
        return BroadcastStatus.COMPLETE
    return BroadcastStatus.CANCELLED


def end_unsent(tx: Connection, broadcast_id: int, final_state: BatchState) -> None:
    """Move the unsent batches of a broadcast to EXPIRED or CANCELLED.

    A batch that an operator chose to resend may have been sent before: it becomes CLOSED_UNSENT.
    """
    unsent = update(Batch).where(Batch.broadcast_id == broadcast_id, Batch.state.in_(UNSENT))
    uncertain = unsent.where(_RESENT.where(_AUDIT.c.subject == Batch.client_reference).exists())
    tx.execute(uncertain.values(state=_S.CLOSED_UNSENT, not_before=None))
    tx.execute(unsent.values(state=final_state, not_before=None))


def was_resent(tx: Connection, reference: str) -> bool:
    """Return True if an operator chose to resend the batch: it may have been sent before."""
    return _WAS_RESENT.first(tx, {"reference": reference}) is not None
