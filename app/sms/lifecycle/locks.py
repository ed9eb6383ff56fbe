"""Lock order of transactions: counters, suppressions, the row of a broadcast, rows of batches."""

from sqlalchemy import Connection, bindparam, func, select

from app.db.base import table_of
from app.sms.models.broadcast import Broadcast

_BROADCASTS = table_of(Broadcast)

# An arbitrary number; no other advisory lock of ours uses it.
_COUNTERS_LOCK = 7_262_635_537
_LOCK_COUNTERS = select(func.pg_advisory_xact_lock(_COUNTERS_LOCK))

# A shared lock on the broadcast: pause and cancel wait for it, claims and outcomes do not.
LOCK_STATUS = (
    select(_BROADCASTS.c.status)
    .where(_BROADCASTS.c.id == bindparam("broadcast_id"))
    .with_for_update(read=True)
)


def lock_counters(tx: Connection) -> None:
    """Lock the delivery counts: one transaction records reports at a time."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_COUNTERS)
