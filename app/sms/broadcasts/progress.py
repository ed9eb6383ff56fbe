"""Progress of broadcasts: place in the queue, texts a second, start and end.

Workers serve the broadcast of the highest priority first, then the oldest; see dispatch/claim.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, or_, select

from app.config.keys import OWN_CLIENT
from app.db.base import table_of
from app.sms.context import Context
from app.sms.dispatch.claim import HAS_PENDING, IS_DUE, IS_PENDING
from app.sms.lifecycle.gates import read_gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, AT_SINCH, BatchState, BroadcastStatus

# Beyond these a broadcast has no place yet.
_MAX_QUEUE = 20
_PACE_WITHIN = timedelta(minutes=5)

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)
_SELECT_QUEUE = (
    select(_BROADCASTS)
    .where(_BROADCASTS.c.completed_at.is_(None), _BROADCASTS.c.status.in_(ACTIVE))
    .where(or_(_BROADCASTS.c.planned < _BROADCASTS.c.chunks, _BROADCASTS.c.resolving, HAS_PENDING))
    .order_by(_BROADCASTS.c.priority.desc(), _BROADCASTS.c.id)
    .limit(_MAX_QUEUE)
)
_IS_COUNTED = _BATCHES.c.state != BatchState.SPLIT
_COUNT_DUE = select(
    _BATCHES.c.broadcast_id,
    func.sum(case((_IS_COUNTED, _BATCHES.c.size), else_=0)).label("planned"),
    func.sum(case((and_(IS_PENDING, IS_DUE), _BATCHES.c.size), else_=0)).label("due"),
).group_by(_BATCHES.c.broadcast_id)


@dataclass(frozen=True, slots=True)
class Progress:
    """Place of a broadcast in the queue, 1 for the one whose texts go next, and its times.

    `starts_at` is when its first text is, or was, handed to Sinch; `per_second` are its texts of
    the last minutes; `finishes_at` is when the last one that may go now is handed on.  A value is
    None where it does not apply or cannot be estimated.
    """

    queue_position: int | None = None
    starts_at: datetime | None = None
    per_second: float | None = None
    finishes_at: datetime | None = None


def read_progress(
    tx: Connection, ctx: Context, broadcasts: Sequence[Row[Any]]
) -> Mapping[int, Progress]:
    """Return the progress of broadcasts by their ids."""
    progress = {
        row.id: Progress(
            starts_at=row.send_at
            if row.status is BroadcastStatus.SCHEDULED
            else row.first_submitted_at
        )
        for row in broadcasts
    }
    if any(row.status in ACTIVE for row in broadcasts):
        progress |= _walk_queue(tx, ctx)
    return progress


def _walk_queue(tx: Connection, ctx: Context) -> dict[int, Progress]:
    """Estimate for each broadcast of the queue when those ahead are done, and when it is."""
    now = ctx.now()
    queue = tx.execute(_SELECT_QUEUE, {"now": now}).all()
    due = _count_due(tx, queue, now)
    gates = read_gates(tx, ctx.rules, now)
    free_at = None if gates.restoring or gates.circuit else now
    pace: float | None = None
    progress, position = {}, 1
    for row in queue:
        measured = _measure_pace(tx, row, now)
        pace = _limit_pace(ctx, row, measured or pace)
        starts_at, finishes_at = row.first_submitted_at or free_at, None
        if free_at and pace and not row.resolving:
            finishes_at = free_at + timedelta(seconds=due[row.id] / pace)
        progress[row.id] = Progress(position, starts_at, measured and pace, finishes_at)
        free_at = finishes_at
        # People see no list with the texts of threads, which take their time all the same.
        position += not _is_in_thread(row)
    return progress


def count_waiting(ctx: Context) -> tuple[int, bool]:
    """Return how many texts may go now and have not, and True if there are more than these."""
    now = ctx.now()
    with ctx.db.read() as tx:
        queue = tx.execute(_SELECT_QUEUE, {"now": now}).all()
        due = _count_due(tx, queue, now)
    return sum(due.values()), len(queue) == _MAX_QUEUE or any(row.resolving for row in queue)


def _is_in_thread(row: Row[Any]) -> bool:
    """Return True for a text that Clarion sends by itself, and for the answer of a user."""
    is_answer = row.client == OWN_CLIENT or row.options.get("answer") is not None
    return bool(row.recipients == 1 and is_answer)


def _count_due(tx: Connection, queue: Sequence[Row[Any]], now: datetime) -> Mapping[int, int]:
    """Return how many texts of each broadcast may go now."""
    query = _COUNT_DUE.where(_BATCHES.c.broadcast_id.in_([row.id for row in queue]))
    counts = {row.broadcast_id: row for row in tx.execute(query, {"now": now})}
    due = {}
    for row in queue:
        count = counts.get(row.id)
        planned, pending = (int(count.planned), int(count.due)) if count else (0, 0)
        due[row.id] = row.recipients - planned + pending
    return due


def _measure_pace(tx: Connection, row: Row[Any], now: datetime) -> float | None:
    """Return the texts a second since the first batch of the last minutes."""
    if row.first_submitted_at is None:
        return None
    query = select(func.sum(_BATCHES.c.size), func.min(_BATCHES.c.accepted_at)).where(
        _BATCHES.c.broadcast_id == row.id,
        _BATCHES.c.state.in_(AT_SINCH),
        _BATCHES.c.accepted_at > now - _PACE_WITHIN,
    )
    texts, since = tx.execute(query).one()
    return int(texts) / max((now - since).total_seconds(), 1.0) if texts else None


def _limit_pace(ctx: Context, row: Row[Any], pace: float | None) -> float | None:
    """Return what the setting of parts a second leaves of a pace, all of it if there is none."""
    if ctx.rules.messages_per_second is None:
        return pace
    limit: float = ctx.rules.messages_per_second / row.parts
    return limit if pace is None else min(pace, limit)
