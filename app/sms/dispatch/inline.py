"""Submitting a small broadcast within its request, for as long as the client may be kept waiting.

What is not done by then goes on in the background; nothing here is needed for it to be sent.
"""

from datetime import datetime

from sqlalchemy import and_, bindparam, or_, select

from app.db.base import table_of
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle, claim_batch
from app.sms.dispatch.submit import submit_batch
from app.sms.models.batch import Batch, Broadcast
from app.sms.models.states import ACTIVE, BatchState, Outcome
from app.sms.recovery.unknown_outcome import ask_batch

# With less time left than this a POST is not begun: its answer could not be waited for.
MIN_POST_S = 1.0
# Nor is a question with less than this.
_MIN_QUESTION_S = 0.1
# A wait longer than this is left to the background: each request holds a thread meanwhile, and
# while Sinch is busy there may be many.
_MAX_WAIT_S = 5.0
# How long to let another worker have its turn before looking again.
_POLL_S = 0.1

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)
# Made once: to make a statement costs several times what it takes to run one.
_UNDER_WAY = (
    select(_BATCHES.c.id)
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BATCHES.c.broadcast_id == bindparam("of"))
    .where(
        or_(
            _BATCHES.c.state == BatchState.SENDING,
            and_(_BATCHES.c.state == BatchState.PENDING, _BROADCASTS.c.status.in_(ACTIVE)),
        )
    )
    .limit(1)
)


def submit_inline(ctx: Context, broadcast_id: int, first: Claim | Idle) -> None:
    """Submit the batches of a broadcast within the budget; the first is claimed already."""
    deadline = ctx.clock.monotonic() + ctx.rules.budget_s
    found = first
    while True:
        left_s = deadline - ctx.clock.monotonic()
        if isinstance(found, Claim):
            _submit(ctx, found, left_s)
            if not is_under_way(ctx, broadcast_id):
                return
        elif not _wait(ctx, broadcast_id, found.until, left_s):
            return
        if deadline - ctx.clock.monotonic() < MIN_POST_S:
            return
        found = claim_batch(ctx, of=broadcast_id)


def _submit(ctx: Context, claim: Claim, left_s: float) -> None:
    verdict = submit_batch(ctx, claim, within_s=left_s)
    unclear = verdict.outcome is Outcome.UNKNOWN
    if unclear or (verdict.outcome is Outcome.ACCEPTED and verdict.sinch_id is None):
        look_up(ctx, claim.batch_id)


def look_up(ctx: Context, batch_id: int) -> None:
    """Ask Sinch's list a few times: a lost answer is usually found within a second."""
    waits_s = ctx.rules.lookup_waits_s
    deadline = ctx.clock.monotonic() + sum(waits_s) + 1.0
    for wait_s in waits_s:
        ctx.clock.sleep(wait_s)
        left_s = deadline - ctx.clock.monotonic()
        if left_s < _MIN_QUESTION_S:
            return
        ask_batch(ctx, batch_id, within_s=left_s)
        if _is_clear(ctx, batch_id):
            return


def _is_clear(ctx: Context, batch_id: int) -> bool:
    """Whether there is nothing more to learn about a batch by asking soon."""
    query = select(Batch.state, Batch.sinch_id).where(Batch.id == batch_id)
    with ctx.db.read() as tx:
        state, sinch_id = tx.execute(query).one()
    nameless = state is BatchState.ACCEPTED and sinch_id is None
    return state is not BatchState.UNKNOWN and not nameless


def _wait(ctx: Context, broadcast_id: int, until: datetime | None, left_s: float) -> bool:
    """Wait for what holds the next batch back; False when that takes too long, or none is left."""
    if not is_under_way(ctx, broadcast_id):
        return False
    now = ctx.now()
    wait_s = (until - now).total_seconds() if until else 0.0
    if wait_s > min(left_s - MIN_POST_S, _MAX_WAIT_S):
        return False
    ctx.clock.sleep(max(wait_s, _POLL_S))
    return True


def is_under_way(ctx: Context, broadcast_id: int) -> bool:
    """Whether a batch of it may still be sent as things stand, or is being sent by somebody else.

    What is paused is not waited for: that may take days.
    """
    with ctx.db.read() as tx:
        return tx.execute(_UNDER_WAY, {"of": broadcast_id}).first() is not None
