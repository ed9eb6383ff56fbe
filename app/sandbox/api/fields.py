"""Reading single JSON fields, each refused in Sinch's words when it does not fit.

A null is read as absent throughout.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from app.sandbox.clock import parse_time
from app.sandbox.errors import bad_constraint, bad_format, bad_json
from app.sandbox.numbers import digits_of

Json = dict[str, Any]

_ALPHANUMERIC_SENDER = re.compile(r"[\x20-\x7e]{1,11}")


def read_object(body: bytes) -> Json:
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
        if b"\\u" in body:
            _refuse_half_characters(value)
    except (ValueError, RecursionError) as e:
        raise bad_json("the body is not valid JSON") from e
    if not isinstance(value, dict):
        raise bad_json("the body must be a JSON object")
    return value


def text_of(source: Mapping[str, Any], name: str, *, longest: int) -> str | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad_format(f"{name} must be a string")
    if len(value) > longest:
        raise bad_constraint(f"{name} must be at most {longest} characters")
    return value


def flag_of(source: Mapping[str, Any], name: str) -> bool | None:
    value = source.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_format(f"{name} must be true or false")
    return value


def whole_of(
    source: Mapping[str, Any], name: str, *, least: int, most: int | None = None
) -> int | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad_format(f"{name} must be a whole number")
    return within(name, value, least=least, most=most)


def within(name: str, value: int, *, least: int, most: int | None) -> int:
    if value < least:
        raise bad_constraint(f"{name} must be at least {least}")
    if most is not None and value > most:
        raise bad_constraint(f"{name} must be at most {most}")
    return value


def choice_of(source: Mapping[str, Any], name: str, choices: Collection[str]) -> str | None:
    value = source.get(name)
    if value is not None and (not isinstance(value, str) or value not in choices):
        raise bad_format(f"{name} must be one of {', '.join(choices)}")
    return value


def time_of(source: Mapping[str, Any], name: str) -> float | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad_format(f"{name} must be a string")
    try:
        return parse_time(value)
    except ValueError as e:
        raise bad_format(f"{name} is not an ISO 8601 time: {value}") from e


def url_of(source: Mapping[str, Any], name: str) -> str | None:
    value = text_of(source, name, longest=2048)
    if value is not None and not _is_http_url(value):
        raise bad_format(f"{name} is not a URL")
    return value


def sender_of(source: Mapping[str, Any]) -> str | None:
    """A number or short code as digits, an alphanumeric sender as given."""
    value = text_of(source, "from", longest=2048)
    if value is None:
        return None
    if digits := digits_of(value):
        return digits
    if not _ALPHANUMERIC_SENDER.fullmatch(value):
        raise bad_format(f"from is neither a number nor an alphanumeric sender: {value}")
    return value


def list_of(source: Mapping[str, Any], name: str, *, least: int, most: int) -> list[Any] | None:
    value = source.get(name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise bad_format(f"{name} must be an array")
    if not least <= len(value) <= most:
        raise bad_constraint(f"{name} must have {least} to {most} entries")
    return value


def numbers_of(source: Mapping[str, Any], name: str, *, most: int) -> list[str] | None:
    """Every entry as digits; one bad entry refuses all of them."""
    entries = list_of(source, name, least=0, most=most)
    if entries is None:
        return None
    return [number_at(name, position, entry) for position, entry in enumerate(entries)]


def number_at(name: str, position: int, entry: object) -> str:
    digits = digits_of(entry) if isinstance(entry, str) else None
    if digits is None:
        raise bad_format(f"{name}[{position}] is not a phone number: {entry}")
    return digits


def base64_of(source: Mapping[str, Any], name: str) -> bytes | None:
    value = text_of(source, name, longest=2048)
    try:
        return None if value is None else base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as e:
        raise bad_format(f"{name} is not base64") from e


def hex_of(source: Mapping[str, Any], name: str) -> bytes | None:
    value = text_of(source, name, longest=2048)
    try:
        return None if value is None else binascii.unhexlify(value)
    except ValueError as e:
        raise bad_format(f"{name} is not hexadecimal") from e


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _refuse_half_characters(value: object) -> None:
    """A lone surrogate can be escaped in JSON but never be written out again: ValueError."""
    json.dumps(value, ensure_ascii=False).encode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
