"""Automatic replies of the magic numbers that answer each text."""

from collections.abc import Callable
from typing import Any

from app.sandbox.clock import Clock
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.outcomes import find_auto_reply
from app.sandbox.engine.scheduler import Scheduler
from app.sandbox.numbers import parse_digits

_REPLY_AFTER_S = 0.05

Json = dict[str, Any]


class AutoReplies:
    """Sends a reply once the message is delivered."""

    def __init__(
        self, *, clock: Clock, scheduler: Scheduler, receive: Callable[[Json], object]
    ) -> None:
        self._clock, self._scheduler, self._receive = clock, scheduler, receive

    def follow(self, batch: Batch) -> None:
        """Schedule the replies to a batch that has just entered the queue."""
        for index, number in enumerate(batch.recipients):
            if find_auto_reply(number) is not None:
                due = batch.build_timeline(index)[-1].at + _REPLY_AFTER_S
                self._scheduler.schedule(due, lambda index=index: self._reply(batch, index))  # type: ignore[misc]

    def _reply(self, batch: Batch, index: int) -> None:
        """Reply, unless the message was cancelled meanwhile or its sender is a name."""
        number, to = batch.recipients[index], parse_digits(batch.request.fields["from"])
        delivered = batch.find_status(index, self._clock.now()).status == "Delivered"
        if delivered and to is not None:
            self._receive({"from": number, "to": to, "body": find_auto_reply(number)})
