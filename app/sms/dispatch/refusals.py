"""Refusals that leave a batch HELD: what they say about other batches, and which batch tries next.

One client's sender, text or group must not stop the batches of all: what Sinch refuses for one
client alone is held alone and tried again by itself.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, case, func, or_, select, update

from app.sms.context import Context
from app.sms.lifecycle.gates import choose_probe_wait
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, BatchState, Outcome

_S = BatchState
# Sinch may refuse one payload with these; 401, 402 and redirects concern the whole account.
_MAY_BE_THE_PAYLOAD = (403, 404, 405)
_REMEMBERED = timedelta(days=1)


def concerns_all(tx: Connection, broadcast: Row[Any], status: int | None, now: datetime) -> bool:
    """Return True if Sinch would refuse the batches of other clients, too.

    `status` is the HTTP status that this client's batch was refused with.
    """
    is_own = Broadcast.client == broadcast.client
    query = (
        select(is_own.label("own"), Attempt.outcome, func.max(Attempt.started_at).label("last_at"))
        .join(Batch, Batch.id == Attempt.batch_id)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(Attempt.outcome.in_((Outcome.ACCEPTED, Outcome.HELD)))
        .where(Attempt.started_at > now - _REMEMBERED)
        .group_by(is_own, Attempt.outcome)
    )
    last = {(bool(row.own), row.outcome): row.last_at for row in tx.execute(query)}
    own_refused, others_refused = last.get((True, Outcome.HELD)), last.get((False, Outcome.HELD))
    own_accepted = last.get((True, Outcome.ACCEPTED))
    others_accepted = last.get((False, Outcome.ACCEPTED))
    if _is_after(others_accepted, own_refused) and not _is_after(own_accepted, own_refused):
        return False  # others were served meanwhile
    if status not in _MAY_BE_THE_PAYLOAD:
        return True
    served = _is_after(own_accepted, others_refused) or _is_after(others_accepted, others_refused)
    return others_refused is not None and not served


def _is_after(later: datetime | None, earlier: datetime | None) -> bool:
    return later is not None and earlier is not None and later > earlier


def hold_alone(tx: Connection, ctx: Context, *, batch_id: int, attempt: int) -> None:
    """Let a held batch be tried again by itself, later after each attempt."""
    wait_s = choose_probe_wait(ctx.rules, attempt)
    alone = update(Batch).where(Batch.id == batch_id, Batch.state == _S.HELD)
    tx.execute(alone.values(not_before=ctx.seconds_from_now(wait_s)))


def defer_siblings(tx: Connection, broadcast_id: int) -> None:
    """Let the pending batches of a broadcast wait for its batch that is held alone.

    They have its sender and text: Sinch would refuse each of them.
    """
    of_broadcast = Batch.broadcast_id == broadcast_id
    held = select(func.max(Batch.not_before)).where(of_broadcast, Batch.state == _S.HELD)
    not_before = tx.execute(held).scalar()
    if not_before is not None:
        is_earlier = or_(Batch.not_before.is_(None), Batch.not_before < not_before)
        pending = update(Batch).where(of_broadcast, Batch.state == _S.PENDING, is_earlier)
        tx.execute(pending.values(not_before=not_before))


def choose_trial(
    tx: Connection, last: dict[str, Any] | None, now: datetime
) -> tuple[int, int] | None:
    """Choose the batch to try while the circuit is half open.  Returns its id and its broadcast's.

    `last` is the trial before: another client's batch goes first, then one of another broadcast,
    then another batch.  A batch follows itself only if there is no other.  A held batch becomes
    pending.
    """
    last = last or {}
    repeats = (
        Broadcast.client == last.get("client"),
        Broadcast.id == last.get("broadcast_id"),
        Batch.id == last.get("batch_id"),
    )
    is_due = or_(Batch.not_before.is_(None), Batch.not_before <= now)
    query = (
        select(Batch.id, Batch.broadcast_id)
        .join(Broadcast, Broadcast.id == Batch.broadcast_id)
        .where(Broadcast.completed_at.is_(None), Broadcast.status.in_(ACTIVE))
        .where(Batch.state.in_((_S.PENDING, _S.HELD)), is_due)
        .order_by(*(case((repeat, 1), else_=0) for repeat in repeats))
        .order_by(Broadcast.priority.desc(), Batch.id)
        .limit(1)
    )
    trial = tx.execute(query).first()
    if trial is None:
        return None
    held = update(Batch).where(Batch.id == trial.id, Batch.state == _S.HELD)
    tx.execute(held.values(state=_S.PENDING, not_before=None))
    return trial.id, trial.broadcast_id
