"""Threads that tell clients: one spreads events to their endpoints, a few post.

Each lane has posters of its own, so that slow and dead receivers can hold no more than those of the
slow lane.  Safe in several processes at once.
"""

import threading
import time
from collections.abc import Callable

from app.sms.context import Context
from app.webhooks.outgoing.deliver import deliver_next, run_maintenance
from app.webhooks.outgoing.fan_out import fan_out_events
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.lease import Pool, has_due_endpoint
from app.worker.trying import run_guarded

# The longest that an event, or a second try, waits to be noticed.
_LOOK_EVERY_S = 1.0


class WebhookWorkers:
    """The threads of one process; `is_stopping` is a second word, beside `stop`, to end."""

    def __init__(
        self,
        ctx: Context,
        webhook_client: WebhookHttpClient,
        *,
        fast: int = 3,
        slow: int = 2,
        keep_house_every_s: float = 60.0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ctx, self._poster = ctx, webhook_client
        self._stopping = threading.Event()
        self._told_to_stop = is_stopping
        self._keep_house_every_s = keep_house_every_s
        self._to_spread = threading.Event()
        self._to_post = {
            Pool.FAST: [threading.Event() for _ in range(fast)],
            Pool.SLOW: [threading.Event() for _ in range(slow)],
        }
        self._threads = [
            threading.Thread(target=self._spread, name="spreader", daemon=True),
            *(
                threading.Thread(target=self._post, args=(lane, event), name=lane, daemon=True)
                for lane, events in self._to_post.items()
                for event in events
            ),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake_workers(self) -> None:
        """There may be something to tell."""
        self._to_spread.set()

    def stop_claiming(self) -> None:
        """Begin nothing more; returns at once."""
        self._stopping.set()
        self._to_spread.set()
        for lane in Pool:
            self._wake(lane)

    def stop(self, *, within_s: float = 12.0) -> bool:
        """Begin nothing more, and wait for what is in hand; whether all of it ended in time."""
        self.stop_claiming()
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _is_stopping(self) -> bool:
        return self._stopping.is_set() or self._told_to_stop()

    def _wake(self, lane: Pool) -> None:
        for event in self._to_post[lane]:
            event.set()

    def _spread(self) -> None:
        next_housekeeping = time.monotonic() + self._keep_house_every_s
        while not self._is_stopping():
            self._to_spread.clear()
            run_guarded(self._spread_all, stopping=self._stopping)
            if time.monotonic() >= next_housekeeping:
                run_guarded(lambda: run_maintenance(self._ctx), stopping=self._stopping)
                next_housekeeping = time.monotonic() + self._keep_house_every_s
            self._to_spread.wait(_LOOK_EVERY_S)
        self.stop_claiming()

    def _spread_all(self) -> None:
        """Make deliveries, and wake who may have something to post now."""
        self._ctx.require_own_database()
        more = True
        while more and not self._is_stopping():
            more = fan_out_events(self._ctx) > 0
            for lane in Pool:
                if has_due_endpoint(self._ctx, lane):
                    self._wake(lane)

    def _post(self, lane: Pool, event: threading.Event) -> None:
        while True:
            event.clear()
            # Looked at behind that: who stops us says so first and wakes us then.
            if self._is_stopping():
                return
            if run_guarded(lambda: self._serve(lane), stopping=self._stopping) is not True:
                event.wait()

    def _serve(self, lane: Pool) -> bool:
        return deliver_next(self._ctx, self._poster, lane, stop=self._is_stopping)
