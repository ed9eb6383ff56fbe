"""Claims: PENDING to SENDING, committed before the first byte of a batch leaves.

One transaction reads everything that may stop a batch (gates, pause and cancel, expiry,
suppressions, consent, quiet hours, caps), freezes the payload and writes the attempt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.prepared import Prepared, PreparedInsert, one_of
from app.db.types import UtcTime
from app.failpoints import failpoints
from app.sinch.schemas import write_batch
from app.sms.audience.chunks import BatchRecipients, load_batch_recipients
from app.sms.caps.budget import Budget, open_budgets, record_uses
from app.sms.context import Context
from app.sms.dispatch.canary import CanaryRoom, is_awaited, open_canary
from app.sms.dispatch.payload import make_attempt, make_outgoing
from app.sms.dispatch.withhold import withhold_recipients
from app.sms.eligibility.decide import RecipientGroup, group_by_eligibility
from app.sms.eligibility.frequency_cap import lock_marketing_counts, record_marketing_sends
from app.sms.lifecycle.finalize import end_unsent, finalize_broadcast, finalize_in
from app.sms.lifecycle.gates import CIRCUIT, PACE, Gates, begin_trial, read_gates, take_pace
from app.sms.lifecycle.locks import read_status
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, BatchState, BroadcastStatus, Category
from app.subscribers.suppressions.store import lock_suppressions_shared

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)

IS_DUE = or_(_BATCHES.c.not_before.is_(None), _BATCHES.c.not_before <= bindparam("now"))
IS_PENDING = _BATCHES.c.state == BatchState.PENDING
HAS_PENDING = (
    select(_BATCHES.c.id)
    .where(_BATCHES.c.broadcast_id == _BROADCASTS.c.id, IS_PENDING, IS_DUE)
    .exists()
)
_SELECT_BROADCAST = (
    select(_BROADCASTS)
    .where(_BROADCASTS.c.completed_at.is_(None), one_of(_BROADCASTS.c.status, ACTIVE), HAS_PENDING)
    .order_by(_BROADCASTS.c.priority.desc(), _BROADCASTS.c.id)
    .limit(1)
)
_NEXT_BROADCAST = Prepared(_SELECT_BROADCAST)
_THIS_BROADCAST = Prepared(_SELECT_BROADCAST.where(_BROADCASTS.c.id == bindparam("broadcast_id")))
_START_SENDING = Prepared(
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("broadcast_id"))
    .where(_BROADCASTS.c.status == BroadcastStatus.QUEUED)
    .values(status=BroadcastStatus.SENDING)
)
_NOTE_FIRST_CLAIM = Prepared(
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("broadcast_id"))
    .where(_BROADCASTS.c.first_submitted_at.is_(None))
    .values(first_submitted_at=bindparam("now", type_=UtcTime()))
)
_SELECT_BATCHES = (
    select(_BATCHES)
    .where(_BATCHES.c.broadcast_id == bindparam("broadcast_id"), IS_PENDING, IS_DUE)
    .order_by(_BATCHES.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_NEXT_BATCHES = Prepared(_SELECT_BATCHES)
_CANDIDATE = Prepared(_SELECT_BATCHES.where(_BATCHES.c.id == bindparam("batch_id")))
_CLAIM_BATCH = Prepared(
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch_id"), IS_PENDING)
    .where(_BATCHES.c.attempt == bindparam("previous_attempt"))
    .values(
        state=BatchState.SENDING,
        attempt=bindparam("new_attempt"),
        lease_until=bindparam("new_lease_until"),
        not_before=None,
        exclusion_reason=None,
    )
)
INSERT_ATTEMPTS = PreparedInsert(table_of(Attempt))

_SELECT_START = (
    select(_BATCHES.c.not_before)
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BROADCASTS.c.completed_at.is_(None), one_of(_BROADCASTS.c.status, ACTIVE))
    .where(IS_PENDING, _BATCHES.c.not_before.is_not(None))
    .order_by(_BATCHES.c.not_before)
    .limit(1)
)
_NEXT_START = Prepared(_SELECT_START)
_THIS_NEXT_START = Prepared(_SELECT_START.where(_BROADCASTS.c.id == bindparam("broadcast_id")))

# A batch that expires sooner is not sent.
MIN_LIFE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A batch claimed by this worker for one POST, and its frozen payload.

    `size` counts recipients.  `claimed_at` is monotonic.  `on_trial` is True if an open circuit
    let the batch through, `after_busy` if Sinch's last answer was to wait, `called_back` if Sinch
    is asked for delivery reports, `is_whole` if the broadcast has no other batch, see one_batch;
    `caps` are then what its caps leave.
    """

    batch_id: int
    broadcast_id: int
    attempt: int
    reference: str
    body: bytes
    size: int
    claimed_at: float
    on_trial: bool
    after_busy: bool
    called_back: bool
    is_whole: bool = False
    caps: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Idle:
    """No batch was claimed.

    `not_before` is when a batch may be claimed next, None if time alone changes nothing.  `again`
    is True if all recipients of the batches looked at were withheld: other batches may be due.
    """

    not_before: datetime | None = None
    again: bool = False


def claim_batch(ctx: Context, *, broadcast_id: int | None = None) -> Claim | Idle:
    """Claim the most urgent batch that may go now, or the next one of a broadcast."""
    claims = claim_burst(ctx, broadcast_id=broadcast_id, max_batches=1)
    return claims if isinstance(claims, Idle) else claims[0]


def claim_burst(
    ctx: Context, *, max_batches: int, broadcast_id: int | None = None
) -> list[Claim] | Idle:
    """Claim up to `max_batches` of one broadcast in one transaction, to share its cost."""
    maybe_ended: list[int] = []
    with ctx.db.write() as tx:
        claims = _claim(
            tx, ctx, broadcast_id=broadcast_id, maybe_ended=maybe_ended, max_batches=max_batches
        )
    for ended_id in maybe_ended:
        finalize_broadcast(ctx, ended_id)
    if not isinstance(claims, Idle):
        failpoints.reach("C3")
        failpoints.reach("C8")
    return claims


def claim_in(tx: Connection, ctx: Context, *, broadcast_id: int) -> Claim | Idle:
    """Claim the next batch of a broadcast within an open transaction."""
    maybe_ended: list[int] = []
    claims = _claim(tx, ctx, broadcast_id=broadcast_id, maybe_ended=maybe_ended, max_batches=1)
    for ended_id in maybe_ended:
        finalize_in(tx, ctx, ended_id)
    return claims if isinstance(claims, Idle) else claims[0]


def _claim(
    tx: Connection,
    ctx: Context,
    *,
    broadcast_id: int | None,
    maybe_ended: list[int],
    max_batches: int,
) -> list[Claim] | Idle:
    """Claim batches.  Adds the ids of broadcasts that this may have ended to `maybe_ended`."""
    # A claim behind a committed STOP sees that STOP.
    lock_suppressions_shared(tx)
    now = ctx.now()
    gates = read_gates(tx, ctx.rules, now, lock=PACE)
    obstacle = gates.find_obstacle(now)
    if obstacle is not None:
        return Idle(obstacle)
    if gates.candidate:
        if broadcast_id not in (None, gates.candidate[1]):
            return Idle(now + timedelta(seconds=CLOCK_SLACK_S))
        broadcast_id = gates.candidate[1]
    while True:
        broadcast = _find_broadcast(tx, now, broadcast_id)
        if broadcast is None:
            return Idle(_find_next_start(tx, broadcast_id))
        if broadcast.expires_at - now >= MIN_LIFE:
            # One at a time where each counts against the pace, or is on trial.
            alone = ctx.rules.messages_per_second is not None or gates.circuit is not None
            limit = 1 if alone else max_batches
            return _claim_of_broadcast(
                tx, ctx, broadcast, gates, now, maybe_ended=maybe_ended, limit=limit
            )
        end_unsent(tx, broadcast.id, BatchState.EXPIRED)
        maybe_ended.append(broadcast.id)


def _find_broadcast(tx: Connection, now: datetime, broadcast_id: int | None) -> Row[Any] | None:
    """Find the broadcast to serve: highest priority first, then the oldest."""
    found: Row[Any] | None
    if broadcast_id is None:
        found = _NEXT_BROADCAST.first(tx, {"now": now})
    else:
        found = _THIS_BROADCAST.first(tx, {"now": now, "broadcast_id": broadcast_id})
    return found


def _find_next_start(tx: Connection, broadcast_id: int | None) -> datetime | None:
    if broadcast_id is None:
        batch = _NEXT_START.first(tx)
    else:
        batch = _THIS_NEXT_START.first(tx, {"broadcast_id": broadcast_id})
    return batch.not_before if batch else None


def _claim_of_broadcast(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    gates: Gates,
    now: datetime,
    *,
    maybe_ended: list[int],
    limit: int,
) -> list[Claim] | Idle:
    if not _lock_for_claim(tx, broadcast):
        return Idle(now)
    due = {"broadcast_id": broadcast.id, "now": now, "limit": limit}
    if gates.candidate:
        candidate = due | {"batch_id": gates.candidate[0]}
        batches = _CANDIDATE.fetch(tx, candidate)
        if not batches:
            return Idle(now + timedelta(seconds=CLOCK_SLACK_S))  # a sweep chooses another one
    else:
        batches = _NEXT_BATCHES.fetch(tx, due)
    if not batches:
        return Idle(now)  # other workers were quicker
    if gates.circuit:
        # Of several workers that would try, one does.
        gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
        obstacle = gates.find_obstacle(now)
        if obstacle is not None:
            return Idle(obstacle)
    if broadcast.category is Category.MARKETING:
        lock_marketing_counts(tx, ctx)
    checked = [_check_recipients(tx, ctx, broadcast, batch, now) for batch in batches]
    canary = open_canary(tx, broadcast, now)
    # Late, since other claims wait for the counters of its caps from here on.
    are_new = not any(batch.attempt for batch in batches)
    (budget,) = open_budgets(tx, ctx, [broadcast], now, are_new=are_new)
    limited = [_withhold(tx, broadcast, batch, [canary, budget]) for batch in checked]
    ready = [batch for batch in limited if batch is not None]
    if not ready:
        maybe_ended.append(broadcast.id)
        return Idle(now, again=True)
    parts = sum(len(batch.recipients) for batch in ready) * broadcast.parts
    free_at = take_pace(tx, gates, ctx.rules, parts=parts, now=now)
    if free_at is not None:
        return Idle(free_at)
    attempts = [_start_attempt(tx, ctx, broadcast, batch, gates, now) for batch in ready]
    claims = [claim for claim in attempts if claim is not None]
    if claims and broadcast.first_submitted_at is None:
        _NOTE_FIRST_CLAIM.change(tx, {"broadcast_id": broadcast.id, "now": now})
    if budget:
        record_uses(tx, {claim.batch_id: budget for claim in claims}, now)
    if claims and gates.circuit:
        begin_trial(tx, gates, batch_id=claims[0].batch_id, broadcast=broadcast)
    return claims or Idle(now)


@dataclass(frozen=True, slots=True)
class _CheckedBatch:
    """A batch and its recipients, by who may be sent to now."""

    row: Row[Any]
    content: BatchRecipients
    groups: list[RecipientGroup]


@dataclass(frozen=True, slots=True)
class _ReadyBatch:
    """A batch, the recipients who may be sent to now, and until when it may arrive."""

    row: Row[Any]
    content: BatchRecipients
    recipients: Sequence[str]
    expires_at: datetime


def _check_recipients(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    batch: Row[Any],
    now: datetime,
) -> _CheckedBatch:
    content = load_batch_recipients(tx, batch)
    groups = group_by_eligibility(
        tx,
        ctx,
        broadcast,
        content.recipients,
        content.recipient_indexes,
        batch_id=batch.id,
        now=now,
    )
    return _CheckedBatch(batch, content, groups)


def _withhold(
    tx: Connection,
    broadcast: Row[Any],
    batch: _CheckedBatch,
    limits: Sequence[CanaryRoom | Budget | None],
) -> _ReadyBatch | None:
    """Withhold the recipients who may not be sent to now.  Returns None if none is left."""
    groups = batch.groups
    for limit in limits:
        groups = limit.limit(batch.row, groups) if limit else groups
    first = groups[0]
    if len(groups) > 1 or not first.eligibility.is_allowed:
        withhold_recipients(tx, broadcast, batch.row, groups)
    if not first.eligibility.is_allowed:
        return None
    expires_at = min(broadcast.expires_at, first.eligibility.expires_at or broadcast.expires_at)
    return _ReadyBatch(batch.row, batch.content, first.recipients, expires_at)


def _start_attempt(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    batch: _ReadyBatch,
    gates: Gates,
    now: datetime,
) -> Claim | None:
    """Freeze the payload and claim the batch.  Returns None if another worker was quicker."""
    row = batch.row
    outgoing = make_outgoing(
        ctx,
        broadcast,
        batch.content,
        batch.recipients,
        reference=row.client_reference,
        expires_at=batch.expires_at,
    )
    body = write_batch(outgoing)
    attempt = row.attempt + 1
    claimed = _CLAIM_BATCH.change(
        tx,
        {
            "batch_id": row.id,
            "previous_attempt": row.attempt,
            "new_attempt": attempt,
            "new_lease_until": now + ctx.lease,
        },
    )
    if claimed != 1:
        return None
    INSERT_ATTEMPTS.run(
        tx,
        [make_attempt(ctx, row.id, number=attempt, body=body, now=now)],
    )
    if broadcast.category is Category.MARKETING:
        record_marketing_sends(tx, ctx, batch.recipients, batch_id=row.id, now=now)
    return Claim(
        batch_id=row.id,
        broadcast_id=broadcast.id,
        attempt=attempt,
        reference=row.client_reference,
        body=body,
        size=len(batch.recipients),
        claimed_at=ctx.clock.monotonic(),
        on_trial=gates.circuit is not None,
        after_busy=gates.busy_count > 0,
        called_back=outgoing.callback_url is not None,
    )


def _lock_for_claim(tx: Connection, broadcast: Row[Any]) -> bool:
    """Let pause and cancel wait for this claim.  Returns False if one of them was quicker."""
    if broadcast.status is BroadcastStatus.QUEUED:
        _START_SENDING.change(tx, {"broadcast_id": broadcast.id})
    if tx.dialect.name == "sqlite":
        return True
    # Two claims at once would both find room in a canary.
    return read_status(tx, broadcast.id, exclusive=is_awaited(broadcast)) in ACTIVE
