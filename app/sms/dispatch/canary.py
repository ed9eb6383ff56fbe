"""Canaries: the first recipients of a broadcast, by whose outcome the others are sent or not.

A claim lets no more of them through.  A job looks at the outcome: the rest is sent, or the
broadcast is paused until a person decides.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, func, select, update

from app.config.keys import OWN_CLIENT
from app.db.audit import write_audit
from app.db.base import table_of
from app.db.prepared import Prepared, one_of
from app.sms.context import Context
from app.sms.eligibility.decide import RecipientGroup, defer_rest
from app.sms.lifecycle.finalize import lock_broadcast
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import (
    ACTIVE,
    AT_SINCH,
    OPEN,
    BatchState,
    BroadcastStatus,
    ExclusionReason,
)
from app.sms.models.statuses import NOT_REACHED
from app.subscribers.models import Suppression

# The outcome is looked at with each sweep.
_SLACK = timedelta(minutes=1)
# A canary's batch in one of these may still be sent, or its outcome is not known.
_UNDECIDED = (*OPEN, BatchState.NEEDS_ATTENTION)

_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)
_BROADCASTS, _SUPPRESSIONS = table_of(Broadcast), table_of(Suppression)
_SENDING = Prepared(
    select(_BROADCASTS.c.id, _BROADCASTS.c.options).where(
        _BROADCASTS.c.completed_at.is_(None), one_of(_BROADCASTS.c.status, ACTIVE)
    )
)


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
    canary = broadcast.options["canary"]
    taken = sum(batch.size for batch in _find_tried(tx, broadcast.id))
    until = now + timedelta(minutes=canary["wait_minutes"]) + _SLACK
    return CanaryRoom(max(0, canary["recipients"] - taken), until)


def judge_canaries(ctx: Context) -> int:
    """Look at the canaries whose messages have ended, or whose time is over.

    Returns how many outcomes are known now.
    """
    with ctx.db.read() as tx:
        awaited = [row.id for row in _SENDING.read(tx) if is_awaited(row)]
    judged = 0
    for broadcast_id in awaited:
        with ctx.db.write() as tx:
            judged += _judge(tx, ctx, broadcast_id)
    return judged


def _judge(tx: Connection, ctx: Context, broadcast_id: int) -> bool:
    broadcast, now = lock_broadcast(tx, broadcast_id), ctx.now()
    if broadcast.status not in ACTIVE or not is_awaited(broadcast):
        return False
    canary = broadcast.options["canary"]
    waiting = _find_waiting(tx, broadcast_id, ExclusionReason.CANARY)
    batches = _find_tried(tx, broadcast_id)
    if not waiting or not batches or not _is_over(batches, canary, now):
        return False
    has_room = sum(batch.size for batch in batches) < canary["recipients"]
    if has_room and _find_waiting(tx, broadcast_id, ExclusionReason.CAP_REACHED):
        return False
    figures = _count(tx, broadcast, [batch.id for batch in batches])
    sent = max(figures["sent"], 1)
    is_bad = (
        figures["failed"] * 100 > canary["max_failed_percent"] * sent
        or figures["opted_out"] * 100 > canary["max_opt_out_percent"] * sent
    )
    outcome = {**figures, "outcome": "bad" if is_bad else "good"}
    values: dict[str, Any] = {"options": {**broadcast.options, "canary": {**canary, **outcome}}}
    if is_bad:
        values["status"] = BroadcastStatus.PAUSED
        write_audit(tx, now, OWN_CLIENT, "pause", broadcast.public_id, **outcome)
    ours = update(_BROADCASTS).where(_BROADCASTS.c.id == broadcast_id)
    tx.execute(ours.values(values))
    tx.execute(update(_BATCHES).where(_BATCHES.c.id.in_(waiting)).values(not_before=None))
    bound = logger.bind(broadcast_id=broadcast.public_id, **figures)
    if is_bad:
        bound.warning("a canary went badly: its broadcast is paused")
    else:
        bound.info("a canary went well: the rest of its broadcast is sent")
    return True


def _find_waiting(tx: Connection, broadcast_id: int, reason: ExclusionReason) -> list[int]:
    """Return the batches that wait for a canary, or for a cap."""
    query = select(_BATCHES.c.id).where(
        _BATCHES.c.broadcast_id == broadcast_id,
        _BATCHES.c.state == BatchState.PENDING,
        _BATCHES.c.exclusion_reason == reason,
    )
    return list(tx.execute(query).scalars())


def _find_tried(tx: Connection, broadcast_id: int) -> list[Row[Any]]:
    """Return the batches of a canary: those that were tried, each number in one of them."""
    query = select(_BATCHES).where(
        _BATCHES.c.broadcast_id == broadcast_id,
        _BATCHES.c.attempt > 0,
        _BATCHES.c.state != BatchState.SPLIT,
    )
    return list(tx.execute(query))


def _is_over(batches: list[Row[Any]], canary: dict[str, Any], now: datetime) -> bool:
    """Return True once all messages of a canary have ended, or have had their time to."""
    if any(batch.state in _UNDECIDED for batch in batches):
        return False
    accepted = [batch for batch in batches if batch.state in AT_SINCH]
    if all(batch.ended >= batch.size for batch in accepted):
        return True
    last = max(batch.accepted_at for batch in accepted)
    return bool(now >= last + timedelta(minutes=canary["wait_minutes"]))


def _count(tx: Connection, broadcast: Row[Any], batch_ids: list[int]) -> dict[str, int]:
    """Return how many recipients a canary had, did not reach, and how many of them opted out."""
    own = _MESSAGES.c.broadcast_id == broadcast.id, _MESSAGES.c.batch_id.in_(batch_ids)
    refused = select(func.coalesce(func.sum(_BATCHES.c.size), 0)).where(
        _BATCHES.c.id.in_(batch_ids), _BATCHES.c.state == BatchState.REJECTED
    )
    failed = select(func.count()).where(*own, _MESSAGES.c.status.in_(NOT_REACHED))
    stopped = (
        select(func.count(_MESSAGES.c.recipient.distinct()))
        .join(_SUPPRESSIONS, _SUPPRESSIONS.c.phone == _MESSAGES.c.recipient)
        .where(*own, _SUPPRESSIONS.c.released_at.is_(None))
        .where(_SUPPRESSIONS.c.suppressed_at >= broadcast.first_submitted_at)
    )
    return {
        "sent": tx.execute(select(func.count()).where(*own)).scalar_one(),
        "failed": tx.execute(failed).scalar_one() + int(tx.execute(refused).scalar_one()),
        "opted_out": tx.execute(stopped).scalar_one(),
    }
