"""One strict parser for every JSON body a client sends.

Python's own parser takes NaN, 1e999, the same key twice and lone surrogates; a database or Sinch
would refuse them later, or worse, read them otherwise than we did.
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 16

_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}")


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
        _refuse_lone_surrogates(value, path="")
    return value


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
            raise MalformedJson(f"the key {_shorten(key)} is given twice")
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


def _refuse_lone_surrogates(value: Any, *, path: str) -> None:
    if isinstance(value, str):
        if not _is_unicode(value):
            raise MalformedJson(f"{path} holds half a character (a lone surrogate)")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_lone_surrogates(item, path=f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_lone_surrogates(key, path=f"a key of {path or 'the body'}")
            _refuse_lone_surrogates(item, path=f"{path}.{key}" if path else key)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shorten(key: str) -> str:
    printable = json.dumps(key)  # ASCII only: a key may hold anything
    return printable if len(printable) <= 40 else printable[:39] + '…"'
