"""Delivery of one broadcast: its curve over time, and its countries.

Nothing here is summed over all messages: a large broadcast has counts, which are some seconds old.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, DateTime, Row, String, func, select, type_coerce

from app.db.base import table_of
from app.sms.analytics.delivery_counts import (
    DeliveryCounts,
    count_delivery,
    is_stored,
    measure_slot,
)
from app.sms.models.batch import Batch, Message
from app.sms.models.delivery import CountryCount, DeliverySlot
from app.sms.models.states import AT_SINCH
from app.sms.models.statuses import NOT_REACHED, MessageStatus

# A curve has at most twice as many points.
_STEPS = 150

_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)
_COUNTRIES, _SLOTS = table_of(CountryCount), table_of(DeliverySlot)
_TIME = func.coalesce(_MESSAGES.c.status_at, _MESSAGES.c.recorded_at)
_SELECT_MESSAGES = (
    select(
        _MESSAGES.c.recipient,
        type_coerce(_MESSAGES.c.status, String),
        _MESSAGES.c.code,
        type_coerce(_TIME, DateTime),
    )
    .join(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id)
    .where(_BATCHES.c.state.in_(AT_SINCH))
)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A time, and how many messages were delivered until then."""

    at: datetime
    delivered: int


@dataclass(slots=True)
class CountryFigures:
    """Messages to a country that Sinch has accepted, and those that ended."""

    country: str
    sent: int = 0
    delivered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """The curve from the broadcast's start to the last delivery; countries, the largest first.

    `delivered` is the number of messages in them, `behind` how many deliveries they lack yet.
    """

    started_at: datetime
    curve: list[CurvePoint]
    countries: list[CountryFigures]
    delivered: int
    behind: int


def read_delivery(
    tx: Connection, broadcast: Row[Any], *, delivered: int, now: datetime
) -> DeliveryFigures:
    """Read the delivery of a broadcast; `delivered` is the number of its deliveries by now."""
    started_at = broadcast.send_at or broadcast.created_at
    counts = DeliveryCounts()
    if is_stored(broadcast):
        _read_counts(tx, broadcast.id, counts)
    else:
        counts.add(broadcast.id, _count_messages(tx, broadcast.id, started_at))
    counted = counts.slots.total()
    return DeliveryFigures(
        started_at=started_at,
        curve=_build_curve(counts, started_at, now),
        countries=_list_countries(counts),
        delivered=counted,
        behind=max(delivered - counted, 0),
    )


def _read_counts(tx: Connection, broadcast_id: int, counts: DeliveryCounts) -> None:
    countries = select(_COUNTRIES).where(_COUNTRIES.c.broadcast_id == broadcast_id)
    for row in tx.execute(countries.where(_COUNTRIES.c.messages > 0)):
        counts.countries[broadcast_id, row.country, row.status.value] = row.messages
    slots = select(_SLOTS).where(_SLOTS.c.broadcast_id == broadcast_id)
    for row in tx.execute(slots.where(_SLOTS.c.messages > 0)):
        counts.slots[broadcast_id, row.slot] = row.messages


def _count_messages(tx: Connection, broadcast_id: int, started_at: datetime) -> dict[str, Any]:
    messages = tx.execute(_SELECT_MESSAGES.where(_MESSAGES.c.broadcast_id == broadcast_id))
    if tx.dialect.name == "sqlite":
        started_at = started_at.replace(tzinfo=None)  # as plain types read the messages' times
    return count_delivery(messages, started_at=started_at)


def _build_curve(counts: DeliveryCounts, started_at: datetime, now: datetime) -> list[CurvePoint]:
    """Return the delivered messages at the beginning and the end of each slot."""
    points, total = [(0, 0)], 0
    for (_, slot), messages in sorted(counts.slots.items()):
        if slot > points[-1][0]:
            points.append((slot, total))
        total += messages
        points.append((slot + measure_slot(slot), total))
    latest = max(started_at, now)
    return [
        CurvePoint(min(started_at + timedelta(seconds=seconds), latest), delivered)
        for seconds, delivered in _thin_out(points)
    ]


def _thin_out(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep the first and the last point of each step.  A pause keeps its two ends by that."""
    step = max(points[-1][0] / _STEPS, 1)
    by_step: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for point in points:
        by_step[int(point[0] / step)].append(point)
    return [
        point
        for some in by_step.values()
        for point in ([some[0], some[-1]] if len(some) > 1 else some)
    ]


def _list_countries(counts: DeliveryCounts) -> list[CountryFigures]:
    by_country: dict[str, CountryFigures] = {}
    for (_, country, status), messages in counts.countries.items():
        figures = by_country.setdefault(country, CountryFigures(country))
        figures.sent += messages
        figures.delivered += messages if status == MessageStatus.DELIVERED else 0
        figures.failed += messages if status in NOT_REACHED else 0
    return sorted(by_country.values(), key=lambda figures: (-figures.sent, figures.country))
