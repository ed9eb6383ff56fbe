"""The service plan: its accepted batches, its queue and its inbounds, all in memory."""

import threading
from bisect import insort
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus

from app.sandbox.api.batch_request import read_batch_request
from app.sandbox.api.fields import Json
from app.sandbox.api.queries import RETENTION_S
from app.sandbox.clock import Clock
from app.sandbox.control.ledger import Ledger
from app.sandbox.control.settings import Settings
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.callbacks import CallbackSender
from app.sandbox.engine.inbounds import Inbounds
from app.sandbox.engine.outcomes import find_auto_reply
from app.sandbox.engine.report_callbacks import ReportCallbacks
from app.sandbox.engine.scheduler import Scheduler
from app.sandbox.errors import ApiError
from app.sandbox.ids import new_id
from app.sandbox.numbers import parse_digits

_REPLY_AFTER_S = 0.05


class ServicePlan:
    """State of the sandbox's Sinch side.  Take `lock` to read several things together."""

    def __init__(self, *, settings: Settings, clock: Clock, ledger: Ledger) -> None:
        self.settings, self.clock, self.ledger = settings, clock, ledger
        self._initial_settings = settings
        self.lock = threading.RLock()
        self.scheduler = Scheduler(clock)
        self.callbacks = CallbackSender(clock, self.scheduler, lambda: self.settings)
        self._reports = ReportCallbacks(
            lock=self.lock, clock=clock, scheduler=self.scheduler, callbacks=self.callbacks
        )
        self.inbounds = Inbounds()
        self.batches: dict[str, Batch] = {}
        self._by_age: list[Batch] = []
        self._by_reference: dict[str, list[Batch]] = {}
        self._waiting: dict[str, Batch] = {}
        self._queue_free_at = 0.0

    def start(self) -> None:
        self.scheduler.start()
        self.callbacks.start()

    def stop(self) -> None:
        self.scheduler.stop()
        self.callbacks.stop()
        self.ledger.close()

    def reset(self) -> None:
        """Delete everything, and undo the changes of clock and settings."""
        with self.lock:
            self.settings = self._initial_settings
            self.clock.reset()
            self.scheduler.clear()
            self._reports.clear()
            self.callbacks.clear()
            for batches in (self.batches, self._by_age, self._by_reference, self._waiting):
                batches.clear()
            self.inbounds.clear()
            self._queue_free_at = 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock forward and run what is then due."""
        self.clock.advance(seconds)
        self.queue_due_batches()
        self.scheduler.wake()

    def draft(self, raw: Json) -> Batch:
        """Return the batch that a send request would create, without storing it."""
        now, settings = self.clock.now(), self.settings
        request = read_batch_request(raw, plan_callback_url=settings.callback_url, now=now)
        return Batch(new_id(now), request, settings, now)

    def accept(self, raw: Json) -> Batch:
        """Accept a send request: write it to the ledger first, then queue it."""
        batch = self.draft(raw)
        self.ledger.write("accepted", batch, batch.created_at)
        with self.lock:
            self.batches[batch.id] = batch
            # Sorted by age: two simultaneous requests may arrive here in either order.
            insort(self._by_age, batch, key=_created_at)
            if batch.client_reference is not None:
                same_reference = self._by_reference.setdefault(batch.client_reference, [])
                insort(same_reference, batch, key=_created_at)
            self._waiting[batch.id] = batch
            if batch.starts_at > self.clock.now():
                self.scheduler.schedule(batch.starts_at, self.queue_due_batches)
            self.queue_due_batches()
        return batch

    def queue_due_batches(self) -> None:
        """Queue each batch whose `send_at` has passed, in the order of these times."""
        with self.lock:
            now = self.clock.now()
            due = [batch for batch in self._waiting.values() if batch.starts_at <= now]
            for batch in sorted(due, key=lambda batch: batch.starts_at):
                del self._waiting[batch.id]
                batch.queued_at = max(batch.starts_at, self._queue_free_at)
                self._queue_free_at = batch.queued_at + batch.queue_time_s
                self._reports.follow(batch)
                self._schedule_replies(batch)

    def find_batch(self, batch_id: str) -> Batch:
        """Return a batch.  Raises ApiError 404 when it is unknown or older than the retention."""
        self.queue_due_batches()
        batch = self.batches.get(batch_id)
        if batch is None or batch.created_at < self.clock.now() - RETENTION_S:
            raise ApiError(HTTPStatus.NOT_FOUND, "not_found", f"batch {batch_id} not found")
        return batch

    def list_batches(
        self, *, client_reference: str | None, start: float, end: float | None
    ) -> list[Batch]:
        """Return the batches created in [start, end), newest first."""
        visible_until = self.clock.now() - self.settings.list_delay_s
        with self.lock:
            return [
                batch
                for batch in self._list_since(start, client_reference)
                if batch.created_at <= visible_until and (end is None or batch.created_at < end)
            ]

    def cancel(self, batch_id: str) -> Batch:
        """Cancel the messages still in the queue.

        Raises ApiError 409 when the batch is cancelled already or has left the queue.
        """
        batch = self.find_batch(batch_id)
        with self.lock:
            now = self.clock.now()
            if batch.cancelled_at is not None:
                raise _conflict("the batch is already cancelled")
            if batch.is_dispatched(now):
                raise _conflict("the batch has been dispatched")
            batch.cancelled_at = now
            self._waiting.pop(batch.id, None)
            self._reports.revisit(batch)
        self.ledger.write("cancelled", batch, now)
        return batch

    def receive_inbound(self, raw: Json) -> Json:
        """Store a message from a phone and post it to the callback URL.  Returns its JSON."""
        with self.lock:
            inbound = self.inbounds.receive(raw, self.clock.now())
        if url := self.settings.inbound_url or self.settings.callback_url:
            self.callbacks.post(url, inbound.json, about=inbound.json["id"])
        return inbound.json

    def _schedule_replies(self, batch: Batch) -> None:
        """Schedule the replies of magic numbers to a batch that has just entered the queue."""
        for index, number in enumerate(batch.recipients):
            if find_auto_reply(number) is not None:
                due = batch.build_timeline(index)[-1].at + _REPLY_AFTER_S
                self.scheduler.schedule(due, partial(self._reply, batch, index))

    def _reply(self, batch: Batch, index: int) -> None:
        """Reply, unless the message was cancelled meanwhile or its sender is a name."""
        number, to = batch.recipients[index], parse_digits(batch.request.fields["from"])
        delivered = batch.find_status(index, self.clock.now()).status == "Delivered"
        if delivered and to is not None:
            self.receive_inbound({"from": number, "to": to, "body": find_auto_reply(number)})

    def _list_since(self, start: float, client_reference: str | None) -> Iterator[Batch]:
        if client_reference is None:
            batches = self._by_age
        else:
            batches = self._by_reference.get(client_reference, [])
        for batch in reversed(batches):
            if batch.created_at < start:
                return
            yield batch


def _created_at(batch: Batch) -> float:
    return batch.created_at


def _conflict(text: str) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "conflict_send_at", text)
