"""Periodic changes of broadcasts: start due ones, expire overdue ones."""

from collections.abc import Sequence
from datetime import timedelta

from loguru import logger
from sqlalchemy import select, update

from app.sms.context import Context
from app.sms.lifecycle.finalize import end_unsent, finalize_in, lock_broadcast
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import UNSENT, BatchState, BroadcastStatus


def start_due_broadcasts(ctx: Context) -> int:
    """Queue due broadcasts; one that is too late waits for an operator.  Returns how many."""
    now = ctx.now()
    due = [Broadcast.status == BroadcastStatus.SCHEDULED, Broadcast.send_at <= now]
    with ctx.db.read() as tx:
        ids: Sequence[int] = tx.execute(select(Broadcast.id).where(*due)).scalars().all()
    if not ids:
        return 0
    earliest = now - timedelta(seconds=ctx.rules.max_start_delay_s)
    with ctx.db.write() as tx:
        late = update(Broadcast).where(*due, Broadcast.send_at < earliest)
        missed = tx.execute(late.values(status=BroadcastStatus.MISSED_START)).rowcount
        tx.execute(update(Broadcast).where(*due).values(status=BroadcastStatus.QUEUED))
    if missed:
        bound = logger.bind(broadcasts=missed)
        bound.error("broadcasts missed their start: resume or cancel them")
    return len(ids)


def expire_overdue_broadcasts(ctx: Context) -> int:
    """Expire unsubmitted batches, and end audience look-ups, of broadcasts past their end.

    Returns the number of broadcasts.
    """
    unsent = select(Batch.id).where(Batch.broadcast_id == Broadcast.id, Batch.state.in_(UNSENT))
    is_resolving = Broadcast.resolving & (Broadcast.status != BroadcastStatus.CANCELLED)
    is_planned = (Broadcast.planned == Broadcast.chunks) & unsent.exists()
    overdue = select(Broadcast.id).where(
        Broadcast.completed_at.is_(None),
        Broadcast.expires_at <= ctx.now(),
        is_resolving | is_planned,
    )
    with ctx.db.read() as tx:
        ids = tx.execute(overdue).scalars().all()
    for broadcast_id in ids:
        with ctx.db.write() as tx:
            broadcast = lock_broadcast(tx, broadcast_id)
            end_unsent(tx, broadcast_id, BatchState.EXPIRED)
            resolving = update(Broadcast).where(Broadcast.id == broadcast_id, is_resolving)
            # Without a batch only the status says that the audience was not looked up.
            found = {} if broadcast.chunks else {"status": BroadcastStatus.EXPIRED}
            tx.execute(resolving.values(resolving=False, **found))
            finalize_in(tx, ctx, broadcast_id)
    return len(ids)
