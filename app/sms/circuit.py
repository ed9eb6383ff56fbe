"""The circuit after Sinch refused everything: probed, tried with one batch, closed."""

from loguru import logger
from sqlalchemy import select, update

from app.sinch.errors import SinchError
from app.sms.context import Context
from app.sms.control import write_audit
from app.sms.gates import half_open_circuit, postpone_probe, read_gates
from app.sms.models import Batch
from app.sms.sending import release_held
from app.sms.states import BatchState


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
        return _free_lost_trial(ctx)
    if gates.probe_at is not None and now < gates.probe_at:
        return False
    green = _ask(ctx)
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, now)
        if gates.circuit is None or gates.circuit.get("half_open"):
            return False
        if not green:
            postpone_probe(tx, ctx.rules, now=now)
            return False
        half_open_circuit(tx, gates)
        oldest = select(Batch.id).where(Batch.state == BatchState.HELD).order_by(Batch.id).limit(1)
        released = update(Batch).where(Batch.id.in_(oldest.scalar_subquery()))
        tx.execute(released.values(state=BatchState.PENDING, not_before=None))
    logger.info("sinch answers again: one batch tries")
    return True


def close_circuit_by_hand(ctx: Context, *, actor: str) -> bool:
    """An operator says that it is mended; False when it was closed already."""
    with ctx.db.write() as tx:
        now = ctx.now()
        if read_gates(tx, ctx.rules, now).circuit is None:
            return False
        write_audit(tx, now=now, actor=actor, action="close", subject="circuit")
        release_held(tx)
        return True


def _ask(ctx: Context) -> bool:
    try:
        ctx.sinch.check()
    except SinchError:
        return False
    return True


def _free_lost_trial(ctx: Context) -> bool:
    """When the batch on trial is no longer under way, nobody will say what came of it."""
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, ctx.now())
        if gates.circuit is None or gates.trial is None:
            return False
        state = tx.execute(select(Batch.state).where(Batch.id == gates.trial)).scalar()
        if state is BatchState.SENDING:
            return False
        half_open_circuit(tx, gates)
        return True
