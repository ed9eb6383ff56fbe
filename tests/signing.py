"""Callbacks as Sinch signs them: a reading of the contract of its own, beside the service's."""

import base64
import hashlib
import hmac

HEADER = "x-sinch-webhook-signature"


def sign(
    body: bytes,
    *,
    secret: str,
    nonce: str = "01JX00000000000000000NONCE",
    timestamp: str = "1772366405",
    algorithm: str = "HmacSHA256",
) -> dict[str, str]:
    """The headers that Sinch sends with a body."""
    digest = algorithm.lower().removeprefix("hmac")
    message = body + f".{nonce}.{timestamp}".encode()
    signature = hmac.new(secret.encode(), message, getattr(hashlib, digest)).digest()
    return {
        HEADER: base64.b64encode(signature).decode(),
        f"{HEADER}-nonce": nonce,
        f"{HEADER}-timestamp": timestamp,
        f"{HEADER}-algorithm": algorithm,
    }
