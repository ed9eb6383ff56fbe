"""Circuit breaker: after Sinch refused all calls, probe, try one batch, close.

Also the list and the retries of batches that are held alone, because Sinch refused one client.
"""

from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.audit import write_audit
from app.db.base import table_of
from app.db.prepared import Prepared
from app.db.types import has_come
from app.sinch.errors import SinchError, SinchMisconfigured
from app.sms.context import Context
from app.sms.dispatch.outcome import requeue_held
from app.sms.dispatch.refusals import choose_trial
from app.sms.lifecycle.gates import (
    CIRCUIT,
    MAX_BUSY_S,
    Gates,
    half_open_circuit,
    open_circuit,
    postpone_probe,
    read_gates,
)
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, BatchState

_BATCHES = table_of(Batch).c
_IS_DUE = (
    _BATCHES.state == BatchState.HELD,
    has_come(_BATCHES.not_before, bindparam("now"), bindparam("latest")),
)
_DUE = Prepared(select(_BATCHES.id).where(*_IS_DUE).limit(1))


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
        _release_trial(tx, gates, now)
    logger.info("sinch answers again: one batch tries")
    return True


def close_circuit_by_hand(ctx: Context, *, actor: str) -> bool:
    """Close the circuit on an operator's order, and try every held batch again.

    Returns False if it was closed already and no batch was held.
    """
    with ctx.db.write() as tx:
        now = ctx.now()
        held = select(Batch.id).where(Batch.state == BatchState.HELD).limit(1)
        is_open = read_gates(tx, ctx.rules, now).circuit is not None
        if not is_open and tx.execute(held).first() is None:
            return False
        requeue_held(tx, alone=True)
        write_audit(tx, now, actor, "close", "circuit")
        return True


def _probe(ctx: Context) -> bool:
    try:
        ctx.sinch.check()
    except SinchError:
        return False
    return True


def _ensure_trial(ctx: Context) -> bool:
    """Let another batch try if the one on trial was lost, paused or cancelled."""
    now = ctx.now()
    with ctx.db.write() as tx:
        gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
        if gates.circuit is None:
            return False
        if gates.trial is not None:
            state = tx.execute(select(Batch.state).where(Batch.id == gates.trial)).scalar()
            if state is BatchState.SENDING:
                return False
            # The outcome of that trial will not be recorded any more.
        elif gates.candidate and _is_claimable(tx, gates.candidate[0], now):
            return False
        return _release_trial(tx, gates, now)


def _is_claimable(tx: Connection, batch_id: int, now: datetime) -> bool:
    query = (
        select(Batch.id)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(Batch.id == batch_id, Batch.state == BatchState.PENDING)
        .where(or_(Batch.not_before.is_(None), Batch.not_before <= now))
        .where(Broadcast.completed_at.is_(None), Broadcast.status.in_(ACTIVE))
    )
    return tx.execute(query).first() is not None


def _release_trial(tx: Connection, gates: Gates, now: datetime) -> bool:
    """Half-open the circuit for one batch.  Returns True if there is one that can try."""
    candidate = choose_trial(tx, gates.last_trial, now)
    half_open_circuit(tx, gates, candidate=candidate)
    return candidate is not None


def find_held_alone(ctx: Context) -> list[Row[Any]]:
    """Return the broadcasts with batches held alone, and `retry_at`, when these try again."""
    query = (
        select(Broadcast.__table__, func.min(Batch.not_before).label("retry_at"))
        .join(Batch, Batch.broadcast_id == Broadcast.id)
        .where(Batch.state == BatchState.HELD, Batch.not_before.is_not(None))
        .group_by(Broadcast.id)
        .order_by(Broadcast.id)
    )
    with ctx.db.read() as tx:
        return list(tx.execute(query))


def retry_held(ctx: Context) -> int:
    """Let batches that are held alone try again at their time.  Returns how many.

    If a probe is refused as well, all batches are concerned, and the circuit opens.
    """
    now = ctx.now()
    when = {"now": now, "latest": now + timedelta(seconds=MAX_BUSY_S + CLOCK_SLACK_S)}
    with ctx.db.read() as tx:
        if _DUE.first(tx, when) is None or read_gates(tx, ctx.rules, now).circuit is not None:
            return 0
    try:
        ctx.sinch.check()
    except SinchMisconfigured as e:
        with ctx.db.write() as tx:
            gates = read_gates(tx, ctx.rules, now, lock=CIRCUIT)
            if gates.circuit is None:
                refusal = {"status": e.status, "code": e.code, "text": e.text}
                open_circuit(tx, gates, ctx.rules, now=now, refusal=refusal)
        logger.bind(status=e.status, code=e.code).error("sinch refuses a probe: sending stops")
        return 0
    except SinchError:
        return 0
    with ctx.db.write() as tx:
        pending = update(Batch).where(*_IS_DUE).values(state=BatchState.PENDING, not_before=None)
        return tx.execute(pending, when).rowcount
