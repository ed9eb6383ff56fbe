"""Lock order of transactions: counters, suppressions, the row of a broadcast, rows of batches."""

from sqlalchemy import Connection, bindparam, func, select

from app.db.base import table_of
from app.db.prepared import Prepared
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BroadcastStatus

_BROADCASTS = table_of(Broadcast)

# An arbitrary number; no other advisory lock of ours uses it.
_COUNTERS_LOCK = 7_262_635_537
_LOCK_COUNTERS = select(func.pg_advisory_xact_lock(_COUNTERS_LOCK))

_STATUS = select(_BROADCASTS.c.status).where(_BROADCASTS.c.id == bindparam("broadcast_id"))
_SHARE_STATUS = Prepared(_STATUS.with_for_update(read=True))
_LOCK_STATUS = Prepared(_STATUS.with_for_update())


def lock_counters(tx: Connection) -> None:
    """Lock the delivery counts: one transaction records reports at a time."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_COUNTERS)


def read_status(
    tx: Connection, broadcast_id: int, *, exclusive: bool = False
) -> BroadcastStatus | None:
    """Lock the row of a broadcast and return its status; None if there is no such broadcast.

    Pause and cancel wait for a shared lock, claims and outcomes do not.  A transaction that changes
    the broadcast locks it exclusively: two shared locks would deadlock when upgraded.
    """
    lock = _LOCK_STATUS if exclusive else _SHARE_STATUS
    row = lock.first(tx, {"broadcast_id": broadcast_id})
    return row.status if row else None
