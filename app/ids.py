"""Identifiers that sort by their time of making: UUIDv7 (RFC 9562), in Crockford's base 32."""

import secrets
from datetime import datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26


def make_id(now: datetime) -> str:
    """26 lower-case characters: 48 bits of milliseconds, then 74 random ones.

    >>> from datetime import UTC
    >>> make_id(datetime(2026, 3, 1, tzinfo=UTC))[:8]
    '06eadcew'
    """
    milliseconds = int(now.timestamp() * 1000)
    bits = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64
    bits |= 0b10 << 62 | secrets.randbits(62)
    return "".join(_ALPHABET[bits << 2 >> 5 * place & 31] for place in reversed(range(_LENGTH)))
