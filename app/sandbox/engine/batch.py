"""One batch: what was ordered, and when which of its messages is in which status.

A message is no object.  Its course follows from its place in the batch, the moment the batch
entered the queue and the fate of its number, so a million messages cost little more than their
numbers.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.api.validation import MAX_VALIDITY_S, Order
from app.sandbox.control.settings import Settings
from app.sandbox.engine.outcomes import (
    FINAL,
    NO_ORIGINATOR,
    NO_PARAMETER,
    TOO_MANY_PARTS,
    Change,
    Fate,
    course_of,
    fate_of,
)
from app.sandbox.engine.parts import Measured, first_part, measure
from app.sandbox.numbers import digits_of

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9._-]+)\}")


@dataclass(slots=True, eq=False)
class Batch:
    """``messages`` and ``queued_at`` are set once its time to be sent has come."""

    id: str
    order: Order
    settings: Settings
    created_at: float
    ordered_at: float
    modified_at: float
    cancelled_at: float | None = None
    queued_at: float | None = None
    messages: tuple[str, ...] = ()
    rate: float | None = None
    feedback: set[str] = field(default_factory=set)

    @property
    def starts_at(self) -> float:
        return max(self.order.send_at or 0.0, self.ordered_at)

    @property
    def expire_at(self) -> float:
        return self.order.expire_at or self.starts_at + MAX_VALIDITY_S

    @property
    def reference(self) -> str | None:
        reference: str | None = self.order.fields.get("client_reference")
        return reference

    @property
    def callback_url(self) -> str | None:
        url: str | None = self.order.fields.get("callback_url", self.settings.callback_url)
        return url

    def dispatch_at(self, place: int) -> float:
        """When the message at this place leaves the queue."""
        assert self.queued_at is not None
        waited_s = (place + 1) / self.rate if self.rate else 0.0
        return self.queued_at + waited_s + self.settings.dispatch_after_s

    def dispatched(self, now: float) -> bool:
        """Whether anything has left the queue, so that the batch can no longer be altered."""
        return self.queued_at is not None and now >= self.dispatch_at(0)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Who gets a message: nobody when it was cancelled before it began."""
        if self.queued_at is not None:
            return self.messages
        if self.cancelled_at is not None:
            return ()
        return tuple(entry for entry in self.order.to if entry.isdigit())

    def fully_dispatched(self, now: float) -> bool:
        """Whether nothing is left to stop."""
        return self.queued_at is not None and now >= self.dispatch_at(len(self.messages) - 1)

    def course(self, place: int) -> list[Change]:
        """Queued, and whatever follows, of the message at this place."""
        assert self.queued_at is not None
        rest = course_of(
            self.fate(self.messages[place]),
            dispatch_at=self.dispatch_at(place),
            expire_at=self.expire_at,
            cancelled_at=self.cancelled_at,
            settings=self.settings,
        )
        return [Change(self.starts_at, "Queued", 400), *rest]

    def status(self, place: int, now: float) -> Change:
        if self.queued_at is None:
            return Change(self.ordered_at, "Queued", 400)
        return next(c for c in reversed(self.course(place)) if c.at <= now or c.code == 400)

    def completed_at(self) -> float | None:
        """When the last message is final; None when one never is."""
        ends = [self.course(place)[-1] for place in range(len(self.messages))]
        if any(end.status not in FINAL for end in ends):
            return None
        return max((end.at for end in ends), default=self.starts_at)

    def fate(self, number: str) -> Fate:
        if self.sender_for(number) is None:
            return NO_ORIGINATOR
        if self.order.type == "mt_binary":
            return fate_of(number, self.settings)
        text = self.text_for(number)
        if text is None:
            return NO_PARAMETER
        if self._too_long(text):
            return TOO_MANY_PARTS
        return fate_of(number, self.settings)

    def sender_for(self, number: str) -> str | None:
        """The batch's sender, else the longest fitting default originator."""
        sender: str | None = self.order.fields.get("from")
        if sender is not None:
            return sender
        originators = self.settings.default_originators
        fitting = [prefix for prefix in originators if number.startswith(prefix.lstrip("+"))]
        return originators[max(fitting, key=len)] if fitting else None

    @property
    def template(self) -> str:
        """The text before any values are filled in."""
        body = self.order.fields["body"]
        text: str = body.get("message", "") if isinstance(body, dict) else body
        return text

    def text_for(self, number: str) -> str | None:
        """The text with this recipient's values filled in; None when one is missing."""
        template = self.template
        if "${" not in template:
            return template
        parameters = self.order.fields.get("parameters", {})
        try:
            return _PLACEHOLDER.sub(lambda m: _value(parameters[m[1]], number), template)
        except KeyError:
            return None

    def measured(self, text: str) -> Measured:
        whole = measure(text, auto_encoding=self.settings.auto_encoding)
        if whole.parts == 1 or not self.order.fields.get("truncate_concat"):
            return whole
        return measure(first_part(whole.text), auto_encoding=False)

    @property
    def parts_limit(self) -> int | None:
        default = self.settings.default_max_parts
        limit: int | None = self.order.fields.get("max_number_of_message_parts", default)
        return limit

    def _too_long(self, text: str) -> bool:
        limit = self.parts_limit
        return limit is not None and self.measured(text).parts > limit


def _value(values: dict[str, Any], number: str) -> str:
    if number in values:
        return str(values[number])
    for key, value in values.items():
        if key != "default" and digits_of(key) == number:
            return str(value)
    return str(values["default"])
