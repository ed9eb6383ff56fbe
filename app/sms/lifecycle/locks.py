"""Locks that transactions take in one order: the books first, then the row of a broadcast."""

from sqlalchemy import Connection, bindparam, func, select

from app.db.base import table_of
from app.sms.models.broadcast import Broadcast

_BROADCASTS = table_of(Broadcast)

# Any number will do; nobody else of ours uses it.
_BOOKS_LOCK = 7_262_635_537


# Made once: to make a statement costs several times what it takes to run one.
_LOCK = select(func.pg_advisory_xact_lock(_BOOKS_LOCK))


def lock_counters(tx: Connection) -> None:
    """Let nobody else book until the transaction ends."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK)


# Keeps pause and cancel waiting until the transaction ends; claims and verdicts do not wait.
LOCK_STATUS = (
    select(_BROADCASTS.c.status)
    .where(_BROADCASTS.c.id == bindparam("this"))
    .with_for_update(read=True)
)
