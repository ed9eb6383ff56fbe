"""Submission: one POST per claim, and the expiry of leases.

outcome.py decides what an answer means for the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Row, select, update

from app.clock import CLOCK_SLACK_S
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
from app.sms.context import Context
from app.sms.dispatch.claim import Claim
from app.sms.dispatch.one_batch import Acceptance, StoreForBatch, complete
from app.sms.dispatch.outcome import ClaimResult, SubmitResult, record_with_retry
from app.sms.models.batch import Attempt, Batch
from app.sms.models.states import BatchState, Outcome

# How long an answer may wait for others to be recorded with it.
MAX_UNRECORDED_S = 0.05
_S = BatchState
_NOT_POSTED = SubmitResult(outcome=Outcome.NOT_SENT, pauses_all=False)


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
    latest = now + ctx.lease + timedelta(seconds=CLOCK_SLACK_S)
    is_expired = has_come(Batch.lease_until, now, latest)
    expired = [Batch.state == _S.SENDING, is_expired]
    with ctx.db.read() as tx:
        if tx.execute(select(Batch.id).where(*expired).limit(1)).first() is None:
            return 0
    with ctx.db.write() as tx:
        rows: list[Row[Any]] = list(
            tx.execute(
                update(Batch)
                .where(*expired)
                .values(
                    state=_S.UNKNOWN,
                    lease_until=None,
                    unknown_at=now,
                    next_reconcile_at=now + timedelta(seconds=ctx.rules.reconcile_after_s[0]),
                )
                .returning(Batch.id, Batch.attempt, Batch.client_reference)
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
