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


@dataclass(slots=True)
class BatchContribution:
    """Messages of a batch by country, status and code; delivered ones by latency."""

    day: date
    tag: str
    counts: Counter[CountKey] = field(default_factory=Counter)
    delays: Counter[DelayKey] = field(default_factory=Counter)


def count_messages(
    messages: Iterable[Any], *, accepted_at: datetime, tag: str
) -> BatchContribution:
    """Count a batch's messages: rows of recipient, status, code and time.

    Times are all aware, or all naive and in UTC.
    """
    contribution = BatchContribution(accepted_at.date(), tag)
    for recipient, status, code, at in messages:
        country = find_country(recipient)
        contribution.counts[country, status or _SUBMITTED, NONE if code is None else code] += 1
        if status == _DELIVERED:
            bucket = latency_bucket((at - accepted_at).total_seconds())
            contribution.delays[country, bucket] += 1
    return contribution


def serialize_contribution(contribution: BatchContribution) -> dict[str, Any]:
    """Return a contribution as JSON for `Batch.rollup_contribution`."""
    return {
        "day": contribution.day.isoformat(),
        "tag": contribution.tag,
        "counts": [[*key, messages] for key, messages in sorted(contribution.counts.items())],
        "delays": [[*key, messages] for key, messages in sorted(contribution.delays.items())],
    }


def parse_contribution(stored: Mapping[str, Any]) -> BatchContribution:
    """Parse what serialize_contribution returned."""
    return BatchContribution(
        day=date.fromisoformat(stored["day"]),
        tag=stored["tag"],
        counts=Counter({tuple(key): messages for *key, messages in stored["counts"]}),
        delays=Counter({tuple(key): messages for *key, messages in stored["delays"]}),
    )


@dataclass(slots=True)
class RollupDelta:
    """Changes of the daily counters, by their key and that of a contribution."""

    messages: Counter[tuple[RollupKey, CountKey]] = field(default_factory=Counter)
    parts: Counter[tuple[RollupKey, CountKey]] = field(default_factory=Counter)
    delays: Counter[tuple[RollupKey, DelayKey]] = field(default_factory=Counter)

    def add(self, broadcast: Row[Any], contribution: BatchContribution, *, sign: int = 1) -> None:
        """Add the contribution of a broadcast's batch; subtract it with a `sign` of -1."""
        key = RollupKey(contribution.day, broadcast.client, contribution.tag, broadcast.sender)
        for count_key, messages in contribution.counts.items():
            self.messages[key, count_key] += sign * messages
            self.parts[key, count_key] += sign * messages * broadcast.parts
        for delay_key, messages in contribution.delays.items():
            self.delays[key, delay_key] += sign * messages
