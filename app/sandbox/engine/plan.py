"""The service plan: every batch it has accepted, its queue, and what may still be altered."""

import threading
from bisect import insort
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from app.sandbox.api.fields import Json
from app.sandbox.api.validation import MAX_RECIPIENTS, Order, read_entries, read_order
from app.sandbox.clock import Clock, format_time
from app.sandbox.control.ledger import Ledger
from app.sandbox.control.settings import Settings
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.callbacks import Postman
from app.sandbox.engine.feeds import Feeds
from app.sandbox.engine.groups import Groups
from app.sandbox.engine.inbounds import Inbounds
from app.sandbox.engine.replies import Replies
from app.sandbox.engine.scheduler import Scheduler
from app.sandbox.errors import Refused, bad_constraint, forbidden, not_found
from app.sandbox.ids import new_id

_DAY_S = 24 * 3600.0


class Plan:
    """All state of the sandbox's Sinch side.  Hold ``lock`` to look at several things at once."""

    def __init__(self, *, settings: Settings, clock: Clock, ledger: Ledger) -> None:
        self.settings, self.clock, self.ledger = settings, clock, ledger
        self._initial = settings
        self.lock = threading.RLock()
        self.scheduler = Scheduler(clock)
        self.postman = Postman(clock, self.scheduler, lambda: self.settings)
        self.feeds = Feeds(
            lock=self.lock,
            clock=clock,
            scheduler=self.scheduler,
            postman=self.postman,
            settings=lambda: self.settings,
        )
        self.replies = Replies(clock=clock, scheduler=self.scheduler, receive=self.receive)
        self.groups = Groups()
        self.inbounds = Inbounds()
        self.batches: dict[str, Batch] = {}
        self._by_age: list[Batch] = []
        self._by_reference: dict[str, list[Batch]] = {}
        self._waiting: dict[str, Batch] = {}
        self._queue_free_at = 0.0

    def start(self) -> None:
        self.scheduler.start()
        self.postman.start()

    def stop(self) -> None:
        self.scheduler.stop()
        self.postman.stop()
        self.ledger.close()

    def reset(self) -> None:
        """Forget everything, the clock's and the switches' changes included."""
        with self.lock:
            self.settings = self._initial
            self.clock.reset()
            self.scheduler.clear()
            self.feeds.forget()
            self.postman.forget()
            self.replies.forget()
            for held in (self.batches, self._by_age, self._by_reference, self._waiting):
                held.clear()
            self.groups.clear()
            self.inbounds.clear()
            self._queue_free_at = 0.0

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.admit_due()
        self.scheduler.wake()

    def read_order(self, raw: Json) -> Order:
        return read_order(
            raw, settings=self.settings, now=self.clock.now(), group_exists=self.groups.__contains__
        )

    def draft(self, raw: Json) -> Batch:
        """The batch a send request would make; nothing is kept."""
        now = self.clock.now()
        return Batch(new_id(now), self.read_order(raw), self.settings, now, now, now)

    def accept(self, raw: Json) -> Batch:
        """Take a send request: in the ledger first, then in the queue."""
        batch = self.draft(raw)
        self.ledger.write("accepted", batch, batch.created_at)
        with self.lock:
            self.batches[batch.id] = batch
            # By age: two requests at once may get here in either order.
            insort(self._by_age, batch, key=lambda b: b.created_at)
            self._file_away(batch)
            self._wait(batch)
        return batch

    def admit_due(self) -> None:
        """Put every batch whose time has come into the queue, first come first served."""
        with self.lock:
            now = self.clock.now()
            due = [batch for batch in self._waiting.values() if batch.starts_at <= now]
            for batch in sorted(due, key=lambda batch: batch.starts_at):
                del self._waiting[batch.id]
                self._admit(batch)

    def find(self, batch_id: str) -> Batch:
        """The batch.  Refused with 404 when unknown, too old, or not loaded yet."""
        self.admit_due()
        batch, now = self.batches.get(batch_id), self.clock.now()
        if batch is None or batch.created_at < now - self.settings.retention_days * _DAY_S:
            raise not_found(f"batch {batch_id}")
        if now < batch.created_at + self.settings.not_loaded_s:
            raise not_found(f"batch {batch_id}")
        return batch

    def listed(self, *, reference: str | None, start: float, end: float | None) -> list[Batch]:
        """Batches created in [start, end), newest first."""
        self.admit_due()
        now = self.clock.now()
        start = max(start, now - self.settings.retention_days * _DAY_S)
        visible_until = now - self.settings.list_delay_s
        with self.lock:
            found = [b for b in self._since(start, reference) if b.created_at <= visible_until]
        if end is not None:
            found = [b for b in found if b.created_at < end]
        return found if self.settings.list_order == "newest_first" else found[::-1]

    def update(self, batch_id: str, raw: Json) -> Batch:
        batch = self.find(batch_id)
        added = read_entries(raw, "to_add", most=100) or []
        removed = set(read_entries(raw, "to_remove", most=100) or [])
        changes = {name: value for name, value in raw.items() if value is not None}
        with self.lock:
            to = [n for n in [*batch.order.to, *added] if n not in removed]
            if not 1 <= len(to) <= MAX_RECIPIENTS:
                raise bad_constraint(f"to must have 1 to {MAX_RECIPIENTS} entries")
            return self._alter(batch, _as_request(batch.order) | changes | {"to": to})

    def replace(self, batch_id: str, raw: Json) -> Batch:
        return self._alter(self.find(batch_id), raw)

    def cancel(self, batch_id: str) -> Batch:
        """Stop what has not left.  Refused with 409 as the ``cancel_conflict`` switch says."""
        batch = self.find(batch_id)
        with self.lock:
            now = self.clock.now()
            conflict = self.settings.cancel_conflict
            if batch.cancelled_at is not None and conflict in ("already_cancelled", "both"):
                raise _conflict("the batch is already cancelled")
            if batch.fully_dispatched(now) and conflict in ("too_late", "both"):
                raise _conflict("the batch has been dispatched")
            batch.cancelled_at = batch.cancelled_at or now
            batch.modified_at = now
            self._waiting.pop(batch.id, None)
            self.feeds.revisit(batch)
        self.ledger.write("cancelled", batch, now)
        return batch

    def receive(self, raw: Json) -> Json:
        """Take a person's text: stored, groups joined or left, and posted where inbounds go."""
        now, settings = self.clock.now(), self.settings
        with self.lock:
            inbound = self.inbounds.receive(raw, own_number=settings.own_number, now=now)
            self.groups.hear(inbound.json)
        if url := settings.inbound_url or settings.callback_url:
            self.postman.post(url, inbound.json, about=inbound.json["id"])
        return inbound.json

    def _alter(self, batch: Batch, raw: Json) -> Batch:
        with self.lock:
            now = self.clock.now()
            if batch.cancelled_at is not None or batch.dispatched(now):
                raise forbidden("batch_already_dispatched", "the batch can no longer be altered")
            order = self.read_order(raw)
            batch.order, batch.settings = order, self.settings
            batch.ordered_at = batch.modified_at = now
            batch.queued_at = None
            self._file_away(batch)
            self._wait(batch)
        self.ledger.write("changed", batch, now)
        return batch

    def _wait(self, batch: Batch) -> None:
        self._waiting[batch.id] = batch
        if batch.starts_at > self.clock.now():
            self.scheduler.at(batch.starts_at, self.admit_due)
        self.admit_due()

    def _admit(self, batch: Batch) -> None:
        batch.messages = self.expand(batch.order.to)
        batch.rate = self.settings.messages_per_second
        batch.queued_at = max(batch.starts_at, self._queue_free_at)
        taken_s = len(batch.messages) / batch.rate if batch.rate else 0.0
        self._queue_free_at = batch.queued_at + taken_s
        self.feeds.follow(batch)
        self.replies.follow(batch)

    def expand(self, to: tuple[str, ...]) -> tuple[str, ...]:
        """Groups become their members of this moment, each number once."""
        if all(entry.isdigit() for entry in to):
            return to
        expanded = [n for e in to for n in ([e] if e.isdigit() else self.groups.members(e))]
        return tuple(dict.fromkeys(expanded))

    def _file_away(self, batch: Batch) -> None:
        if batch.reference is not None:
            held = self._by_reference.setdefault(batch.reference, [])
            if batch not in held:
                insort(held, batch, key=lambda b: b.created_at)

    def _since(self, start: float, reference: str | None) -> Iterator[Batch]:
        held = self._by_age if reference is None else self._by_reference.get(reference, [])
        for batch in reversed(held):
            if batch.created_at < start:
                return
            if reference is None or batch.reference == reference:
                yield batch


def _as_request(order: Order) -> dict[str, Any]:
    times = {"send_at": order.send_at, "expire_at": order.expire_at}
    return order.fields | {k: format_time(at) for k, at in times.items() if at is not None}


def _conflict(text: str) -> Refused:
    return Refused(HTTPStatus.CONFLICT, "conflict_send_at", text)
