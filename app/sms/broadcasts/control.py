"""Pause, resume, cancel and start: what people and the clock do to a broadcast."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from app.db.audit import write_audit
from app.errors import Conflict, NotFound
from app.sinch.errors import SinchError
from app.sms.context import Context
from app.sms.lifecycle.finalize import end_unsent, finalize_in
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, FINAL, BatchState, BroadcastStatus, CancelRequestState

_B = BroadcastStatus
_CANCEL_S = 10.0
# A sweep has other things to do: what it has not asked for by then, the next one does.
_PASS_S = 10.0


def pause_broadcast(ctx: Context, public_id: str, *, actor: str) -> None:
    """Claim nothing more of it until it is resumed.  Raises NotFound, Conflict."""
    with ctx.db.write() as tx:
        broadcast = _hold(tx, public_id)
        if broadcast.status is _B.PAUSED:
            return
        if broadcast.status not in (*ACTIVE, _B.SCHEDULED):
            raise _refuse(broadcast, "paused")
        _move(tx, ctx, broadcast, _B.PAUSED, actor=actor, action="pause")


def resume_broadcast(ctx: Context, public_id: str, *, actor: str) -> None:
    """Let a paused, stopped or late one go on.  Raises NotFound, Conflict."""
    with ctx.db.write() as tx:
        broadcast = _hold(tx, public_id)
        if broadcast.status in (*ACTIVE, _B.SCHEDULED):
            return
        if broadcast.status not in (_B.PAUSED, _B.HALTED, _B.MISSED_START):
            raise _refuse(broadcast, "resumed")
        ahead = broadcast.send_at is not None and broadcast.send_at > ctx.now()
        status = _B.SCHEDULED if ahead else _B.QUEUED
        _move(tx, ctx, broadcast, status, actor=actor, action="resume")
        finalize_in(tx, ctx, broadcast.id)


def cancel_broadcast(ctx: Context, public_id: str, *, actor: str) -> None:
    """Send nothing more of it, and have Sinch stop what it has not handed on.

    What is not claimed yet is cancelled for certain; Sinch is asked about the rest behind this.
    Raises NotFound, Conflict.
    """
    with ctx.db.write() as tx:
        broadcast = _hold(tx, public_id)
        if broadcast.status is _B.CANCELLED:
            return
        if broadcast.status in (_B.REFUSED, _B.EXPIRED):
            raise _refuse(broadcast, "cancelled")
        if broadcast.status in FINAL and broadcast.expires_at <= ctx.now():
            raise _refuse(broadcast, "cancelled")
        end_unsent(tx, broadcast.id, BatchState.CANCELLED)
        accepted = update(Batch).where(
            Batch.broadcast_id == broadcast.id,
            Batch.state.in_((BatchState.ACCEPTED, BatchState.DUPLICATE)),
            Batch.cancel_request.is_(None),
        )
        tx.execute(accepted.values(cancel_request=CancelRequestState.WANTED))
        _move(tx, ctx, broadcast, _B.CANCELLED, actor=actor, action="cancel")
        finalize_in(tx, ctx, broadcast.id)


def cancel_at_sinch(ctx: Context, *, most: int = 100, within_s: float = _PASS_S) -> int:
    """Ask Sinch to stop batches of cancelled broadcasts; about how many."""

    def stop(batch: Row[Any]) -> dict[str, Any]:
        cancel_request = _cancel_at_sinch(ctx, batch.sinch_id, within_s=min(within_s, _CANCEL_S))
        unclear = cancel_request is CancelRequestState.UNCLEAR and ctx.now() < batch.expires_at
        return {} if unclear else {"cancel_request": cancel_request}

    wanted = [Batch.cancel_request == CancelRequestState.WANTED, Batch.sinch_id.is_not(None)]
    return _stop_batches(ctx, wanted, stop, most=most, within_s=within_s)


def cancel_duplicate_batches(ctx: Context, *, most: int = 20) -> int:
    """Cancel what Sinch has twice and could not be stopped when it was found; how many batches."""

    def stop(batch: Row[Any]) -> dict[str, Any]:
        wishes = {
            each: _cancel_at_sinch(ctx, each, within_s=_CANCEL_S)
            for each in batch.duplicate_sinch_ids
        }
        unclear = [
            each
            for each, cancel_request in wishes.items()
            if cancel_request is CancelRequestState.UNCLEAR
        ]
        left = unclear if ctx.now() < batch.expires_at else []
        return {"duplicate_sinch_ids": left or None}

    doubled = [Batch.state == BatchState.DUPLICATE, Batch.duplicate_sinch_ids.is_not(None)]
    return _stop_batches(ctx, doubled, stop, most=most, within_s=_PASS_S)


def _stop_batches(
    ctx: Context,
    which: Sequence[ColumnElement[bool]],
    stop: Callable[[Row[Any]], dict[str, Any]],
    *,
    most: int,
    within_s: float,
) -> int:
    """Have Sinch stop what it can of these batches while there is time; how many there are.

    `stop` gives the new values of a batch; none, and the next sweep asks for it again.
    """
    query = (
        select(Batch.id, Batch.sinch_id, Batch.duplicate_sinch_ids, Broadcast.expires_at)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(*which)
        # Those that Sinch does not answer for must not always come first.
        .order_by(func.random())
        .limit(most)
    )
    with ctx.db.read() as tx:
        batches: list[Row[Any]] = list(tx.execute(query))
    deadline = ctx.clock.monotonic() + within_s
    for batch in batches:
        if ctx.clock.monotonic() >= deadline:
            break
        if values := stop(batch):
            with ctx.db.write() as tx:
                tx.execute(update(Batch).where(Batch.id == batch.id, *which).values(values))
    return len(batches)


def _cancel_at_sinch(ctx: Context, sinch_id: str, *, within_s: float) -> CancelRequestState:
    """What a 2xx says, else what the batch then shows: a 409 may mean too late or done before."""
    with suppress(SinchError):
        if ctx.sinch.cancel_batch(sinch_id, within_s=within_s).canceled:
            return CancelRequestState.CANCELLED
    with suppress(SinchError):
        batch = ctx.sinch.fetch_batch(sinch_id, within_s=within_s)
        return CancelRequestState.CANCELLED if batch.canceled else CancelRequestState.TOO_LATE
    return CancelRequestState.UNCLEAR


def _hold(tx: Connection, public_id: str) -> Row[Any]:
    """The broadcast, which nobody else changes before this transaction ends."""
    query = select(Broadcast.__table__).where(Broadcast.public_id == public_id)
    broadcast = tx.execute(query.with_for_update()).first()
    if broadcast is None:
        raise NotFound("There is no such broadcast.")
    return broadcast


def _move(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    status: BroadcastStatus,
    *,
    actor: str,
    action: str,
) -> None:
    tx.execute(update(Broadcast).where(Broadcast.id == broadcast.id).values(status=status))
    write_audit(
        tx,
        now=ctx.now(),
        actor=actor,
        action=action,
        subject=broadcast.public_id,
        facts={"from": broadcast.status.value, "to": status.value},
    )


def _refuse(broadcast: Row[Any], what: str) -> Conflict:
    return Conflict(
        f"A broadcast that is {broadcast.status.value} cannot be {what}.",
        status=broadcast.status.value,
    )
