"""Pause, resume and cancel broadcasts, here and at Sinch."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.prepared import Prepared
from app.errors import Conflict
from app.sinch.errors import SinchError
from app.sms.audience.grown import accept_growth, refuse_growth
from app.sms.context import Context
from app.sms.lifecycle.finalize import end_unsent, finalize_in
from app.sms.lifecycle.find import find_broadcast
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, FINAL, BatchState, BroadcastStatus, CancelRequestState

_B = BroadcastStatus
_BATCHES, _BROADCASTS = table_of(Batch), table_of(Broadcast)
_WANTED = (_BATCHES.c.cancel_request == CancelRequestState.WANTED, _BATCHES.c.sinch_id.is_not(None))
_DUPLICATED = (
    _BATCHES.c.state == BatchState.DUPLICATE,
    _BATCHES.c.duplicate_sinch_ids.is_not(None),
)
_CANCEL_S = 10.0
# Batches that a run does not reach in this time are left to the next run.
_RUN_S = 10.0


def pause_broadcast(ctx: Context, public_id: str, *, actor: str) -> None:
    """Pause a broadcast: claim none of its batches until it is resumed.

    Raises NotFound; Conflict if its status does not allow it.
    """
    with ctx.db.write() as tx:
        broadcast = find_broadcast(tx, ctx, public_id, lock=True)
        if broadcast.status is _B.PAUSED:
            return
        if broadcast.status not in (*ACTIVE, _B.SCHEDULED):
            raise _conflict(broadcast, "paused")
        _change_status(tx, ctx, broadcast, _B.PAUSED, actor=actor, action="pause")


def resume_broadcast(
    ctx: Context,
    public_id: str,
    *,
    actor: str,
    check: Callable[[Connection, Row[Any]], None] = refuse_growth,
) -> None:
    """Resume a broadcast that was paused, was halted or missed its start.

    `check` may raise for its row, which is locked.  Raises NotFound; Conflict if its status does
    not allow it.
    """
    with ctx.db.write() as tx:
        broadcast = find_broadcast(tx, ctx, public_id, lock=True)
        if broadcast.status in (*ACTIVE, _B.SCHEDULED):
            return
        if broadcast.status not in (_B.PAUSED, _B.HALTED, _B.MISSED_START):
            raise _conflict(broadcast, "resumed")
        check(tx, broadcast)
        ahead = broadcast.send_at is not None and broadcast.send_at > ctx.now()
        status = _B.SCHEDULED if ahead else _B.QUEUED
        accept_growth(tx, broadcast)
        _change_status(tx, ctx, broadcast, status, actor=actor, action="resume")
        finalize_in(tx, ctx, broadcast.id)


def cancel_broadcast(ctx: Context, public_id: str, *, actor: str, note: str = "") -> None:
    """Cancel the unclaimed batches of a broadcast, and mark the others for `cancel_at_sinch`.

    `note` says why, in the audit log.  Raises NotFound; Conflict if its status does not allow it.
    """
    with ctx.db.write() as tx:
        broadcast = find_broadcast(tx, ctx, public_id, lock=True)
        if broadcast.status is _B.CANCELLED:
            return
        if broadcast.status in (_B.REFUSED, _B.EXPIRED):
            raise _conflict(broadcast, "cancelled")
        if broadcast.status in FINAL and broadcast.expires_at <= ctx.now():
            raise _conflict(broadcast, "cancelled")
        end_unsent(tx, broadcast.id, BatchState.CANCELLED)
        accepted = update(Batch).where(
            Batch.broadcast_id == broadcast.id,
            Batch.state.in_((BatchState.ACCEPTED, BatchState.DUPLICATE)),
            Batch.cancel_request.is_(None),
        )
        tx.execute(accepted.values(cancel_request=CancelRequestState.WANTED))
        _change_status(tx, ctx, broadcast, _B.CANCELLED, actor=actor, action="cancel", note=note)
        finalize_in(tx, ctx, broadcast.id)


def cancel_at_sinch(ctx: Context, *, limit: int = 100, within_s: float = _RUN_S) -> int:
    """Cancel the batches of cancelled broadcasts at Sinch.  Returns how many there were."""

    def cancel(batch: Row[Any]) -> dict[str, Any]:
        cancel_request = _cancel_at_sinch(ctx, batch.sinch_id, within_s=min(within_s, _CANCEL_S))
        unclear = cancel_request is CancelRequestState.UNCLEAR and ctx.now() < batch.expires_at
        return {} if unclear else {"cancel_request": cancel_request}

    return _cancel_batches(ctx, _WANTED, cancel, limit=limit, within_s=within_s)


def cancel_duplicate_batches(ctx: Context, *, limit: int = 20) -> int:
    """Cancel batches that Sinch has twice, where that failed before.  Returns how many."""

    def cancel(batch: Row[Any]) -> dict[str, Any]:
        unclear = [
            sinch_id
            for sinch_id in batch.duplicate_sinch_ids
            if _cancel_at_sinch(ctx, sinch_id, within_s=_CANCEL_S) is CancelRequestState.UNCLEAR
        ]
        remaining = unclear if ctx.now() < batch.expires_at else []
        return {"duplicate_sinch_ids": remaining or None}

    return _cancel_batches(ctx, _DUPLICATED, cancel, limit=limit, within_s=_RUN_S)


def _cancel_batches(
    ctx: Context,
    conditions: tuple[ColumnElement[bool], ...],
    cancel: Callable[[Row[Any]], dict[str, Any]],
    *,
    limit: int,
    within_s: float,
) -> int:
    """Cancel the matching batches while there is time.  Returns how many were found.

    `cancel` returns the new values of a batch; without any, the next run tries it again.
    """
    with ctx.db.read() as tx:
        batches: list[Row[Any]] = _find_batches(conditions).fetch(tx, {"limit": limit})
    deadline = ctx.clock.monotonic() + within_s
    for batch in batches:
        if ctx.clock.monotonic() >= deadline:
            break
        if values := cancel(batch):
            with ctx.db.write() as tx:
                tx.execute(update(Batch).where(Batch.id == batch.id, *conditions).values(values))
    return len(batches)


@cache
def _find_batches(conditions: tuple[ColumnElement[bool], ...]) -> Prepared:
    batch = _BATCHES.c
    columns = (batch.id, batch.sinch_id, batch.duplicate_sinch_ids, _BROADCASTS.c.expires_at)
    return Prepared(
        select(*columns)
        .join(_BROADCASTS, _BROADCASTS.c.id == batch.broadcast_id)
        .where(*conditions)
        # Batches that Sinch does not answer for must not always come first.
        .order_by(func.random())
        .limit(bindparam("limit"))
    )


def _cancel_at_sinch(ctx: Context, sinch_id: str, *, within_s: float) -> CancelRequestState:
    """Cancel one batch.  Without a clear answer (409: too late, or cancelled before) fetch it."""
    with suppress(SinchError):
        if ctx.sinch.cancel_batch(sinch_id, within_s=within_s).canceled:
            return CancelRequestState.CANCELLED
    with suppress(SinchError):
        batch = ctx.sinch.fetch_batch(sinch_id, within_s=within_s)
        return CancelRequestState.CANCELLED if batch.canceled else CancelRequestState.TOO_LATE
    return CancelRequestState.UNCLEAR


def _change_status(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    status: BroadcastStatus,
    *,
    actor: str,
    action: str,
    note: str = "",
) -> None:
    tx.execute(update(Broadcast).where(Broadcast.id == broadcast.id).values(status=status))
    facts = {"from": broadcast.status.value, "to": status.value} | ({"note": note} if note else {})
    write_audit(tx, ctx.now(), actor, action, broadcast.public_id, **facts)


def _conflict(broadcast: Row[Any], action: str) -> Conflict:
    return Conflict(
        f"A broadcast that is {broadcast.status.value} cannot be {action}.",
        status=broadcast.status.value,
    )
