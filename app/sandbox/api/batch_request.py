"""Validation of a send request: numbers become digits, times Unix seconds."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from app.sandbox.api import fields
from app.sandbox.errors import ApiError, bad_constraint, bad_format
from app.sandbox.numbers import parse_digits

MAX_RECIPIENTS = 1000
MAX_BODY_LENGTH = 2000
MAX_VALIDITY_S = 3 * 24 * 3600
_MAX_PARAMETER_NAME_LENGTH = 16
_MAX_PARAMETER_VALUE_LENGTH = 160
_REPORT_MODES = ("none", "summary", "full", "per_recipient", "per_recipient_final")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A valid send request: recipients as digits, and the other fields that were given."""

    recipients: tuple[str, ...]
    fields: Json
    send_at: float | None
    expire_at: float | None

    @property
    def report_mode(self) -> str:
        return str(self.fields.get("delivery_report", "none"))


def read_batch_request(raw: Json, *, plan_callback_url: str | None, now: float) -> BatchRequest:
    """Read a send request.  Raises ApiError when any part of it is invalid."""
    recipients = _read_recipients(raw)
    given = _read_fields(raw)
    send_at, expire_at = _read_times(raw, now=now)
    _require_callback_url(given, plan_callback_url)
    present = {name: value for name, value in given.items() if value is not None}
    return BatchRequest(recipients, present, send_at, expire_at)


def _read_recipients(raw: Json) -> tuple[str, ...]:
    """Return each number once.  One bad entry rejects the whole batch."""
    entries = fields.read_list(raw, "to", min_items=1, max_items=MAX_RECIPIENTS)
    if entries is None:
        raise bad_constraint("to is required")
    numbers = [fields.parse_number(f"to[{index}]", entry) for index, entry in enumerate(entries)]
    return tuple(dict.fromkeys(numbers))


def _read_fields(raw: Json) -> Json:
    sender = fields.read_sender(raw)
    body = fields.read_text(raw, "body", max_length=MAX_BODY_LENGTH)
    if sender is None or body is None:
        raise bad_constraint("from and body are required")
    return {
        "from": sender,
        "body": body,
        "type": fields.read_choice(raw, "type", ("mt_text",)),
        "delivery_report": fields.read_choice(raw, "delivery_report", _REPORT_MODES),
        "callback_url": fields.read_url(raw, "callback_url"),
        "client_reference": fields.read_text(raw, "client_reference"),
        "parameters": _read_parameters(raw),
        "flash_message": fields.read_flag(raw, "flash_message"),
        "max_number_of_message_parts": fields.read_integer(
            raw, "max_number_of_message_parts", minimum=1
        ),
    }


def _read_parameters(raw: Json) -> Json | None:
    parameters = raw.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise bad_format("parameters must be an object")
    for name, values in parameters.items():
        _check_parameter(name, values)
    return parameters


def _check_parameter(name: str, values: object) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise bad_format(f"parameters: bad name {name}")
    if len(name) > _MAX_PARAMETER_NAME_LENGTH:
        raise bad_constraint(f"parameters: name too long: {name}")
    if not isinstance(values, dict):
        raise bad_format(f"parameters.{name} must be an object")
    for key, value in values.items():
        if key != "default" and parse_digits(key) is None:
            raise bad_format(f"parameters.{name}: {key} is not a phone number")
        if not isinstance(value, str):
            raise bad_format(f"parameters.{name}.{key} must be a string")
        if len(value) > _MAX_PARAMETER_VALUE_LENGTH:
            raise bad_constraint(f"parameters.{name}.{key} is too long")


def _read_times(raw: Json, *, now: float) -> tuple[float | None, float | None]:
    send_at, expire_at = fields.read_time(raw, "send_at"), fields.read_time(raw, "expire_at")
    starts_at = max(send_at or now, now)
    if expire_at is not None and expire_at <= starts_at:
        raise bad_constraint("expire_at must be after send_at")
    if expire_at is not None and expire_at > starts_at + MAX_VALIDITY_S:
        raise bad_constraint("expire_at must be within 3 days of send_at")
    return send_at, expire_at


def _require_callback_url(given: Json, plan_callback_url: str | None) -> None:
    wants_report = given["delivery_report"] not in (None, "none")
    if wants_report and not given["callback_url"] and not plan_callback_url:
        text = "a delivery report needs a callback URL"
        raise ApiError(HTTPStatus.FORBIDDEN, "missing_callback_url", text)
