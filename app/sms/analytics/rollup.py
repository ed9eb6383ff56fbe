"""Batches that changed are counted anew, and the sums by day brought in line with them.

What a batch has added is kept with it.  In one transaction the difference goes to the sums and the
new share to the batch: counted twice, or by whom a crash took over from, it adds nothing more.

A pass takes the changed batches from the oldest to the newest, some at a time, whoever comes; then
there is a pause, so that a flood of reports does not count each batch a hundred times.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Row,
    Select,
    String,
    bindparam,
    func,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.db.facts import read_metadata, set_metadata
from app.failpoints import failpoints
from app.sms.analytics.contribution import (
    BatchContribution,
    RollupDelta,
    RollupKey,
    count_messages,
    is_counted,
    parse_contribution,
    serialize_contribution,
    tag_of,
)
from app.sms.audience.chunks import load_batch_recipients
from app.sms.context import Context
from app.sms.lifecycle.latency import pack, read_packed, unpack
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyCount, DailyDelay

# In one transaction, during which nobody books or, on SQLite, writes at all.
_MOST_BATCHES = 200
_MOST_MESSAGES = 20_000
_FEW = 100
# One call; the next one goes on.
_CALL_S = 5.0
# Between two passes; or so many times what the pass took, so that a tenth of the time goes to them.
_PAUSE_S = 10.0
_PAUSE_RATIO = 9
_MAX_PAUSE_S = 60.0
_PROGRESS = "rolled_up"

_BATCHES, _BROADCASTS, _MESSAGES = table_of(Batch), table_of(Broadcast), table_of(Message)
_COUNTS, _DELAYS = table_of(DailyCount), table_of(DailyDelay)
# Made once: to make a statement costs several times what it takes to run one.
_ANY_CHANGED = select(_BATCHES.c.id).where(_BATCHES.c.rollup_dirty == true()).limit(1)
CHANGED: Select[Any] = (
    select(
        _BATCHES.c.id,
        _BATCHES.c.broadcast_id,
        _BATCHES.c.chunk,
        _BATCHES.c.start,
        _BATCHES.c.size,
        _BATCHES.c.recipient_indexes,
        _BATCHES.c.state,
        _BATCHES.c.accepted_at,
        _BATCHES.c.rollup_contribution,
        _BROADCASTS.c.created_at,
        _BROADCASTS.c.client,
        _BROADCASTS.c.sender,
        _BROADCASTS.c.tag,
        _BROADCASTS.c.parts,
    )
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BATCHES.c.rollup_dirty == true(), _BATCHES.c.id > bindparam("after"))
    .order_by(_BATCHES.c.id)
    .limit(bindparam("most"))
    # Waits for no batch that somebody else holds, so that it can be part of no deadlock.
    .with_for_update(of=_BATCHES, skip_locked=True)
)
# As the database gives them: our own types would cost as much as all the rest.
_TIME = func.coalesce(_MESSAGES.c.status_at, _MESSAGES.c.recorded_at)
_MESSAGES_OF = select(
    _MESSAGES.c.recipient,
    type_coerce(_MESSAGES.c.status, String),
    _MESSAGES.c.code,
    type_coerce(_TIME, DateTime),
).where(_MESSAGES.c.broadcast_id == bindparam("of"), _MESSAGES.c.batch_id == bindparam("this"))
# Those of a small batch may lie far apart; to look up a thousand one by one is dear on PostgreSQL.
_LOOKED_UP = _MESSAGES_OF.where(_MESSAGES.c.recipient.in_(bindparam("these", expanding=True)))
_IN_RANGE = _MESSAGES_OF.where(_MESSAGES.c.recipient.between(bindparam("first"), bindparam("last")))
_KEEP_SHARE = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"))
    .values(rollup_dirty=False, rollup_contribution=bindparam("share"))
)


_DELAYS_OF = select(_DELAYS.c.delays).where(
    *(_DELAYS.c[each.name] == bindparam(each.name) for each in _DELAYS.primary_key)
)


def _make_add(build: Any) -> Any:
    statement = build(_COUNTS)
    sums = {name: _COUNTS.c[name] + statement.excluded[name] for name in ("messages", "parts")}
    return statement.on_conflict_do_update(index_elements=list(_COUNTS.primary_key), set_=sums)


def _make_keep(build: Any) -> Any:
    statement = build(_DELAYS)
    kept = {"delays": statement.excluded.delays}
    return statement.on_conflict_do_update(index_elements=list(_DELAYS.primary_key), set_=kept)


_BUILDERS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_ADD_COUNTS = {name: _make_add(build) for name, build in _BUILDERS.items()}
_KEEP_DELAYS = {name: _make_keep(build) for name, build in _BUILDERS.items()}


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far a pass has come: behind which batch, 0 between two passes; when it began or may."""

    after: int
    at: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether there may be something to do; also where the clock was set back."""
        pausing = timedelta(0) < self.at - now <= timedelta(seconds=_MAX_PAUSE_S)
        return self.after > 0 or not pausing


def roll_up_batches(ctx: Context, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Count batches that changed anew, for a few seconds or until `stop`; how many."""
    ctx.require_own_database()
    deadline = ctx.clock.monotonic() + _CALL_S
    rolled = 0
    while not stop() and (some := _roll_some(ctx)):
        rolled += some
        if ctx.clock.monotonic() >= deadline:
            break
    return rolled


def _roll_some(ctx: Context) -> int:
    with ctx.db.read() as tx:
        progress = _read_progress(tx, ctx)
        idle = not progress.after and tx.execute(_ANY_CHANGED).first() is None
        if idle or not progress.is_due(ctx.now()):
            return 0
    with ctx.db.write() as tx:
        lock_counters(tx)
        progress = _read_progress(tx, ctx)
        if not progress.is_due(ctx.now()):
            return 0
        batches, more = _take(tx, after=progress.after)
        _roll(tx, batches)
        _keep_progress(tx, _move_on(ctx, progress, batches[-1].id if more else 0))
        failpoints.reach("R1")
    return len(batches)


def _take(tx: Connection, *, after: int) -> tuple[Sequence[Row[Any]], bool]:
    """The next batches that changed, as many as one transaction takes; whether there are more."""
    rows: list[Row[Any]] = list(tx.execute(CHANGED, {"after": after, "most": _MOST_BATCHES}))
    messages = 0
    for number, row in enumerate(rows):
        messages += row.size
        if number and messages > _MOST_MESSAGES:
            return rows[:number], True
    return rows, len(rows) == _MOST_BATCHES


def _roll(tx: Connection, batches: Sequence[Row[Any]]) -> None:
    differences = RollupDelta()
    kept = []
    for batch in batches:
        share = count_batch(tx, batch) if is_counted(batch) else None
        if batch.rollup_contribution:
            differences.take_back(batch, parse_contribution(batch.rollup_contribution))
        if share:
            differences.add(batch, share)
        kept.append({"this": batch.id, "share": serialize_contribution(share) if share else None})
    _add_counts(tx, differences)
    _add_delays(tx, differences)
    if kept:
        tx.execute(_KEEP_SHARE, kept)


def count_batch(tx: Connection, batch: Row[Any]) -> BatchContribution:
    """What a batch has to add to the sums as its messages stand now; the books are held."""
    recipients = load_batch_recipients(tx, batch).recipients
    place = {"of": batch.broadcast_id, "this": batch.id}
    if len(recipients) <= _FEW:
        messages = tx.execute(_LOOKED_UP, place | {"these": recipients})
    else:
        ends = {"first": min(recipients), "last": max(recipients)}
        messages = tx.execute(_IN_RANGE, place | ends)
    taken_at: datetime = batch.accepted_at or batch.created_at
    if tx.dialect.name == "sqlite":
        taken_at = taken_at.replace(tzinfo=None)  # so are its times where our type is not asked
    return count_messages(messages, taken_at=taken_at, tag=tag_of(batch))


def _add_counts(tx: Connection, differences: RollupDelta) -> None:
    rows = [
        place._asdict()
        | dict(zip(("country", "status", "code"), kind, strict=True))
        | {"messages": messages, "parts": differences.parts[place, kind]}
        for (place, kind), messages in sorted(differences.messages.items())
        if messages
    ]
    if rows:
        tx.execute(_ADD_COUNTS[tx.dialect.name], rows)


def _add_delays(tx: Connection, differences: RollupDelta) -> None:
    changes: dict[tuple[RollupKey, str], Counter[int]] = defaultdict(Counter)
    for (place, (country, bucket)), messages in differences.delays.items():
        if messages:
            changes[place, country][bucket] = messages
    rows = []
    for (place, country), change in sorted(changes.items()):
        row = place._asdict() | {"country": country}
        delays = unpack(read_packed(tx.execute(_DELAYS_OF, row).scalar() or b""))
        delays.update(change)
        rows.append(row | {"delays": pack(delays)})
    if rows:
        tx.execute(_KEEP_DELAYS[tx.dialect.name], rows)


def _read_progress(tx: Connection, ctx: Context) -> _Progress:
    kept = read_metadata(tx, _PROGRESS)
    if kept is None:
        return _Progress(0, ctx.now())
    after, at = json.loads(kept)
    return _Progress(after, datetime.fromisoformat(at))


def _move_on(ctx: Context, progress: _Progress, after: int) -> _Progress:
    """A pass goes on behind this batch; behind 0 it is over."""
    now = ctx.now()
    began_at = progress.at if progress.after else now
    if after:
        return _Progress(after, began_at)
    pause_s = max(_PAUSE_S, _PAUSE_RATIO * (now - began_at).total_seconds())
    return _Progress(0, now + timedelta(seconds=min(pause_s, _MAX_PAUSE_S)))


def _keep_progress(tx: Connection, progress: _Progress) -> None:
    set_metadata(tx, _PROGRESS, json.dumps([progress.after, progress.at.isoformat()]))
