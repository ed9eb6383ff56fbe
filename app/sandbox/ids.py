"""Identifiers shaped like Sinch's: 26 characters, sortable by time."""

import re
import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID = re.compile(f"[0-7][{_CROCKFORD}]{{25}}")


def new_id(now: float) -> str:
    """A fresh ULID: 48 bits of milliseconds, 80 random ones."""
    value = int(now * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def looks_like_id(text: str) -> bool:
    """Whether a text has the form of an id, and so may be a group among numbers.

    >>> looks_like_id("01JX0000000000000000000001"), looks_like_id("46700000001")
    (True, False)
    """
    return _ULID.fullmatch(text) is not None
