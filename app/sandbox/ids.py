"""Identifiers in the form of Sinch's: ULIDs, 26 characters, sortable by time."""

import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(now: float) -> str:
    """Return a new ULID: 48 bits of milliseconds, 80 random bits."""
    value = int(now * 1000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
