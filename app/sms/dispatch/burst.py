"""Submitting the most urgent batches, as many at once as Sinch is quick to take."""

from collections.abc import Callable
from datetime import datetime

from app.sms.context import Context
from app.sms.dispatch.claim import Idle, claim_burst
from app.sms.dispatch.submit import submit_burst


class Burst:
    """How many batches to claim at once: what Sinch takes in a tenth of a second.

    Where Sinch is quick, they share what a claim costs; where it is slow, one is claimed at a
    time, so that pause and priority act at once and a crash leaves little in doubt.
    """

    MAX_SIZE = 8
    _SECONDS = 0.1

    def __init__(self) -> None:
        self._post_s = self._SECONDS

    @property
    def size(self) -> int:
        return max(1, min(self.MAX_SIZE, int(self._SECONDS / max(self._post_s, 0.001))))

    def learn(self, seconds: float, posts: int) -> None:
        """So many posts took so long; what is slower counts at once, what is quicker by halves."""
        each_s = seconds / posts
        self._post_s = each_s if each_s > self._post_s else (self._post_s + each_s) / 2


def submit_next(
    ctx: Context, burst: Burst | None = None, *, stop: Callable[[], bool] = lambda: False
) -> bool | datetime:
    """Submit the most urgent batch, or a burst of them until `stop`: True when there was one.

    False when there is none; a time when the next may go then.
    """
    ctx.require_own_database()
    found = claim_burst(ctx, most=burst.size if burst else 1)
    if isinstance(found, Idle):
        return True if found.again else found.until or False
    started = ctx.clock.monotonic()
    submit_burst(ctx, found, stop=stop)
    if burst:
        burst.learn(ctx.clock.monotonic() - started, len(found))
    return True
