"""The circuit after Sinch refused everything: probed, tried with one batch, closed."""

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
    """When it is time, see whether Sinch answers for our plan again, and then let one batch try.

    A green probe alone proves too little: an account may read its lists and yet not send.
    """
    now = ctx.now()
    with ctx.db.read() as tx:
        gates = read_gates(tx, ctx.rules, now)
    if gates.circuit is None:
        return False
    if gates.circuit.get("half_open"):
        return _keep_trying(ctx)
    if gates.probe_at is not None and now < gates.probe_at:
        return False
    green = _ask(ctx)
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
        if gates.circuit is None or gates.circuit.get("half_open"):
            return False
        if not green:
            postpone_probe(tx, ctx.rules, now=now)
            return False
        half_open_circuit(tx, gates)
        _release_one(tx)
    logger.info("sinch answers again: one batch tries")
    return True


def close_circuit_by_hand(ctx: Context, *, actor: str) -> bool:
    """An operator says that it is mended; False when it was closed already."""
    with ctx.db.write() as tx:
        now = ctx.now()
        if read_gates(tx, ctx.rules, now).circuit is None:
            return False
        write_audit(tx, now=now, actor=actor, action="close", subject="circuit")
        requeue_held(tx)
        return True


def _ask(ctx: Context) -> bool:
    try:
        ctx.sinch.check()
    except SinchError:
        return False
    return True


def _keep_trying(ctx: Context) -> bool:
    """See that some batch can try: the one that did may be lost, paused or cancelled meanwhile."""
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, ctx.now(), lock=CIRCUIT)
        if gates.circuit is None:
            return False
        if gates.trial is not None:
            state = tx.execute(select(Batch.state).where(Batch.id == gates.trial)).scalar()
            if state is BatchState.SENDING:
                return False
            # Nobody will say any more what came of it.
            half_open_circuit(tx, gates)
        return _release_one(tx)


def _release_one(tx: Connection) -> bool:
    """Let go the oldest batch held, unless another waits that can try; whether it did."""
    active = select(Broadcast.id).where(
        Broadcast.completed_at.is_(None), Broadcast.status.in_(ACTIVE)
    )
    of_active = select(Batch.id).where(Batch.broadcast_id.in_(active)).order_by(Batch.id).limit(1)
    if tx.execute(of_active.where(Batch.state == BatchState.PENDING)).first() is not None:
        return False
    oldest = of_active.where(Batch.state == BatchState.HELD).scalar_subquery()
    released = update(Batch).where(Batch.id == oldest, Batch.state == BatchState.HELD)
    return tx.execute(released.values(state=BatchState.PENDING, not_before=None)).rowcount == 1
