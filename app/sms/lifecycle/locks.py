"""Lock order of transactions: each takes those that it needs in this order.

delivery counts, the text of a request, suppressions, new broadcasts, Idempotency-Keys, gates, the
row of a broadcast, rows of batches, counters of caps
"""

from collections.abc import Iterable
from hashlib import sha256

from sqlalchemy import Connection, bindparam, func, select

from app.db.base import table_of
from app.db.prepared import Prepared, run_sql
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BroadcastStatus

_BROADCASTS = table_of(Broadcast)

# Arbitrary numbers; no other advisory lock of ours uses them.
_COUNTERS_LOCK, _STORING_LOCK = 7_262_635_537, 7_262_635_538
_LOCK_COUNTERS = select(func.pg_advisory_xact_lock(_COUNTERS_LOCK))
_LOCK_STORING = select(func.pg_advisory_xact_lock_shared(_STORING_LOCK))
_AWAIT_STORING = select(func.pg_advisory_xact_lock(_STORING_LOCK))

# One after the other, in the order of the array.
_LOCK_KEYS = "SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS number"

_STATUS = select(_BROADCASTS.c.status).where(_BROADCASTS.c.id == bindparam("broadcast_id"))
_SHARE_STATUS = Prepared(_STATUS.with_for_update(read=True))
_LOCK_STATUS = Prepared(_STATUS.with_for_update())


def lock_counters(tx: Connection) -> None:
    """Lock the delivery counts: one transaction records reports at a time."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_COUNTERS)


def lock_storing(tx: Connection) -> None:
    """Let `await_storing` wait for this transaction, which inserts a broadcast."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_STORING)


def await_storing(tx: Connection) -> None:
    """Wait until no broadcast is being stored, and let none be before this transaction ends."""
    if tx.dialect.name != "sqlite":
        tx.execute(_AWAIT_STORING)


def lock_request_keys(tx: Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Lock Idempotency-Keys, each a client and its key, before they are stored.

    The insert of a stored key waits for the transaction that stores it, too, but later: it holds
    counters of caps by then, for which that transaction may wait.
    """
    numbers = sorted({_number_key(client, key) for client, key in keys})
    if tx.dialect.name != "sqlite":
        run_sql(tx, _LOCK_KEYS, (numbers,))


def _number_key(client: str, key: str) -> int:
    digest = sha256(f"{client} {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


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
