"""What an operator decides about a batch whose outcome nobody knows; every decision is audited."""

from enum import StrEnum
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, func, select, update

from app.db.audit import write_audit
from app.errors import Conflict, NotFound
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_in
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import FINAL, BatchState, BroadcastStatus
from app.sms.recovery.confirm import accept_values

MAX_NOTE_CHARACTERS = 500

_S = BatchState


class Decision(StrEnum):
    """What to take an uncertain batch for."""

    MARK_SENT = "mark_sent"  # somebody knows that it went out
    RESEND = "resend"  # post it again, accepting that its recipients may get the text twice
    GIVE_UP = "give_up"  # leave it: they may or may not have got it


_ENDS = {
    Decision.MARK_SENT: _S.ACCEPTED,
    Decision.RESEND: _S.PENDING,
    Decision.GIVE_UP: _S.CLOSED_UNSENT,
}


def find_attention(ctx: Context, *, most: int = 1_000) -> list[Row[Any]]:
    """The batches that wait for a decision, the oldest first, with their broadcast's id.

    `waiting` of each row counts them all, also those beyond `most`.
    """
    everyone = func.count().over().label("waiting")
    query = (
        select(Batch.__table__, Broadcast.public_id, Broadcast.client, everyone)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(Batch.state == _S.NEEDS_ATTENTION)
        .order_by(Batch.id)
        .limit(most)
    )
    with ctx.db.read() as tx:
        return list(tx.execute(query))


def resolve_batch(
    ctx: Context, reference: str, decision: Decision, *, actor: str, note: str
) -> BatchState:
    """Carry out an operator's decision; where the batch then stands.

    Raises NotFound, and Conflict unless the batch needs attention.
    """
    with ctx.db.write() as tx:
        batch = _hold(tx, reference)
        if batch.state is not _S.NEEDS_ATTENTION:
            raise Conflict(
                f"A batch that is {batch.state.value} needs no decision.", state=batch.state.value
            )
        state = _ENDS[decision]
        values: dict[str, Any] = {"state": state, "attention": None, "next_reconcile_at": None}
        if decision is Decision.MARK_SENT:
            # With a wish to stop it: whoever is just asking may find it yet.
            cancelled = _is_cancelled(tx, batch)
            values = accept_values(ctx, sinch_id=batch.sinch_id, cancelled=cancelled)
        if decision is Decision.RESEND:
            if _is_cancelled(tx, batch):
                raise Conflict("Its broadcast is cancelled: nothing of it is sent again.")
            values |= {"unknown_at": None, "reconcile_attempts": 0, "not_found_count": 0}
            values |= {"absent_at": None, "absent_before_at": None}
            _reopen(tx, batch)
        tx.execute(update(Batch).where(Batch.id == batch.id).values(values))
        write_audit(
            tx,
            now=ctx.now(),
            actor=actor,
            action=decision.value,
            subject=reference,
            facts={"note": note, "recipients": batch.size, "attempt": batch.attempt},
        )
        finalize_in(tx, ctx, batch.broadcast_id)
    bound = logger.bind(client_reference=reference, decision=decision.value, actor=actor)
    bound.warning("an operator decided about a batch")
    return state


def _hold(tx: Connection, reference: str) -> Row[Any]:
    """The batch, after its broadcast: in this order everybody takes them."""
    query = select(Batch.broadcast_id).where(Batch.client_reference == reference)
    broadcast_id = tx.execute(query).scalar()
    if broadcast_id is None:
        raise NotFound("There is no such batch.")
    held = select(Broadcast.id).where(Broadcast.id == broadcast_id)
    tx.execute(held.with_for_update())
    batch = select(Batch.__table__).where(Batch.client_reference == reference)
    return tx.execute(batch.with_for_update()).one()


def _is_cancelled(tx: Connection, batch: Row[Any]) -> bool:
    query = select(Broadcast.status).where(Broadcast.id == batch.broadcast_id)
    return tx.execute(query).scalar() is BroadcastStatus.CANCELLED


def _reopen(tx: Connection, batch: Row[Any]) -> None:
    """Note in the ledger that the last attempt may be repeated, and let its broadcast go on."""
    attempts = update(Attempt).where(Attempt.batch_id == batch.id, Attempt.number == batch.attempt)
    tx.execute(attempts.values(overridden=True))
    broadcast = update(Broadcast).where(
        Broadcast.id == batch.broadcast_id, Broadcast.status.in_(FINAL)
    )
    tx.execute(broadcast.values(status=BroadcastStatus.SENDING, completed_at=None))
