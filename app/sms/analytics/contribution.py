"""Contribution of one batch to the daily counters, and differences between contributions.  Pure.

A batch keeps its contribution as it was added, with its day and tag, so that it can be subtracted
exactly whatever has changed since.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Row

from app.phone.country import find_country
from app.sms.lifecycle.latency import NONE, latency_bucket
from app.sms.models.statuses import MessageStatus

# Country, status and code.
CountKey = tuple[str, str, int]
# Country and bucket of latency.
DelayKey = tuple[str, int]

_DELIVERED, _SUBMITTED = MessageStatus.DELIVERED.value, MessageStatus.SUBMITTED.value


class RollupKey(NamedTuple):
    """Key of the daily counters to which all messages of a batch belong."""

    day: date
    client: str
    tag: str
    sender: str


def count_messages(messages: Iterable[Any], *, accepted_at: datetime, tag: str) -> dict[str, Any]:
    """Count a batch's messages: rows of recipient, status, code and time.

    Returns the JSON of `Batch.rollup_contribution`.  Times are all aware, or all naive and in UTC.
    """
    counts, delays = Counter[CountKey](), Counter[DelayKey]()
    for recipient, status, code, at in messages:
        country = find_country(recipient)
        counts[country, status or _SUBMITTED, NONE if code is None else code] += 1
        if status == _DELIVERED:
            delays[country, latency_bucket((at - accepted_at).total_seconds())] += 1
    return {
        "day": accepted_at.date().isoformat(),
        "tag": tag,
        "counts": [[*key, number] for key, number in sorted(counts.items())],
        "delays": [[*key, number] for key, number in sorted(delays.items())],
    }


@dataclass(slots=True)
class RollupDelta:
    """Changes of the daily counters, by their key and that of a contribution."""

    messages: Counter[tuple[RollupKey, CountKey]] = field(default_factory=Counter)
    parts: Counter[tuple[RollupKey, CountKey]] = field(default_factory=Counter)
    delays: Counter[tuple[RollupKey, DelayKey]] = field(default_factory=Counter)

    def add(self, broadcast: Row[Any], contribution: Mapping[str, Any], *, sign: int = 1) -> None:
        """Add the contribution of a broadcast's batch; subtract it with a `sign` of -1."""
        day = date.fromisoformat(contribution["day"])
        key = RollupKey(day, broadcast.client, contribution["tag"], broadcast.sender)
        for country, status, code, messages in contribution["counts"]:
            self.messages[key, (country, status, code)] += sign * messages
            self.parts[key, (country, status, code)] += sign * messages * broadcast.parts
        for country, bucket, messages in contribution["delays"]:
            self.delays[key, (country, bucket)] += sign * messages
