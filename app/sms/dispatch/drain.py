"""Working off one broadcast from its first chunk to its last batch, in one place."""

from collections.abc import Callable, Iterator
from datetime import datetime

from app.sms.audience.plan import plan_broadcast
from app.sms.broadcasts.store import Accepted
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle, claim_batch
from app.sms.dispatch.inline import is_under_way, look_up
from app.sms.dispatch.submit import submit_batch
from app.sms.models.states import Outcome

# Beyond this somebody else goes on, later.
_PATIENCE_S = 30.0
_POLL_S = 0.1


def work_off(ctx: Context, accepted: Accepted, *, stop: Callable[[], bool]) -> Iterator[int]:
    """Submit what a broadcast has, giving the size of each batch as it is handled.

    Ends when nothing is left that can go within half a minute, or behind the batch in hand once
    `stop` says so.
    """
    first = accepted.first
    if first is None:
        while plan_broadcast(ctx, accepted.id):
            if stop():
                return
        first = claim_batch(ctx, of=accepted.id)
    found: Claim | Idle = first
    while True:
        if isinstance(found, Claim):
            _submit(ctx, found)
            yield found.size
        elif not _wait(ctx, accepted.id, found.until, stop):
            return
        if stop():
            return
        found = claim_batch(ctx, of=accepted.id)


def _submit(ctx: Context, claim: Claim) -> None:
    verdict = submit_batch(ctx, claim)
    unclear = verdict.outcome is Outcome.UNKNOWN
    if unclear or (verdict.outcome is Outcome.ACCEPTED and verdict.sinch_id is None):
        look_up(ctx, claim.batch_id)


def _wait(
    ctx: Context, broadcast_id: int, until: datetime | None, stop: Callable[[], bool]
) -> bool:
    """Wait for what holds the next batch back; False when that takes too long, or none is left."""
    if not is_under_way(ctx, broadcast_id):
        return False
    wait_s = (until - ctx.now()).total_seconds() if until else 0.0
    if wait_s > _PATIENCE_S:
        return False
    deadline = ctx.clock.monotonic() + max(wait_s, _POLL_S)
    while not stop() and (left_s := deadline - ctx.clock.monotonic()) > 0:
        ctx.clock.sleep(min(left_s, _POLL_S))
    return not stop()
