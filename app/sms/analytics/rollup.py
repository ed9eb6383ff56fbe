"""Roll-up of changed batches into the daily counters, and into those of a broadcast's delivery.

Each batch keeps the contributions that it has added.  One transaction adds the differences to the
counters and stores the new contributions, so that counting a batch twice adds nothing.

A run counts the changed batches from the oldest to the newest, some in each transaction.  Then
there is a pause, so that a flood of reports does not count each batch a hundred times.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
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

from app.db.base import table_of
from app.db.engine import make_upserts
from app.db.facts import read_metadata, set_metadata
from app.db.old_rows import Stop, never
from app.db.prepared import Prepared
from app.failpoints import failpoints
from app.sms.analytics.contribution import RollupDelta, RollupKey, count_messages
from app.sms.analytics.delivery_counts import DeliveryCounts, add_counts, count_delivery, is_stored
from app.sms.audience.chunks import load_batch_recipients
from app.sms.context import Context
from app.sms.lifecycle.latency import pack, read_packed, unpack
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyCount, DailyDelay
from app.sms.models.states import AT_SINCH

# Limits of one transaction, which blocks the recording of reports and, on SQLite, all writes.
_MAX_BATCHES = 200
_MAX_MESSAGES = 20_000
# Up to this size the messages of broadcasts are read together, those of a batch one by one.
_FEW = 100
# Longest call; the next one continues.
_CALL_S = 5.0
# Pause after a run: at least this, and nine times the run, which then takes a tenth of the time.
_PAUSE_S = 10.0
_PAUSE_RATIO = 9
_MAX_PAUSE_S = 60.0
_PROGRESS_KEY = "rolled_up"

_BATCHES, _BROADCASTS, _MESSAGES = table_of(Batch), table_of(Broadcast), table_of(Message)
_COUNTS, _DELAYS = table_of(DailyCount), table_of(DailyDelay)
# A flood of reports makes thousands of batches run these.
SELECT_DIRTY: Select[Any] = (
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
        _BATCHES.c.delivery_contribution,
        _BROADCASTS.c.created_at,
        _BROADCASTS.c.send_at,
        _BROADCASTS.c.recipients,
        _BROADCASTS.c.resolving,
        _BROADCASTS.c.client,
        _BROADCASTS.c.sender,
        _BROADCASTS.c.tag,
        _BROADCASTS.c.parts,
    )
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BATCHES.c.rollup_dirty == true(), _BATCHES.c.id > bindparam("after"))
    .order_by(_BATCHES.c.id)
    .limit(bindparam("limit"))
    # Skipping locked batches rules out a deadlock.
    .with_for_update(of=_BATCHES, skip_locked=True)
)
# Plain types: ours would cost as much as all the rest.
_TIME = func.coalesce(_MESSAGES.c.status_at, _MESSAGES.c.recorded_at)
_COUNTED = (
    _MESSAGES.c.recipient,
    type_coerce(_MESSAGES.c.status, String).label("status"),
    _MESSAGES.c.code,
    type_coerce(_TIME, DateTime).label("at"),
)
_SELECT_SMALL = select(_MESSAGES.c.batch_id, *_COUNTED).where(
    _MESSAGES.c.broadcast_id.in_(bindparam("broadcast_ids", expanding=True))
)
_SELECT_MESSAGES = select(*_COUNTED).where(
    _MESSAGES.c.broadcast_id == bindparam("broadcast_id"),
    _MESSAGES.c.batch_id == bindparam("batch_id"),
)
# The key's range holds few others' messages if the batch is large.
_SELECT_RANGE = _SELECT_MESSAGES.where(
    _MESSAGES.c.recipient.between(bindparam("first"), bindparam("last"))
)
_STORE_CONTRIBUTION = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch_id"))
    .values(
        rollup_dirty=False,
        rollup_contribution=bindparam("contribution"),
        delivery_contribution=bindparam("delivery"),
    )
)
_SELECT_DELAYS = select(_DELAYS.c.delays).where(
    *(_DELAYS.c[column.name] == bindparam(column.name) for column in _DELAYS.primary_key)
)


_ADD_COUNTS = make_upserts(_COUNTS, add=("messages", "parts"))
_REPLACE_DELAYS = make_upserts(_DELAYS, replace=("delays",))


@dataclass(frozen=True, slots=True)
class _Progress:
    """Progress of a run: the last batch counted and when it began.

    Between two runs `after` is 0, and `at` is when the next may begin.
    """

    after: int
    at: datetime

    def is_due(self, now: datetime) -> bool:
        """Return True in a run or after the pause, also after the clock was set back."""
        pausing = timedelta(0) < self.at - now <= timedelta(seconds=_MAX_PAUSE_S)
        return self.after > 0 or not pausing


def roll_up_batches(ctx: Context, *, stop: Stop = never) -> int:
    """Count changed batches for a few seconds or until `stop`.  Returns how many."""
    ctx.require_own_database()
    deadline = ctx.clock.monotonic() + _CALL_S
    rolled = 0
    while not stop() and (batches := _roll_up_next(ctx)):
        rolled += batches
        if ctx.clock.monotonic() >= deadline:
            break
    return rolled


def _roll_up_next(ctx: Context) -> int:
    with ctx.db.read() as tx:
        progress = _read_progress(tx, ctx)
        dirty = select(_BATCHES.c.id).where(_BATCHES.c.rollup_dirty == true()).limit(1)
        idle = not progress.after and tx.execute(dirty).first() is None
        if idle or not progress.is_due(ctx.now()):
            return 0
    with ctx.db.write() as tx:
        lock_counters(tx)
        progress = _read_progress(tx, ctx)
        if not progress.is_due(ctx.now()):
            return 0
        batches, has_more = _select_next(tx, after=progress.after)
        _roll_up(tx, batches)
        _store_progress(tx, _advance(ctx, progress, batches[-1].id if has_more else 0))
        failpoints.reach("R1")
    return len(batches)


def _select_next(tx: Connection, *, after: int) -> tuple[Sequence[Row[Any]], bool]:
    """Return the next changed batches for one transaction, and True if there may be more."""
    rows: list[Row[Any]] = list(tx.execute(SELECT_DIRTY, {"after": after, "limit": _MAX_BATCHES}))
    messages = 0
    for number, row in enumerate(rows):
        messages += row.size
        if number and messages > _MAX_MESSAGES:
            return rows[:number], True
    return rows, len(rows) == _MAX_BATCHES


def _roll_up(tx: Connection, batches: Sequence[Row[Any]]) -> None:
    delta, delivery_counts = RollupDelta(), DeliveryCounts()
    stored = []
    small = _read_small(tx, [batch for batch in batches if _is_small(batch)])
    for batch in batches:
        contribution, delivery = _count_batch(tx, batch, small)
        if batch.rollup_contribution:
            delta.add(batch, batch.rollup_contribution, sign=-1)
        if contribution:
            delta.add(batch, contribution)
        if batch.delivery_contribution:
            delivery_counts.add(batch.broadcast_id, batch.delivery_contribution, sign=-1)
        if delivery:
            delivery_counts.add(batch.broadcast_id, delivery)
        stored.append({"batch_id": batch.id, "contribution": contribution, "delivery": delivery})
    _add_counts(tx, delta)
    _add_delays(tx, delta)
    add_counts(tx, delivery_counts)
    if stored:
        tx.execute(_STORE_CONTRIBUTION, stored)


def _is_small(batch: Row[Any]) -> bool:
    return bool(batch.recipients <= _FEW)


def _read_small(tx: Connection, batches: Sequence[Row[Any]]) -> Mapping[int, Sequence[Any]]:
    """Read the messages of small broadcasts, with the counters locked, by their batch's id."""
    messages = defaultdict(list)
    if batches:
        ids = sorted({batch.broadcast_id for batch in batches})
        for batch_id, *message in tx.execute(_SELECT_SMALL, {"broadcast_ids": ids}):
            messages[batch_id].append(message)
    return messages


def _count_batch(
    tx: Connection, batch: Row[Any], small: Mapping[int, Sequence[Any]]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Count the messages of a batch, which `small` has if its broadcast is small.

    The counters are locked.  Returns what it contributes to those of days and of its broadcast's
    delivery.
    """
    if batch.state not in AT_SINCH:
        return None, None  # Sinch was sent nothing of it
    messages = small.get(batch.id, ()) if _is_small(batch) else _read_messages(tx, batch)
    accepted_at: datetime = batch.accepted_at or batch.created_at
    started_at: datetime = batch.send_at or batch.created_at
    if tx.dialect.name == "sqlite":
        # As plain types read the messages' times.
        accepted_at, started_at = (time.replace(tzinfo=None) for time in (accepted_at, started_at))
    contribution = count_messages(messages, accepted_at=accepted_at, tag=batch.tag or "")
    delivery = count_delivery(messages, started_at=started_at) if is_stored(batch) else None
    return contribution, delivery


def _read_messages(tx: Connection, batch: Row[Any]) -> Sequence[Any]:
    recipients = load_batch_recipients(tx, batch).recipients
    values = {"broadcast_id": batch.broadcast_id, "batch_id": batch.id}
    if len(recipients) <= _FEW:
        phones = {f"phone_{n}": phone for n, phone in enumerate(recipients)}
        return _select_each(len(phones)).fetch(tx, values | phones)
    ends = {"first": min(recipients), "last": max(recipients)}
    return tx.execute(_SELECT_RANGE, values | ends).all()


@cache
def _select_each(count: int) -> Prepared:
    """Make the statement that reads the messages of few recipients, who may lie far apart.

    Looking up a thousand one by one is slow on PostgreSQL.
    """
    phones = [bindparam(f"phone_{n}", type_=String) for n in range(count)]
    return Prepared(_SELECT_MESSAGES.where(_MESSAGES.c.recipient.in_(phones)))


def _add_counts(tx: Connection, delta: RollupDelta) -> None:
    rows = [
        key._asdict()
        | dict(zip(("country", "status", "code"), count_key, strict=True))
        | {"messages": messages, "parts": delta.parts[key, count_key]}
        for (key, count_key), messages in sorted(delta.messages.items())
        if messages
    ]
    if rows:
        tx.execute(_ADD_COUNTS[tx.dialect.name], rows)


def _add_delays(tx: Connection, delta: RollupDelta) -> None:
    changes: dict[tuple[RollupKey, str], Counter[int]] = defaultdict(Counter)
    for (key, (country, bucket)), messages in delta.delays.items():
        if messages:
            changes[key, country][bucket] = messages
    rows = []
    for (key, country), change in sorted(changes.items()):
        row = key._asdict() | {"country": country}
        delays = unpack(read_packed(tx.execute(_SELECT_DELAYS, row).scalar() or b""))
        delays.update(change)
        rows.append(row | {"delays": pack(delays)})
    if rows:
        tx.execute(_REPLACE_DELAYS[tx.dialect.name], rows)


def _read_progress(tx: Connection, ctx: Context) -> _Progress:
    stored = read_metadata(tx, _PROGRESS_KEY)
    if stored is None:
        return _Progress(0, ctx.now())
    after, at = json.loads(stored)
    return _Progress(after, datetime.fromisoformat(at))


def _advance(ctx: Context, progress: _Progress, after: int) -> _Progress:
    """Return the progress after this batch; 0 ends the run."""
    now = ctx.now()
    began_at = progress.at if progress.after else now
    if after:
        return _Progress(after, began_at)
    pause_s = max(_PAUSE_S, _PAUSE_RATIO * (now - began_at).total_seconds())
    return _Progress(0, now + timedelta(seconds=min(pause_s, _MAX_PAUSE_S)))


def _store_progress(tx: Connection, progress: _Progress) -> None:
    set_metadata(tx, _PROGRESS_KEY, json.dumps([progress.after, progress.at.isoformat()]))
