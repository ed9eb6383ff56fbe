"""Threads that post events to clients: one fans events out to endpoints, the others post.

Each pool has threads of its own, so slow and dead receivers occupy only the slow pool.  Several
processes may run them at the same time.
"""

import threading
import time
from collections.abc import Callable

from app.sms.context import Context
from app.webhooks.outgoing.deliver import deliver_next, run_maintenance
from app.webhooks.outgoing.fan_out import fan_out_events
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.lease import Pool, has_due_endpoint
from app.worker.guard import join_all, run_guarded

# The longest time until a new event or a due retry is noticed.
_LOOK_EVERY_S = 1.0


class WebhookWorkers:
    """The webhook threads of one process.

    They stop after `stop`, and also once `is_stopping` returns True.
    """

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
        self._ctx, self._webhook_client = ctx, webhook_client
        self._stopping = threading.Event()
        self._stop_requested = is_stopping
        self._maintenance_every_s = maintenance_every_s
        self._wake_fan_out = threading.Event()
        self._wake_posting = {
            Pool.FAST: [threading.Event() for _ in range(fast)],
            Pool.SLOW: [threading.Event() for _ in range(slow)],
        }
        self._threads = [
            threading.Thread(target=self._fan_out, name="fan-out", daemon=True),
            *(
                threading.Thread(target=self._post, args=(pool, wake), name=pool, daemon=True)
                for pool, wakes in self._wake_posting.items()
                for wake in wakes
            ),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Have new events fanned out now.  Returns at once."""
        self._wake_fan_out.set()

    def stop_claiming(self) -> None:
        """Have the threads start nothing more.  Returns at once."""
        self._stopping.set()
        self._wake_fan_out.set()
        for pool in Pool:
            self._wake_pool(pool)

    def stop(self, *, within_s: float = 12.0) -> bool:
        """Have the threads finish their posts and end.  Returns True if all of them did in time."""
        self.stop_claiming()
        return join_all(self._threads, within_s=within_s)

    def _is_stopping(self) -> bool:
        return self._stopping.is_set() or self._stop_requested()

    def _wake_pool(self, pool: Pool) -> None:
        for wake in self._wake_posting[pool]:
            wake.set()

    def _fan_out(self) -> None:
        next_maintenance = time.monotonic() + self._maintenance_every_s
        while not self._is_stopping():
            self._wake_fan_out.clear()
            run_guarded(self._fan_out_all, stopping=self._stopping)
            if time.monotonic() >= next_maintenance:
                run_guarded(lambda: run_maintenance(self._ctx), stopping=self._stopping)
                next_maintenance = time.monotonic() + self._maintenance_every_s
            self._wake_fan_out.wait(_LOOK_EVERY_S)
        self.stop_claiming()

    def _fan_out_all(self) -> None:
        """Create the deliveries of new events, and wake the pools that have something to post."""
        self._ctx.require_own_database()
        more = True
        while more and not self._is_stopping():
            more = fan_out_events(self._ctx) > 0
            for pool in Pool:
                if has_due_endpoint(self._ctx, pool):
                    self._wake_pool(pool)

    def _post(self, pool: Pool, wake: threading.Event) -> None:
        while True:
            wake.clear()
            # Read after `clear`, because `stop_claiming` sets `_stopping` before it wakes us.
            if self._is_stopping():
                return
            if run_guarded(lambda: self._deliver(pool), stopping=self._stopping) is not True:
                wake.wait()

    def _deliver(self, pool: Pool) -> bool:
        return deliver_next(self._ctx, self._webhook_client, pool, stop=self._is_stopping)
