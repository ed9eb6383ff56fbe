"""The one reader of request bodies: every route and the callbacks of Sinch read through it.

gunicorn passes on a body that ends before its Content-Length, and werkzeug cuts one without a
Content-Length at its limit; neither raises an error.  Half a number is another number, so such a
body is refused before anything of it is stored.

JSON is parsed strictly: Python's own parser accepts NaN, 1e999, duplicate keys and lone surrogates,
which the database or Sinch would reject later, or read differently.
"""

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from json import JSONDecodeError
from typing import IO, Any, NoReturn

from flask import Request
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from app.errors import MAX_BYTES_KEY, BadInput, UnsupportedBody

BLOCK_BYTES = 256 * 1024
_FORM = "application/x-www-form-urlencoded"
_CHARSET = re.compile(r"charset[*0-9]*\s*=[\s\"']*([^\s,;]+)", re.IGNORECASE)
# As in web pages, ISO 8859-1 means windows-1252.
_WIDER_CODECS = {"iso8859-1": "cp1252"}
_TOO_SHORT = "The body ended before its Content-Length: nothing was done; send it again, whole"


def read_blocks(req: Request, max_bytes: int) -> Iterator[bytes]:
    """Yield the body in blocks; what they hold may be used only after the last one.

    Raises RequestEntityTooLarge above `max_bytes`.  Raises BadInput if the body is unreadable or
    ends before its Content-Length.
    """
    req.environ[MAX_BYTES_KEY] = max_bytes
    if (req.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    # One byte more, so that a larger body without a Content-Length is detected.
    req.max_content_length = max_bytes + 1
    expected = max_bytes + 1 if req.content_length is None else req.content_length
    received = 0
    # As much memory as is asked for is taken, and filled with zeros.
    while block := _read_block(req, min(BLOCK_BYTES, expected - received)):
        received += len(block)
        if received > max_bytes:
            raise RequestEntityTooLarge
        yield block
    if received < (req.content_length or 0):
        raise BadInput(_TOO_SHORT)


def require_uncompressed(req: Request) -> None:
    """Raise UnsupportedBody for a compressed body, also one that is so only on its way."""
    content = req.headers.get("Content-Encoding", "identity").strip().lower()
    transfer = req.headers.get("Transfer-Encoding", "chunked").strip().lower()
    if (content, transfer) != ("identity", "chunked"):
        raise UnsupportedBody("Send the body uncompressed, without Content-Encoding")


def require_charset(req: Request, encoding: str, *others: str) -> None:
    """Raise UnsupportedBody if the Content-Type declares another charset than the body is read in.

    `others` are encodings that are recognised by the body itself.  A charset that is declared twice
    or in a way that is not read counts as another one: a text would reach phones garbled.
    """
    known = {_find_codec(name) for name in (encoding, *others)}
    found = _CHARSET.findall(req.headers.get("Content-Type", ""))
    for declared in (name.rstrip("\"'") for name in found):
        if _find_codec(declared) not in known:
            raise UnsupportedBody(
                f"The Content-Type declares the charset '{declared[:64]}', and this body is read "
                f"in {encoding}: send it so, and declare that or nothing"
            )


def _find_codec(name: str) -> str | None:
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return _WIDER_CODECS.get(codec, codec)


def require_whole_form(req: Request) -> None:
    """Raise BadInput for a form that ends before its Content-Length, as half a number would.

    A form with a file says itself where it ends, and one that is too large is refused unread.
    """
    expected = req.content_length or 0
    if req.mimetype != _FORM or expected > (req.max_form_memory_size or 0):
        return
    if len(req.get_data()) < expected:
        raise BadInput(_TOO_SHORT)


def read_stream(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in blocks."""
    while block := stream.read(BLOCK_BYTES):
        yield block


def read_body(req: Request, max_bytes: int) -> bytes:
    """Return the whole body.  Raises as `read_blocks` does."""
    return b"".join(read_blocks(req, max_bytes))


def _read_block(req: Request, size: int) -> bytes:
    try:
        return req.stream.read(size)
    except ClientDisconnected as e:
        raise BadInput(_TOO_SHORT) from e
    except HTTPException:
        raise
    except Exception as e:  # the WSGI server's own, for malformed chunks
        raise BadInput("The body could not be read") from e


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


# Characters of the first portion of a list or an object, and of later ones.
_FIRST, _LARGEST = 4_096, 262_144
_CLOSERS = {"[": "]", "{": "}"}
_BLANKS = re.compile(r"[ \t\n\r]*")


class RepeatedKey(ValueError):
    """An object has this key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class PortionDecoder:
    """A decoder of large JSON in portions, between which other threads run.

    json's scanner, whose hooks and parsers it uses, holds the interpreter's lock until it is done:
    more than a second for two million keys.  A portion is a slice of a list or an object, closed by
    its bracket.  The scanner reads from left to right, so a slice that it takes as far as this
    bracket holds whole items.  Other slices are read item by item.
    """

    def __init__(
        self, decoder: json.JSONDecoder, *, first: int = _FIRST, largest: int = _LARGEST
    ) -> None:
        self._decoder, self._first, self._largest = decoder, first, largest
        self._scan: Any = decoder.scan_once  # type: ignore[attr-defined]

    def decode(self, text: str) -> Any:
        """Return the value of a whole text.  Raises JSONDecodeError and RepeatedKey."""
        if len(text) <= self._largest:
            return self._decoder.decode(text)
        value, end = self._read(text, _pass_blanks(text, 0))
        end = _pass_blanks(text, end)
        if end != len(text):
            raise JSONDecodeError("Extra data", text, end)
        return value

    def _read(self, text: str, start: int) -> tuple[Any, int]:
        """Return the value at a position, and the position behind it."""
        if text[start : start + 1] in _CLOSERS:
            return self._read_container(text, start)
        try:
            value, end = self._scan(text, start)
        except StopIteration as e:
            raise JSONDecodeError("Expecting value", text, e.value) from None
        return value, end

    def _read_container(self, text: str, start: int) -> tuple[Any, int]:
        opener = text[start]
        whole: Any = [] if opener == "[" else {}
        start, size = _pass_blanks(text, start + 1), self._first
        if text.startswith(_CLOSERS[opener], start):
            return whole, start + 1
        while True:
            cut = text.rfind(",", start, start + size)
            portion, end = self._read_portion(text, start, cut, opener)
            if not portion:
                until = start + size if cut < 0 else cut
                start, is_closed = self._read_items(text, start, until, whole)
                size = self._first
            else:
                _add(whole, portion)
                is_closed = end <= cut
                start = end if is_closed else _pass_blanks(text, cut + 1)
                size = min(4 * size, self._largest)
            if is_closed:
                return whole, start

    def _read_portion(self, text: str, start: int, cut: int, opener: str) -> tuple[Any, int]:
        """Return the items from `start` to the comma at `cut`, or to the end of their container.

        Also returns the position behind them.  Returns None without a cut, if it is within an item,
        and for malformed JSON.
        """
        if cut < 0:
            return None, start
        piece = f"{opener}{text[start:cut]}{_CLOSERS[opener]}"
        try:
            portion, length = self._scan(piece, 0)
        except (JSONDecodeError, StopIteration):
            return None, start
        return portion, start + length - 1

    def _read_items(self, text: str, start: int, until: int, whole: Any) -> tuple[int, bool]:
        """Add items one by one, up to a position.

        Returns the position behind them, and True if their container ends there.
        """
        closer = "]" if isinstance(whole, list) else "}"
        while True:
            end = _pass_blanks(text, self._read_item(text, start, whole))
            if text.startswith(closer, end):
                return end + 1, True
            if not text.startswith(",", end):
                raise JSONDecodeError("Expecting ',' delimiter", text, end)
            start = _pass_blanks(text, end + 1)
            if start > until:
                return start, False

    def _read_item(self, text: str, start: int, whole: Any) -> int:
        """Add one item.  Returns the position behind it."""
        if isinstance(whole, list):
            value, end = self._read(text, start)
            whole.append(value)
            return end
        if not text.startswith('"', start):
            raise JSONDecodeError("Expecting property name enclosed in double quotes", text, start)
        key, end = self._read(text, start)
        end = _pass_blanks(text, end)
        if not text.startswith(":", end):
            raise JSONDecodeError("Expecting ':' delimiter", text, end)
        value, end = self._read(text, _pass_blanks(text, end + 1))
        _add(whole, {key: value})
        return end


def _pass_blanks(text: str, start: int) -> int:
    match = _BLANKS.match(text, start)
    return match.end() if match else start


def _add(whole: Any, portion: Any) -> None:
    """Add a portion to its list or object.  Raises RepeatedKey."""
    if isinstance(whole, list):
        whole.extend(portion)
        return
    keys = len(whole)
    whole.update(portion)
    if len(whole) < keys + len(portion):
        new = set(islice(reversed(whole), len(whole) - keys))
        raise RepeatedKey(next(key for key in portion if key not in new))


_PARSERS: dict[str, Any] = {
    "parse_float": _parse_float,
    "parse_int": _parse_int,
    "parse_constant": _reject_constant,
}
_DECODER = PortionDecoder(json.JSONDecoder(**_PARSERS))
_DECODER_OF_PAIRS = PortionDecoder(json.JSONDecoder(object_pairs_hook=_make_object, **_PARSERS))
