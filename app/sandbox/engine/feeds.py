"""When which callback of a batch is due.

A feed keeps no list of events: it remembers up to which moment it has told everything, and works
out what has happened since whenever it wakes.  So a cancellation needs no bookkeeping.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from app.sandbox.clock import Clock
from app.sandbox.control.settings import Settings
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.callbacks import Postman
from app.sandbox.engine.outcomes import FINAL, Change
from app.sandbox.engine.reports import batch_report, recipient_report
from app.sandbox.engine.scheduler import Scheduler

_BREATH_S = 0.02


class Feeds:
    """Sends the callbacks each batch asked for."""

    def __init__(
        self,
        *,
        lock: AbstractContextManager[object],
        clock: Clock,
        scheduler: Scheduler,
        postman: Postman,
        settings: Callable[[], Settings],
    ) -> None:
        self._lock, self._clock, self._settings = lock, clock, settings
        self._scheduler, self._postman = scheduler, postman
        self._told_until: dict[str, float] = {}

    def follow(self, batch: Batch) -> None:
        """Tell everything about a batch that has just entered the queue."""
        if batch.order.report == "none" or batch.callback_url is None:
            return
        self._told_until.setdefault(batch.id, 0.0)
        self.revisit(batch)

    def revisit(self, batch: Batch) -> None:
        """Look at a batch again at once, if there was anything left to tell."""
        self._scheduler.at(self._clock.now(), lambda: self._wake(batch))

    def forget(self) -> None:
        self._told_until.clear()

    def _wake(self, batch: Batch) -> None:
        with self._lock:
            if batch.id not in self._told_until or batch.queued_at is None:
                return
            if batch.order.report == "none":
                del self._told_until[batch.id]
            elif batch.order.report in ("summary", "full"):
                self._tell_once(batch)
            else:
                self._tell_changes(batch)

    def _tell_once(self, batch: Batch) -> None:
        completed_at, now = batch.completed_at(), self._clock.now()
        if completed_at is None or not batch.messages:
            return
        if completed_at > now:
            self._scheduler.at(completed_at, lambda: self._wake(batch))
            return
        del self._told_until[batch.id]
        full = batch.order.report == "full"
        report = batch_report(batch, now, full=full, settings=self._settings())
        self._post(batch, report)

    def _tell_changes(self, batch: Batch) -> None:
        since, now = self._told_until[batch.id], self._clock.now()
        events = sorted(self._events(batch))
        for at, place, change in events:
            if since < at <= now:
                report = recipient_report(batch, place, change, settings=self._settings())
                self._post(batch, report)
        ahead = next((at for at, _, _ in events if at > now), None)
        if ahead is None:
            del self._told_until[batch.id]
            return
        self._told_until[batch.id] = now
        self._scheduler.at(max(ahead, now + _BREATH_S), lambda: self._wake(batch))

    def _events(self, batch: Batch) -> Iterator[tuple[float, int, Change]]:
        """When to tell which change of which message."""
        final_only = batch.order.report == "per_recipient_final"
        for place in range(len(batch.messages)):
            changes = batch.course(place)[1:]
            for change in changes:
                if change.status in FINAL:
                    yield change.at, place, change
                elif not final_only:
                    yield self._told_at(change, changes[-1]), place, change

    def _told_at(self, change: Change, last: Change) -> float:
        late = self._settings().callbacks_out_of_order and last.status in FINAL
        return last.at + _BREATH_S if late else change.at

    def _post(self, batch: Batch, report: dict[str, object]) -> None:
        assert batch.callback_url is not None
        self._postman.post(batch.callback_url, report, about=batch.id)
