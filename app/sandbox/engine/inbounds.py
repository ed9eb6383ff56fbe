"""Texts and MMS from phones to the plan's number."""

from dataclasses import dataclass
from typing import Any

from app.sandbox.api import fields
from app.sandbox.api.batch_request import MAX_BODY_LENGTH
from app.sandbox.clock import format_time
from app.sandbox.errors import bad_constraint, bad_format
from app.sandbox.ids import new_id

OWN_NUMBER = "12015550199"
_OPTIONAL = ("sent_at", "operator_id", "client_reference")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inbound:
    """A received message: its time, and its JSON in Sinch's shape."""

    received_at: float
    json: Json


class Inbounds:
    """All received messages, oldest first."""

    def __init__(self) -> None:
        self._received: list[Inbound] = []

    def clear(self) -> None:
        self._received.clear()

    def list_received(self, *, start: float, end: float | None) -> list[Inbound]:
        """Return the messages received in [start, end), newest first."""
        return [
            inbound
            for inbound in reversed(self._received)
            if start <= inbound.received_at and (end is None or inbound.received_at < end)
        ]

    def receive(self, raw: Json, now: float) -> Inbound:
        """Store a message as a test describes it.  Raises ApiError when it is invalid."""
        inbound_type = fields.read_choice(raw, "type", tuple(_BODY_READERS)) or "mo_text"
        inbound = Inbound(now, {
            "type": inbound_type,
            "id": new_id(now),
            "from": fields.parse_number("from", raw.get("from")),
            "to": fields.parse_number("to", raw.get("to", OWN_NUMBER)),
            "received_at": format_time(now),
            "body": _BODY_READERS[inbound_type](raw),
            **_read_optional(raw),
        })  # fmt: skip
        self._received.append(inbound)
        return inbound


def _read_optional(raw: Json) -> Json:
    fields.read_time(raw, "sent_at")
    values = {name: fields.read_text(raw, name) for name in _OPTIONAL}
    return {name: value for name, value in values.items() if value is not None}


def _read_text_body(raw: Json) -> str:
    body = fields.read_text(raw, "body", max_length=MAX_BODY_LENGTH)
    if body is None:
        raise bad_constraint("body is required")
    return body


def _read_media_body(raw: Json) -> Json:
    body = raw.get("body")
    if not isinstance(body, dict):
        raise bad_constraint("body must be an object with subject, message and media")
    media = fields.read_list(body, "media", min_items=0, max_items=100) or []
    if not all(isinstance(item, dict) for item in media):
        raise bad_format("body.media must be an array of objects")
    defaults = {"content_type": "image/png", "status": "Uploaded", "code": 0}
    return {**body, "media": [defaults | item for item in media]}


_BODY_READERS = {"mo_text": _read_text_body, "mo_media": _read_media_body}
