"""Typed reading of single JSON fields, with Sinch's error codes.

A null counts as an absent field throughout.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from app.sandbox.clock import parse_time
from app.sandbox.errors import bad_constraint, bad_format, bad_json
from app.sandbox.numbers import parse_digits

Json = dict[str, Any]

_ALPHANUMERIC_SENDER = re.compile(r"[\x20-\x7e]{1,11}")
MAX_TEXT_LENGTH = 2048


def parse_object(body: bytes) -> Json:
    """Return the JSON object in a body; ApiError for anything else."""
    try:
        value = json.loads(body.decode(), parse_constant=_reject_constant)
        if b"\\u" in body:
            _reject_surrogates(value)
    except (ValueError, RecursionError) as e:
        raise bad_json("the body is not valid JSON") from e
    if not isinstance(value, dict):
        raise bad_json("the body must be a JSON object")
    return value


def read_text(
    source: Mapping[str, Any], name: str, *, max_length: int = MAX_TEXT_LENGTH
) -> str | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad_format(f"{name} must be a string")
    if len(value) > max_length:
        raise bad_constraint(f"{name} must be at most {max_length} characters")
    return value


def read_flag(source: Mapping[str, Any], name: str) -> bool | None:
    value = source.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_format(f"{name} must be true or false")
    return value


def read_integer(source: Mapping[str, Any], name: str, *, minimum: int) -> int | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad_format(f"{name} must be a whole number")
    return require_range(name, value, minimum=minimum)


def require_range(name: str, value: int, *, minimum: int, maximum: int | None = None) -> int:
    if value < minimum:
        raise bad_constraint(f"{name} must be at least {minimum}")
    if maximum is not None and value > maximum:
        raise bad_constraint(f"{name} must be at most {maximum}")
    return value


def read_choice(source: Mapping[str, Any], name: str, choices: Collection[str]) -> str | None:
    value = source.get(name)
    if value is not None and (not isinstance(value, str) or value not in choices):
        raise bad_format(f"{name} must be one of {', '.join(choices)}")
    return value


def read_time(source: Mapping[str, Any], name: str) -> float | None:
    value = read_text(source, name)
    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError as e:
        raise bad_format(f"{name} is not an ISO 8601 time: {value}") from e


def read_url(source: Mapping[str, Any], name: str) -> str | None:
    value = read_text(source, name)
    if value is not None and not _is_http_url(value):
        raise bad_format(f"{name} is not a URL")
    return value


def read_sender(source: Mapping[str, Any]) -> str | None:
    """Return a number or short code as digits, an alphanumeric sender as given."""
    value = read_text(source, "from")
    if value is None:
        return None
    if digits := parse_digits(value):
        return digits
    if not _ALPHANUMERIC_SENDER.fullmatch(value):
        raise bad_format(f"from is neither a number nor an alphanumeric sender: {value}")
    return value


def read_list(
    source: Mapping[str, Any], name: str, *, min_items: int, max_items: int
) -> list[Any] | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise bad_format(f"{name} must be an array")
    if not min_items <= len(value) <= max_items:
        raise bad_constraint(f"{name} must have {min_items} to {max_items} entries")
    return value


def parse_number(name: str, value: object) -> str:
    """Return the digits of a phone number; ApiError names the field."""
    digits = parse_digits(value) if isinstance(value, str) else None
    if digits is None:
        raise bad_format(f"{name} is not a phone number: {value}")
    return digits


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _reject_surrogates(value: object) -> None:
    """Raise ValueError for a lone surrogate: JSON can escape it, but UTF-8 cannot encode it."""
    json.dumps(value, ensure_ascii=False).encode()


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)
