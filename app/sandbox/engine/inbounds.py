"""Texts from people to the plan's number."""

import base64
from dataclasses import dataclass
from typing import Any

from app.sandbox.api import fields
from app.sandbox.clock import format_time
from app.sandbox.errors import bad_constraint, bad_format, not_found
from app.sandbox.ids import new_id
from app.sandbox.numbers import digits_of

MAX_BODY = 2000
_OPTIONAL = ("sent_at", "operator_id", "client_reference")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inbound:
    """One received message: when, and everything else as Sinch words it."""

    received_at: float
    json: Json


class Inbounds:
    """Everything received, oldest first."""

    def __init__(self) -> None:
        self._held: dict[str, Inbound] = {}

    def clear(self) -> None:
        self._held.clear()

    def all(self) -> list[Inbound]:
        return list(self._held.values())

    def find(self, inbound_id: str, *, since: float) -> Inbound:
        inbound = self._held.get(inbound_id)
        if inbound is None or inbound.received_at < since:
            raise not_found(f"inbound {inbound_id}")
        return inbound

    def receive(self, raw: Json, *, own_number: str, now: float) -> Inbound:
        """A person's text, as the tester describes it.  Refused when it cannot be one."""
        kind = fields.choice_of(raw, "type", tuple(_BODIES)) or "mo_text"
        inbound = Inbound(now, {
            "type": kind,
            "id": new_id(now),
            "from": _number_of(raw, "from", None),
            "to": _number_of(raw, "to", own_number),
            "received_at": format_time(now),
            **_BODIES[kind](raw),
            **_optional(raw),
        })  # fmt: skip
        self._held[inbound.json["id"]] = inbound
        return inbound


def _number_of(raw: Json, name: str, default: str | None) -> str:
    value = raw.get(name, default)
    digits = digits_of(value) if isinstance(value, str) else None
    if digits is None:
        raise bad_format(f"{name} is not a phone number: {value}")
    return digits


def _optional(raw: Json) -> Json:
    fields.time_of(raw, "sent_at")
    read = {name: fields.text_of(raw, name, longest=2048) for name in _OPTIONAL}
    return {name: value for name, value in read.items() if value is not None}


def _text_body(raw: Json) -> Json:
    body = fields.text_of(raw, "body", longest=MAX_BODY)
    if body is None:
        raise bad_constraint("body is required")
    return {"body": body}


def _binary_body(raw: Json) -> Json:
    body, udh = fields.base64_of(raw, "body"), fields.hex_of(raw, "udh")
    if body is None or udh is None:
        raise bad_constraint("body and udh are required")
    return {"body": base64.b64encode(body).decode(), "udh": udh.hex()}


def _media_body(raw: Json) -> Json:
    body = raw.get("body")
    if not isinstance(body, dict):
        raise bad_constraint("body must be an object with subject, message and media")
    media = fields.list_of(body, "media", least=0, most=100) or []
    if not all(isinstance(item, dict) for item in media):
        raise bad_format("body.media must be an array of objects")
    usual = {"content_type": "image/png", "status": "Uploaded", "code": 0}
    return {"body": {**body, "media": [usual | item for item in media]}}


_BODIES = {"mo_text": _text_body, "mo_binary": _binary_body, "mo_media": _media_body}
