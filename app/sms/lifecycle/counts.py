"""The books of a broadcast: where each of its recipients stands, adding up to all of them.

Read from what is kept as sums, its batches by state and the reports on its messages by kind: what
that costs does not grow with its messages.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.db.base import table_of
from app.sms.lifecycle.latency import NONE, percentile
from app.sms.models.batch import Batch
from app.sms.models.reports import DeliveryCount
from app.sms.models.states import AT_SINCH, BatchState, BroadcastStatus, ExclusionReason
from app.sms.models.statuses import MessageStatus, Reason, explain

_S, _M = BatchState, MessageStatus

# Where the recipients of a batch stand on whom Sinch has not reported.
STATUS_BY_BATCH_STATE: dict[BatchState, MessageStatus] = {
    _S.PENDING: _M.PENDING,
    _S.SENDING: _M.PENDING,
    _S.ACCEPTED: _M.SUBMITTED,
    _S.DUPLICATE: _M.SUBMITTED,
    _S.REJECTED: _M.REJECTED,
    _S.HELD: _M.HELD,
    _S.UNKNOWN: _M.UNCONFIRMED,
    _S.NEEDS_ATTENTION: _M.UNCONFIRMED,
    _S.CLOSED_UNSENT: _M.ABANDONED,
    _S.SUPPRESSED: _M.SUPPRESSED,
    _S.EXPIRED: _M.EXPIRED,
    _S.CANCELLED: _M.CANCELLED,
}

# A number named twice is one recipient: it is counted once, as what became of it.
COUNTED = tuple(status for status in MessageStatus if status is not _M.DUPLICATE)
WORDS = tuple(status.value for status in COUNTED)

# A status and Sinch's code, None where there is none.
StatusCode = tuple[MessageStatus, int | None]

_BATCHES, _TALLIES = table_of(Batch), table_of(DeliveryCount)
# Made once: to make a statement costs several times what it takes to run one.
_STATES = (
    select(
        _BATCHES.c.broadcast_id,
        _BATCHES.c.state,
        func.count().label("batches"),
        func.sum(_BATCHES.c.size).label("recipients"),
        func.max(_BATCHES.c.accepted_at).label("last_accepted_at"),
    )
    .where(_BATCHES.c.broadcast_id.in_(bindparam("these", expanding=True)))
    .where(_BATCHES.c.state != _S.SPLIT)
    .group_by(_BATCHES.c.broadcast_id, _BATCHES.c.state)
)
_REPORTED = select(_TALLIES).where(
    _TALLIES.c.broadcast_id.in_(bindparam("these", expanding=True)), _TALLIES.c.messages != 0
)


@dataclass(slots=True)
class BroadcastCounts:
    """What is kept of a broadcast: batches and recipients by state, reports by kind.

    `delays` are the delivered messages by how long they took (see `buckets`); halves of a batch
    stand for the whole that was split.
    """

    batches: dict[BatchState, int] = field(default_factory=dict)
    recipients: dict[BatchState, int] = field(default_factory=dict)
    reported: Counter[StatusCode] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)
    last_accepted_at: datetime | None = None

    @property
    def taken(self) -> int:
        """How many recipients were handed to Sinch, for certain."""
        return sum(self.recipients.get(state, 0) for state in AT_SINCH)


def read_counts(tx: Connection, broadcast_ids: Sequence[int]) -> Mapping[int, BroadcastCounts]:
    """The sums of each broadcast; of one that has none yet, empty ones."""
    found: dict[int, BroadcastCounts] = defaultdict(BroadcastCounts)
    these = {"these": list(broadcast_ids)}
    for row in tx.execute(_STATES, these):
        sums = found[row.broadcast_id]
        sums.batches[row.state] = row.batches
        sums.recipients[row.state] = int(row.recipients)
        if row.last_accepted_at is not None:
            last = sums.last_accepted_at or row.last_accepted_at
            sums.last_accepted_at = max(last, row.last_accepted_at)
    for row in tx.execute(_REPORTED, these):
        sums = found[row.broadcast_id]
        sums.reported[row.status, None if row.code == NONE else row.code] += row.messages
        if row.status is _M.DELIVERED:
            sums.delays[row.bucket] += row.messages
    return found


def count_by_status_code(broadcast: Row[Any], sums: BroadcastCounts) -> dict[StatusCode, int]:
    """How many recipients stand where and why: all that were asked for, invalid ones too."""
    kinds = Counter(sums.reported)
    kinds[_M.SUBMITTED, None] -= sum(sums.reported.values())
    for state, recipients in sums.recipients.items():
        kinds[STATUS_BY_BATCH_STATE[state], None] += recipients
    unplanned = broadcast.recipients - sum(sums.recipients.values())
    kinds[status_before_batching(broadcast.status), None] += unplanned
    kinds[_M.INVALID, None] += broadcast.invalid
    return {kind: recipients for kind, recipients in kinds.items() if recipients}


def status_before_batching(status: BroadcastStatus) -> MessageStatus:
    """Where those stand who are in no batch of a broadcast yet."""
    return _M.CANCELLED if status is BroadcastStatus.CANCELLED else _M.PENDING


def count_by_status(tx: Connection, broadcast: Row[Any]) -> dict[str, int]:
    """How many recipients stand where; together as many as were asked for, invalid ones too."""
    return total_by_status(
        count_by_status_code(broadcast, read_counts(tx, [broadcast.id])[broadcast.id])
    )


def total_by_status(kinds: Mapping[StatusCode, int]) -> dict[str, int]:
    """The same by status alone, every word of it."""
    counts = dict.fromkeys(WORDS, 0)
    for (status, _), recipients in kinds.items():
        counts[status.value] += recipients
    return counts


def give_reasons(kinds: Mapping[StatusCode, int]) -> list[dict[str, Any]]:
    """Why so many stand where they do, in the order of the words, the most frequent first."""
    ordered = sorted(
        kinds.items(),
        key=lambda item: (COUNTED.index(item[0][0]), -item[1], item[0][1] or 0),
    )
    return [explain_status(*kind) | {"messages": messages} for kind, messages in ordered]


_WHY_WITHHELD = {
    ExclusionReason.ERASED: Reason("This person had everything on them erased.", retry=False),
    ExclusionReason.OPTED_OUT: Reason("This person opted out.", retry=False),
    ExclusionReason.NO_CONSENT: Reason("This person has not agreed to marketing.", retry=False),
    ExclusionReason.INACTIVE: Reason("This subscriber is switched off.", retry=False),
    ExclusionReason.NO_VALUE: Reason(
        "A placeholder has no value that fits this person.", retry=False
    ),
    ExclusionReason.FREQUENCY_CAP: Reason("Had as much marketing as a day may bring.", retry=True),
    ExclusionReason.NO_WINDOW: Reason(
        "It is quiet at any time in one of their zones.", retry=False
    ),
    ExclusionReason.QUIET_HOURS: Reason(
        "Quiet where this person is; goes when their day begins.", False
    ),
}


def explain_exclusion(
    status: MessageStatus, exclusion_reason: ExclusionReason | None
) -> Reason | None:
    """Why a recipient is left out, or waits; None where that is not so."""
    left_out = exclusion_reason is not None and status in (_M.SUPPRESSED, _M.PENDING)
    return _WHY_WITHHELD[exclusion_reason] if exclusion_reason and left_out else None


def explain_status(
    status: MessageStatus, code: int | None, exclusion_reason: ExclusionReason | None = None
) -> dict[str, Any]:
    """Where a message stands, why, and whether it makes sense to send it again."""
    reason = explain_exclusion(status, exclusion_reason) or explain(status, code)
    return {
        "status": status.value,
        "code": code,
        "reason": reason.sentence,
        "retry": reason.retry,
    }


# Of those delivered so far.
_SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def build_timeline(broadcast: Row[Any], sums: BroadcastCounts) -> dict[str, Any]:
    """The times of a broadcast; None for what has not happened."""
    return {
        "created_at": broadcast.created_at,
        "first_submitted_at": broadcast.first_submitted_at,
        "last_submitted_at": sums.last_accepted_at,
        "delivered": {name: _find_time(broadcast, sums, share) for name, share in _SHARES.items()},
        "completed_at": broadcast.completed_at,
        "all_reported_at": broadcast.all_reported_at,
    }


def _find_time(broadcast: Row[Any], sums: BroadcastCounts, share: float) -> datetime | None:
    """When this share had been delivered, within a twentieth of the time it took."""
    waited_s = percentile(sums.delays, share)
    if waited_s is None:
        return None
    start: datetime = broadcast.send_at or broadcast.created_at
    return start + timedelta(seconds=waited_s)


def make_url(public_id: str) -> str:
    """Where a broadcast can be looked at."""
    return f"/api/broadcasts/{public_id}"
