"""What one batch adds to the sums by day, how that is kept with it, and sums of it.  Pure.

A batch's share is kept as it was added, with its day and tag: so it can be taken back exactly,
whatever has changed since.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Row

from app.phone.country import find_country
from app.sms.lifecycle.latency import NONE, latency_bucket
from app.sms.models.states import AT_SINCH
from app.sms.models.statuses import MessageStatus

# Country, status and code; country and class of waiting time.
ContributionKind = tuple[str, str, int]
Delay = tuple[str, int]

_DELIVERED, _SUBMITTED = MessageStatus.DELIVERED.value, MessageStatus.SUBMITTED.value


class RollupKey(NamedTuple):
    """Where in the sums all messages of a batch go."""

    day: date
    client: str
    tag: str
    sender: str


@dataclass(slots=True)
class BatchContribution:
    """How many messages of a batch stand how, and how long the delivered ones took."""

    day: date
    tag: str
    counts: Counter[ContributionKind] = field(default_factory=Counter)
    delays: Counter[Delay] = field(default_factory=Counter)


def count_messages(messages: Iterable[Any], *, taken_at: datetime, tag: str) -> BatchContribution:
    """The share of a batch that Sinch took then: (recipient, status, code, time) of each message.

    Times are all aware, or all naive and in UTC.
    """
    share = BatchContribution(taken_at.date(), tag)
    for recipient, status, code, at in messages:
        country = find_country(recipient)
        share.counts[country, status or _SUBMITTED, NONE if code is None else code] += 1
        if status == _DELIVERED:
            share.delays[country, latency_bucket((at - taken_at).total_seconds())] += 1
    return share


def serialize_contribution(share: BatchContribution) -> dict[str, Any]:
    """A share as it is kept in `Batch.counted`."""
    return {
        "day": share.day.isoformat(),
        "tag": share.tag,
        "counts": [[*kind, messages] for kind, messages in sorted(share.counts.items())],
        "delays": [[*delay, messages] for delay, messages in sorted(share.delays.items())],
    }


def parse_contribution(counted: Mapping[str, Any]) -> BatchContribution:
    """The share that was kept."""
    return BatchContribution(
        day=date.fromisoformat(counted["day"]),
        tag=counted["tag"],
        counts=Counter({tuple(kind): messages for *kind, messages in counted["counts"]}),
        delays=Counter({tuple(delay): messages for *delay, messages in counted["delays"]}),
    )


def is_counted(batch: Row[Any]) -> bool:
    """Whether a batch has a share: only what Sinch took was sent."""
    return batch.state in AT_SINCH


def tag_of(broadcast: Row[Any]) -> str:
    """The tag whose people a broadcast went to; "" for every other."""
    return broadcast.tag or ""


@dataclass(slots=True)
class RollupDelta:
    """Sums of shares, or what is to be added to the rows that hold them."""

    messages: Counter[tuple[RollupKey, ContributionKind]] = field(default_factory=Counter)
    parts: Counter[tuple[RollupKey, ContributionKind]] = field(default_factory=Counter)
    delays: Counter[tuple[RollupKey, Delay]] = field(default_factory=Counter)

    def add(self, broadcast: Row[Any], share: BatchContribution) -> None:
        """Add a share of a broadcast."""
        self._add(broadcast, share, 1)

    def take_back(self, broadcast: Row[Any], share: BatchContribution) -> None:
        """Take back a share that was added before."""
        self._add(broadcast, share, -1)

    def _add(self, broadcast: Row[Any], share: BatchContribution, sign: int) -> None:
        place = RollupKey(share.day, broadcast.client, share.tag, broadcast.sender)
        for kind, messages in share.counts.items():
            self.messages[place, kind] += sign * messages
            self.parts[place, kind] += sign * messages * broadcast.parts
        for delay, messages in share.delays.items():
            self.delays[place, delay] += sign * messages
