"""Invariants: what holds at every moment, whatever crashed.  Checked by tests and each minute.

Each check yields a sentence per violation.  All checks read one snapshot of the database.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true
from sqlalchemy.orm import aliased

from app.sms.context import Context
from app.sms.lifecycle.counts import count_by_status_code, read_counts, total_by_status
from app.sms.lifecycle.latency import NONE
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.reports import DeliveryCount
from app.sms.models.states import (
    AT_SINCH,
    FINAL,
    OPEN,
    PROVEN_UNSENT,
    BatchState,
    BroadcastStatus,
)
from app.sms.models.statuses import ENDED

_S = BatchState
_LEASE_SLACK = timedelta(seconds=60)
# Beyond what `unreadable_after_s` allows.
_UNKNOWN_SLACK = timedelta(minutes=5)
_SHOWN = 5
_RECENT = timedelta(minutes=5)


def find_violations(ctx: Context, *, thorough: bool = True) -> list[str]:
    """Return a sentence for each violation.

    `thorough` checks all broadcasts and messages.  Otherwise only broadcasts that are open or were
    completed lately are checked, which stays quick however much is stored.
    """
    since = None if thorough else ctx.now() - _RECENT
    with ctx.db.read() as tx:
        violations = [sentence for check in _CHECKS for sentence in check(tx, ctx, since)]
        if not thorough:
            return violations
        return [*violations, *_check_messages(tx), *_check_counts(tx), *_check_ended(tx)]


def _is_recent(since: datetime | None) -> ColumnElement[bool]:
    if since is None:
        return true()
    return or_(Broadcast.completed_at.is_(None), Broadcast.completed_at >= since)


def _check_totals(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """The counts of a broadcast add up to the requested recipients."""
    for broadcast in tx.execute(select(Broadcast.__table__).where(_is_recent(since))):
        stored = read_counts(tx, [broadcast.id])[broadcast.id]
        counts = total_by_status(count_by_status_code(broadcast, stored))
        requested = broadcast.recipients + broadcast.invalid
        if sum(counts.values()) != requested or min(counts.values()) < 0:
            yield f"broadcast {broadcast.public_id}: {counts} is not {requested}"


def _check_audience(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """The chunks of a broadcast hold all its recipients."""
    stored = (
        select(func.coalesce(func.sum(Chunk.size), 0))
        .where(Chunk.broadcast_id == Broadcast.id)
        .scalar_subquery()
    )
    query = select(Broadcast.public_id, Broadcast.recipients, stored)
    for public_id, requested, in_chunks in tx.execute(
        query.where(Broadcast.recipients != stored, _is_recent(since))
    ):
        yield f"broadcast {public_id}: {in_chunks} of its {requested} recipients are stored"


def _check_plans(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """The batches of a chunk hold its recipients once, split batches left out."""
    planned = (
        select(func.coalesce(func.sum(Chunk.size), 0))
        .where(Chunk.broadcast_id == Broadcast.id, Chunk.number < Broadcast.planned)
        .scalar_subquery()
    )
    batched = (
        select(func.coalesce(func.sum(Batch.size), 0))
        .where(Batch.broadcast_id == Broadcast.id, Batch.state != _S.SPLIT)
        .scalar_subquery()
    )
    query = select(Broadcast.public_id, planned, batched)
    for public_id, expected, found in tx.execute(
        query.where(planned != batched, _is_recent(since))
    ):
        yield f"broadcast {public_id}: {expected} planned, {found} in batches"


def _check_attempts(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """No batch has two attempts unless all but the last are proven not sent, or overridden."""
    later = aliased(Attempt)
    repeated = (
        select(Attempt.batch_id, Attempt.number, Attempt.outcome)
        .join(later, and_(later.batch_id == Attempt.batch_id, later.number > Attempt.number))
        .where(later.number > 1, Attempt.overridden.is_(False))
        .where(or_(Attempt.outcome.is_(None), Attempt.outcome.not_in(PROVEN_UNSENT)))
        .limit(_SHOWN)
    )
    for row in tx.execute(repeated):
        yield f"batch {row.batch_id}: attempt {row.number} ({row.outcome}) was repeated"


def _check_leases(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """No batch is SENDING long after its lease, or UNKNOWN when it should need attention."""
    now = ctx.now()
    oldest = now - timedelta(seconds=ctx.rules.unreadable_after_s) - _UNKNOWN_SLACK
    overdue = or_(
        and_(Batch.state == _S.SENDING, Batch.lease_until < now - _LEASE_SLACK),
        and_(Batch.state == _S.UNKNOWN, Batch.unknown_at < oldest),
    )
    for row in tx.execute(select(Batch.id, Batch.state).where(overdue).limit(_SHOWN)):
        yield f"batch {row.id}: {row.state} for too long"


def _check_states(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """Each batch has the columns that its state requires, and no others."""
    broken = or_(
        and_(Batch.state == _S.SENDING, Batch.lease_until.is_(None)),
        and_(Batch.state != _S.SENDING, Batch.lease_until.is_not(None)),
        and_(Batch.state == _S.UNKNOWN, Batch.unknown_at.is_(None)),
        and_(Batch.state == _S.UNKNOWN, Batch.next_reconcile_at.is_(None)),
        and_(Batch.state == _S.NEEDS_ATTENTION, Batch.attention.is_(None)),
        and_(Batch.state == _S.PENDING, Batch.sinch_id.is_not(None)),
    )
    for row in tx.execute(select(Batch.id, Batch.state).where(broken).limit(_SHOWN)):
        yield f"batch {row.id}: {row.state} with columns that do not fit"


def _check_finals(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """A completed broadcast has no open batch."""
    is_open = select(Batch.id).where(Batch.broadcast_id == Broadcast.id, Batch.state.in_(OPEN))
    ended = Broadcast.status.in_([s for s in FINAL if s is not BroadcastStatus.CANCELLED])
    completed = or_(ended, Broadcast.completed_at.is_not(None))
    query = select(Broadcast.public_id).where(completed, _is_recent(since), is_open.exists())
    for public_id in tx.execute(query.limit(_SHOWN)).scalars():
        yield f"broadcast {public_id}: completed with an open batch"


def _check_ends(tx: Connection, ctx: Context, since: datetime | None) -> Iterator[str]:
    """`ended` of a batch is at most its size; an all-reported broadcast awaits no report."""
    broken = or_(Batch.ended > Batch.size, and_(Batch.ended > 0, Batch.state.not_in(AT_SINCH)))
    for row in tx.execute(select(Batch.id, Batch.ended, Batch.state).where(broken).limit(_SHOWN)):
        yield f"batch {row.id}: {row.ended} messages of a batch that is {row.state} have ended"
    open_ends = select(Batch.id).where(
        Batch.broadcast_id == Broadcast.id, Batch.state.in_(AT_SINCH), Batch.ended < Batch.size
    )
    query = select(Broadcast.public_id).where(
        Broadcast.all_reported_at.is_not(None), open_ends.exists(), _is_recent(since)
    )
    for public_id in tx.execute(query.limit(_SHOWN)).scalars():
        yield f"broadcast {public_id}: all reported, but reports are awaited"


_CHECKS: tuple[Callable[[Connection, Context, datetime | None], Iterator[str]], ...] = (
    _check_totals,
    _check_audience,
    _check_plans,
    _check_attempts,
    _check_leases,
    _check_states,
    _check_finals,
    _check_ends,
)


def _check_messages(tx: Connection) -> Iterator[str]:
    """A batch has as many messages as recipients."""
    counted = (
        select(Message.batch_id, func.count().label("messages"))
        .group_by(Message.batch_id)
        .subquery()
    )
    wrong = (
        select(Batch.id, Batch.size, counted.c.messages)
        .outerjoin(counted, counted.c.batch_id == Batch.id)
        .where(Batch.state != _S.SPLIT)
        .where(func.coalesce(counted.c.messages, 0) != Batch.size)
        .limit(_SHOWN)
    )
    for row in tx.execute(wrong):
        yield f"batch {row.id}: {row.messages} messages for {row.size} recipients"


def _check_counts(tx: Connection) -> Iterator[str]:
    """The delivery counts of a broadcast equal the counts of its messages."""
    code = func.coalesce(Message.code, NONE)
    messages = tx.execute(
        select(Message.broadcast_id, Message.status, code, func.count())
        .where(Message.status.is_not(None))
        .group_by(Message.broadcast_id, Message.status, code)
    )
    counts = tx.execute(
        select(
            DeliveryCount.broadcast_id,
            DeliveryCount.status,
            DeliveryCount.code,
            func.sum(DeliveryCount.messages),
        )
        .group_by(DeliveryCount.broadcast_id, DeliveryCount.status, DeliveryCount.code)
        .having(func.sum(DeliveryCount.messages) != 0)
    )
    reported = {(*key, int(count)) for *key, count in messages}
    counted = {(*key, int(count)) for *key, count in counts}
    for broadcast_id, status, number, count in sorted(reported ^ counted)[:_SHOWN]:
        yield f"broadcast {broadcast_id}: {count} {status} {number}, in counts or messages alone"
    negative = select(DeliveryCount.broadcast_id).where(DeliveryCount.messages < 0).limit(_SHOWN)
    for broadcast_id in tx.execute(negative).scalars():
        yield f"broadcast {broadcast_id}: a delivery count below 0"


def _check_ended(tx: Connection) -> Iterator[str]:
    """`ended` of a batch is the number of its messages with a final status."""
    ended = (
        select(Message.batch_id, func.count().label("messages"))
        .where(Message.status.in_(ENDED))
        .group_by(Message.batch_id)
        .subquery()
    )
    wrong = (
        select(Batch.id, Batch.ended, ended.c.messages)
        .outerjoin(ended, ended.c.batch_id == Batch.id)
        .where(func.coalesce(ended.c.messages, 0) != Batch.ended)
        .limit(_SHOWN)
    )
    for row in tx.execute(wrong):
        yield f"batch {row.id}: {row.messages} messages have ended, {row.ended} are counted"
