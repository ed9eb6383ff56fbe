"""Signatures as Standard Webhooks describes them: https://www.standardwebhooks.com/

A receiver checks them with any library of that name.
"""

import hmac
import secrets
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

_SECRET_BYTES = 32
_PREFIX = "whsec_"


def make_secret() -> bytes:
    """Create a random secret."""
    return secrets.token_bytes(_SECRET_BYTES)


def write_secret(secret: bytes) -> str:
    """Return a secret as its client gets it.

    >>> write_secret(b"four and twenty blackbirds")
    'whsec_Zm91ciBhbmQgdHdlbnR5IGJsYWNrYmlyZHM='
    """
    return _PREFIX + b64encode(secret).decode()


def sign(body: bytes, *, event_id: str, timestamp: int, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers that sign `body` with each key; `timestamp` is in Unix seconds."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = (b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
