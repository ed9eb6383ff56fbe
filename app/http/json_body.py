"""Strict JSON parser for request bodies.

Python's own parser accepts NaN, 1e999, duplicate keys and lone surrogates.  The database or Sinch
would reject them later, or read them differently.
"""

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

MAX_DEPTH = 16
_MAX_INT_DIGITS = 400
_MAX_KEY_SHOWN = 40

# Matches every escape, so that the `u` behind an escaped backslash is none; group 1 is a surrogate
# outside of a pair.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)")


class MalformedJson(ValueError):
    """The body is not a JSON object that we accept; the message gives the reason."""


def parse_json_object(raw: bytes) -> dict[str, Any]:
    """Parse a body that must be one JSON object in UTF-8.

    Raises MalformedJson for anything else, and for NaN, infinite numbers, duplicate keys, lone
    surrogates, or more than MAX_DEPTH levels.
    """
    if raw.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson("the body starts with a byte order mark: send plain UTF-8")
    if not raw.strip():
        raise MalformedJson("the body is empty: send a JSON object")
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as e:
        raise MalformedJson(f"the body is not UTF-8 (byte {e.start})") from e
    except json.JSONDecodeError as e:
        reason = f"{e.msg} (line {e.lineno}, column {e.colno})"  # e.msg never quotes the body
        raise MalformedJson(f"the body is not JSON: {reason}") from e
    except RecursionError as e:
        raise MalformedJson(_TOO_DEEP) from e
    if not isinstance(value, dict):
        raise MalformedJson("the body must be a JSON object")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(value, MAX_DEPTH)
    if any(escape[1] for escape in _ESCAPE.finditer(raw)):
        raise MalformedJson("the body holds half a character (a lone surrogate)")
    return value


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise MalformedJson(f"the key {json.dumps(key[:_MAX_KEY_SHOWN])} is given twice")
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


_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH} levels"
_DECODER = json.JSONDecoder(
    object_pairs_hook=_make_object,
    parse_float=_parse_float,
    parse_int=_parse_int,
    parse_constant=_reject_constant,
)


def _check_depth(value: Any, levels: int) -> None:
    if isinstance(value, dict | list):
        if levels == 0:
            raise MalformedJson(_TOO_DEEP)
        for child in value.values() if isinstance(value, dict) else value:
            _check_depth(child, levels - 1)
