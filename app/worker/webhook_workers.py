"""Threads that post events to clients: one fans events out to endpoints, the others post.

Each pool has threads of its own, so slow and dead receivers occupy only the slow pool.  Several
processes may run them at the same time.
"""

import time
from collections.abc import Callable
from functools import partial

from app.sms.context import Context
from app.webhooks.outgoing.deliver import deliver_next
from app.webhooks.outgoing.fan_out import fan_out_events
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.lease import Pool, has_due_endpoint
from app.webhooks.outgoing.retry import abandon_stale
from app.worker.loops import Loops

# The longest time until a new event or a due retry is noticed.
_LOOK_EVERY_S = 1.0


class WebhookWorkers(Loops):
    """The webhook threads of one process, which also stop once `is_stopping` returns True."""

    def __init__(
        self,
        ctx: Context,
        webhook_client: WebhookHttpClient,
        *,
        fast: int = 3,
        slow: int = 2,
        maintenance_every_s: float = 60.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._ctx, self._webhook_client = ctx, webhook_client
        self._stop_requested = is_stopping
        self._maintenance_every_s = maintenance_every_s
        self._next_maintenance = time.monotonic() + maintenance_every_s
        self._fan_out_loop = self.add("fan-out", self._fan_out)
        self._posting = {
            pool: [self.add(pool, partial(self._post, pool)) for _ in range(size)]
            for pool, size in ((Pool.FAST, fast), (Pool.SLOW, slow))
        }

    def wake(self) -> None:
        """Have new events fanned out now.  Returns at once."""
        self._fan_out_loop.wake()

    def _is_stopping(self) -> bool:
        return self._stopping.is_set() or self._stop_requested()

    def _fan_out(self) -> float:
        """Create the deliveries of new events, and wake the pools that have something to post."""
        self._ctx.require_own_database()
        more = True
        while more and not self._is_stopping():
            more = fan_out_events(self._ctx) > 0
            for pool, loops in self._posting.items():
                if has_due_endpoint(self._ctx, pool):
                    for loop in loops:
                        loop.wake()
        if self._is_stopping():
            self.stop_claiming()
        elif time.monotonic() >= self._next_maintenance:
            abandon_stale(self._ctx)
            self._next_maintenance = time.monotonic() + self._maintenance_every_s
        return _LOOK_EVERY_S

    def _post(self, pool: Pool) -> float | None:
        if self._is_stopping():
            return None
        posted = deliver_next(self._ctx, self._webhook_client, pool, stop=self._is_stopping)
        return 0 if posted else None
