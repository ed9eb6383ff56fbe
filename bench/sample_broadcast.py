"""Sample broadcasts in a database: as far as they came, and nearly all sent messages reported.

SQL inserts the rows that the service would leave; SQLite only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, text

from app.db.base import table_of
from app.db.engine import Database
from app.db.prepared import chunked, insert_rows
from app.ids import make_id
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import FINAL, BatchState, BroadcastStatus, Category

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
    "iif(number < :accepted, 'accepted', :others), iif(number < :accepted, 1, :attempts), "
    "iif(number < :accepted, 'S' || :broadcast_id || '-' || number, NULL), 0, 0, "
    "iif(number < :accepted, :at, NULL), "
    "iif(number < :accepted, size / 100 * 98 + min(size % 100, 98), 0), 0, 0 "
    "FROM chunks WHERE broadcast_id = :broadcast_id"
)
# Of a hundred messages that Sinch accepted 94 are delivered and 4 failed, with one of four codes;
# 2 are not reported.
_MESSAGES = text(
    "INSERT INTO messages "
    "(broadcast_id, recipient, batch_id, status, code, status_at, recorded_at) "
    "WITH line AS (SELECT b.id AS batch, l.value AS number, "
    "iif(b.state = 'accepted', l.key % 100, 100) AS percent FROM batches b "
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
_COUNTRY_COUNTS = text(
    "INSERT INTO country_counts (broadcast_id, country, status, messages) "
    "SELECT :broadcast_id, 'SE', coalesce(m.status, 'submitted'), count(*) FROM messages m "
    "JOIN batches b ON b.id = m.batch_id AND b.state = 'accepted' "
    "WHERE m.broadcast_id = :broadcast_id GROUP BY 3"
)
# As if they were sent for some days, with deliveries in every minute.
_DELIVERY_SLOTS = text(
    "INSERT INTO delivery_slots (broadcast_id, slot, messages) "
    "SELECT :broadcast_id, 3600 + 60 * (CAST(substr(recipient, 6) AS INTEGER) % 5000), count(*) "
    "FROM messages WHERE broadcast_id = :broadcast_id AND status = 'delivered' GROUP BY 2"
)
_STEPS = (_BATCHES, _MESSAGES, _DELIVERY_COUNTS, _COUNTRY_COUNTS, _DELIVERY_SLOTS)
# Batches in these states were never claimed.
_NOT_CLAIMED = (BatchState.PENDING, BatchState.CANCELLED, BatchState.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Course of a broadcast: its status, the share of its batches that Sinch accepted, and the
    state of the others; None for a broadcast that has no batches yet."""

    status: BroadcastStatus = BroadcastStatus.COMPLETE
    accepted: float = 1.0
    others: BatchState | None = BatchState.PENDING


_SENT = Course()


def add_broadcast(db: Database, recipients: int, *, client: str = "bench") -> str:
    """Insert a broadcast that was sent, to made-up numbers.  Returns its public id."""
    with db.write() as tx:
        broadcast_id, public_id = _add_row(tx, recipients, _SENT, {"client": client})
        values = {"broadcast_id": broadcast_id, "recipients": recipients, "chunk": CHUNK}
        tx.execute(_CHUNKS, values)
        _add_messages(tx, broadcast_id, recipients, _SENT, datetime.now(UTC))
    return public_id


def add_broadcast_to(
    tx: Connection, numbers: Sequence[str], course: Course, **columns: Any
) -> tuple[int, str]:
    """Insert a broadcast to these numbers.  Returns its id and its public id."""
    broadcast_id, public_id = _add_row(tx, len(numbers), course, columns)
    chunks = [
        {
            "broadcast_id": broadcast_id,
            "number": number,
            "size": len(part),
            "recipients": "\n".join(part),
        }
        for number, part in enumerate(chunked(numbers, CHUNK))
    ]
    insert_rows(tx, table_of(Chunk), chunks)
    at = columns.get("created_at", datetime.now(UTC))
    _add_messages(tx, broadcast_id, len(numbers), course, at)
    return broadcast_id, public_id


def _add_messages(
    tx: Connection, broadcast_id: int, recipients: int, course: Course, at: datetime
) -> None:
    """Insert batches, messages and counts of a broadcast that has its chunks."""
    if course.others is None:
        return
    values = {
        "broadcast_id": broadcast_id,
        "accepted": int(course.accepted * _count_chunks(recipients)),
        "others": course.others.value,
        "attempts": 0 if course.others in _NOT_CLAIMED else 1,
        "at": at.strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    for step in _STEPS:
        tx.execute(step, {name: value for name, value in values.items() if f":{name}" in step.text})


def _add_row(
    tx: Connection, recipients: int, course: Course, given: dict[str, Any]
) -> tuple[int, str]:
    at, chunks = given.get("created_at", datetime.now(UTC)), _count_chunks(recipients)
    is_handed = course.others is not None and course.accepted > 0
    columns = {
        "public_id": make_id(at),
        "client": "bench",
        "created_at": at,
        "text": "Pickup moved to 08:30",
        "text_hash": bytes(32),
        "sender": "+12015550199",
        "category": Category.TRANSACTIONAL,
        "priority": 5,
        "options": {},
        "encoding": "GSM-7",
        "parts": 1,
        "expires_at": at + timedelta(days=1),
        "status": course.status,
        "recipients": recipients,
        "invalid": 0,
        "duplicates": 0,
        "planned": 0 if course.others is None else chunks,
        "chunks": chunks,
        "first_submitted_at": at if is_handed else None,
        "completed_at": at if course.status in FINAL else None,
        **given,
    }
    table = table_of(Broadcast)
    added = tx.execute(insert(table).values(columns).returning(table.c.id)).scalar_one()
    return int(added), str(columns["public_id"])


def _count_chunks(recipients: int) -> int:
    return -(-recipients // CHUNK)
