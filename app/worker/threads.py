"""Background threads of a web process: sweep, plan, submit, record, reconcile, import, notify.

Safe in several processes at once.  On `stop` nothing more is claimed, and the POST in hand is
finished.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from app.sms.context import Context
from app.sms.dispatch.burst import Burst, submit_next
from app.webhooks.incoming.apply import GROUP, apply_events
from app.worker.jobs import import_next, plan_next, poll_sinch, roll_up, run_maintenance, sweep
from app.worker.trying import run_guarded
from app.worker.webhook_workers import WebhookWorkers

_HOUSEKEEPING_S = 60.0
_ASK_EVERY_S = 5.0
# A file that was sent to another process, or whose worker died.
_IMPORT_EVERY_S = 15.0
# Events that come meanwhile are applied together: that takes a third of the time each.
_GATHER_S = 0.2


class BackgroundThreads:
    """The threads of one process."""

    def __init__(
        self, ctx: Context, *, senders: int, tellers: WebhookWorkers | None = None
    ) -> None:
        self._ctx = ctx
        self._tellers = tellers
        self._stopping = threading.Event()
        self._to_plan = threading.Event()
        self._to_book = threading.Event()
        self._to_import = threading.Event()
        self._to_send = [threading.Event() for _ in range(senders)]
        self._threads = [
            threading.Thread(target=self._sweep, name="sweeper", daemon=True),
            threading.Thread(target=self._plan, name="planner", daemon=True),
            threading.Thread(target=self._book, name="booker", daemon=True),
            threading.Thread(target=self._ask, name="asker", daemon=True),
            threading.Thread(target=self._import, name="importer", daemon=True),
            *(
                threading.Thread(target=self._send, args=(event,), name="sender", daemon=True)
                for event in self._to_send
            ),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        if self._tellers:
            self._tellers.start()

    def wake_workers(self) -> None:
        """There may be something to do."""
        self._to_plan.set()
        self._wake_senders()
        self._nudge_tellers()

    def wake_report_worker(self) -> None:
        """There may be something to book."""
        self._to_book.set()

    def wake_importer(self) -> None:
        """There may be a file to import."""
        self._to_import.set()

    def stop_claiming(self) -> None:
        """Begin nothing more; returns at once."""
        self._stopping.set()
        self.wake_workers()
        self.wake_report_worker()
        self.wake_importer()
        if self._tellers:
            self._tellers.stop_claiming()

    def stop(self, *, within_s: float = 22.0) -> bool:
        """Begin nothing more, and wait for what is in hand; whether all of it ended in time."""
        self.stop_claiming()
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        told = not self._tellers or self._tellers.stop(
            within_s=max(0.0, deadline - time.monotonic())
        )
        return told and not any(thread.is_alive() for thread in self._threads)

    def _wake_senders(self) -> None:
        for event in self._to_send:
            event.set()

    def _nudge_tellers(self) -> None:
        if self._tellers:
            self._tellers.wake_workers()

    def _sweep(self) -> None:
        next_housekeeping = time.monotonic() + _HOUSEKEEPING_S
        while not self._stopping.is_set():
            self._do(lambda: sweep(self._ctx))
            if time.monotonic() >= next_housekeeping:
                self._do(lambda: run_maintenance(self._ctx))
                next_housekeeping = time.monotonic() + _HOUSEKEEPING_S
            self.wake_workers()
            self._stopping.wait(self._ctx.rules.sweep_every_s)

    def _plan(self) -> None:
        while not self._stopping.is_set():
            self._to_plan.wait()
            self._to_plan.clear()
            while not self._stopping.is_set() and self._do(lambda: plan_next(self._ctx)):
                self._wake_senders()

    def _book(self) -> None:
        while not self._stopping.is_set():
            self._to_book.clear()
            while not self._stopping.is_set() and (looked_at := self._do(self._book_group)):
                self._nudge_tellers()
                if looked_at != GROUP:
                    # Whoever texted us may have to be answered.
                    self._to_send[0].set()
                    self._stopping.wait(_GATHER_S)
            self._to_book.wait(self._ctx.rules.sweep_every_s)

    def _book_group(self) -> int:
        return apply_events(self._ctx)

    def _ask(self) -> None:
        while not self._stopping.wait(min(self._ctx.rules.sweep_every_s, _ASK_EVERY_S)):
            self._do(lambda: poll_sinch(self._ctx))
            self._do(lambda: roll_up(self._ctx, stop=self._stopping.is_set))

    def _import(self) -> None:
        while not self._stopping.is_set():
            self._to_import.clear()
            while not self._stopping.is_set() and self._do(self._import_some):
                pass
            self._to_import.wait(_IMPORT_EVERY_S)

    def _import_some(self) -> bool:
        return import_next(self._ctx, stop=self._stopping.is_set)

    def _send(self, event: threading.Event) -> None:
        burst = Burst()
        while True:
            event.clear()
            # Looked at behind that: who stops us says so first and wakes us then.
            if self._stopping.is_set():
                return
            found = self._do(lambda: submit_next(self._ctx, burst, stop=self._stopping.is_set))
            if found is True:
                continue
            event.wait(self._choose_wait(found))

    def _choose_wait(self, found: object) -> float | None:
        """Until the next may go, or somebody nudges; a sweep does, at the latest."""
        if not isinstance(found, datetime):
            return None
        return max((found - self._ctx.now()).total_seconds(), 0.02)

    def _do(self, work: Callable[[], object]) -> object:
        """What `work` gives; False after an error."""
        return run_guarded(work, stopping=self._stopping)
