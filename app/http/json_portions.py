"""Decoder of large JSON in portions, between which other threads run.

json's scanner holds the interpreter's lock until it is done: more than a second for two million
keys.  A portion is a slice of a list or an object, closed by its bracket.  The scanner reads from
left to right, so a slice that it takes as far as this bracket holds whole items.  Other slices are
read item by item.
"""

import json
import re
from itertools import islice
from json import JSONDecodeError
from typing import Any

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
    """A JSON decoder with the interface of json's, whose hooks and parsers it uses."""

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
