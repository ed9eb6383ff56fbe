"""Background threads of a web process: sweep, plan, submit, apply events, poll Sinch, import.

Several processes may run them at the same time.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from app.sms.context import Context
from app.sms.dispatch.burst import Burst, submit_next
from app.webhooks.incoming.apply import MAX_EVENTS, apply_events
from app.worker.guard import join_all, run_guarded
from app.worker.jobs import import_next, plan_next, poll_sinch, roll_up, run_maintenance, sweep
from app.worker.webhook_workers import WebhookWorkers

_MAINTENANCE_EVERY_S = 60.0
_POLL_EVERY_S = 5.0
# Finds a file that was uploaded to another process, or whose worker died.
_IMPORT_EVERY_S = 15.0
# Events that arrive within this time are applied together, at a third of the cost.
_GATHER_S = 0.2


class BackgroundThreads:
    """The background threads of one process, with its webhook workers."""

    def __init__(
        self, ctx: Context, *, senders: int, webhook_workers: WebhookWorkers | None = None
    ) -> None:
        self._ctx = ctx
        self._webhook_workers = webhook_workers
        self._stopping = threading.Event()
        self._wake_planner = threading.Event()
        self._wake_recorder = threading.Event()
        self._wake_import = threading.Event()
        self._wake_sender = [threading.Event() for _ in range(senders)]
        self._threads = [
            threading.Thread(target=self._sweep, name="sweeper", daemon=True),
            threading.Thread(target=self._plan, name="planner", daemon=True),
            threading.Thread(target=self._record, name="recorder", daemon=True),
            threading.Thread(target=self._poll, name="poller", daemon=True),
            threading.Thread(target=self._import, name="importer", daemon=True),
            *(
                threading.Thread(target=self._send, args=(wake,), name="sender", daemon=True)
                for wake in self._wake_sender
            ),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        if self._webhook_workers:
            self._webhook_workers.start()

    def wake_workers(self) -> None:
        """Wake the planner, the senders and the webhook workers."""
        self._wake_planner.set()
        self._wake_senders()
        self._wake_webhook_workers()

    def wake_report_worker(self) -> None:
        """Wake the thread that applies callbacks."""
        self._wake_recorder.set()

    def wake_importer(self) -> None:
        """Wake the thread that imports files."""
        self._wake_import.set()

    def stop_claiming(self) -> None:
        """Have the threads start nothing more.  Returns at once."""
        self._stopping.set()
        self.wake_workers()
        self.wake_report_worker()
        self.wake_importer()
        if self._webhook_workers:
            self._webhook_workers.stop_claiming()

    def stop(self, *, within_s: float = 22.0) -> bool:
        """Have the threads finish their POSTs and end.  Returns True if all of them did in time."""
        self.stop_claiming()
        deadline = time.monotonic() + within_s
        ended = join_all(self._threads, within_s=within_s)
        if self._webhook_workers is None:
            return ended
        left_s = max(0.0, deadline - time.monotonic())
        return self._webhook_workers.stop(within_s=left_s) and ended

    def _wake_senders(self) -> None:
        for wake in self._wake_sender:
            wake.set()

    def _wake_webhook_workers(self) -> None:
        if self._webhook_workers:
            self._webhook_workers.wake()

    def _sweep(self) -> None:
        next_maintenance = time.monotonic() + _MAINTENANCE_EVERY_S
        while not self._stopping.is_set():
            self._run(lambda: sweep(self._ctx))
            if time.monotonic() >= next_maintenance:
                self._run(lambda: run_maintenance(self._ctx))
                next_maintenance = time.monotonic() + _MAINTENANCE_EVERY_S
            self.wake_workers()
            self._stopping.wait(self._ctx.rules.sweep_every_s)

    def _plan(self) -> None:
        while not self._stopping.is_set():
            self._wake_planner.wait()
            self._wake_planner.clear()
            while not self._stopping.is_set() and self._run(lambda: plan_next(self._ctx)):
                self._wake_senders()

    def _record(self) -> None:
        while not self._stopping.is_set():
            self._wake_recorder.clear()
            while not self._stopping.is_set() and (
                applied := self._run(lambda: apply_events(self._ctx))
            ):
                self._wake_webhook_workers()
                if applied != MAX_EVENTS:
                    # A text from a phone may have stored a reply.
                    self._wake_sender[0].set()
                    self._stopping.wait(_GATHER_S)
            self._wake_recorder.wait(self._ctx.rules.sweep_every_s)

    def _poll(self) -> None:
        while not self._stopping.wait(min(self._ctx.rules.sweep_every_s, _POLL_EVERY_S)):
            self._run(lambda: poll_sinch(self._ctx))
            self._run(lambda: roll_up(self._ctx, stop=self._stopping.is_set))

    def _import(self) -> None:
        while not self._stopping.is_set():
            self._wake_import.clear()
            while not self._stopping.is_set() and self._run(
                lambda: import_next(self._ctx, stop=self._stopping.is_set)
            ):
                pass
            self._wake_import.wait(_IMPORT_EVERY_S)

    def _send(self, wake: threading.Event) -> None:
        burst = Burst()
        while True:
            wake.clear()
            # Read after `clear`, because `stop_claiming` sets `_stopping` before it wakes us.
            if self._stopping.is_set():
                return
            result = self._run(lambda: submit_next(self._ctx, burst, stop=self._stopping.is_set))
            if result is not True:
                wake.wait(self._seconds_until(result))

    def _seconds_until(self, next_start: object) -> float | None:
        """Seconds until the next batch may go; None if only a wake-up can bring one."""
        if not isinstance(next_start, datetime):
            return None
        return max((next_start - self._ctx.now()).total_seconds(), 0.02)

    def _run(self, work: Callable[[], object]) -> object:
        """Run `work`.  Returns its result, or False after a failure."""
        return run_guarded(work, stopping=self._stopping)
