"""The books of a broadcast: where each of its recipients stands, adding up to all of them."""

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
    counts = dict.fromkeys(WORDS, 0)
    counts["invalid"] = broadcast.invalid
    planned = 0
    for state, (_, recipients) in count_states(tx, broadcast.id).items():
        counts[COUNTED_AS[state]] += recipients
        planned += recipients
    cancelled = broadcast.status is BroadcastStatus.CANCELLED
    counts["cancelled" if cancelled else "pending"] += broadcast.recipients - planned
    return counts


def count_batches(tx: Connection, broadcast_id: int) -> dict[str, int]:
    """How many batches stand in each state that any stands in."""
    return {state.value: n for state, (n, _) in count_states(tx, broadcast_id).items()}
