"""Canaries: the first recipients of a broadcast, for whose outcome the others wait.

A claim lets no more of them through; broadcasts/canary.py looks at the outcome.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.db.base import table_of
from app.sms.eligibility.decide import RecipientGroup, defer_rest
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, ExclusionReason

# The outcome is looked at with each sweep.
_SLACK = timedelta(minutes=1)

_BATCHES, _BROADCASTS = table_of(Batch), table_of(Broadcast)


def is_awaited(broadcast: Any) -> bool:
    """Return True if the outcome of a broadcast's canary is not known yet."""
    canary = broadcast.options.get("canary")
    return bool(canary) and "outcome" not in canary


@dataclass(slots=True)
class CanaryRoom:
    """The number of recipients that a canary still needs, in the transaction that claims them."""

    left: int
    until: datetime

    def limit(self, batch: Row[Any], groups: list[RecipientGroup]) -> list[RecipientGroup]:
        """Defer the recipients of the first group for whom the canary has no room."""
        # A batch that was tried before is one of the canary.
        if batch.attempt or not groups[0].eligibility.is_allowed:
            return groups
        fitting = min(self.left, len(groups[0].recipients))
        self.left -= fitting
        return defer_rest(groups, fitting, ExclusionReason.CANARY, self.until)


def open_canary(tx: Connection, broadcast: Row[Any], now: datetime) -> CanaryRoom | None:
    """Return the room of a broadcast's canary; None without one, or once its outcome is known."""
    if not is_awaited(broadcast):
        return None
    # The broadcast was read before it was locked: the outcome may be known by now.
    current = select(_BROADCASTS).where(_BROADCASTS.c.id == broadcast.id)
    broadcast = tx.execute(current).one()
    if not is_awaited(broadcast):
        return None
    tried = select(func.coalesce(func.sum(_BATCHES.c.size), 0)).where(
        _BATCHES.c.broadcast_id == broadcast.id,
        _BATCHES.c.attempt > 0,
        _BATCHES.c.state != BatchState.SPLIT,
    )
    canary = broadcast.options["canary"]
    taken: int = tx.execute(tried).scalar_one()
    began_at = max(broadcast.first_submitted_at or now, now)
    until = began_at + timedelta(minutes=canary["wait_minutes"]) + _SLACK
    return CanaryRoom(max(0, canary["recipients"] - taken), until)
