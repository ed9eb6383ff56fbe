"""Periodic changes of broadcasts: start due ones, expire overdue ones."""

from datetime import timedelta

from loguru import logger
from sqlalchemy import bindparam, select, update

from app.db.base import table_of
from app.db.prepared import Prepared, one_of
from app.sms.context import Context
from app.sms.lifecycle.finalize import end_unsent, finalize_in, lock_broadcast
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import UNSENT, BatchState, BroadcastStatus

_BATCHES, _BROADCASTS = table_of(Batch).c, table_of(Broadcast).c
_IS_DUE = (_BROADCASTS.status == BroadcastStatus.SCHEDULED, _BROADCASTS.send_at <= bindparam("now"))
_DUE = Prepared(select(_BROADCASTS.id).where(*_IS_DUE))
_IS_RESOLVING = _BROADCASTS.resolving & (_BROADCASTS.status != BroadcastStatus.CANCELLED)
_HAS_UNSENT = (
    select(_BATCHES.id)
    .where(_BATCHES.broadcast_id == _BROADCASTS.id, one_of(_BATCHES.state, UNSENT))
    .exists()
)
_OVERDUE = Prepared(
    select(_BROADCASTS.id).where(
        _BROADCASTS.completed_at.is_(None),
        _BROADCASTS.expires_at <= bindparam("now"),
        _IS_RESOLVING | ((_BROADCASTS.planned == _BROADCASTS.chunks) & _HAS_UNSENT),
    )
)


def start_due_broadcasts(ctx: Context) -> int:
    """Queue due broadcasts; one that is too late waits for an operator.  Returns how many."""
    now = ctx.now()
    with ctx.db.read() as tx:
        due = _DUE.fetch(tx, {"now": now})
    if not due:
        return 0
    earliest = now - timedelta(seconds=ctx.rules.max_start_delay_s)
    with ctx.db.write() as tx:
        start = update(Broadcast).where(*_IS_DUE)
        late = start.where(Broadcast.send_at < earliest)
        missed_start = late.values(status=BroadcastStatus.MISSED_START)
        missed = tx.execute(missed_start, {"now": now}).rowcount
        tx.execute(start.values(status=BroadcastStatus.QUEUED), {"now": now})
    if missed:
        bound = logger.bind(broadcasts=missed)
        bound.error("broadcasts missed their start: resume or cancel them")
    return len(due)


def expire_overdue_broadcasts(ctx: Context) -> int:
    """Expire unsubmitted batches, and end audience look-ups, of broadcasts past their end.

    Returns the number of broadcasts.
    """
    with ctx.db.read() as tx:
        overdue = _OVERDUE.fetch(tx, {"now": ctx.now()})
    for (broadcast_id,) in overdue:
        with ctx.db.write() as tx:
            broadcast = lock_broadcast(tx, broadcast_id)
            end_unsent(tx, broadcast_id, BatchState.EXPIRED)
            resolving = update(Broadcast).where(Broadcast.id == broadcast_id, _IS_RESOLVING)
            # Without a batch only the status says that the audience was not looked up.
            found = {} if broadcast.chunks else {"status": BroadcastStatus.EXPIRED}
            tx.execute(resolving.values(resolving=False, **found))
            finalize_in(tx, ctx, broadcast_id)
    return len(overdue)
