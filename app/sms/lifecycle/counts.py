"""Counts of a broadcast: its recipients by status, adding up to all of them.

The counts are read from the batches by state and from `delivery_counts`, so the cost does not grow
with the number of messages.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.db.base import table_of
from app.db.prepared import Prepared
from app.sms.lifecycle.latency import NONE, percentile
from app.sms.models.batch import Batch
from app.sms.models.reports import DeliveryCount
from app.sms.models.states import AT_SINCH, BatchState, BroadcastStatus, ExclusionReason
from app.sms.models.statuses import MessageStatus, Reason, explain

_S, _M = BatchState, MessageStatus

# Status of the messages that Sinch has not reported on, by the state of their batch.
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

# A number listed twice is one recipient and counted once.
COUNTED = tuple(status for status in MessageStatus if status is not _M.DUPLICATE)
STATUS_NAMES = tuple(status.value for status in COUNTED)

# A status and Sinch's code, None where there is none.
StatusCode = tuple[MessageStatus, int | None]

_BATCHES, _DELIVERY_COUNTS = table_of(Batch).c, table_of(DeliveryCount)
# On the hot path: each answer to POST /api/broadcast reads them.
_STATES = Prepared(
    select(
        _BATCHES.broadcast_id,
        _BATCHES.state,
        func.count().label("batches"),
        func.sum(_BATCHES.size).label("recipients"),
        func.max(_BATCHES.accepted_at).label("last_accepted_at"),
    )
    .where(_BATCHES.broadcast_id.in_(bindparam("broadcast_ids", expanding=True)))
    .where(_BATCHES.state != _S.SPLIT)
    .group_by(_BATCHES.broadcast_id, _BATCHES.state)
)
_REPORTED = Prepared(
    select(_DELIVERY_COUNTS)
    .where(_DELIVERY_COUNTS.c.broadcast_id.in_(bindparam("broadcast_ids", expanding=True)))
    .where(_DELIVERY_COUNTS.c.messages != 0)
)


@dataclass(slots=True)
class BroadcastCounts:
    """Batches and recipients of a broadcast by state, and reported messages by status and code.

    `delays` are the delivered messages by latency bucket.  The halves of a split batch are counted
    instead of the batch.
    """

    batches: dict[BatchState, int] = field(default_factory=dict)
    recipients: dict[BatchState, int] = field(default_factory=dict)
    reported: Counter[StatusCode] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)
    last_accepted_at: datetime | None = None

    @property
    def at_sinch(self) -> int:
        """The number of recipients whose batch Sinch is known to have accepted."""
        return sum(self.recipients.get(state, 0) for state in AT_SINCH)


def read_counts(tx: Connection, broadcast_ids: Sequence[int]) -> Mapping[int, BroadcastCounts]:
    """Read the counts of broadcasts, by id; empty counts for those without batches."""
    by_broadcast: dict[int, BroadcastCounts] = defaultdict(BroadcastCounts)
    for row in _STATES.fetch(tx, {"broadcast_ids": broadcast_ids}):
        counts = by_broadcast[row.broadcast_id]
        counts.batches[row.state] = row.batches
        counts.recipients[row.state] = int(row.recipients)
        if row.last_accepted_at is not None:
            last = counts.last_accepted_at or row.last_accepted_at
            counts.last_accepted_at = max(last, row.last_accepted_at)
    for row in _REPORTED.fetch(tx, {"broadcast_ids": broadcast_ids}):
        counts = by_broadcast[row.broadcast_id]
        counts.reported[row.status, None if row.code == NONE else row.code] += row.messages
        if row.status is _M.DELIVERED:
            counts.delays[row.bucket] += row.messages
    return by_broadcast


def count_by_status_code(broadcast: Row[Any], counts: BroadcastCounts) -> dict[StatusCode, int]:
    """Count all requested recipients, invalid ones included, by status and code."""
    by_status_code = Counter(counts.reported)
    by_status_code[_M.SUBMITTED, None] -= sum(counts.reported.values())
    for state, recipients in counts.recipients.items():
        by_status_code[STATUS_BY_BATCH_STATE[state], None] += recipients
    unplanned = broadcast.recipients - sum(counts.recipients.values())
    by_status_code[status_before_batching(broadcast.status), None] += unplanned
    by_status_code[_M.INVALID, None] += broadcast.invalid
    return {kind: recipients for kind, recipients in by_status_code.items() if recipients}


def status_before_batching(status: BroadcastStatus) -> MessageStatus:
    """Return the status of recipients who are in no batch yet."""
    return _M.CANCELLED if status is BroadcastStatus.CANCELLED else _M.PENDING


def total_by_status(by_status_code: Mapping[StatusCode, int]) -> dict[str, int]:
    totals = dict.fromkeys(STATUS_NAMES, 0)
    for (status, _), recipients in by_status_code.items():
        totals[status.value] += recipients
    return totals


def give_reasons(by_status_code: Mapping[StatusCode, int]) -> list[dict[str, Any]]:
    """Explain each status and code, in the order of the statuses, the most frequent code first."""
    ordered = sorted(
        by_status_code.items(),
        key=lambda item: (COUNTED.index(item[0][0]), -item[1], item[0][1] or 0),
    )
    return [explain_status(*kind) | {"messages": messages} for kind, messages in ordered]


_EXCLUSION_REASONS = {
    ExclusionReason.ERASED: Reason("The person's data was erased.", retry=False),
    ExclusionReason.NUMBER_NOT_ALLOWED: Reason(
        "A premium, shared-cost or satellite number, which is not allowed.", retry=False
    ),
    ExclusionReason.COUNTRY_NOT_ALLOWED: Reason(
        "Texts to the recipient's country are not allowed.", retry=False
    ),
    ExclusionReason.OPTED_OUT: Reason("The recipient opted out.", retry=False),
    ExclusionReason.NO_CONSENT: Reason(
        "The recipient has not consented to marketing.", retry=False
    ),
    ExclusionReason.INACTIVE: Reason("The subscriber is inactive.", retry=False),
    ExclusionReason.NO_VALUE: Reason(
        "A placeholder has no valid value for this recipient.", retry=False
    ),
    ExclusionReason.FREQUENCY_CAP: Reason(
        "The recipient reached the daily limit of marketing texts.", retry=True
    ),
    ExclusionReason.NO_WINDOW: Reason(
        "No time of day is outside quiet hours in all of the recipient's time zones.", retry=False
    ),
    ExclusionReason.QUIET_HOURS: Reason(
        "Quiet hours where the recipient is; sent when they end.", retry=False
    ),
    ExclusionReason.CANARY: Reason(
        "A first part is sent; sent when its outcome is good.", retry=False
    ),
    ExclusionReason.CAP_REACHED: Reason(
        "A cap on sending is reached; sent when it begins anew or is raised.", retry=False
    ),
}


_EXCLUSIONS_IN_WORDS = {
    ExclusionReason.ERASED: "the person's data was erased",
    ExclusionReason.NUMBER_NOT_ALLOWED: "premium, shared-cost or satellite number",
    ExclusionReason.COUNTRY_NOT_ALLOWED: "texts to the country are not allowed",
    ExclusionReason.OPTED_OUT: "opted out",
    ExclusionReason.NO_CONSENT: "no consent to marketing",
    ExclusionReason.INACTIVE: "inactive subscriber",
    ExclusionReason.NO_VALUE: "no valid value for a placeholder",
    ExclusionReason.FREQUENCY_CAP: "daily limit of marketing texts reached",
    ExclusionReason.NO_WINDOW: "quiet hours at every time of day",
    ExclusionReason.QUIET_HOURS: "quiet hours",
    ExclusionReason.CANARY: "the outcome of a first part is awaited",
    ExclusionReason.CAP_REACHED: "a cap on sending is reached",
}


def describe_exclusion(
    reason: ExclusionReason, until: datetime | None, recipients: int
) -> dict[str, Any]:
    """Show recipients that are excluded, or deferred until a time, in figures and in words.

    All values are JSON: answers are stored with their Idempotency-Key.
    """
    what = "deferred" if reason.defers else "excluded"
    end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    many = "1 recipient" if recipients == 1 else f"{recipients} recipients"
    return {
        "reason": reason.value,
        "recipients": int(recipients),
        "until": until.isoformat() if until else None,
        "sentence": f"{many} {what}{end}: {_EXCLUSIONS_IN_WORDS[reason]}.",
    }


def explain_exclusion(
    status: MessageStatus, exclusion_reason: ExclusionReason | None
) -> Reason | None:
    """Explain why a recipient is excluded or deferred.  Returns None if neither applies."""
    if exclusion_reason is None or status not in (_M.SUPPRESSED, _M.PENDING):
        return None
    return _EXCLUSION_REASONS[exclusion_reason]


def explain_status(
    status: MessageStatus, code: int | None, exclusion_reason: ExclusionReason | None = None
) -> dict[str, Any]:
    """Show a message's status and code, the reason, and whether sending again may help."""
    reason = explain_exclusion(status, exclusion_reason) or explain(status, code)
    return {"status": status.value, "code": code, "reason": reason.sentence, "retry": reason.retry}


# Percentiles of the messages delivered so far.
_PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def build_timeline(broadcast: Row[Any], counts: BroadcastCounts, now: datetime) -> dict[str, Any]:
    """Show the times of a broadcast; None for what has not happened yet."""
    return {
        "created_at": broadcast.created_at,
        "first_submitted_at": broadcast.first_submitted_at,
        "last_submitted_at": counts.last_accepted_at,
        "delivered": {
            name: _find_time(broadcast, counts, share, now) for name, share in _PERCENTILES.items()
        },
        "completed_at": broadcast.completed_at,
        "all_reported_at": broadcast.all_reported_at,
    }


def _find_time(
    broadcast: Row[Any], counts: BroadcastCounts, share: float, now: datetime
) -> datetime | None:
    """Return when this share of the messages was delivered, to within 5 % of the time it took.

    It is never after the last report, nor after now.
    """
    waited_s = percentile(counts.delays, share)
    if waited_s is None:
        return None
    start: datetime = broadcast.send_at or broadcast.created_at
    return min(start + timedelta(seconds=waited_s), broadcast.all_reported_at or now)
