"""Checks of the counters against the contributions of batches and their messages."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, DateTime, Select, String, false, func, select, type_coerce

from app.db.base import table_of
from app.sms.analytics.contribution import RollupDelta, RollupKey, count_messages
from app.sms.analytics.delivery_counts import DeliveryCounts, count_delivery, is_stored
from app.sms.lifecycle.latency import read_packed, unpack
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyCount, DailyDelay
from app.sms.models.delivery import CountryCount, DeliverySlot
from app.sms.models.states import AT_SINCH

_SHOWN = 5
_COUNTS, _DELAYS = table_of(DailyCount).c, table_of(DailyDelay).c
_BATCHES, _BROADCASTS, _MESSAGES = table_of(Batch).c, table_of(Broadcast).c, table_of(Message).c
_CONTRIBUTIONS: Select[Any] = select(
    _BATCHES.id,
    _BATCHES.state,
    _BATCHES.accepted_at,
    _BATCHES.broadcast_id,
    _BATCHES.rollup_contribution,
    _BATCHES.delivery_contribution,
    _BROADCASTS.created_at,
    _BROADCASTS.send_at,
    _BROADCASTS.recipients,
    _BROADCASTS.resolving,
    _BROADCASTS.client,
    _BROADCASTS.sender,
    _BROADCASTS.tag,
    _BROADCASTS.parts,
).join(table_of(Broadcast), _BROADCASTS.id == _BATCHES.broadcast_id)


def check_daily_sums(tx: Connection) -> Iterator[str]:
    """Check that the daily counters equal the contributions of all batches, and none is negative.

    Holds at every moment as long as no batch that was counted is deleted.
    """
    expected, stored = RollupDelta(), _read_counters(tx)
    for batch in tx.execute(_CONTRIBUTIONS.where(_BATCHES.rollup_contribution.is_not(None))):
        expected.add(batch, batch.rollup_contribution)
    for name in ("messages", "parts", "delays"):
        added, counted = getattr(expected, name), getattr(stored, name)
        wrong = sorted(key for key in {*added, *counted} if added[key] != counted[key])
        for key in wrong[:_SHOWN]:
            yield f"{name} of {key}: {counted[key]}, batches have added {added[key]}"
        negative = sorted(key for key, value in counted.items() if value < 0)
        yield from (f"{name} of {key}: below 0" for key in negative[:_SHOWN])


def check_delivery_sums(tx: Connection) -> Iterator[str]:
    """Check that the counters of deliveries equal the contributions of all batches."""
    expected, stored = DeliveryCounts(), DeliveryCounts()
    for batch in tx.execute(_CONTRIBUTIONS.where(_BATCHES.delivery_contribution.is_not(None))):
        expected.add(batch.broadcast_id, batch.delivery_contribution)
    for row in tx.execute(select(table_of(CountryCount))):
        stored.countries[row.broadcast_id, row.country, row.status.value] = row.messages
    for row in tx.execute(select(table_of(DeliverySlot))):
        stored.slots[row.broadcast_id, row.slot] = row.messages
    # Counters compare as if what they lack were 0.
    if stored.countries != expected.countries:
        yield f"countries: {stored.countries}, batches have added {expected.countries}"
    if stored.slots != expected.slots:
        yield f"slots: {stored.slots}, batches have added {expected.slots}"


def check_shares(tx: Connection) -> Iterator[str]:
    """Check that each batch that is not dirty has contributed the counts of its messages."""
    messages = _collect_messages(tx)
    wrong = 0
    for batch in tx.execute(
        _CONTRIBUTIONS.where(_BATCHES.rollup_dirty == false()).order_by(_BATCHES.id)
    ):
        expected = None, None
        if batch.state in AT_SINCH:
            times = batch.accepted_at or batch.created_at, batch.send_at or batch.created_at
            if tx.dialect.name == "sqlite":
                times = tuple(time.replace(tzinfo=None) for time in times)
            some, tag = messages[batch.id], batch.tag or ""
            expected = (
                count_messages(some, accepted_at=times[0], tag=tag),
                count_delivery(some, started_at=times[1]) if is_stored(batch) else None,
            )
        counted = batch.rollup_contribution, batch.delivery_contribution
        if counted != expected and wrong < _SHOWN:
            wrong += 1
            yield f"batch {batch.id}: {counted} is counted, not {expected}"


def _read_counters(tx: Connection) -> RollupDelta:
    stored = RollupDelta()
    for row in tx.execute(select(table_of(DailyCount))):
        key = _make_key(row), (row.country, row.status.value, row.code)
        stored.messages[key], stored.parts[key] = row.messages, row.parts
    for row in tx.execute(select(table_of(DailyDelay))):
        for bucket, messages in unpack(read_packed(row.delays)).items():
            stored.delays[_make_key(row), (row.country, bucket)] = messages
    return stored


def _make_key(row: Any) -> RollupKey:
    return RollupKey(row.day, row.client, row.tag, row.sender)


def _collect_messages(tx: Connection) -> dict[int, list[Any]]:
    at = func.coalesce(_MESSAGES.status_at, _MESSAGES.recorded_at)
    by_batch = defaultdict(list)
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
        by_batch[batch_id].append(message)
    return by_batch
