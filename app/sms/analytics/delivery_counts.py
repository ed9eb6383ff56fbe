"""Counts of a broadcast's delivery: by country and status, and by time since its start.

A large broadcast's counts are stored, and each batch keeps what it has added to them, so that it
can be subtracted exactly.  A small one's are made from its messages when they are read.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.db.base import table_of
from app.db.engine import make_upserts
from app.phone.country import find_country
from app.sms.models.delivery import CountryCount, DeliverySlot
from app.sms.models.statuses import MessageStatus

# Reading the messages of a broadcast of this size takes some milliseconds.
MAX_UNSTORED = 1_000
# A slot has one second in the first two minutes, ten in the first hour, and a minute after that.
_WIDTHS_S = ((120, 1), (3_600, 10))
_LAST_WIDTH_S = 60
# Longer waits share the last slot.
_LONGEST_S = 7 * 86_400

_COUNTRIES, _SLOTS = table_of(CountryCount), table_of(DeliverySlot)
_ADD_COUNTRIES = make_upserts(_COUNTRIES, add=("messages",))
_ADD_SLOTS = make_upserts(_SLOTS, add=("messages",))
_DELIVERED, _SUBMITTED = MessageStatus.DELIVERED.value, MessageStatus.SUBMITTED.value


def is_stored(broadcast: Row[Any]) -> bool:
    """Return True if the counts of a broadcast are stored.  While it is looked up it may grow."""
    return bool(broadcast.resolving or broadcast.recipients > MAX_UNSTORED)


def find_slot(seconds: float) -> int:
    """Return the slot of a delivery, from the seconds since the start.

    >>> [find_slot(seconds) for seconds in (-3, 7.9, 129, 3599, 3670, 1e9)]
    [0, 7, 120, 3590, 3660, 604800]
    """
    within = int(min(max(seconds, 0), _LONGEST_S))
    return within - within % measure_slot(within)


def measure_slot(slot: int) -> int:
    """Return the length of a slot in seconds."""
    return next((width for end, width in _WIDTHS_S if slot < end), _LAST_WIDTH_S)


@dataclass(slots=True)
class DeliveryCounts:
    """Messages by broadcast, country and status; deliveries by broadcast and slot."""

    countries: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    slots: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, broadcast_id: int, contribution: Mapping[str, Any], *, sign: int = 1) -> None:
        """Add what a batch contributes; subtract it with a `sign` of -1."""
        for country, status, messages in contribution["countries"]:
            self.countries[broadcast_id, country, status] += sign * messages
        for slot, messages in contribution["slots"]:
            self.slots[broadcast_id, slot] += sign * messages


def count_delivery(messages: Iterable[Any], *, started_at: datetime) -> dict[str, Any]:
    """Count messages that Sinch has accepted: rows of recipient, status, code and time.

    Returns the JSON of `Batch.delivery_contribution`.  Times are all aware, or all naive and in
    UTC.
    """
    countries, slots = Counter[tuple[str, str]](), Counter[int]()
    for recipient, status, _, at in messages:
        countries[find_country(recipient), status or _SUBMITTED] += 1
        if status == _DELIVERED:
            slots[find_slot((at - started_at).total_seconds())] += 1
    return {
        "countries": [[*key, number] for key, number in sorted(countries.items())],
        "slots": [[slot, number] for slot, number in sorted(slots.items())],
    }


def add_counts(tx: Connection, counts: DeliveryCounts) -> None:
    """Add to the stored counts.  The caller holds lock_counters."""
    countries = [
        {"broadcast_id": key, "country": country, "status": status, "messages": messages}
        for (key, country, status), messages in sorted(counts.countries.items())
        if messages
    ]
    slots = [
        {"broadcast_id": key, "slot": slot, "messages": messages}
        for (key, slot), messages in sorted(counts.slots.items())
        if messages
    ]
    if countries:
        tx.execute(_ADD_COUNTRIES[tx.dialect.name], countries)
    if slots:
        tx.execute(_ADD_SLOTS[tx.dialect.name], slots)
