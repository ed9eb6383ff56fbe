"""One strict parser for every JSON body a client sends.

Python's own parser takes NaN, 1e999, the same key twice and lone surrogates; a database or Sinch
would refuse them later, or worse, read them otherwise than we did.
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 16

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_NAME_SHOWN = 40


class MalformedJson(ValueError):
    """The body is not one JSON object as RFC 8259 has it; the message says why, for the client."""


def parse_json_object(raw: bytes) -> dict[str, Any]:
    """The object a body holds.

    Raises MalformedJson for anything but one UTF-8 JSON object without NaN, infinite numbers,
    repeated keys, lone surrogates, or more than 16 levels.
    """
    value = _parse(_decode(raw))
    if not isinstance(value, dict):
        raise MalformedJson("the body must be a JSON object")
    # As many brackets as levels at most: the usual body needs no walk.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    if _SURROGATE_ESCAPE.search(raw):
        _refuse_lone_surrogates(value)
    return value


def is_unicode(text: str) -> bool:
    """False for a text with half a character, a lone surrogate, which UTF-8 cannot hold."""
    return _LONE_SURROGATE.search(text) is None


def _decode(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson("the body starts with a byte order mark: send plain UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise MalformedJson(f"the body is not UTF-8 (byte {e.start})") from e


def _parse(text: str) -> Any:
    if not text.strip():
        raise MalformedJson("the body is empty: send a JSON object")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as e:
        # e.msg is the parser's own sentence and never quotes the body.
        raise MalformedJson(
            f"the body is not JSON: {e.msg} (line {e.lineno}, column {e.colno})"
        ) from e
    except RecursionError as e:
        raise MalformedJson(f"the body is nested deeper than {MAX_DEPTH} levels") from e


def _collect_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    collected = dict(pairs)
    if len(collected) == len(pairs):
        return collected
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise MalformedJson(f"the key {json.dumps(_shorten(key))} is given twice")
        seen.add(key)
    return collected


def _parse_float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise MalformedJson("a number is too large")
    return number


def _parse_int(digits: str) -> int:
    if len(digits) > 400:
        raise MalformedJson("a number is too large")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_collect_pairs,
    parse_float=_parse_float,
    parse_int=_parse_int,
    parse_constant=_refuse_constant,
)


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise MalformedJson(f"the body is nested deeper than {MAX_DEPTH} levels")


def _refuse_lone_surrogates(value: Any) -> None:
    place = _find_lone_surrogate(value)
    if place is not None:
        raise MalformedJson(f"{_name_place(place)} holds half a character (a lone surrogate)")


def _find_lone_surrogate(value: Any) -> list[str | int] | None:
    """Keys and indexes that lead to the first text with one; the path is built only when found."""
    if isinstance(value, str):
        return None if is_unicode(value) else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs:
        if isinstance(key, str) and not is_unicode(key):
            return ["(a key)"]
        if isinstance(item, (str, list, dict)):
            place = _find_lone_surrogate(item)
            if place is not None:
                return [key, *place]
    return None


def _name_place(place: list[str | int]) -> str:
    """A place as people write it.

    >>> _name_place(["a", 1, "b"])
    'a[1].b'
    """
    steps = (f"[{step}]" if isinstance(step, int) else f".{_shorten(step)}" for step in place)
    return "".join(steps).removeprefix(".")


def _shorten(key: str) -> str:
    return key if len(key) <= _MAX_NAME_SHOWN else key[: _MAX_NAME_SHOWN - 1] + "…"
