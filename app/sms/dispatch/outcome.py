"""What the answer to a POST makes of its batch.

POST ─┬─ 2xx ───────────────────────────── ACCEPTED (without an id: the list is asked for it)
      ├─ no byte left, 429 ─────────────── PENDING, and everybody waits
      ├─ this payload refused ──────────── REJECTED, or halved until the bad number stands alone
      ├─ everything refused ────────────── HELD, and nothing more is sent
      └─ anything else ─────────────────── UNKNOWN, for `recovery` to find out

Every move is a compare-and-swap on state and attempt: whoever comes late changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Update, bindparam, select, update
from sqlalchemy.exc import DBAPIError

from app.db.base import table_of
from app.failpoints import failpoints
from app.sinch.errors import SinchMisconfigured, SinchRefusal
from app.sms.context import Context
from app.sms.dispatch.bisect import can_be_split, split_batch
from app.sms.dispatch.claim import Claim
from app.sms.lifecycle.finalize import (
    end_unsent,
    finalize_broadcast,
    finalize_in,
    has_open_batches,
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
from app.sms.lifecycle.locks import LOCK_STATUS
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, BroadcastStatus, CancelRequestState, Outcome

_S = BatchState
# From which the answer to our own attempt still counts.
_AWAITING = (_S.SENDING, _S.UNKNOWN, _S.NEEDS_ATTENTION, _S.PENDING)
_FIRST_RETRY_S = 0.1

_BROADCASTS, _BATCHES, _ATTEMPTS = table_of(Broadcast), table_of(Batch), table_of(Attempt)

# Made once: to make a statement costs several times what it takes to run one.
_END_ATTEMPT = (
    update(_ATTEMPTS)
    .where(_ATTEMPTS.c.batch_id == bindparam("this"))
    .where(_ATTEMPTS.c.number == bindparam("attempt"))
    .values(ended_at=bindparam("now"), outcome=bindparam("became"), http_status=bindparam("told"))
)
# For verdicts that change the broadcast: two that shared it could not both do so.
_OWN_STATUS = (
    select(_BROADCASTS.c.status).where(_BROADCASTS.c.id == bindparam("this")).with_for_update()
)
_CHANGE_BROADCAST = (Outcome.REJECTED, Outcome.HELD)
_ACCEPT = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"), _BATCHES.c.state.in_(_AWAITING))
    .where(_BATCHES.c.attempt == bindparam("as_claimed"))
    .values(
        state=_S.ACCEPTED,
        sinch_id=bindparam("id_at_sinch"),
        lease_until=None,
        not_before=None,
        unknown_at=None,
        attention=None,
        next_reconcile_at=bindparam("first_ask"),
        cancel_request=bindparam("wanted"),
        accepted_at=bindparam("at"),
        next_report_at=bindparam("first_report"),
        rollup_dirty=True,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    """What one POST came to.

    `sinch_id` may be None for ACCEPTED; `refusal` is Sinch's answer where it refused;
    `retry_after_s` is Sinch's Retry-After; `pauses_all` is False if only this batch was late.
    """

    outcome: Outcome
    sinch_id: str | None = None
    refusal: SinchRefusal | None = None
    retry_after_s: float | None = None
    pauses_all: bool = True


ClaimResult = tuple[Claim, SubmitResult]


def record_with_retry(ctx: Context, judged: Sequence[ClaimResult]) -> None:
    """Record verdicts, however long the database refuses, up to `commit_retry_s`.

    Beyond that the batches stay claimed until their lease is over, and are then UNKNOWN.
    """
    deadline = ctx.clock.monotonic() + ctx.rules.commit_retry_s
    wait_s = _FIRST_RETRY_S
    while True:
        try:
            return record_results(ctx, judged)
        except DBAPIError:
            bound = logger.bind(client_references=[claim.reference for claim, _ in judged])
            if ctx.clock.monotonic() + wait_s > deadline:
                bound.error("the database does not take a verdict: the batch becomes unknown")
                return None
            bound.warning("the database does not take a verdict: trying again")
            ctx.clock.sleep(wait_s)
            wait_s = min(2 * wait_s, 2.0)


def record_result(ctx: Context, claim: Claim, result: SubmitResult) -> None:
    """Move the batch as the verdict says, once, and note it in the ledger."""
    record_results(ctx, [(claim, result)])


def record_results(ctx: Context, judged: Sequence[ClaimResult]) -> None:
    """The same for batches of one broadcast, all of them or none."""
    broadcast_id = judged[0][0].broadcast_id
    with ctx.db.write() as tx:
        changes = any(result.outcome in _CHANGE_BROADCAST for _, result in judged)
        hold = _OWN_STATUS if changes else LOCK_STATUS
        status = tx.execute(hold, {"this": broadcast_id}).scalar_one()
        for claim, result in judged:
            # The batch first, as `expire_leases` does.
            _RECORDERS[result.outcome](tx, ctx, claim, result, status)
            _end_attempt(tx, ctx, claim, result)
        if status is BroadcastStatus.CANCELLED:
            cancel_unsent(tx, broadcast_id)
        if ctx.db.is_sqlite and not has_open_batches(tx, broadcast_id):
            finalize_in(tx, ctx, broadcast_id)
        failpoints.reach("C9")
    if not ctx.db.is_sqlite:
        _settle_if_last(ctx, broadcast_id)


def _settle_if_last(ctx: Context, broadcast_id: int) -> None:
    """Settle a broadcast when nothing of it is open any more, all that is committed considered.

    Looked at behind the commit: of two that end at once neither sees the other's end before.  And
    in a transaction of its own: two that both hold the broadcast could not both change it.
    """
    with ctx.db.read() as tx:
        if has_open_batches(tx, broadcast_id):
            return
    finalize_broadcast(ctx, broadcast_id)


def _end_attempt(tx: Connection, ctx: Context, claim: Claim, result: SubmitResult) -> None:
    tx.execute(
        _END_ATTEMPT,
        {
            "this": claim.batch_id,
            "attempt": claim.attempt,
            "now": ctx.now(),
            "became": result.outcome,
            "told": result.refusal.status if result.refusal else None,
        },
    )


def _swap(claim: Claim, *states: BatchState) -> Update:
    """The start of a compare-and-swap on the batch as it was claimed."""
    return update(Batch).where(
        Batch.id == claim.batch_id, Batch.attempt == claim.attempt, Batch.state.in_(states)
    )


def _record_accepted(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    first_ask = ctx.seconds_from_now(ctx.rules.ask_after_s[0]) if result.sinch_id is None else None
    swapped = tx.execute(
        _ACCEPT,
        {
            "this": claim.batch_id,
            "as_claimed": claim.attempt,
            "id_at_sinch": result.sinch_id,
            "first_ask": first_ask,
            "wanted": CancelRequestState.WANTED if status is BroadcastStatus.CANCELLED else None,
            "at": ctx.now(),
            "first_report": ctx.first_report_at(called_back=claim.called_back),
        },
    )
    if swapped.rowcount != 1:
        _tell_late_acceptance(tx, claim, result)
    if claim.after_busy:
        open_busy(tx, ctx.now())
    if claim.on_trial:
        requeue_held(tx)


def _tell_late_acceptance(tx: Connection, claim: Claim, result: SubmitResult) -> None:
    """An attempt was taken that nobody waited for any more: found meanwhile, or sent again."""
    row = tx.execute(select(Batch.__table__).where(Batch.id == claim.batch_id)).one()
    known = row.state is _S.ACCEPTED and result.sinch_id in (None, row.sinch_id)
    if row.state is _S.ACCEPTED and row.sinch_id is None and result.sinch_id:
        ids = update(Batch).where(Batch.id == row.id, Batch.sinch_id.is_(None))
        tx.execute(ids.values(sinch_id=result.sinch_id, next_reconcile_at=None))
        known = True
    if not known:
        bound = logger.bind(client_reference=claim.reference, state=row.state.value)
        bound.error("sinch took an attempt that was no longer waited for")


def _record_not_sent(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    values: dict[str, Any] = {"state": _S.PENDING, "lease_until": None}
    swapped = tx.execute(_swap(claim, _S.SENDING).values(values))
    if swapped.rowcount != 1:
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
    swapped = tx.execute(_swap(claim, _S.SENDING).values(state=_S.HELD, lease_until=None))
    _keep_refusal(tx, claim, result)
    if swapped.rowcount != 1:
        return
    now, refusal = ctx.now(), describe_rejection(result)
    # Nobody closes it before this batch is seen to be held, or it is opened again.
    gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
    # Batches that were under way when it opened do not make the next probe later.
    if gates.circuit is None or claim.on_trial:
        open_circuit(tx, gates, ctx.rules, now=now, refusal=refusal)
        bound = logger.bind(status=refusal.get("status"), code=refusal.get("code"))
        bound.error("sinch refuses our configuration: all sending stops")


def _record_rejected(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    _keep_refusal(tx, claim, result)
    batch = tx.execute(select(Batch.__table__).where(Batch.id == claim.batch_id)).one()
    halves = can_be_split(tx, batch, result.refusal)
    # An operator's repetition is refused; what was sent before may have been taken.
    end = _S.CLOSED_UNSENT if was_resent(tx, claim.reference) else _S.REJECTED
    ending = {"state": _S.SPLIT if halves else end, "lease_until": None}
    swapped = tx.execute(_swap(claim, _S.SENDING).values(ending))
    if swapped.rowcount == 1 and halves:
        split_batch(tx, batch)
    if swapped.rowcount == 1:
        bound = logger.bind(client_reference=claim.reference, recipients=claim.size)
        bound.bind(halved=halves).warning("sinch refuses a batch")
    if claim.after_busy:
        open_busy(tx, ctx.now())
    if claim.on_trial:
        requeue_held(tx)


def _record_unknown(
    tx: Connection, ctx: Context, claim: Claim, result: SubmitResult, status: BroadcastStatus
) -> None:
    swapped = tx.execute(
        _swap(claim, _S.SENDING).values(
            state=_S.UNKNOWN,
            lease_until=None,
            unknown_at=ctx.now(),
            next_reconcile_at=ctx.seconds_from_now(ctx.rules.ask_after_s[0]),
        )
    )
    if swapped.rowcount == 1:
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
    """Sinch's words as they are kept: status, and code and text where it gave any."""
    refusal = result.refusal
    if refusal is None:
        return {}
    told = {"status": refusal.status, "code": refusal.code, "text": refusal.text}
    return {name: value for name, value in told.items() if value is not None}


def _keep_refusal(tx: Connection, claim: Claim, result: SubmitResult) -> None:
    refusal = describe_rejection(result)
    held = isinstance(result.refusal, SinchMisconfigured)
    values = {"refusal": {**refusal, "everything": held}}
    tx.execute(update(Broadcast).where(Broadcast.id == claim.broadcast_id).values(values))


def _end_trial(tx: Connection, ctx: Context, claim: Claim) -> None:
    """A trial that neither went through nor was refused: another may try."""
    if not claim.on_trial:
        return
    gates = read_gates(tx, ctx.rules, ctx.now(), lock=CIRCUIT)
    if gates.trial == claim.batch_id:
        half_open_circuit(tx, gates)


def requeue_held(tx: Connection) -> None:
    """Sinch takes our calls again: close the circuit, and let go what was held."""
    close_circuit(tx)
    held = update(Batch).where(Batch.state == _S.HELD)
    tx.execute(held.values(state=_S.PENDING, not_before=None))
    logger.info("sinch takes our calls again: sending goes on")


def cancel_unsent(tx: Connection, broadcast_id: int) -> int:
    """Cancel what of a broadcast has not been handed to Sinch; how many batches."""
    return end_unsent(tx, broadcast_id, _S.CANCELLED)
