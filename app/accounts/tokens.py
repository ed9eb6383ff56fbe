"""Tokens of links and cookies: 256 random bits, stored as SHA-256."""

import secrets
from hashlib import sha256

_BYTES = 32


def make_token() -> str:
    """Return a new token of 43 characters that a URL may hold as they are."""
    return secrets.token_urlsafe(_BYTES)


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token.  No input raises."""
    return sha256(token.encode("utf-8", "backslashreplace")).digest()
