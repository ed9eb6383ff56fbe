"""Circuit breaker: after Sinch rejected all payloads, probe, try one batch, close."""

from loguru import logger
from sqlalchemy import Connection, select, update

from app.db.audit import write_audit
from app.sinch.errors import SinchError
from app.sms.context import Context
from app.sms.dispatch.outcome import requeue_held
from app.sms.lifecycle.gates import CIRCUIT, half_open_circuit, postpone_probe, read_gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, BatchState


def probe_circuit(ctx: Context) -> bool:
    """Probe Sinch if a probe is due, and let one batch try if Sinch answers.

    A successful probe does not close the circuit: an account may read lists and yet not send.
    Returns True if a batch may try now.
    """
    now = ctx.now()
    with ctx.db.read() as tx:
        gates = read_gates(tx, ctx.rules, now)
    if gates.circuit is None:
        return False
    if gates.circuit.get("half_open"):
        return _ensure_trial(ctx)
    if gates.probe_at is not None and now < gates.probe_at:
        return False
    green = _probe(ctx)
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
        if gates.circuit is None or gates.circuit.get("half_open"):
            return False
        if not green:
            postpone_probe(tx, ctx.rules, now=now)
            return False
        half_open_circuit(tx, gates)
        _release_oldest(tx)
    logger.info("sinch answers again: one batch tries")
    return True


def close_circuit_by_hand(ctx: Context, *, actor: str) -> bool:
    """Close the circuit on an operator's order.  Returns False if it was closed already."""
    with ctx.db.write() as tx:
        now = ctx.now()
        if read_gates(tx, ctx.rules, now).circuit is None:
            return False
        write_audit(tx, now=now, actor=actor, action="close", subject="circuit")
        requeue_held(tx)
        return True


def _probe(ctx: Context) -> bool:
    try:
        ctx.sinch.check()
    except SinchError:
        return False
    return True


def _ensure_trial(ctx: Context) -> bool:
    """Let another batch try if the one on trial was lost, paused or cancelled."""
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, ctx.now(), lock=CIRCUIT)
        if gates.circuit is None:
            return False
        if gates.trial is not None:
            state = tx.execute(select(Batch.state).where(Batch.id == gates.trial)).scalar()
            if state is BatchState.SENDING:
                return False
            # The outcome of that trial will not be recorded any more.
            half_open_circuit(tx, gates)
        return _release_oldest(tx)


def _release_oldest(tx: Connection) -> bool:
    """Requeue the oldest held batch unless a pending batch can try.  Returns True if it did."""
    active = select(Broadcast.id).where(
        Broadcast.completed_at.is_(None), Broadcast.status.in_(ACTIVE)
    )
    batches = select(Batch.id).where(Batch.broadcast_id.in_(active)).order_by(Batch.id).limit(1)
    if tx.execute(batches.where(Batch.state == BatchState.PENDING)).first() is not None:
        return False
    oldest = batches.where(Batch.state == BatchState.HELD).scalar_subquery()
    released = update(Batch).where(Batch.id == oldest, Batch.state == BatchState.HELD)
    return tx.execute(released.values(state=BatchState.PENDING, not_before=None)).rowcount == 1
