"""A send request: checked whole, then kept as digits, times and the fields that were given."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.sandbox.api import fields
from app.sandbox.control.settings import Settings
from app.sandbox.errors import bad_constraint, bad_format, forbidden
from app.sandbox.ids import looks_like_id
from app.sandbox.numbers import digits_of

MAX_RECIPIENTS = 1000
MAX_VALIDITY_S = 3 * 24 * 3600
REPORTS = ("none", "summary", "full", "per_recipient", "per_recipient_final")
TYPES = ("mt_text", "mt_binary", "mt_media")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What a valid send request asks for.  ``to`` holds digits and group ids."""

    to: tuple[str, ...]
    fields: Json
    send_at: float | None
    expire_at: float | None

    @property
    def type(self) -> str:
        return str(self.fields.get("type", "mt_text"))

    @property
    def report(self) -> str:
        return str(self.fields.get("delivery_report", "none"))


def read_order(
    raw: Json, *, settings: Settings, now: float, group_exists: Callable[[str], bool]
) -> Order:
    """The order in a send request.  Refused is raised when any part of it does not fit."""
    to = _read_recipients(raw, settings)
    given = _read_common(raw, settings)
    given |= _READERS[given["type"] or "mt_text"](raw, settings)
    send_at, expire_at = _read_times(raw, settings=settings, now=now)
    _refuse_forbidden(to, given, settings=settings, group_exists=group_exists)
    kept = {name: value for name, value in given.items() if value is not None}
    return Order(to, kept, send_at, expire_at)


def _read_recipients(raw: Json, settings: Settings) -> tuple[str, ...]:
    read = read_entries(raw, "to", most=MAX_RECIPIENTS)
    if read is None:
        raise bad_constraint("to is required")
    return tuple(dict.fromkeys(read) if settings.duplicates_in_to == "collapse" else read)


def read_entries(raw: Json, name: str, *, most: int) -> list[str] | None:
    """Numbers as digits, group ids as they are.  One bad entry refuses all of them."""
    entries = fields.list_of(raw, name, least=1, most=most)
    if entries is None:
        return None
    return [_entry_at(name, position, entry) for position, entry in enumerate(entries)]


def _entry_at(name: str, position: int, entry: object) -> str:
    if isinstance(entry, str) and looks_like_id(entry) and not entry.isdigit():
        return entry
    return fields.number_at(name, position, entry)


def _read_common(raw: Json, settings: Settings) -> Json:
    sender = fields.sender_of(raw)
    if sender is None and not settings.default_originators:
        raise bad_constraint("from is required")
    longest = settings.max_client_reference
    return {
        "from": sender,
        "type": fields.choice_of(raw, "type", TYPES),
        "delivery_report": fields.choice_of(raw, "delivery_report", REPORTS),
        "callback_url": fields.url_of(raw, "callback_url"),
        "client_reference": fields.text_of(raw, "client_reference", longest=longest),
        "feedback_enabled": fields.flag_of(raw, "feedback_enabled"),
        "from_ton": fields.whole_of(raw, "from_ton", least=0, most=6),
        "from_npi": fields.whole_of(raw, "from_npi", least=0, most=18),
    }


def _read_text(raw: Json, settings: Settings) -> Json:
    body = fields.text_of(raw, "body", longest=settings.max_body)
    if body is None:
        raise bad_constraint("body is required")
    return {
        "body": body,
        "parameters": _read_parameters(raw, settings),
        "flash_message": fields.flag_of(raw, "flash_message"),
        "truncate_concat": fields.flag_of(raw, "truncate_concat"),
        "max_number_of_message_parts": fields.whole_of(raw, "max_number_of_message_parts", least=1),
    }


def _read_binary(raw: Json, settings: Settings) -> Json:
    body, udh = fields.base64_of(raw, "body"), fields.hex_of(raw, "udh")
    if body is None or udh is None:
        raise bad_constraint("body and udh are required")
    if len(body) + len(udh) > 140:
        raise bad_constraint("body and udh must be at most 140 bytes together")
    return {"body": raw["body"], "udh": raw["udh"]}


def _read_media(raw: Json, settings: Settings) -> Json:
    body = raw.get("body")
    if not isinstance(body, dict):
        raise bad_constraint("body must be an object")
    if fields.url_of(body, "url") is None:
        raise bad_constraint("body.url is required")
    for name in ("message", "subject"):
        fields.text_of(body, name, longest=settings.max_body)
    return {
        "body": {name: body[name] for name in ("url", "message", "subject") if body.get(name)},
        "parameters": _read_parameters(raw, settings),
        "strict_validation": fields.flag_of(raw, "strict_validation"),
    }


_READERS: Mapping[str, Callable[[Json, Settings], Json]] = {
    "mt_text": _read_text,
    "mt_binary": _read_binary,
    "mt_media": _read_media,
}


def _read_parameters(raw: Json, settings: Settings) -> Json | None:
    parameters = raw.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise bad_format("parameters must be an object")
    for name, values in parameters.items():
        _check_parameter(name, values, settings)
    return parameters


def _check_parameter(name: str, values: object, settings: Settings) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise bad_format(f"parameters: bad name {name}")
    if len(name) > settings.max_parameter_name:
        raise bad_constraint(f"parameters: name longer than {settings.max_parameter_name}: {name}")
    if not isinstance(values, dict):
        raise bad_format(f"parameters.{name} must be an object")
    for key, value in values.items():
        if key != "default" and digits_of(key) is None:
            raise bad_format(f"parameters.{name}: {key} is not a phone number")
        if not isinstance(value, str):
            raise bad_format(f"parameters.{name}.{key} must be a string")
        if len(value) > settings.max_parameter_value:
            raise bad_constraint(f"parameters.{name}.{key} is too long")


def _read_times(raw: Json, *, settings: Settings, now: float) -> tuple[float | None, float | None]:
    send_at, expire_at = fields.time_of(raw, "send_at"), fields.time_of(raw, "expire_at")
    starts_at = max(send_at or now, now)
    horizon_s = settings.max_send_at_ahead_s
    if horizon_s is not None and starts_at > now + horizon_s:
        raise bad_constraint("send_at is too far ahead")
    if expire_at is None:
        return send_at, None
    if expire_at <= starts_at:
        raise bad_constraint("expire_at must be after send_at")
    if expire_at > starts_at + MAX_VALIDITY_S and settings.expire_at_beyond_max == "refuse":
        raise bad_constraint("expire_at must be within 3 days of send_at")
    return send_at, min(expire_at, starts_at + MAX_VALIDITY_S)


def _refuse_forbidden(
    to: tuple[str, ...], given: Json, *, settings: Settings, group_exists: Callable[[str], bool]
) -> None:
    for entry in to:
        if not entry.isdigit() and not group_exists(entry):
            raise forbidden("unknown_group", f"no group {entry}")
    wants_report = given.get("delivery_report") not in (None, "none")
    if wants_report and not given.get("callback_url") and not settings.callback_url:
        raise forbidden("missing_callback_url", "a delivery report needs a callback URL")
