"""An accepted batch, and the status of each of its messages at any time.

A message is no object.  Its timeline follows from its index in the batch, the time at which the
batch entered the queue and the outcome of its number, so a million messages need little more
memory than their numbers.
"""

import re
from dataclasses import dataclass
from typing import Any

from app.sandbox.api.batch_request import MAX_VALIDITY_S, BatchRequest
from app.sandbox.control.settings import Settings
from app.sandbox.engine.outcomes import (
    FINAL,
    NO_PARAMETER,
    TOO_MANY_PARTS,
    Outcome,
    StatusChange,
    build_timeline,
    choose_outcome,
)
from app.sandbox.engine.parts import count_parts
from app.sandbox.numbers import parse_digits

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9._-]+)\}")


@dataclass(slots=True, eq=False)
class Batch:
    """A batch with the settings it was accepted under; times in Unix seconds.

    `queued_at` is set once `send_at` has passed.
    """

    id: str
    request: BatchRequest
    settings: Settings
    created_at: float
    cancelled_at: float | None = None
    queued_at: float | None = None

    @property
    def starts_at(self) -> float:
        return max(self.request.send_at or 0.0, self.created_at)

    @property
    def expire_at(self) -> float:
        return self.request.expire_at or self.starts_at + MAX_VALIDITY_S

    @property
    def client_reference(self) -> str | None:
        reference: str | None = self.request.fields.get("client_reference")
        return reference

    @property
    def callback_url(self) -> str | None:
        url: str | None = self.request.fields.get("callback_url", self.settings.callback_url)
        return url

    @property
    def text(self) -> str:
        """The text with its placeholders."""
        return str(self.request.fields["body"])

    @property
    def recipients(self) -> tuple[str, ...]:
        """Numbers with a message: none when the batch was cancelled before it entered the queue."""
        if self.cancelled_at is not None and self.queued_at is None:
            return ()
        return self.request.recipients

    @property
    def queue_time_s(self) -> float:
        """Time that all messages need to leave the queue."""
        rate = self.settings.messages_per_second
        return len(self.request.recipients) / rate if rate else 0.0

    def is_dispatched(self, now: float) -> bool:
        """Return True when no message can be cancelled any more."""
        if self.queued_at is None:
            return False
        return now >= self._dispatch_at(len(self.request.recipients) - 1)

    def build_timeline(self, index: int) -> list[StatusChange]:
        """Return all status changes of the message at this index, Queued first."""
        changes = build_timeline(
            self._choose_outcome(self.request.recipients[index]),
            dispatch_at=self._dispatch_at(index),
            expire_at=self.expire_at,
            cancelled_at=self.cancelled_at,
            deliver_after_s=self.settings.deliver_after_s,
        )
        return [StatusChange(self.starts_at, "Queued", 400), *changes]

    def find_status(self, index: int, now: float) -> StatusChange:
        if self.queued_at is None:
            return StatusChange(self.created_at, "Queued", 400)
        queued, *changes = self.build_timeline(index)
        return next((change for change in reversed(changes) if change.at <= now), queued)

    def completed_at(self) -> float | None:
        """Return the time of the last final status; None when a message never gets one."""
        last_changes = [self.build_timeline(i)[-1] for i in range(len(self.request.recipients))]
        if any(change.status not in FINAL for change in last_changes):
            return None
        return max(change.at for change in last_changes)

    def fill_text(self, number: str) -> str | None:
        """Return the text with this recipient's values; None when a value is missing."""
        if "${" not in self.text:
            return self.text
        parameters = self.request.fields.get("parameters", {})
        try:
            return _PLACEHOLDER.sub(lambda m: _find_value(parameters[m[1]], number), self.text)
        except KeyError:
            return None

    def _dispatch_at(self, index: int) -> float:
        assert self.queued_at is not None
        rate = self.settings.messages_per_second
        waited_s = (index + 1) / rate if rate else 0.0
        return self.queued_at + waited_s + self.settings.dispatch_after_s

    def _choose_outcome(self, number: str) -> Outcome:
        text = self.fill_text(number)
        if text is None:
            return NO_PARAMETER
        max_parts = self.request.fields.get("max_number_of_message_parts")
        if max_parts is not None and count_parts(text) > max_parts:
            return TOO_MANY_PARTS
        return choose_outcome(number, self.settings)


def _find_value(values: dict[str, Any], number: str) -> str:
    """Return a parameter's value for a number, else its default.  Raises KeyError."""
    if number in values:
        return str(values[number])
    for key, value in values.items():
        if key != "default" and parse_digits(key) == number:
            return str(value)
    return str(values["default"])
