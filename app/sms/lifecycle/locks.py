"""Lock order of transactions: each takes those that it needs in this order.

delivery counts, the text of a request, suppressions, Idempotency-Keys, gates, the row of a
broadcast, rows of batches, counters of caps
"""

from collections.abc import Iterable
from hashlib import sha256

from sqlalchemy import Connection, bindparam, func, select

from app.db.base import table_of
from app.db.prepared import Prepared, run_sql
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BroadcastStatus

_BROADCASTS = table_of(Broadcast)

# An arbitrary number; no other advisory lock of ours uses it.
_COUNTERS_LOCK = 7_262_635_537
_LOCK_COUNTERS = select(func.pg_advisory_xact_lock(_COUNTERS_LOCK))

# One after the other, in the order of the array.
_LOCK_KEYS = "SELECT pg_advisory_xact_lock(number) FROM unnest($1::bigint[]) AS number"

_STATUS = select(_BROADCASTS.c.status).where(_BROADCASTS.c.id == bindparam("broadcast_id"))
_SHARE_STATUS = Prepared(_STATUS.with_for_update(read=True))
_LOCK_STATUS = Prepared(_STATUS.with_for_update())


def lock_counters(tx: Connection) -> None:
    """Lock the delivery counts: one transaction records reports at a time."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_COUNTERS)


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
