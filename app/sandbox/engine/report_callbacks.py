"""Delivery report callbacks: when each callback of a batch is due.

No list of events is kept.  A batch has the time up to which its changes were posted; each wake-up
works out the changes since then.  So a cancellation needs no bookkeeping.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager

from app.sandbox.clock import Clock
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.callbacks import CallbackSender
from app.sandbox.engine.outcomes import FINAL, StatusChange
from app.sandbox.engine.reports import build_batch_report, build_recipient_report
from app.sandbox.engine.scheduler import Scheduler

_MIN_WAIT_S = 0.02


class ReportCallbacks:
    """Posts the delivery reports that each batch requested."""

    def __init__(
        self,
        *,
        lock: AbstractContextManager[object],
        clock: Clock,
        scheduler: Scheduler,
        callbacks: CallbackSender,
    ) -> None:
        self._lock, self._clock = lock, clock
        self._scheduler, self._callbacks = scheduler, callbacks
        self._posted_until: dict[str, float] = {}

    def follow(self, batch: Batch) -> None:
        """Post the reports of a batch that has just entered the queue."""
        if batch.request.report_mode != "none" and batch.callback_url is not None:
            self._posted_until[batch.id] = 0.0
            self.revisit(batch)

    def revisit(self, batch: Batch) -> None:
        """Look at a batch again now, unless all its reports are posted."""
        self._scheduler.schedule(self._clock.now(), lambda: self._wake(batch))

    def clear(self) -> None:
        self._posted_until.clear()

    def _wake(self, batch: Batch) -> None:
        with self._lock:
            if batch.id not in self._posted_until:
                return
            if batch.request.report_mode in ("summary", "full"):
                self._post_batch_report(batch)
            else:
                self._post_changes(batch)

    def _post_batch_report(self, batch: Batch) -> None:
        completed_at, now = batch.completed_at(), self._clock.now()
        if completed_at is None:
            return
        if completed_at > now:
            self._scheduler.schedule(completed_at, lambda: self._wake(batch))
            return
        del self._posted_until[batch.id]
        self._post(batch, build_batch_report(batch, now, full=batch.request.report_mode == "full"))

    def _post_changes(self, batch: Batch) -> None:
        posted_until, now = self._posted_until[batch.id], self._clock.now()
        changes = sorted(self._list_changes(batch), key=lambda item: (item[0].at, item[1]))
        for change, index in changes:
            if posted_until < change.at <= now:
                self._post(batch, build_recipient_report(batch, index, change))
        next_at = next((change.at for change, _ in changes if change.at > now), None)
        if next_at is None:
            del self._posted_until[batch.id]
            return
        self._posted_until[batch.id] = now
        self._scheduler.schedule(max(next_at, now + _MIN_WAIT_S), lambda: self._wake(batch))

    def _list_changes(self, batch: Batch) -> Iterator[tuple[StatusChange, int]]:
        """Yield the changes to report, each with the index of its message."""
        final_only = batch.request.report_mode == "per_recipient_final"
        for index in range(len(batch.recipients)):
            for change in batch.build_timeline(index)[1:]:
                if not final_only or change.status in FINAL:
                    yield change, index

    def _post(self, batch: Batch, report: dict[str, object]) -> None:
        assert batch.callback_url is not None
        self._callbacks.post(batch.callback_url, report, about=batch.id)
