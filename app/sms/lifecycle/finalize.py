"""When nothing of a broadcast is left to do, and what it then is."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, update

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.sms.context import Context
from app.sms.lifecycle.outbox import enqueue_event
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, OPEN, RESEND, UNSENT, BatchState, BroadcastStatus

_S = BatchState
_ATTENTION = (_S.NEEDS_ATTENTION, _S.DUPLICATE)
_BATCHES, _BROADCASTS, _AUDIT = table_of(Batch), table_of(Broadcast), table_of(AuditEntry)

# Made once: to make a statement costs several times what it takes to run one.
_OPEN_BATCH = (
    select(_BATCHES.c.id)
    .where(_BATCHES.c.broadcast_id == bindparam("of"), _BATCHES.c.state.in_(OPEN))
    .limit(1)
)
_COUNT_STATES = (
    select(_BATCHES.c.state, func.count(), func.sum(_BATCHES.c.size))
    .where(_BATCHES.c.broadcast_id == bindparam("of"), _BATCHES.c.state != _S.SPLIT)
    .group_by(_BATCHES.c.state)
)
_HOLD = select(_BROADCASTS).where(_BROADCASTS.c.id == bindparam("this")).with_for_update()
_FINISH = (
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("this"))
    .values(
        status=bindparam("ended_as"),
        completed_at=bindparam("at"),
        all_reported_at=bindparam("known_at"),
    )
)
# A message's end is awaited from Sinch, or nobody knows whether there is one.
_IS_AWAITED = or_(
    _BATCHES.c.state == _S.NEEDS_ATTENTION,
    and_(_BATCHES.c.state.in_(AT_SINCH), _BATCHES.c.ended < _BATCHES.c.size),
)
_AWAITED = (
    select(_BATCHES.c.id).where(_BATCHES.c.broadcast_id == bindparam("of"), _IS_AWAITED).limit(1)
)
# The audit has it also where a backup does not have the attempt.
_RESENT = select(_AUDIT.c.id).where(_AUDIT.c.action == RESEND)
_PERHAPS_SENT = (_S.ACCEPTED, _S.DUPLICATE, _S.CLOSED_UNSENT, _S.NEEDS_ATTENTION)
_UNSETTLED = (
    select(_BROADCASTS.c.id)
    .where(_BROADCASTS.c.completed_at.is_not(None), _BROADCASTS.c.all_reported_at.is_(None))
    .where(
        ~select(_BATCHES.c.id)
        .where(_BATCHES.c.broadcast_id == _BROADCASTS.c.id, _IS_AWAITED)
        .exists()
    )
    .limit(100)
)


def count_states(tx: Connection, broadcast_id: int) -> dict[BatchState, tuple[int, int]]:
    """Batches and recipients in each state; halves stand for the whole that was split."""
    rows = tx.execute(_COUNT_STATES, {"of": broadcast_id})
    return {state: (batches, int(recipients)) for state, batches, recipients in rows}


def has_open_batches(tx: Connection, broadcast_id: int) -> bool:
    """Whether a batch is still to be sent, on its way or not known."""
    return tx.execute(_OPEN_BATCH, {"of": broadcast_id}).first() is not None


def finalize_broadcast(ctx: Context, broadcast_id: int) -> BroadcastStatus | None:
    """Give a broadcast its final word once every batch has ended; None while one has not."""
    with ctx.db.write() as tx:
        return finalize_in(tx, ctx, broadcast_id)


def finalize_all_reported(ctx: Context) -> int:
    """Settle broadcasts whose last message ended when nobody could say so; how many."""
    with ctx.db.read() as tx:
        ids = tx.execute(_UNSETTLED).scalars().all()
    for broadcast_id in ids:
        finalize_broadcast(ctx, broadcast_id)
    return len(ids)


def finalize_in(tx: Connection, ctx: Context, broadcast_id: int) -> BroadcastStatus | None:
    """The same within a transaction.

    Also looks whether the end of every message is known, as it may be at once or long after.
    """
    broadcast = lock_broadcast(tx, broadcast_id)
    unplanned = broadcast.resolving or broadcast.planned < broadcast.chunks
    cancelled = broadcast.status is BroadcastStatus.CANCELLED
    if (unplanned and not cancelled) or has_open_batches(tx, broadcast_id):
        return None
    states = Counter({state: n for state, (n, _) in count_states(tx, broadcast_id).items()})
    now = ctx.now()
    status = BroadcastStatus.CANCELLED if cancelled else choose_final_status(states)
    if not (states or cancelled) and broadcast.expires_at <= now:
        status = BroadcastStatus.EXPIRED  # before anybody was looked up
    awaited = tx.execute(_AWAITED, {"of": broadcast_id}).first() is not None
    ending = {
        "this": broadcast_id,
        "ended_as": status,
        "at": broadcast.completed_at or now,
        "known_at": None if awaited else broadcast.all_reported_at or now,
    }
    tx.execute(_FINISH, ending)
    _tell_client(tx, ctx, broadcast, ending)
    return status


def _tell_client(
    tx: Connection, ctx: Context, broadcast: Row[Any], ending: Mapping[str, Any]
) -> None:
    facts = {
        "broadcast_id": broadcast.public_id,
        "reference": broadcast.reference,
        "status": ending["ended_as"].value,
    }
    if broadcast.completed_at is None:
        enqueue_event(
            tx, ctx, client=broadcast.client, event_type="broadcast.completed", facts=facts
        )
    if broadcast.all_reported_at is None and ending["known_at"]:
        enqueue_event(
            tx, ctx, client=broadcast.client, event_type="broadcast.all_reported", facts=facts
        )


def lock_broadcast(tx: Connection, broadcast_id: int) -> Row[Any]:
    """A broadcast's row, which nobody else changes until the transaction ends."""
    return tx.execute(_HOLD, {"this": broadcast_id}).one()


def choose_final_status(states: Mapping[BatchState, int]) -> BroadcastStatus:
    """What a broadcast is once its batches have ended like this.

    >>> choose_final_status({BatchState.ACCEPTED: 2, BatchState.REJECTED: 1})
    <BroadcastStatus.COMPLETE: 'complete'>
    >>> choose_final_status({BatchState.REJECTED: 1})
    <BroadcastStatus.REFUSED: 'refused'>
    """
    if any(states.get(state) for state in _ATTENTION):
        return BroadcastStatus.COMPLETE_NEEDS_ATTENTION
    if any(states.get(state) for state in _PERHAPS_SENT):
        return BroadcastStatus.COMPLETE
    if states.get(_S.REJECTED):
        return BroadcastStatus.REFUSED
    if states.get(_S.EXPIRED):
        return BroadcastStatus.EXPIRED
    # Nobody of it may be written to, or nobody was left when it was looked up.
    if states.get(_S.SUPPRESSED) or not any(states.values()):
        return BroadcastStatus.COMPLETE
    return BroadcastStatus.CANCELLED


def expire_pending(tx: Connection, broadcast_id: int) -> None:
    """What has not been handed to Sinch by its end is not sent any more."""
    end_unsent(tx, broadcast_id, _S.EXPIRED)


def end_unsent(tx: Connection, broadcast_id: int, ending: BatchState) -> int:
    """End what of a broadcast has not been handed to Sinch; how many batches.

    One that an operator had sent again may have gone out before: of that nobody knows.
    """
    unsent = update(Batch).where(Batch.broadcast_id == broadcast_id, Batch.state.in_(UNSENT))
    uncertain = unsent.where(_RESENT.where(_AUDIT.c.subject == Batch.client_reference).exists())
    closed = tx.execute(uncertain.values(state=_S.CLOSED_UNSENT, not_before=None)).rowcount
    return closed + tx.execute(unsent.values(state=ending, not_before=None)).rowcount


def was_resent(tx: Connection, reference: str) -> bool:
    """Whether an operator had a batch sent again, which may have been sent before."""
    return tx.execute(_RESENT.where(_AUDIT.c.subject == reference)).first() is not None
