"""Bursts: submit the most urgent batches, several per claim while Sinch answers quickly."""

from collections.abc import Callable
from datetime import datetime

from app.sms.context import Context
from app.sms.dispatch.claim import Idle, claim_burst
from app.sms.dispatch.submit import submit_burst


class Burst:
    """Number of batches to claim at once: as many as Sinch accepts in a tenth of a second.

    While Sinch is quick, batches share the cost of a claim.  While it is slow, one batch is
    claimed at a time, so that pause and priority act at once and a crash leaves little in doubt.
    """

    MAX_SIZE = 8
    _SECONDS = 0.1

    def __init__(self) -> None:
        self._post_s = self._SECONDS

    @property
    def size(self) -> int:
        return max(1, min(self.MAX_SIZE, int(self._SECONDS / max(self._post_s, 0.001))))

    def learn(self, seconds: float, posts: int) -> None:
        """Learn from `posts` that took `seconds`: a slower pace at once, a quicker one by half."""
        post_s = seconds / posts
        self._post_s = post_s if post_s > self._post_s else (self._post_s + post_s) / 2


def submit_next(
    ctx: Context, burst: Burst | None = None, *, stop: Callable[[], bool] = lambda: False
) -> bool | datetime:
    """Submit the most urgent batch, or a burst of batches until `stop` returns True.

    Returns True if there may be more to do now, else when the next batch may go, else False.
    """
    ctx.require_own_database()
    claims = claim_burst(ctx, max_batches=burst.size if burst else 1)
    if isinstance(claims, Idle):
        return True if claims.again else claims.not_before or False
    started = ctx.clock.monotonic()
    submit_burst(ctx, claims, stop=stop)
    if burst:
        burst.learn(ctx.clock.monotonic() - started, len(claims))
    return True
