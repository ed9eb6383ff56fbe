"""Strict JSON parser for request bodies.

Python's own parser accepts NaN, 1e999, duplicate keys and lone surrogates.  The database or Sinch
would reject them later, or read them differently.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NoReturn

from app.http.json_portions import PortionDecoder, RepeatedKey

MAX_DEPTH = 16
_MAX_INT_DIGITS = 400
_MAX_KEY_SHOWN = 40

# Matches every escape, so that the `u` behind an escaped backslash is none; group 1 is a surrogate
# outside of a pair.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)")


# A JSON string; one without an end reaches to the end of the body, so that the search is linear.
_STRING_PATTERN = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
_STRING = re.compile(_STRING_PATTERN, re.DOTALL)
# The colon behind a key, and a few within strings.
_KEY_COLON = re.compile(rb':(?<=["\s]:)')
# A piece of a body with some thousand strings.
_PIECE = re.compile(rb'(?:[^"]*+' + _STRING_PATTERN + rb'){1,5000}+|[^"]++', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """The largest body that a route takes: bytes, lists and objects, and items in them."""

    max_bytes: int
    max_containers: int
    max_items: int


# Of a schema that sets no `json_bounds`.
SMALL = JsonBounds(1_000_000, 10_000, 100_000)


class MalformedJson(ValueError):
    """The body is not a JSON object that we accept; the message gives the reason."""


def parse_json_object(raw: bytes, bounds: JsonBounds) -> dict[str, Any]:
    """Parse a body that must be one JSON object in UTF-8.

    Raises MalformedJson for anything else, and for NaN, infinite numbers, duplicate keys, lone
    surrogates, more than MAX_DEPTH levels, or more than `bounds` allow: these are looked at before
    anything is built, since a list of two bytes takes 64 in memory.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson("the body starts with a byte order mark: send plain UTF-8")
    if not raw.strip():
        raise MalformedJson("the body is empty: send a JSON object")
    _check_bounds(raw, bounds)
    try:
        value = _decode(raw)
    except UnicodeDecodeError as e:
        raise MalformedJson(f"the body is not UTF-8 (byte {e.start})") from e
    except RepeatedKey as e:
        raise MalformedJson(f"the key {json.dumps(e.key[:_MAX_KEY_SHOWN])} is given twice") from e
    except json.JSONDecodeError as e:
        reason = f"{e.msg} (line {e.lineno}, column {e.colno})"  # e.msg never quotes the body
        raise MalformedJson(f"the body is not JSON: {reason}") from e
    if not isinstance(value, dict):
        raise MalformedJson("the body must be a JSON object")
    if any(escape[1] for escape in _ESCAPE.finditer(raw)):
        raise MalformedJson("the body holds half a character (a lone surrogate)")
    return value


def _decode(raw: bytes) -> Any:
    """Decode JSON; only if a key may be given twice, look at the pairs of each object.

    Pairs of two million keys take 130 MB.
    """
    text = raw.decode("utf-8")
    value = _DECODER.decode(text)
    keys = _count_keys(value)
    if len(_KEY_COLON.findall(raw)) != keys and _remove_strings(raw).count(b":") != keys:
        value = _DECODER_OF_PAIRS.decode(text)
    return value


def _count_keys(value: Any) -> int:
    """Return the number of keys in all objects; children that are only texts are passed over."""
    children = value.values() if isinstance(value, dict) else value
    keys = len(value) if isinstance(value, dict) else 0
    if not isinstance(value, dict | list) or not {dict, list} & set(map(type, children)):
        return keys
    return keys + sum(map(_count_keys, children))


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise RepeatedKey(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return value


def _parse_float(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise MalformedJson("a number is too large")
    return number


def _parse_int(digits: str) -> int:
    if len(digits) > _MAX_INT_DIGITS:
        raise MalformedJson("a number is too large")
    return int(digits)


def _reject_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


_PARSERS: dict[str, Any] = {
    "parse_float": _parse_float,
    "parse_int": _parse_int,
    "parse_constant": _reject_constant,
}
_DECODER = PortionDecoder(json.JSONDecoder(**_PARSERS))
_DECODER_OF_PAIRS = PortionDecoder(json.JSONDecoder(object_pairs_hook=_make_object, **_PARSERS))


def _check_bounds(raw: bytes, bounds: JsonBounds) -> None:
    """Count brackets and commas; only if they may be too many, count without those in strings."""
    if not _exceeds(raw, bounds.max_items, min(bounds.max_containers, MAX_DEPTH)):
        return
    outside = _remove_strings(raw)
    if _exceeds(outside, bounds.max_items, bounds.max_containers):
        raise MalformedJson(
            f"the body has more than {bounds.max_containers:,} lists and objects or more than "
            f"{bounds.max_items:,} items: send less at a time"
        )
    levels = 0
    for bracket in outside.translate(None, _ALL_BUT_BRACKETS):
        levels += 1 if bracket in b"[{" else -1
        if levels > MAX_DEPTH:
            raise MalformedJson(f"the body is nested deeper than {MAX_DEPTH} levels")


def _remove_strings(raw: bytes) -> bytes:
    """Return what is outside of strings; piece by piece, which takes little memory."""
    return b"".join(_STRING.sub(b"", piece[0]) for piece in _PIECE.finditer(raw))


def _exceeds(raw: bytes, max_items: int, max_containers: int) -> bool:
    return raw.count(b",") > max_items or raw.count(b"[") + raw.count(b"{") > max_containers
