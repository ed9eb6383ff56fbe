"""Submission: one POST per claim, a broadcast batch by batch, and the expiry of leases.

A broadcast is submitted in its HTTP request or from the command line; background workers submit
whatever is left, also if that is cut short.  outcome.py decides what an answer means for a batch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Row, and_, bindparam, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.prepared import Prepared, one_of
from app.db.types import has_come
from app.failpoints import failpoints
from app.sinch.errors import (
    SinchBusy,
    SinchMisconfigured,
    SinchOutcomeUnknown,
    SinchRejected,
    SinchUnreachable,
)
from app.sinch.schemas import PreparedBatch
from app.sms.audience.plan import plan_broadcast
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle, claim_batch
from app.sms.dispatch.one_batch import Acceptance, StoreForBatch, complete
from app.sms.dispatch.outcome import ClaimResult, SubmitResult, record_with_retry
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, PROVEN_UNSENT, BatchState, Outcome
from app.sms.recovery.unknown_outcome import reconcile_batch

# How long an answer may wait for others to be recorded with it.
MAX_UNRECORDED_S = 0.05
# With less time left than this, no POST is begun: its answer could not be waited for.
MIN_POST_S = 1.0
# With less time left than this, Sinch's list is not read.
_MIN_LOOKUP_S = 0.1
# A request waits at most this long for its next batch: it occupies a thread meanwhile.
_MAX_INLINE_WAIT_S = 5.0
# The command line waits at most this long for its next batch.
_MAX_DRAIN_WAIT_S = 30.0
# How long to wait for another worker before looking for a batch again.
_POLL_S = 0.1
_NOT_POSTED = SubmitResult(outcome=Outcome.NOT_SENT, pauses_all=False)

_BATCHES, _BROADCASTS = table_of(Batch), table_of(Broadcast)
_IS_EXPIRED = (
    _BATCHES.c.state == BatchState.SENDING,
    has_come(_BATCHES.c.lease_until, bindparam("now"), bindparam("latest")),
)
_EXPIRED = Prepared(select(_BATCHES.c.id).where(*_IS_EXPIRED).limit(1))
_BATCH_UNDER_WAY = Prepared(
    select(_BATCHES.c.id)
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BATCHES.c.broadcast_id == bindparam("broadcast_id"))
    .where(
        or_(
            _BATCHES.c.state == BatchState.SENDING,
            and_(_BATCHES.c.state == BatchState.PENDING, one_of(_BROADCASTS.c.status, ACTIVE)),
        )
    )
    .limit(1)
)


def submit_batch(
    ctx: Context,
    claim: Claim,
    *,
    within_s: float | None = None,
    store_more: StoreForBatch | None = None,
) -> SubmitResult:
    """Post a claimed batch and record the result.

    `store_more` is called in the transaction that completes a broadcast of one batch.
    """
    result = post_batch(ctx, claim, within_s=within_s)
    failpoints.reach("C5")
    if claim.is_whole and result.sinch_id and not claim.after_busy:
        completed = complete(Acceptance(ctx, claim, result.sinch_id, store_more))
        result = replace(result, completed=completed)
    if not result.completed:
        record_with_retry(ctx, [(claim, result)])
    failpoints.reach("C6")
    return result


def submit_burst(
    ctx: Context, claims: Sequence[Claim], *, stop: Callable[[], bool] = lambda: False
) -> None:
    """Post batches claimed together one by one, and record outcomes at short intervals.

    Batches after one that was not sent, or after `stop` returned True, are not posted but recorded
    as not sent.
    """
    unrecorded: list[ClaimResult] = []
    since = ctx.clock.monotonic()
    for index, claim in enumerate(claims, 1):
        result = post_batch(ctx, claim)
        failpoints.reach("C5")
        unrecorded.append((claim, result))
        if result.outcome in (Outcome.NOT_SENT, Outcome.HELD) or stop():
            unrecorded += [(later, _NOT_POSTED) for later in claims[index:]]
            break
        if ctx.clock.monotonic() - since >= MAX_UNRECORDED_S:
            record_with_retry(ctx, unrecorded)
            unrecorded, since = [], ctx.clock.monotonic()
    if unrecorded:
        record_with_retry(ctx, unrecorded)
    failpoints.reach("C6")


def post_batch(ctx: Context, claim: Claim, *, within_s: float | None = None) -> SubmitResult:
    """POST a claimed batch once and wait up to `within_s`, by default Sinch's read timeout.

    A process that was frozen too long after its claim does not post: its lease may have expired.
    """
    prepared = PreparedBatch(
        client_reference=claim.reference, recipients=claim.size, body=claim.body
    )
    begin_within_s = claim.claimed_at + ctx.rules.first_byte_within_s - ctx.clock.monotonic()
    if begin_within_s <= 0:
        return _NOT_POSTED
    try:
        sent = ctx.sinch.send_batch(prepared, within_s=within_s, begin_within_s=begin_within_s)
    except SinchBusy as e:
        return SubmitResult(outcome=Outcome.NOT_SENT, refusal=e, retry_after_s=e.retry_after_s)
    except SinchUnreachable:
        return SubmitResult(outcome=Outcome.NOT_SENT)
    except SinchRejected as e:
        return SubmitResult(outcome=Outcome.REJECTED, refusal=e)
    except SinchMisconfigured as e:
        return SubmitResult(outcome=Outcome.HELD, refusal=e)
    except SinchOutcomeUnknown:
        return SubmitResult(outcome=Outcome.UNKNOWN)
    except Exception:
        bound = logger.bind(client_reference=claim.reference)
        bound.exception("unexpected error while sending: the batch may have been sent")
        return SubmitResult(outcome=Outcome.UNKNOWN)
    return SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=sent.id)


def expire_leases(ctx: Context) -> int:
    """Move batches whose worker let the lease expire to UNKNOWN.  Returns how many."""
    now = ctx.now()
    when = {"now": now, "latest": now + ctx.lease + timedelta(seconds=CLOCK_SLACK_S)}
    with ctx.db.read() as tx:
        if _EXPIRED.first(tx, when) is None:
            return 0
    with ctx.db.write() as tx:
        rows: list[Row[Any]] = list(
            tx.execute(
                update(Batch)
                .where(*_IS_EXPIRED)
                .values(
                    state=BatchState.UNKNOWN,
                    lease_until=None,
                    unknown_at=now,
                    next_reconcile_at=now + timedelta(seconds=ctx.rules.reconcile_after_s[0]),
                )
                .returning(Batch.id, Batch.attempt, Batch.client_reference),
                when,
            )
        )
        for row in rows:
            attempt = update(Attempt).where(
                Attempt.batch_id == row.id,
                Attempt.number == row.attempt,
                Attempt.outcome.is_(None),
            )
            tx.execute(attempt.values(outcome=Outcome.UNKNOWN))
    for row in rows:
        bound = logger.bind(client_reference=row.client_reference)
        bound.warning("a worker's lease expired: its batch may have been sent")
    return len(rows)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A stored broadcast, and its first claim when it was planned at once.

    `public_id` is what clients know it by.
    """

    id: int
    public_id: str
    first: Claim | Idle | None


def submit_inline(
    ctx: Context, broadcast_id: int, first: Claim | Idle, store_more: StoreForBatch | None = None
) -> str | None:
    """Submit the batches of a broadcast within `rules.budget_s`; `first` is claimed already.

    Returns Sinch's id of the only batch if the broadcast is complete with it, and `store_more` was
    called; otherwise None.
    """
    deadline = ctx.clock.monotonic() + ctx.rules.budget_s
    claim = first
    while True:
        remaining_s = deadline - ctx.clock.monotonic()
        if isinstance(claim, Claim):
            result = _submit(ctx, claim, within_s=remaining_s, store_more=store_more)
            if result.completed:
                return result.sinch_id
            if not is_under_way(ctx, broadcast_id):
                return None
        else:
            within_s = min(remaining_s - MIN_POST_S, _MAX_INLINE_WAIT_S)
            if not _wait(ctx, broadcast_id, claim, within_s=within_s):
                return None
        if deadline - ctx.clock.monotonic() < MIN_POST_S:
            return None
        claim = claim_batch(ctx, broadcast_id=broadcast_id)


def drain_broadcast(
    ctx: Context, broadcast_id: int, first: Claim | Idle | None, *, stop: Callable[[], bool]
) -> Iterator[int]:
    """Plan and submit a broadcast from its first chunk to its last batch.

    Yields the size of each batch once it is submitted.  Ends when nothing is left that can go
    within 30 s, when Sinch has taken nothing for 30 s, or after the batch in hand once `stop`
    returns True.
    """
    if first is None:
        while plan_broadcast(ctx, broadcast_id):
            if stop():
                return
        first = claim_batch(ctx, broadcast_id=broadcast_id)
    claim = first
    give_up_at = math.inf
    while True:
        if isinstance(claim, Claim):
            is_taken = _submit(ctx, claim).outcome not in PROVEN_UNSENT
            latest = ctx.clock.monotonic() + _MAX_DRAIN_WAIT_S
            give_up_at = math.inf if is_taken else min(give_up_at, latest)
            yield claim.size
        else:
            within_s = min(_MAX_DRAIN_WAIT_S, give_up_at - ctx.clock.monotonic())
            if not _wait(ctx, broadcast_id, claim, within_s=within_s, stop=stop):
                return
        if stop():
            return
        claim = claim_batch(ctx, broadcast_id=broadcast_id)


def is_under_way(ctx: Context, broadcast_id: int) -> bool:
    """Return True if a batch of the broadcast is being sent or may be sent now.

    A paused broadcast is not under way: it may stay paused for days.
    """
    with ctx.db.read() as tx:
        return _BATCH_UNDER_WAY.first(tx, {"broadcast_id": broadcast_id}) is not None


def _submit(
    ctx: Context,
    claim: Claim,
    *,
    within_s: float | None = None,
    store_more: StoreForBatch | None = None,
) -> SubmitResult:
    result = submit_batch(ctx, claim, within_s=within_s, store_more=store_more)
    unclear = result.outcome is Outcome.UNKNOWN
    if unclear or (result.outcome is Outcome.ACCEPTED and result.sinch_id is None):
        _reconcile_soon(ctx, claim.batch_id)
    return result


def _reconcile_soon(ctx: Context, batch_id: int) -> None:
    """Read Sinch's list a few times: a lost answer usually shows there within a second."""
    waits_s = ctx.rules.lookup_waits_s
    deadline = ctx.clock.monotonic() + sum(waits_s) + 1.0
    for wait_s in waits_s:
        ctx.clock.sleep(wait_s)
        remaining_s = deadline - ctx.clock.monotonic()
        if remaining_s < _MIN_LOOKUP_S:
            return
        reconcile_batch(ctx, batch_id, within_s=remaining_s)
        if _is_resolved(ctx, batch_id):
            return


def _is_resolved(ctx: Context, batch_id: int) -> bool:
    """Return True if the batch's outcome and Sinch's id are known."""
    query = select(Batch.state, Batch.sinch_id).where(Batch.id == batch_id)
    with ctx.db.read() as tx:
        state, sinch_id = tx.execute(query).one()
    lacks_id = state is BatchState.ACCEPTED and sinch_id is None
    return state is not BatchState.UNKNOWN and not lacks_id


def _wait(
    ctx: Context,
    broadcast_id: int,
    idle: Idle,
    *,
    within_s: float,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until the next batch may go.

    Returns False if none is left, if it may not go within `within_s`, or once `stop` returns True.
    """
    if not is_under_way(ctx, broadcast_id):
        return False
    if idle.again:
        return not stop()
    wait_s = (idle.not_before - ctx.now()).total_seconds() if idle.not_before else 0.0
    if wait_s > within_s:
        return False
    deadline = ctx.clock.monotonic() + max(wait_s, _POLL_S)
    while not stop() and (remaining_s := deadline - ctx.clock.monotonic()) > 0:
        ctx.clock.sleep(min(remaining_s, _POLL_S))
    return not stop()
