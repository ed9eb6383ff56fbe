"""Background threads of a web process: sweep, plan, submit, apply events, poll Sinch, import.

Several processes may run them at the same time.
"""

import time
from collections.abc import Callable
from datetime import datetime

from app.sms.context import Context
from app.sms.dispatch.burst import Burst, submit_next
from app.webhooks.incoming.apply import MAX_EVENTS, apply_events
from app.worker.jobs import import_next, plan_next, run_maintenance, run_polls, sweep
from app.worker.loops import Loops
from app.worker.webhook_workers import WebhookWorkers

_MAINTENANCE_EVERY_S = 60.0
_POLL_EVERY_S = 5.0
# Finds a file that was uploaded to another process, or whose worker died.
_IMPORT_EVERY_S = 15.0
# Events that arrive within this time are applied together, at a third of the cost.
_GATHER_S = 0.2


class BackgroundThreads(Loops):
    """The background threads of one process, with its webhook workers."""

    def __init__(
        self, ctx: Context, *, senders: int, webhook_workers: WebhookWorkers | None = None
    ) -> None:
        self._webhook_workers = [webhook_workers] if webhook_workers else []
        super().__init__(*self._webhook_workers)
        self._ctx = ctx
        self._next_maintenance = time.monotonic() + _MAINTENANCE_EVERY_S
        self.add("sweeper", self._sweep)
        self._planner = self.add("planner", self._plan)
        self._recorder = self.add("recorder", self._record)
        self._poll_every_s = min(ctx.rules.sweep_every_s, _POLL_EVERY_S)
        self.add("poller", self._poll, delay_s=self._poll_every_s)
        self._importer = self.add("importer", self._import)
        self._senders = [self.add("sender", self._make_sender()) for _ in range(senders)]

    def wake_workers(self) -> None:
        """Wake the planner, the senders and the webhook workers."""
        for loop in (self._planner, *self._senders):
            loop.wake()
        self._wake_webhook_workers()

    def wake_report_worker(self) -> None:
        """Wake the thread that applies callbacks."""
        self._recorder.wake()

    def wake_importer(self) -> None:
        """Wake the thread that imports files."""
        self._importer.wake()

    def _wake_webhook_workers(self) -> None:
        for workers in self._webhook_workers:
            workers.wake()

    def _sweep(self) -> float:
        sweep(self._ctx)
        if time.monotonic() >= self._next_maintenance:
            run_maintenance(self._ctx)
            self._next_maintenance = time.monotonic() + _MAINTENANCE_EVERY_S
        self.wake_workers()
        return self._ctx.rules.sweep_every_s

    def _plan(self) -> float | None:
        while not self._stopping.is_set() and plan_next(self._ctx):
            for sender in self._senders:
                sender.wake()
        return None

    def _record(self) -> float:
        applied = apply_events(self._ctx)
        if not applied:
            return self._ctx.rules.sweep_every_s
        self._wake_webhook_workers()
        if applied != MAX_EVENTS:
            # A text from a phone may have stored a reply.
            self._senders[0].wake()
            self._stopping.wait(_GATHER_S)
        return 0

    def _poll(self) -> float:
        run_polls(self._ctx, stop=self._stopping.is_set)
        return self._poll_every_s

    def _import(self) -> float:
        return 0 if import_next(self._ctx, stop=self._stopping.is_set) else _IMPORT_EVERY_S

    def _make_sender(self) -> Callable[[], float | None]:
        burst = Burst()

        def send() -> float | None:
            result = submit_next(self._ctx, burst, stop=self._stopping.is_set)
            if isinstance(result, datetime):
                return max((result - self._ctx.now()).total_seconds(), 0.02)
            return 0 if result else None

        return send
