"""PENDING to SENDING: one batch, by the rules of the moment, before its first byte leaves.

In one transaction everything that may hold it back is read again (gates, pause and cancel,
expiry, suppressions, consent, quiet hours, caps), its payload is frozen, and the attempt is
written to the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from app.db.base import table_of
from app.db.types import UtcTime
from app.failpoints import failpoints
from app.sinch.schemas import write_batch
from app.sms.audience.chunks import BatchRecipients, load_batch_recipients
from app.sms.context import Context
from app.sms.dispatch.payload import make_outgoing
from app.sms.dispatch.withhold import withhold_recipients
from app.sms.eligibility.decide import group_by_eligibility
from app.sms.eligibility.frequency_cap import lock_marketing_counts, record_marketing_sends
from app.sms.lifecycle.finalize import expire_pending, finalize_broadcast, finalize_in
from app.sms.lifecycle.gates import CIRCUIT, PACE, Gates, half_open_circuit, read_gates, take_pace
from app.sms.lifecycle.locks import LOCK_STATUS
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, BatchState, BroadcastStatus, Category
from app.subscribers.suppressions.store import lock_suppressions_shared

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)

# Made once: to make a statement costs several times what it takes to run one.
_IS_DUE = or_(_BATCHES.c.not_before.is_(None), _BATCHES.c.not_before <= bindparam("now"))
_IS_PENDING = _BATCHES.c.state == BatchState.PENDING
_HAS_PENDING = (
    select(_BATCHES.c.id)
    .where(_BATCHES.c.broadcast_id == _BROADCASTS.c.id, _IS_PENDING, _IS_DUE)
    .exists()
)
_NEXT_BROADCAST = (
    select(_BROADCASTS)
    .where(_BROADCASTS.c.completed_at.is_(None), _BROADCASTS.c.status.in_(ACTIVE), _HAS_PENDING)
    .order_by(_BROADCASTS.c.priority.desc(), _BROADCASTS.c.id)
    .limit(1)
)
_THIS_BROADCAST = _NEXT_BROADCAST.where(_BROADCASTS.c.id == bindparam("of"))
_BEGIN = (
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("this"))
    .where(_BROADCASTS.c.status == BroadcastStatus.QUEUED)
    .values(
        status=BroadcastStatus.SENDING,
        first_submitted_at=func.coalesce(
            _BROADCASTS.c.first_submitted_at, bindparam("now", type_=UtcTime())
        ),
    )
)
_NEXT_BATCHES = (
    select(_BATCHES)
    .where(_BATCHES.c.broadcast_id == bindparam("of"), _IS_PENDING, _IS_DUE)
    .order_by(_BATCHES.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"), _IS_PENDING)
    .where(_BATCHES.c.attempt == bindparam("last_attempt"))
    .values(
        state=BatchState.SENDING,
        attempt=bindparam("new_attempt"),
        lease_until=bindparam("new_lease"),
        not_before=None,
        exclusion_reason=None,
    )
)
_NOTE_ATTEMPT = insert(table_of(Attempt))

_NEXT_START = (
    select(_BATCHES.c.not_before)
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BROADCASTS.c.completed_at.is_(None), _BROADCASTS.c.status.in_(ACTIVE))
    .where(_IS_PENDING, _BATCHES.c.not_before.is_not(None))
    .order_by(_BATCHES.c.not_before)
    .limit(1)
)
_NEXT_START_OF = _NEXT_START.where(_BROADCASTS.c.id == bindparam("of"))

# A batch that Sinch would have to give up at once is not worth handing over.
_MIN_LIFE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A batch that is ours to post, once, and its frozen payload.

    `claimed_at` is monotonic; `size` counts recipients; `on_trial` when an open circuit let it
    through; `after_busy` when Sinch's last word was to wait; `called_back` when Sinch is asked to
    tell us what becomes of it.
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


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to claim; `until` says when that may change by itself, None when it does not.

    `again` when some were set aside and the next ones have not been looked at.
    """

    until: datetime | None = None
    again: bool = False


def claim_batch(ctx: Context, *, of: int | None = None) -> Claim | Idle:
    """The most urgent batch that may go now, or the next one of the broadcast `of`."""
    found = claim_burst(ctx, of=of, most=1)
    return found if isinstance(found, Idle) else found[0]


def claim_burst(ctx: Context, *, most: int, of: int | None = None) -> list[Claim] | Idle:
    """Up to `most` batches of one broadcast at once, which share what a claim costs."""
    ended: list[int] = []
    with ctx.db.write() as tx:
        found = _claim(tx, ctx, of=of, ended=ended, most=most)
    for broadcast_id in ended:
        finalize_broadcast(ctx, broadcast_id)
    if not isinstance(found, Idle):
        failpoints.reach("C3")
        failpoints.reach("C8")
    return found


def claim_in(tx: Connection, ctx: Context, *, of: int) -> Claim | Idle:
    """The next batch of a broadcast, claimed within a transaction that is open already."""
    ended: list[int] = []
    found = _claim(tx, ctx, of=of, ended=ended, most=1)
    for broadcast_id in ended:
        finalize_in(tx, ctx, broadcast_id)
    return found if isinstance(found, Idle) else found[0]


def _claim(
    tx: Connection, ctx: Context, *, of: int | None, ended: list[int], most: int
) -> list[Claim] | Idle:
    """Ids of broadcasts that may have ended by this are added to `ended`."""
    # Whoever claims behind a STOP that is committed has seen it.
    lock_suppressions_shared(tx)
    now = ctx.now()
    gates = read_gates(tx, ctx.rules, now, lock=PACE)
    obstacle = gates.find_obstacle(now)
    if obstacle is not None:
        return Idle(obstacle)
    while True:
        broadcast = _find_broadcast(tx, now, of)
        if broadcast is None:
            return Idle(_find_next_start(tx, of))
        if broadcast.expires_at - now >= _MIN_LIFE:
            # One at a time where each has to be weighed against the pace, or is on trial.
            alone = ctx.rules.messages_per_second is not None or gates.circuit is not None
            return _claim_of(tx, ctx, broadcast, gates, now, ended=ended, most=1 if alone else most)
        expire_pending(tx, broadcast.id)
        ended.append(broadcast.id)


def _find_broadcast(tx: Connection, now: datetime, of: int | None) -> Row[Any] | None:
    """The broadcast to serve: highest priority first, then the oldest."""
    if of is None:
        return tx.execute(_NEXT_BROADCAST, {"now": now}).first()
    return tx.execute(_THIS_BROADCAST, {"now": now, "of": of}).first()


def _find_next_start(tx: Connection, of: int | None) -> datetime | None:
    """When the first batch that waits for its time may go."""
    if of is None:
        return tx.execute(_NEXT_START).scalar()
    return tx.execute(_NEXT_START_OF, {"of": of}).scalar()


def _claim_of(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    gates: Gates,
    now: datetime,
    *,
    ended: list[int],
    most: int,
) -> list[Claim] | Idle:
    if not _hold_broadcast(tx, broadcast, now):
        return Idle(now)
    batches = tx.execute(_NEXT_BATCHES, {"of": broadcast.id, "now": now, "most": most}).all()
    if not batches:
        return Idle(now)  # others were quicker
    if gates.circuit:
        # Of several that would try, one does.
        gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
        obstacle = gates.find_obstacle(now)
        if obstacle is not None:
            return Idle(obstacle)
    if broadcast.category is Category.MARKETING:
        lock_marketing_counts(tx, ctx)
    found = [_sort_out(tx, ctx, broadcast, batch, now) for batch in batches]
    ready = [each for each in found if each is not None]
    if not ready:
        ended.append(broadcast.id)
        return Idle(now, again=True)
    parts = sum(len(each.recipients) for each in ready) * broadcast.parts
    free_at = take_pace(tx, gates, ctx.rules, parts=parts, now=now)
    if free_at is not None:
        return Idle(free_at)
    claims = [_take(tx, ctx, broadcast, each, gates, now) for each in ready]
    taken = [claim for claim in claims if claim is not None]
    if taken and gates.circuit:
        half_open_circuit(tx, gates, trial=taken[0].batch_id)
    return taken or Idle(now)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch of which nobody is held back, who is in it, and until when it may arrive."""

    batch: Row[Any]
    content: BatchRecipients
    recipients: Sequence[str]
    expires_at: datetime


def _sort_out(
    tx: Connection, ctx: Context, broadcast: Row[Any], batch: Row[Any], now: datetime
) -> _Ready | None:
    """The batch with those alone who may be sent to now; None when there are none.

    The others are set aside.
    """
    content = load_batch_recipients(tx, batch)
    portions = group_by_eligibility(
        tx,
        ctx,
        broadcast,
        content.recipients,
        content.recipient_indexes,
        batch_id=batch.id,
        now=now,
    )
    first = portions[0]
    if len(portions) > 1 or not first.eligibility.is_allowed:
        withhold_recipients(tx, broadcast, batch, portions)
    if not first.eligibility.is_allowed:
        return None
    expires_at = min(broadcast.expires_at, first.eligibility.expires_at or broadcast.expires_at)
    return _Ready(batch, content, first.recipients, expires_at)


def _take(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    ready: _Ready,
    gates: Gates,
    now: datetime,
) -> Claim | None:
    """Freeze a batch's payload and make it ours; None when somebody else was quicker."""
    batch = ready.batch
    outgoing = make_outgoing(
        ctx,
        broadcast,
        ready.content,
        ready.recipients,
        reference=batch.client_reference,
        expires_at=ready.expires_at,
    )
    body = write_batch(outgoing)
    attempt = batch.attempt + 1
    place = {"this": batch.id, "last_attempt": batch.attempt}
    taken = tx.execute(_TAKE, {**place, "new_attempt": attempt, "new_lease": now + ctx.rules.lease})
    if taken.rowcount != 1:
        return None
    tx.execute(
        _NOTE_ATTEMPT,
        {
            "batch_id": batch.id,
            "number": attempt,
            "started_at": now,
            "payload_hash": sha256(body).digest(),
            "worker": ctx.worker,
            "overridden": False,
        },
    )
    if broadcast.category is Category.MARKETING:
        record_marketing_sends(tx, ctx, ready.recipients, batch_id=batch.id, now=now)
    return Claim(
        batch_id=batch.id,
        broadcast_id=broadcast.id,
        attempt=attempt,
        reference=batch.client_reference,
        body=body,
        size=len(ready.recipients),
        claimed_at=ctx.clock.monotonic(),
        on_trial=gates.circuit is not None,
        after_busy=gates.busy_count > 0,
        called_back=outgoing.callback_url is not None,
    )


def _hold_broadcast(tx: Connection, broadcast: Row[Any], now: datetime) -> bool:
    """Keep pause and cancel waiting until this claim is committed; False when they were quicker."""
    if broadcast.status is BroadcastStatus.QUEUED:
        tx.execute(_BEGIN, {"this": broadcast.id, "now": now})
    if tx.dialect.name == "sqlite":
        return True
    return tx.execute(LOCK_STATUS, {"this": broadcast.id}).scalar() in ACTIVE
