"""Operator decisions about batches of unknown outcome; each decision is audited."""

from collections import Counter
from enum import StrEnum
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Select, func, select, update

from app.db.audit import AuditEntry, write_audit
from app.errors import Conflict, NotFound
from app.phone.country import find_country
from app.sms.audience.chunks import load_batch_recipients
from app.sms.caps.budget import forget_use
from app.sms.caps.prices import Cost, read_prices
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_in, lock_broadcast, reopen_broadcast
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, BroadcastStatus
from app.sms.recovery.confirm import accept_values

MAX_NOTE_CHARACTERS = 500

_S = BatchState


class Decision(StrEnum):
    """Decisions about a batch that needs attention."""

    MARK_SENT = "mark_sent"  # it was sent
    RESEND = "resend"  # post it again, accepting that its recipients may get the text twice
    GIVE_UP = "give_up"  # close it: it may or may not have been sent


_NEW_STATES = {
    Decision.MARK_SENT: _S.ACCEPTED,
    Decision.RESEND: _S.PENDING,
    Decision.GIVE_UP: _S.CLOSED_UNSENT,
}


def find_attention(
    ctx: Context, *, limit: int = 1_000, reference: str | None = None
) -> list[Row[Any]]:
    """Return the viewer's batches that need attention, oldest first, with their broadcast.

    `reference` chooses one batch.  `waiting` of each row is the number of all such batches, also
    beyond `limit`.
    """
    waiting = func.count().over().label("waiting")
    query = (
        _select_batches(ctx, waiting)
        .where(Batch.state == _S.NEEDS_ATTENTION)
        .order_by(Batch.id)
        .limit(limit)
    )
    if reference is not None:
        query = query.where(Batch.client_reference == reference)
    with ctx.db.read() as tx:
        return list(tx.execute(query))


def find_batch(ctx: Context, reference: str) -> Row[Any]:
    """Return a batch that the viewer sees, with its broadcast, in any state.  Raises NotFound."""
    with ctx.db.read() as tx:
        query = _select_batches(ctx).where(Batch.client_reference == reference)
        batch = tx.execute(query).first()
    if batch is None:
        raise NotFound("There is no such batch.")
    return batch


def _select_batches(ctx: Context, *more: Any) -> Select[Any]:
    return (
        select(
            Batch.__table__,
            Broadcast.public_id,
            Broadcast.client,
            Broadcast.sender,
            Broadcast.reference,
            Broadcast.text,
            Broadcast.parts,
            *more,
        )
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(ctx.viewer.sees(Broadcast.client))
    )


def read_decision(ctx: Context, reference: str) -> Row[Any] | None:
    """Return the audit entry of the last decision about a batch; None if there was none."""
    query = (
        select(AuditEntry.__table__)
        .where(AuditEntry.subject == reference, AuditEntry.action.in_(list(Decision)))
        .order_by(AuditEntry.id.desc())
        .limit(1)
    )
    with ctx.db.read() as tx:
        return tx.execute(query).first()


def read_attempt(ctx: Context, batch: Row[Any]) -> Row[Any]:
    """Return the last attempt to send a batch that needs attention."""
    query = select(Attempt.__table__).where(
        Attempt.batch_id == batch.id, Attempt.number == batch.attempt
    )
    with ctx.db.read() as tx:
        return tx.execute(query).one()


def price_batch(ctx: Context, batch: Row[Any]) -> Cost:
    """Return what a batch costs at most if it is sent again: all as the longest of its texts."""
    with ctx.db.read() as tx:
        recipients = load_batch_recipients(tx, batch).recipients
        prices = read_prices(tx)
    countries = Counter(map(find_country, recipients))
    return prices.cost({name: number * batch.parts for name, number in countries.items()})


def resolve_batch(
    ctx: Context, reference: str, decision: Decision, *, actor: str, note: str
) -> BatchState:
    """Carry out an operator's decision.  Returns the batch's new state.

    Raises NotFound if there is no such batch.  Raises Conflict unless the batch needs attention,
    and for a resend if its broadcast is cancelled.
    """
    with ctx.db.write() as tx:
        batch, broadcast = _lock_batch(tx, ctx, reference)
        cancelled = broadcast.status is BroadcastStatus.CANCELLED
        if batch.state is not _S.NEEDS_ATTENTION:
            raise Conflict(
                f"A batch that is {batch.state.value} needs no decision.", state=batch.state.value
            )
        state = _NEW_STATES[decision]
        values: dict[str, Any] = {"state": state, "attention": None, "next_reconcile_at": None}
        if decision is Decision.MARK_SENT:
            # With a cancel request: a look-up that is running may still find the batch.
            values = accept_values(ctx, sinch_id=batch.sinch_id, cancelled=cancelled)
        if decision is Decision.RESEND:
            if cancelled:
                raise Conflict("Its broadcast is cancelled: the batch cannot be sent again.")
            values |= {"unknown_at": None, "reconcile_attempts": 0, "not_found_count": 0}
            values |= {"absent_at": None, "absent_before_at": None, "sinch_id": None}
            _allow_another_attempt(tx, batch)
            forget_use(tx, batch.id)
            reopen_broadcast(tx, broadcast)
        tx.execute(update(Batch).where(Batch.id == batch.id).values(values))
        write_audit(
            tx,
            ctx.now(),
            actor,
            decision.value,
            reference,
            note=note,
            recipients=batch.size,
            attempt=batch.attempt,
        )
        finalize_in(tx, ctx, batch.broadcast_id)
    bound = logger.bind(client_reference=reference, decision=decision.value, actor=actor)
    bound.warning("an operator decided about a batch")
    return state


def _lock_batch(tx: Connection, ctx: Context, reference: str) -> tuple[Row[Any], Row[Any]]:
    """Lock the broadcast of a batch that the viewer sees, then the batch.

    Returns both rows.  Raises NotFound.
    """
    query = (
        select(Batch.broadcast_id)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(Batch.client_reference == reference, ctx.viewer.sees(Broadcast.client))
    )
    broadcast_id = tx.execute(query).scalar()
    if broadcast_id is None:
        raise NotFound("There is no such batch.")
    broadcast = lock_broadcast(tx, broadcast_id)
    batch = select(Batch.__table__).where(Batch.client_reference == reference)
    return tx.execute(batch.with_for_update()).one(), broadcast


def _allow_another_attempt(tx: Connection, batch: Row[Any]) -> None:
    attempts = update(Attempt).where(Attempt.batch_id == batch.id, Attempt.number == batch.attempt)
    tx.execute(attempts.values(overridden=True))
