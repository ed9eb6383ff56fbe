"""Sample broadcasts in a database: sent, and nearly all messages reported.

SQL alone inserts the rows that the service would leave; SQLite only.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert, text

from app.db.base import table_of
from app.db.engine import Database
from app.ids import make_id
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BroadcastStatus, Category

CHUNK = 1_000

_CHUNKS = text(
    "INSERT INTO chunks (broadcast_id, number, size, recipients) "
    "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :recipients) "
    "SELECT :broadcast_id, i / :chunk, count(*), group_concat(printf('+4670%07d', i), char(10)) "
    "FROM n GROUP BY i / :chunk"
)
_BATCHES = text(
    "INSERT INTO batches (broadcast_id, chunk, start, size, level, client_reference, state, "
    "attempt, sinch_id, reconcile_attempts, not_found_count, accepted_at, ended, report_fetches, "
    "rollup_dirty) "
    "SELECT :broadcast_id, number, 0, size, 0, 'cl-' || :broadcast_id || '-' || number, "
    "'accepted', 1, 'S' || :broadcast_id || '-' || number, 0, 0, :at, "
    "size / 100 * 98 + min(size % 100, 98), 0, 0 "
    "FROM chunks WHERE broadcast_id = :broadcast_id"
)
# Of a hundred messages 94 are delivered and 4 failed, with one of four codes; 2 are not reported.
_MESSAGES = text(
    "INSERT INTO messages "
    "(broadcast_id, recipient, batch_id, status, code, status_at, recorded_at) "
    "WITH line AS (SELECT b.id AS batch, l.value AS number, l.key % 100 AS percent FROM batches b "
    "JOIN chunks c ON c.broadcast_id = b.broadcast_id AND c.number = b.chunk, "
    """json_each('["' || replace(c.recipients, char(10), '","') || '"]') l """
    "WHERE b.broadcast_id = :broadcast_id ORDER BY b.chunk, l.key) "
    "SELECT :broadcast_id, number, batch, "
    "CASE WHEN percent < 94 THEN 'delivered' WHEN percent < 98 THEN 'failed' END, "
    "CASE WHEN percent < 94 THEN 0 WHEN percent < 98 THEN 150 + percent - 94 END, "
    "CASE WHEN percent < 98 THEN :at END, CASE WHEN percent < 98 THEN :at END FROM line"
)
# Spread over the buckets as if phones answered within seconds, minutes and hours.
_DELIVERY_COUNTS = text(
    "INSERT INTO delivery_counts (broadcast_id, status, code, bucket, messages) "
    "SELECT :broadcast_id, status, code, "
    "CASE status WHEN 'delivered' THEN 20 + CAST(substr(recipient, 8) AS INTEGER) % 80 "
    "ELSE -1 END, "
    "count(*) FROM messages WHERE broadcast_id = :broadcast_id AND status IS NOT NULL "
    "GROUP BY 1, 2, 3, 4"
)
_STEPS = (_CHUNKS, _BATCHES, _MESSAGES, _DELIVERY_COUNTS)


def add_broadcast(db: Database, recipients: int, *, client: str = "bench") -> str:
    """Insert a broadcast that was sent.  Returns its public id."""
    with db.write() as tx:
        public_id = make_id(datetime.now(UTC))
        broadcast_id = _add_row(tx, public_id, recipients, client)
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        values = {"broadcast_id": broadcast_id, "recipients": recipients, "chunk": CHUNK, "at": at}
        for step in _STEPS:
            names = [name for name in values if f":{name}" in step.text]
            tx.execute(step, {name: values[name] for name in names})
    return public_id


def _add_row(tx: Connection, public_id: str, recipients: int, client: str) -> int:
    now, chunks = datetime.now(UTC), -(-recipients // CHUNK)
    columns = table_of(Broadcast).c
    added = insert(table_of(Broadcast)).values(
        public_id=public_id,
        client=client,
        created_at=now,
        text="Pickup moved to 08:30",
        text_hash=bytes(32),
        sender="+12015550199",
        category=Category.TRANSACTIONAL,
        priority=5,
        options={},
        encoding="GSM-7",
        parts=1,
        expires_at=now + timedelta(days=1),
        status=BroadcastStatus.COMPLETE,
        recipients=recipients,
        invalid=0,
        duplicates=0,
        planned=chunks,
        chunks=chunks,
        first_submitted_at=now,
        completed_at=now,
    )
    return int(tx.execute(added.returning(columns.id)).scalar_one())
