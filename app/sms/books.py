"""The books of a broadcast: where each of its recipients stands, adding up to all of them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from app.sms.settling import count_states
from app.sms.states import BatchState, BroadcastStatus

_S = BatchState

# Every state of a batch counts its recipients under one word.
COUNTED_AS: dict[BatchState, str] = {
    _S.PENDING: "pending",
    _S.SENDING: "pending",
    _S.ACCEPTED: "accepted",
    _S.DUPLICATE: "accepted",
    _S.REJECTED: "rejected",
    _S.HELD: "held",
    _S.UNKNOWN: "uncertain",
    _S.NEEDS_ATTENTION: "uncertain",
    _S.CLOSED_UNSENT: "given_up",
    _S.EXPIRED: "expired",
    _S.CANCELLED: "cancelled",
}

WORDS = (
    "pending",
    "accepted",
    "rejected",
    "suppressed",
    "invalid",
    "expired",
    "cancelled",
    "held",
    "uncertain",
    "given_up",
)


def count_recipients(tx: Connection, broadcast: Row[Any]) -> dict[str, int]:
    """How many recipients stand where; together as many as were asked for, invalid ones too."""
    return add_up(broadcast, count_states(tx, broadcast.id))


def add_up(broadcast: Row[Any], states: Mapping[BatchState, tuple[int, int]]) -> dict[str, int]:
    """The same from batches and recipients by state."""
    counts = dict.fromkeys(WORDS, 0)
    counts["invalid"] = broadcast.invalid
    for state, (_, recipients) in states.items():
        counts[COUNTED_AS[state]] += recipients
    planned = sum(recipients for _, recipients in states.values())
    cancelled = broadcast.status is BroadcastStatus.CANCELLED
    counts["cancelled" if cancelled else "pending"] += broadcast.recipients - planned
    return counts
