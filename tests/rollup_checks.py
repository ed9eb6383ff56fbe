"""Whether the sums by day are what they say: of all shares, and each share of its messages."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, DateTime, Select, String, false, func, select, type_coerce

from app.db.base import table_of
from app.sms.analytics.contribution import (
    RollupDelta,
    RollupKey,
    count_messages,
    is_counted,
    parse_contribution,
    serialize_contribution,
    tag_of,
)
from app.sms.lifecycle.latency import read_packed, unpack
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyCount, DailyDelay

_SHOWN = 5
_COUNTS, _DELAYS = table_of(DailyCount).c, table_of(DailyDelay).c
_BATCHES, _BROADCASTS, _MESSAGES = table_of(Batch).c, table_of(Broadcast).c, table_of(Message).c
_SHARES: Select[Any] = select(
    _BATCHES.id,
    _BATCHES.state,
    _BATCHES.accepted_at,
    _BATCHES.rollup_contribution,
    _BROADCASTS.created_at,
    _BROADCASTS.client,
    _BROADCASTS.sender,
    _BROADCASTS.tag,
    _BROADCASTS.parts,
).join(table_of(Broadcast), _BROADCASTS.id == _BATCHES.broadcast_id)


def check_daily_sums(tx: Connection) -> Iterator[str]:
    """The sums by day are the sums of what batches have added, and none is below 0.

    Holds at every moment, as long as no batch that was counted is deleted.
    """
    expected, found = RollupDelta(), _read_sums(tx)
    for batch in tx.execute(_SHARES.where(_BATCHES.rollup_contribution.is_not(None))):
        expected.add(batch, parse_contribution(batch.rollup_contribution))
    for name in ("messages", "parts", "delays"):
        ours, theirs = getattr(expected, name), getattr(found, name)
        wrong = sorted(key for key in {*ours, *theirs} if ours[key] != theirs[key])
        for key in wrong[:_SHOWN]:
            yield f"{name} of {key}: {theirs[key]}, batches have added {ours[key]}"
        negative = sorted(key for key, value in theirs.items() if value < 0)
        yield from (f"{name} of {key}: below 0" for key in negative[:_SHOWN])


def check_shares(tx: Connection) -> Iterator[str]:
    """A batch that is not marked as changed has added what its messages say.

    Reads every message.
    """
    messages = _collect_messages(tx)
    wrong = 0
    for batch in tx.execute(_SHARES.where(_BATCHES.rollup_dirty == false()).order_by(_BATCHES.id)):
        expected = None
        if is_counted(batch):
            taken_at = batch.accepted_at or batch.created_at
            if tx.dialect.name == "sqlite":
                taken_at = taken_at.replace(tzinfo=None)
            share = count_messages(messages[batch.id], taken_at=taken_at, tag=tag_of(batch))
            expected = serialize_contribution(share)
        if batch.rollup_contribution != expected and wrong < _SHOWN:
            wrong += 1
            yield f"batch {batch.id}: {batch.rollup_contribution} is counted, not {expected}"


def _read_sums(tx: Connection) -> RollupDelta:
    found = RollupDelta()
    for row in tx.execute(select(table_of(DailyCount))):
        key = _place(row), (row.country, row.status.value, row.code)
        found.messages[key], found.parts[key] = row.messages, row.parts
    for row in tx.execute(select(table_of(DailyDelay))):
        for bucket, messages in unpack(read_packed(row.delays)).items():
            found.delays[_place(row), (row.country, bucket)] = messages
    return found


def _place(row: Any) -> RollupKey:
    return RollupKey(row.day, row.client, row.tag, row.sender)


def _collect_messages(tx: Connection) -> dict[int, list[Any]]:
    at = func.coalesce(_MESSAGES.status_at, _MESSAGES.recorded_at)
    found = defaultdict(list)
    rows = tx.execute(
        select(
            _MESSAGES.batch_id,
            _MESSAGES.recipient,
            type_coerce(_MESSAGES.status, String),
            _MESSAGES.code,
            type_coerce(at, DateTime),
        )
    )
    for batch_id, *message in rows:
        found[batch_id].append(message)
    return found
