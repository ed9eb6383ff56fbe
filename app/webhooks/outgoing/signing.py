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
    """A secret that nobody has."""
    return secrets.token_bytes(_SECRET_BYTES)


def write_secret(secret: bytes) -> str:
    """A secret as its client is given it.

    >>> write_secret(b"four and twenty blackbirds")
    'whsec_Zm91ciBhbmQgdHdlbnR5IGJsYWNrYmlyZHM='
    """
    return _PREFIX + b64encode(secret).decode()


def sign(body: bytes, *, event_id: str, timestamp: int, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that prove whose `body` is, with a signature by each key.

    `timestamp` is in seconds of the epoch.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = (b64encode(hmac.digest(each, signed, sha256)).decode() for each in keys)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
