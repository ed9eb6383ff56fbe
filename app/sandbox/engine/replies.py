"""People who answer what they are sent, by their number."""

from collections.abc import Callable
from typing import Any

from app.sandbox.clock import Clock
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.outcomes import reply_from
from app.sandbox.engine.scheduler import Scheduler
from app.sandbox.numbers import digits_of

Json = dict[str, Any]


class Replies:
    """Lets those who answer do so once their message is delivered."""

    def __init__(
        self, *, clock: Clock, scheduler: Scheduler, receive: Callable[[Json], object]
    ) -> None:
        self._clock, self._scheduler, self._receive = clock, scheduler, receive
        self._given: set[tuple[str, int]] = set()

    def follow(self, batch: Batch) -> None:
        """Wait for the ends of a batch that has just entered the queue."""
        for place, number in enumerate(batch.messages):
            if reply_from(number) is not None:
                due = batch.course(place)[-1].at + batch.settings.reply_after_s
                self._scheduler.at(due, lambda place=place: self._reply(batch, place))  # type: ignore[misc]

    def forget(self) -> None:
        self._given.clear()

    def _reply(self, batch: Batch, place: int) -> None:
        """Answer, unless the message was cancelled or altered meanwhile."""
        number = batch.messages[place] if place < len(batch.messages) else ""
        text, to = reply_from(number), digits_of(batch.sender_for(number) or "")
        arrived = text and batch.status(place, self._clock.now()).status == "Delivered"
        if not arrived or to is None or (batch.id, place) in self._given:
            return
        self._given.add((batch.id, place))
        reply = {"from": number, "to": to, "body": text}
        if batch.settings.reply_bears_reference and batch.reference:
            reply["client_reference"] = batch.reference
        self._receive(reply)
