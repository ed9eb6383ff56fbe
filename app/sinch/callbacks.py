"""Sinch's callbacks: verification of their signature, and parsing.

Reference: https://developers.sinch.com/docs/sms/api-reference/sms/tag/Webhooks/; its page on
callbacks' HMAC describes the signature.
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.sinch.schemas import (
    BatchReport,
    SinchInbound,
    StatusCount,
    UnreadableAnswer,
    read_code,
    read_inbound,
    read_object,
    read_recipient,
    read_reference,
    read_report,
    read_time,
)

SIGNATURE = "x-sinch-webhook-signature"
NONCE = f"{SIGNATURE}-nonce"
TIMESTAMP = f"{SIGNATURE}-timestamp"
ALGORITHM = f"{SIGNATURE}-algorithm"
AUTHORIZATION = "authorization"
# The headers that authenticate a callback.
PROOF_HEADERS = (SIGNATURE, NONCE, TIMESTAMP, ALGORITHM, AUTHORIZATION)

_DIGESTS = {"hmacsha256": "sha256", "hmacsha384": "sha384", "hmacsha512": "sha512"}
# Sinch's SDKs use this one without reading the header.
_DEFAULT_ALGORITHM = "HmacSHA256"

_BATCH_REPORT = re.compile(r"delivery_report(_sms|_mms)?")
_RECIPIENT_REPORT = re.compile(r"recipient_delivery_report(_sms|_mms)?")
# Also a kind of text that the reference does not have yet: a STOP may be in it.
_INBOUND = re.compile(r"mo_[a-z]{1,13}")
_OF_TEXT = ("mo_text", "mo_binary")
_ID = re.compile(r"[!-~]{1,64}")
_NUMBER = re.compile(r"\+[0-9]{2,15}")


class UnreadableCallback(ValueError):
    """The reference does not describe such a callback; the message says why and quotes nothing."""


Callback = BatchReport | SinchInbound


def parse_callback(raw: bytes) -> Callback:
    """Parse a callback by its type.

    Raises UnreadableCallback when the type is unknown or a required field is missing or malformed.
    A malformed optional field becomes None.
    """
    try:
        fields = read_object(raw)
        callback_type = str(fields.get("type", "")).strip().lower()
        if _RECIPIENT_REPORT.fullmatch(callback_type):
            return _read_recipient_report(fields)
        if _BATCH_REPORT.fullmatch(callback_type):
            return _read_batch_report(fields)
        if _INBOUND.fullmatch(callback_type):
            return _read_inbound(fields, callback_type)
    except UnreadableAnswer as e:
        raise UnreadableCallback(str(e)) from e
    raise UnreadableCallback("unknown type")


def verify_signature(body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    """Return True if one of the secrets signed exactly these bytes; header names in any case.

    The time taken shows neither the matching secret nor the position of a wrong character.
    The timestamp's age does not matter: a late report and a late STOP count too.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    signature, nonce, timestamp = (lowered.get(name) for name in (SIGNATURE, NONCE, TIMESTAMP))
    digest = _DIGESTS.get(lowered.get(ALGORITHM, _DEFAULT_ALGORITHM).strip().lower())
    if not signature or nonce is None or timestamp is None or digest is None:
        return False
    signed = b".".join((body, _encode(nonce), _encode(timestamp)))
    given = _encode(signature)
    matches = [
        hmac.compare_digest(_sign(signed, secret, digest), given) for secret in secrets if secret
    ]
    return any(matches)


def verify_basic(headers: Mapping[str, str], credentials: str) -> bool:
    """Return True if the callback has exactly this `user:password`, compared in constant time."""
    lowered = {name.lower(): value for name, value in headers.items()}
    scheme, _, token = lowered.get(AUTHORIZATION, "").partition(" ")
    expected = base64.b64encode(credentials.encode())
    return hmac.compare_digest(_encode(token.strip()), expected) and scheme.lower() == "basic"


def _sign(signed: bytes, secret: str, digest: str) -> bytes:
    return base64.b64encode(hmac.digest(secret.encode(), signed, digest))


def _encode(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _read_recipient_report(fields: Mapping[str, Any]) -> BatchReport:
    """Read a report on one message: a report on its batch that names one recipient."""
    recipient = read_recipient(fields.get("recipient"))
    status = fields.get("status")
    if not _NUMBER.fullmatch(recipient):
        raise UnreadableCallback("a report whose recipient is not a number")
    if not isinstance(status, str) or not status.strip():
        raise UnreadableCallback("a report without status")
    return BatchReport(
        batch_id=_require_id(fields, "batch_id"),
        total=1,
        statuses=(StatusCount(status.strip(), read_code(fields), 1, (recipient,)),),
        client_reference=read_reference(fields),
        at=read_time(fields.get("at")),
    )


def _read_batch_report(fields: Mapping[str, Any]) -> BatchReport:
    _require_id(fields, "batch_id")
    if "statuses" not in fields:
        raise UnreadableCallback("a report without statuses")
    return read_report(fields)


def _read_inbound(fields: Mapping[str, Any], callback_type: str) -> SinchInbound:
    _require_id(fields, "id")
    if not isinstance(fields.get("body"), str if callback_type in _OF_TEXT else dict | str):
        raise UnreadableCallback("an inbound without its body")
    return read_inbound({**fields, "type": callback_type})


def _require_id(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise UnreadableCallback(f"no usable {name}")
    return value
