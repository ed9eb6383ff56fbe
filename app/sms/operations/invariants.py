"""Invariants: what holds at every moment, whatever crashed.  Checked by tests and each minute.

Each check is a query for what is broken and a sentence about each of its rows.  All checks read one
snapshot of the database.  The statements are made once: tests run them thousands of times.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from app.db.base import table_of
from app.db.prepared import Prepared, Statement
from app.sms.context import Context
from app.sms.lifecycle.counts import count_by_status_code, read_counts, total_by_status
from app.sms.lifecycle.latency import NONE
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.reports import DeliveryCount
from app.sms.models.states import AT_SINCH, FINAL, OPEN, PROVEN_UNSENT, BatchState, BroadcastStatus
from app.sms.models.statuses import ENDED

_S = BatchState
_LEASE_SLACK = timedelta(seconds=60)
# Beyond what `unreadable_after_s` allows.
_UNKNOWN_SLACK = timedelta(minutes=5)
_SHOWN = 5
_RECENT = timedelta(minutes=5)
_BEFORE_ALL = datetime(2000, 1, 1, tzinfo=UTC)
_AT_ONCE = 100

_IS_RECENT = or_(Broadcast.completed_at.is_(None), Broadcast.completed_at >= bindparam("since"))


def find_violations(ctx: Context, *, thorough: bool = True) -> list[str]:
    """Return a sentence for each violation.

    `thorough` checks all broadcasts and messages.  Otherwise only broadcasts that are open or were
    completed lately are checked, which stays quick however much is stored.
    """
    now = ctx.now()
    moments = {
        "since": _BEFORE_ALL if thorough else now - _RECENT,
        "lease_until": now - _LEASE_SLACK,
        "unknown_at": now - timedelta(seconds=ctx.rules.unreadable_after_s) - _UNKNOWN_SLACK,
    }
    with ctx.db.read() as tx:
        return _check(tx, moments, thorough=thorough)


def find_violations_at_rest(tx: Connection) -> list[str]:
    """Return a sentence for each violation in a database that no service works on.

    Times that have passed since are no violation.
    """
    moments = dict.fromkeys(("since", "lease_until", "unknown_at"), _BEFORE_ALL)
    return _check(tx, moments, thorough=True)


def _check(tx: Connection, moments: dict[str, datetime], *, thorough: bool) -> list[str]:
    if not tx.scalar(_HAS_ANY):
        return []
    checks = (*_PREPARED, *_PREPARED_THOROUGH) if thorough else _PREPARED
    return [
        *_check_totals(tx, moments),
        *(
            sentence.format(**row._asdict())
            for query, sentence in checks
            for row in query.fetch(tx, moments)
        ),
        *(_check_counts(tx) if thorough else ()),
    ]


_BROADCASTS = select(Broadcast.__table__).where(_IS_RECENT)
# One query instead of two dozen where nothing was ever sent.
_HAS_ANY = select(
    or_(
        *(
            select(table).exists()
            for table in (Broadcast, Chunk, Batch, Attempt, Message, DeliveryCount)
        )
    )
)


def _check_totals(tx: Connection, moments: dict[str, datetime]) -> Iterator[str]:
    """The counts of a broadcast add up to the requested recipients."""
    for broadcasts in tx.execute(_BROADCASTS, moments).partitions(_AT_ONCE):
        stored = read_counts(tx, [broadcast.id for broadcast in broadcasts])
        for broadcast in broadcasts:
            counts = total_by_status(count_by_status_code(broadcast, stored[broadcast.id]))
            requested = broadcast.recipients + broadcast.invalid
            if sum(counts.values()) != requested or min(counts.values()) < 0:
                yield f"broadcast {broadcast.public_id}: {counts} is not {requested}"


def _sum(size: Any, *where: Any) -> Any:
    """Return the sum of sizes in the rows of a broadcast."""
    total = select(func.coalesce(func.sum(size), 0))
    return total.where(size.table.c.broadcast_id == Broadcast.id, *where).scalar_subquery()


def _count_messages(*where: Any) -> Any:
    """Return the number of messages by batch."""
    counted = select(Message.batch_id, func.count().label("messages")).where(*where)
    return counted.group_by(Message.batch_id).subquery()


_STORED = _sum(Chunk.size)
_PLANNED = _sum(Chunk.size, Chunk.number < Broadcast.planned)
_BATCHED = _sum(Batch.size, Batch.state != _S.SPLIT)
_LATER = table_of(Attempt).alias()
_OPEN_BATCH = select(Batch.id).where(Batch.broadcast_id == Broadcast.id, Batch.state.in_(OPEN))
_ENDS_BY_ITSELF = [status for status in FINAL if status is not BroadcastStatus.CANCELLED]
_AWAITED = select(Batch.id).where(
    Batch.broadcast_id == Broadcast.id, Batch.state.in_(AT_SINCH), Batch.ended < Batch.size
)
# Broadcasts whose messages were deleted, or are being deleted; their counts stay.
_PURGED = select(Broadcast.id).where(Broadcast.purged_at.is_not(None))
_COUNTED_ENDED = (
    select(func.coalesce(func.sum(DeliveryCount.messages), 0))
    .where(DeliveryCount.broadcast_id == Broadcast.id, DeliveryCount.status.in_(ENDED))
    .scalar_subquery()
)
_MESSAGES = _count_messages()
_ENDED = _count_messages(Message.status.in_(ENDED))

_CHECKS: tuple[tuple[Statement, str], ...] = (
    # The chunks of a broadcast hold all its recipients.
    (
        select(Broadcast.public_id, Broadcast.recipients, _STORED.label("stored")).where(
            Broadcast.recipients != _STORED, _IS_RECENT
        ),
        "broadcast {public_id}: {stored} of its {recipients} recipients are stored",
    ),
    # The batches of a chunk hold its recipients once, split batches left out.
    (
        select(Broadcast.public_id, _PLANNED.label("planned"), _BATCHED.label("batched")).where(
            _PLANNED != _BATCHED, _IS_RECENT
        ),
        "broadcast {public_id}: {planned} planned, {batched} in batches",
    ),
    # No batch has two attempts unless all but the last are proven not sent, or overridden.
    (
        select(Attempt.batch_id, Attempt.number, Attempt.outcome)
        .join(_LATER, and_(_LATER.c.batch_id == Attempt.batch_id, _LATER.c.number > Attempt.number))
        .where(_LATER.c.number > 1, Attempt.overridden.is_(False))
        .where(or_(Attempt.outcome.is_(None), Attempt.outcome.not_in(PROVEN_UNSENT)))
        .limit(_SHOWN),
        "batch {batch_id}: attempt {number} ({outcome}) was repeated",
    ),
    # No batch is SENDING long after its lease, or UNKNOWN when it should need attention.
    (
        select(Batch.id, Batch.state)
        .where(
            or_(
                and_(Batch.state == _S.SENDING, Batch.lease_until < bindparam("lease_until")),
                and_(Batch.state == _S.UNKNOWN, Batch.unknown_at < bindparam("unknown_at")),
            )
        )
        .limit(_SHOWN),
        "batch {id}: {state} for too long",
    ),
    # Each batch has the columns that its state requires, and no others.
    (
        select(Batch.id, Batch.state)
        .where(
            or_(
                and_(Batch.state == _S.SENDING, Batch.lease_until.is_(None)),
                and_(Batch.state != _S.SENDING, Batch.lease_until.is_not(None)),
                and_(Batch.state == _S.UNKNOWN, Batch.unknown_at.is_(None)),
                and_(Batch.state == _S.UNKNOWN, Batch.next_reconcile_at.is_(None)),
                and_(Batch.state == _S.NEEDS_ATTENTION, Batch.attention.is_(None)),
                and_(Batch.state == _S.PENDING, Batch.sinch_id.is_not(None)),
            )
        )
        .limit(_SHOWN),
        "batch {id}: {state} with columns that do not fit",
    ),
    # A completed broadcast has no open batch.
    (
        select(Broadcast.public_id)
        .where(or_(Broadcast.status.in_(_ENDS_BY_ITSELF), Broadcast.completed_at.is_not(None)))
        .where(_IS_RECENT, _OPEN_BATCH.exists())
        .limit(_SHOWN),
        "broadcast {public_id}: completed with an open batch",
    ),
    # `ended` of a batch is at most its size, and 0 while it is not at Sinch.
    (
        select(Batch.id, Batch.ended, Batch.state)
        .where(or_(Batch.ended > Batch.size, and_(Batch.ended > 0, Batch.state.not_in(AT_SINCH))))
        .limit(_SHOWN),
        "batch {id}: {ended} messages of a batch that is {state} have ended",
    ),
    # An all-reported broadcast awaits no report.
    (
        select(Broadcast.public_id)
        .where(Broadcast.all_reported_at.is_not(None), _AWAITED.exists(), _IS_RECENT)
        .limit(_SHOWN),
        "broadcast {public_id}: all reported, but reports are awaited",
    ),
)
_THOROUGH_CHECKS: tuple[tuple[Statement, str], ...] = (
    # A batch has as many messages as recipients.
    (
        select(Batch.id, Batch.size, _MESSAGES.c.messages)
        .outerjoin(_MESSAGES, _MESSAGES.c.batch_id == Batch.id)
        .where(Batch.state != _S.SPLIT, func.coalesce(_MESSAGES.c.messages, 0) != Batch.size)
        .where(Batch.broadcast_id.not_in(_PURGED))
        .limit(_SHOWN),
        "batch {id}: {messages} messages for {size} recipients",
    ),
    # `ended` of a batch is the number of its messages with a final status.
    (
        select(Batch.id, Batch.ended, _ENDED.c.messages)
        .outerjoin(_ENDED, _ENDED.c.batch_id == Batch.id)
        .where(func.coalesce(_ENDED.c.messages, 0) != Batch.ended)
        .where(Batch.broadcast_id.not_in(_PURGED))
        .limit(_SHOWN),
        "batch {id}: {messages} messages have ended, {ended} are counted",
    ),
    # The batches of a purged broadcast have ended as often as its delivery counts say.
    (
        select(
            Broadcast.public_id, _COUNTED_ENDED.label("counted"), _sum(Batch.ended).label("ended")
        )
        .where(Broadcast.purged_at.is_not(None), _sum(Batch.ended) != _COUNTED_ENDED)
        .limit(_SHOWN),
        "broadcast {public_id}: purged, {ended} messages have ended, {counted} are counted",
    ),
    # Nothing of the numbers and texts of a purged broadcast is left.
    (
        select(Broadcast.public_id)
        .where(Broadcast.is_purged)
        .where(
            or_(
                Broadcast.text != "",
                select(Message.broadcast_id).where(Message.broadcast_id == Broadcast.id).exists(),
                select(Chunk.number)
                .where(Chunk.broadcast_id == Broadcast.id, Chunk.recipients != "")
                .exists(),
            )
        )
        .limit(_SHOWN),
        "broadcast {public_id}: purged, but a text or number is left",
    ),
    # No delivery count is below 0.
    (
        select(DeliveryCount.broadcast_id).where(DeliveryCount.messages < 0).limit(_SHOWN),
        "broadcast {broadcast_id}: a delivery count below 0",
    ),
)

_PREPARED = tuple((Prepared(query), sentence) for query, sentence in _CHECKS)
_PREPARED_THOROUGH = tuple((Prepared(query), sentence) for query, sentence in _THOROUGH_CHECKS)

_CODE = func.coalesce(Message.code, NONE)
_REPORTED = (
    select(Message.broadcast_id, Message.status, _CODE, func.count())
    .where(Message.status.is_not(None), Message.broadcast_id.not_in(_PURGED))
    .group_by(Message.broadcast_id, Message.status, _CODE)
)
_COUNTED = (
    select(
        DeliveryCount.broadcast_id,
        DeliveryCount.status,
        DeliveryCount.code,
        func.sum(DeliveryCount.messages),
    )
    .where(DeliveryCount.broadcast_id.not_in(_PURGED))
    .group_by(DeliveryCount.broadcast_id, DeliveryCount.status, DeliveryCount.code)
    .having(func.sum(DeliveryCount.messages) != 0)
)


def _check_counts(tx: Connection) -> Iterator[str]:
    """The delivery counts of a broadcast equal the counts of its messages."""
    reported = {(*key, int(count)) for *key, count in tx.execute(_REPORTED)}
    counted = {(*key, int(count)) for *key, count in tx.execute(_COUNTED)}
    for broadcast_id, status, number, count in sorted(reported ^ counted)[:_SHOWN]:
        yield f"broadcast {broadcast_id}: {count} {status} {number}, in counts or messages alone"
