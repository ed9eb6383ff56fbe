"""Identifiers that sort by creation time: UUIDv7 (RFC 9562) in Crockford's base 32."""

import os
from datetime import datetime

ID_CHARACTERS = 26
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Characters of the time and half of the version, and of the rest, which is mostly random.
_HEAD, _TAIL = 10, 16


def _make_table(fixed: int, free: int) -> bytes:
    """Make a table that maps a random byte to a character with the `fixed` bits set."""
    return bytes(ord(_ALPHABET[fixed | byte & free]) for byte in range(256))


_ANY = _make_table(0, 0b11111)
# Characters of the tail, by index, whose bits are not all random.
_FIXED = {
    0: _make_table(0b11000, 0b00111),  # the other half of the version, 7
    2: _make_table(0b00001, 0b11110),  # the variant, 10
    3: _make_table(0b00000, 0b01111),
    15: _make_table(0b00000, 0b11100),  # the last two bits of 130 are no part of the 128
}


def make_id(now: datetime) -> str:
    """Make an id of 26 lower-case characters: 48 bits of milliseconds, 74 random bits.

    >>> from datetime import UTC
    >>> make_id(datetime(2026, 3, 1, tzinfo=UTC))[:8]
    '06eadcew'
    """
    return make_ids(now, 1)[0]


def make_ids(now: datetime, count: int) -> list[str]:
    """Make `count` ids of one millisecond."""
    bits = int(now.timestamp() * 1000) << 2 | 0b01  # 48 bits, and the first half of the version, 7
    head = "".join(_ALPHABET[bits >> shift & 31] for shift in reversed(range(0, 5 * _HEAD, 5)))
    random = os.urandom(_TAIL * count)
    tails = bytearray(random.translate(_ANY))
    for index, table in _FIXED.items():
        tails[index::_TAIL] = random[index::_TAIL].translate(table)
    text = tails.decode("ascii")
    return [head + text[start : start + _TAIL] for start in range(0, len(text), _TAIL)]
