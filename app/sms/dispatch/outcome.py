"""Outcomes: move a batch by the answer to its POST.

POST ─┬─ 2xx ─────────────────── ACCEPTED (without an id: Sinch's list is read for it)
      ├─ no byte left, 429 ───── PENDING, and all sending pauses
      ├─ payload rejected ────── REJECTED, or SPLIT until the rejected number is alone
      ├─ account refused ─────── HELD, and the circuit opens unless only this client is refused
      └─ anything else ───────── UNKNOWN, for recovery/ to resolve

Each move is a compare-and-swap on state and attempt: a late answer changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.exc import DBAPIError

from app.db.base import table_of
from app.db.prepared import Prepared, PreparedUpdate, one_of
from app.failpoints import failpoints
from app.sinch.errors import SinchMisconfigured, SinchRefusal
from app.sms.context import Context
from app.sms.dispatch.bisect import can_be_split, split_batch
from app.sms.dispatch.claim import Claim
from app.sms.dispatch.refusals import choose_trial, concerns_all, defer_siblings, hold_alone
from app.sms.lifecycle.finalize import (
    end_unsent,
    finalize_broadcast,
    finalize_in,
    has_open_batches,
    lock_broadcast,
    was_resent,
)
from app.sms.lifecycle.gates import (
    CIRCUIT,
    close_busy,
    close_circuit,
    half_open_circuit,
    open_busy,
    open_circuit,
    read_gates,
)
from app.sms.lifecycle.locks import read_status
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, BroadcastStatus, CancelRequestState, Outcome

_S = BatchState
# In these states the answer to the latest attempt still counts.
_AWAITING = (_S.SENDING, _S.UNKNOWN, _S.NEEDS_ATTENTION, _S.PENDING)
_FIRST_RETRY_S = 0.1

_BROADCASTS, _BATCHES, _ATTEMPTS = table_of(Broadcast), table_of(Batch), table_of(Attempt)

_END_ATTEMPT = Prepared(
    update(_ATTEMPTS)
    .where(_ATTEMPTS.c.batch_id == bindparam("claimed_batch_id"))
    .where(_ATTEMPTS.c.number == bindparam("attempt"))
    .values(
        ended_at=bindparam("now"),
        outcome=bindparam("new_outcome"),
        http_status=bindparam("answer_status"),
    )
)
_CHANGE_BROADCAST = (Outcome.REJECTED, Outcome.HELD)
_MOVE = PreparedUpdate(
    _BATCHES, _BATCHES.c.attempt == bindparam("attempt"), _BATCHES.c.state == _S.SENDING
)
_UPDATE_BROADCAST = PreparedUpdate(_BROADCASTS)
_ACCEPT = Prepared(
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch_id"), one_of(_BATCHES.c.state, _AWAITING))
    .where(_BATCHES.c.attempt == bindparam("claimed_attempt"))
    .values(
        state=_S.ACCEPTED,
        sinch_id=bindparam("new_sinch_id"),
        lease_until=None,
        not_before=None,
        unknown_at=None,
        attention=None,
        next_reconcile_at=bindparam("first_reconcile_at"),
        cancel_request=bindparam("new_cancel_request"),
        accepted_at=bindparam("now"),
        next_report_at=bindparam("first_report_at"),
        rollup_dirty=True,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    """Result of one POST.

    `sinch_id` may be None for ACCEPTED.  `refusal` is Sinch's error answer.  `retry_after_s` is
    Sinch's Retry-After.  `pauses_all` is False if only this batch was not posted.  `completed` is
    True once this result is recorded, and the broadcast complete with it.
    """

    outcome: Outcome
    sinch_id: str | None = None
    refusal: SinchRefusal | None = None
    retry_after_s: float | None = None
    pauses_all: bool = True
    completed: bool = False


ClaimResult = tuple[Claim, SubmitResult]


def record_with_retry(ctx: Context, results: Sequence[ClaimResult]) -> None:
    """Record results, and retry database errors for up to `commit_retry_s`.

    After that the batches stay claimed until their lease expires, and then become UNKNOWN.
    """
    deadline = ctx.clock.monotonic() + ctx.rules.commit_retry_s
    wait_s = _FIRST_RETRY_S
    while True:
        try:
            return record_results(ctx, results)
        except DBAPIError:
            bound = logger.bind(client_references=[claim.reference for claim, _ in results])
            if ctx.clock.monotonic() + wait_s > deadline:
                bound.error("the database rejects an outcome: the batch becomes unknown")
                return None
            bound.warning("the database rejects an outcome: trying again")
            ctx.clock.sleep(wait_s)
            wait_s = min(2 * wait_s, 2.0)


def record_results(ctx: Context, results: Sequence[ClaimResult]) -> None:
    """Move batches of one broadcast by their results and end their attempts; all or none."""
    broadcast_id = results[0][0].broadcast_id
    with ctx.db.write() as tx:
        changes = any(result.outcome in _CHANGE_BROADCAST for _, result in results)
        status = read_status(tx, broadcast_id, exclusive=changes)
        assert status is not None
        for claim, result in results:
            # The batch first, as `expire_leases` does.
            _RECORDERS[result.outcome](tx, ctx, claim, result, status)
            _end_attempt(tx, ctx, claim, result)
        if any(result.outcome is Outcome.HELD for _, result in results):
            defer_siblings(tx, broadcast_id)
        if status is BroadcastStatus.CANCELLED:
            end_unsent(tx, broadcast_id, _S.CANCELLED)
        if ctx.db.is_sqlite and not has_open_batches(tx, broadcast_id):
            finalize_in(tx, ctx, broadcast_id)
        failpoints.reach("C9")
    if not ctx.db.is_sqlite:
        _finalize_if_ended(ctx, broadcast_id)


def _finalize_if_ended(ctx: Context, broadcast_id: int) -> None:
    """Finalize a broadcast without open batches.

    Runs after the commit, since two transactions that end the last two batches do not see each
    other, and in a transaction of its own, since two shared locks would deadlock when upgraded.
    """
    with ctx.db.read() as tx:
        if has_open_batches(tx, broadcast_id):
            return
    finalize_broadcast(ctx, broadcast_id)


def _end_attempt(tx: Connection, ctx: Context, claim: Claim, result: SubmitResult) -> None:
    _END_ATTEMPT.change(
        tx,
        {
            "claimed_batch_id": claim.batch_id,
            "attempt": claim.attempt,
            "now": ctx.now(),
            "new_outcome": result.outcome,
            "answer_status": result.refusal.status if result.refusal else None,
        },
    )


def _move(tx: Connection, claim: Claim, state: BatchState, **values: Any) -> bool:
    """Move the claimed batch on.  Returns False if it has moved since it was claimed."""
    new = {"state": state, "lease_until": None, **values}
    return _MOVE.run(tx, claim.batch_id, new, {"attempt": claim.attempt}) == 1


def _record_accepted(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    reconcile_at = ctx.seconds_from_now(ctx.rules.reconcile_after_s[0])
    cancelled = status is BroadcastStatus.CANCELLED
    swapped = _ACCEPT.change(
        tx,
        {
            "batch_id": claim.batch_id,
            "claimed_attempt": claim.attempt,
            "new_sinch_id": result.sinch_id,
            "first_reconcile_at": reconcile_at if result.sinch_id is None else None,
            "new_cancel_request": CancelRequestState.WANTED if cancelled else None,
            "now": ctx.now(),
            "first_report_at": ctx.first_report_at(called_back=claim.called_back),
        },
    )
    if swapped != 1:
        _record_late_acceptance(tx, claim, result)
    if claim.after_busy:
        open_busy(tx, ctx.now())
    if claim.on_trial:
        requeue_held(tx)


def _record_late_acceptance(tx: Connection, claim: Claim, result: SubmitResult) -> None:
    """Record an accepted attempt whose batch has moved on: found by recovery, or sent again."""
    row = tx.execute(select(Batch.__table__).where(Batch.id == claim.batch_id)).one()
    known = row.state is _S.ACCEPTED and result.sinch_id in (None, row.sinch_id)
    if row.state is _S.ACCEPTED and row.sinch_id is None and result.sinch_id:
        without_id = update(Batch).where(Batch.id == row.id, Batch.sinch_id.is_(None))
        tx.execute(without_id.values(sinch_id=result.sinch_id, next_reconcile_at=None))
        known = True
    if not known:
        bound = logger.bind(client_reference=claim.reference, state=row.state.value)
        bound.error("sinch accepted an attempt after its batch had moved on")


def _record_not_sent(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    if not _move(tx, claim, _S.PENDING):
        return
    now = ctx.now()
    if result.pauses_all:
        until_at = close_busy(
            tx, ctx.rules, now=now, retry_after_s=result.retry_after_s, jitter=ctx.jitter
        )
        wait_s = round((until_at - now).total_seconds(), 1)
        logger.bind(wait_s=wait_s).warning("sinch is busy or out of reach: sending waits")
    _end_trial(tx, ctx, claim)


def _record_held(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    moved = _move(tx, claim, _S.HELD)
    _store_refusal(tx, claim, result)
    if not moved:
        return
    now, refusal = ctx.now(), describe_rejection(result)
    broadcast = lock_broadcast(tx, claim.broadcast_id)
    # Locked, so that the circuit is not closed before this batch is committed as HELD.
    gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
    bound = logger.bind(status=refusal.get("status"), code=refusal.get("code"))
    if gates.circuit is None and not concerns_all(tx, broadcast, refusal.get("status"), now):
        hold_alone(tx, ctx, batch_id=claim.batch_id, attempt=claim.attempt)
        bound = bound.bind(client=broadcast.client, client_reference=claim.reference)
        bound.error("sinch refuses a client's batch: it is held, and tried again alone")
    # Batches in flight when the circuit opened do not postpone the next probe.
    elif gates.circuit is None or claim.on_trial:
        refused = {
            "batch_id": claim.batch_id,
            "broadcast_id": broadcast.id,
            "client": broadcast.client,
        }
        open_circuit(tx, gates, ctx.rules, now=now, refusal=refusal, refused=refused)
        bound.error("sinch rejects all payloads: sending stops")


def _record_rejected(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    _store_refusal(tx, claim, result)
    batch = tx.execute(select(Batch.__table__).where(Batch.id == claim.batch_id)).one()
    split = can_be_split(tx, batch, result.refusal)
    # If an operator resent the batch, Sinch may have accepted the earlier attempt.
    end = _S.CLOSED_UNSENT if was_resent(tx, claim.reference) else _S.REJECTED
    moved = _move(tx, claim, _S.SPLIT if split else end)
    if moved and split:
        split_batch(tx, batch)
    if moved:
        bound = logger.bind(client_reference=claim.reference, recipients=claim.size)
        bound.bind(split=split).warning("sinch rejected a batch")
    if claim.after_busy:
        open_busy(tx, ctx.now())
    if claim.on_trial:
        requeue_held(tx)


def _record_unknown(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    reconcile_at = ctx.seconds_from_now(ctx.rules.reconcile_after_s[0])
    if _move(tx, claim, _S.UNKNOWN, unknown_at=ctx.now(), next_reconcile_at=reconcile_at):
        bound = logger.bind(client_reference=claim.reference, recipients=claim.size)
        bound.warning("batch outcome unknown: sinch will be asked")
    _end_trial(tx, ctx, claim)


_RECORDERS = {
    Outcome.ACCEPTED: _record_accepted,
    Outcome.NOT_SENT: _record_not_sent,
    Outcome.HELD: _record_held,
    Outcome.REJECTED: _record_rejected,
    Outcome.UNKNOWN: _record_unknown,
}


def describe_rejection(result: SubmitResult) -> dict[str, Any]:
    """Return Sinch's rejection as it is stored: status, and code and text if given."""
    refusal = result.refusal
    if refusal is None:
        return {}
    facts = {"status": refusal.status, "code": refusal.code, "text": refusal.text}
    return {name: value for name, value in facts.items() if value is not None}


def _store_refusal(tx: Connection, claim: Claim, result: SubmitResult) -> None:
    refusal = describe_rejection(result)
    held = isinstance(result.refusal, SinchMisconfigured)
    values = {"refusal": {**refusal, "everything": held}}
    _UPDATE_BROADCAST.run(tx, claim.broadcast_id, values)


def _end_trial(tx: Connection, ctx: Context, claim: Claim) -> None:
    """Let another batch try after a trial that was neither accepted nor rejected."""
    if not claim.on_trial:
        return
    now = ctx.now()
    gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
    if gates.trial == claim.batch_id:
        half_open_circuit(tx, gates, candidate=choose_trial(tx, gates.last_trial, now))


def requeue_held(tx: Connection, *, alone: bool = False) -> None:
    """Close the circuit and make held batches pending; with `alone` also those held alone."""
    close_circuit(tx)
    held = update(Batch).where(Batch.state == _S.HELD)
    if not alone:
        held = held.where(Batch.not_before.is_(None))
    tx.execute(held.values(state=_S.PENDING, not_before=None))
    logger.info("the circuit is closed: sending goes on")
