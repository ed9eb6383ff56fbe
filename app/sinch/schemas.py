"""Conversion between our names and Sinch's JSON.

Field reference: https://developers.sinch.com/docs/sms/api-reference/sms/tag/Batches/
Reading is tolerant: it ignores unknown fields, accepts numbers with and without `+`, codes and
counts as strings, and times without a fraction.
"""

import base64
import codecs
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import phonenumbers

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# What a person wrote in an MMS, and what other kinds of messages may call it.
_TEXT_FIELDS = ("subject", "message", "text", "body", "caption")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OPAQUE = re.compile(r"[!-~]+")
_CODE_LIMIT = 10**9
# With their calling code, those of Niue, Saint Helena and Tokelau.
_SHORTEST_NUMBER = 7


class ReportMode(StrEnum):
    """The delivery reports that Sinch posts to the callback URL."""

    NONE = "none"
    SUMMARY = "summary"
    FULL = "full"
    PER_RECIPIENT = "per_recipient"
    PER_RECIPIENT_FINAL = "per_recipient_final"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingBatch:
    """A batch for Sinch: 1 to 1,000 recipients in E.164, and their text.

    `client_reference` is opaque, unique and at most 64 characters; times are aware;
    `parameters` maps a name to `{recipient or "default": value}`.
    """

    recipients: Sequence[str]
    text: str
    sender: str
    client_reference: str
    parameters: Mapping[str, Mapping[str, str]] | None = None
    expire_at: datetime | None = None
    delivery_report: ReportMode | None = None
    callback_url: str | None = None
    flash: bool = False
    max_parts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBatch:
    """A batch with its request body; `recipients` is their number."""

    client_reference: str
    recipients: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SentBatch:
    """Sinch accepted the batch; `id` is None when the answer had no usable one."""

    id: str | None


@dataclass(frozen=True, slots=True)
class SinchBatch:
    """A batch as stored at Sinch; recipients in E.164."""

    id: str
    client_reference: str | None
    recipients: tuple[str, ...]
    canceled: bool
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class DryRun:
    """Number of recipients of a batch, and of the parts for all of them."""

    recipients: int
    parts: int


@dataclass(frozen=True, slots=True)
class StatusCount:
    """Number of messages with one status and code; a summary leaves `recipients` out."""

    status: str
    code: int | None
    count: int
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Delivery report of a batch, or of one recipient of it; `at` is the time of the status."""

    batch_id: str
    total: int
    statuses: tuple[StatusCount, ...]
    client_reference: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SinchInbound:
    """A message from a phone to us; `body` is text, base64, or a media object as JSON.

    `read_texts` returns what a person wrote in it.
    `kind` is Sinch's type.
    `client_reference` is that of the answered batch, if the account has this enabled.
    """

    id: str
    kind: str
    sender: str
    recipient: str
    body: str
    received_at: datetime | None
    client_reference: str | None = None


class UnreadableAnswer(ValueError):
    """The body is not what the reference documents."""


def write_batch(batch: OutgoingBatch) -> bytes:
    """Return the body of POST /batches, without fields that are None or at Sinch's default."""
    fields: dict[str, Any] = {
        "to": list(batch.recipients),
        "from": batch.sender,
        "body": batch.text,
        "type": "mt_text",
        "client_reference": batch.client_reference,
        "parameters": batch.parameters or None,
        "expire_at": format_time(batch.expire_at) if batch.expire_at else None,
        "delivery_report": batch.delivery_report,
        "callback_url": batch.callback_url,
        "flash_message": batch.flash or None,
        "max_number_of_message_parts": batch.max_parts,
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode()


def read_sent_batch(body: bytes, *, client_reference: str) -> SentBatch:
    """Return the id of the batch just accepted.

    It is None when the body has no usable id or another client_reference.
    """
    try:
        fields = read_object(body)
    except UnreadableAnswer:
        return SentBatch(id=None)
    batch_id = fields.get("id")
    matches = fields.get("client_reference", client_reference) == client_reference
    usable = matches and isinstance(batch_id, str) and _ID.fullmatch(batch_id)
    return SentBatch(id=str(batch_id) if usable else None)


def read_batch(source: bytes | Mapping[str, Any]) -> SinchBatch:
    """Read a batch.  Raises UnreadableAnswer without an id or a list of recipients."""
    fields = read_object(source) if isinstance(source, bytes) else source
    recipients = fields.get("to")
    if not isinstance(recipients, list):
        raise UnreadableAnswer("a batch without recipients")
    reference = fields.get("client_reference")
    return SinchBatch(
        id=_read_id(fields, "id"),
        client_reference=reference if isinstance(reference, str) else None,
        recipients=tuple(read_recipient(entry) for entry in recipients),
        canceled=fields.get("canceled") is True,
        created_at=read_time(fields.get("created_at")),
    )


def read_dry_run(body: bytes) -> DryRun:
    fields = read_object(body)
    return DryRun(
        recipients=_read_count(fields, "number_of_recipients"),
        parts=_read_count(fields, "number_of_messages"),
    )


def read_report(source: bytes | Mapping[str, Any]) -> BatchReport:
    """Read a summary or full report of one batch."""
    fields = read_object(source) if isinstance(source, bytes) else source
    statuses = fields.get("statuses", [])
    if not isinstance(statuses, list) or not all(isinstance(status, dict) for status in statuses):
        raise UnreadableAnswer("a report without statuses")
    return BatchReport(
        batch_id=_read_id(fields, "batch_id"),
        total=_read_count(fields, "total_message_count"),
        statuses=tuple(_read_status_count(status) for status in statuses),
        client_reference=read_reference(fields),
    )


def _read_status_count(fields: Mapping[str, Any]) -> StatusCount:
    status = fields.get("status")
    if not isinstance(status, str):
        raise UnreadableAnswer("a count without status")
    recipients = fields.get("recipients") or []
    if not isinstance(recipients, list):
        raise UnreadableAnswer("a count whose recipients are not a list")
    return StatusCount(
        status=status,
        code=read_code(fields),
        count=_read_count(fields, "count"),
        recipients=tuple(read_recipient(entry) for entry in recipients),
    )


def read_inbound(fields: Mapping[str, Any]) -> SinchInbound:
    body = fields.get("body")
    return SinchInbound(
        id=_clean(_read_id(fields, "id")),
        kind=_clean(str(fields.get("type", ""))).lower(),
        sender=read_sender(fields.get("from")),
        recipient=read_address(fields.get("to")),
        body=_clean(body) if isinstance(body, str) else json.dumps(body),
        received_at=read_time(fields.get("received_at")),
        client_reference=read_reference(fields),
    )


def read_texts(kind: str, body: str) -> list[str]:
    """Return what a person wrote in an inbound: the text of an SMS, or subject and text of an MMS.

    A binary message is a text if its bytes are printable.  A kind that the reference does not have
    yet may name its text otherwise.
    """
    if kind == "mo_text":
        return [body]
    if kind == "mo_binary":
        return _read_binary(body)
    try:
        media = read_object(body.encode())
    except UnreadableAnswer:
        return [body]
    named = {name.lower(): value for name, value in media.items()}
    texts = (named.get(name) for name in _TEXT_FIELDS)
    return [_clean(text) for text in texts if isinstance(text, str) and text.strip()]


def _read_binary(body: str) -> list[str]:
    try:
        # Padding may be missing, and more of it is passed over.
        raw = base64.b64decode(f"{body}==")
    except ValueError:
        return []
    # The letters of one alphabet differ in the lower of their two bytes.
    is_little = raw.startswith(codecs.BOM_UTF16_LE) or len({*raw[1::2]}) < len({*raw[::2]})
    for encoding in ("utf-8", "utf-16-le" if is_little else "utf-16-be"):
        with suppress(UnicodeDecodeError):
            text = raw.decode(encoding).removeprefix("\ufeff")
            if "".join(text.split()).isprintable():
                return [text]
    return []


def read_page(body: bytes, *, list_name: str) -> tuple[list[Mapping[str, Any]], int]:
    """Return the items of one page of a list such as `batches`, and the count of all pages."""
    fields = read_object(body)
    items = fields.get(list_name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UnreadableAnswer(f"a page without {list_name}")
    return items, _read_count(fields, "count")


def read_problem(body: bytes) -> tuple[str | None, str | None]:
    """Return Sinch's code and text, cut to 500 characters; None if the body has another shape."""
    try:
        fields = read_object(body)
    except UnreadableAnswer:
        return None, None
    code, text = fields.get("code"), fields.get("text")
    if not isinstance(code, str) or not _CODE.fullmatch(code) or not isinstance(text, str):
        return None, None
    return code, text[:500]


def read_recipient(value: Any) -> str:
    """Return a recipient in E.164; a group's id unchanged.

    >>> read_recipient("46700000001"), read_recipient("+46700000001")
    ('+46700000001', '+46700000001')
    """
    if not isinstance(value, str):
        raise UnreadableAnswer("a recipient that is not text")
    digits = value.removeprefix("+").removeprefix("00")
    return f"+{digits}" if digits.isascii() and digits.isdigit() else _clean(value)


def read_address(value: Any) -> str:
    """Return a number in E.164; a short code of at most 8 digits or a name unchanged.

    >>> read_address("46700000001"), read_address("71234"), read_address("Acme")
    ('+46700000001', '71234', 'Acme')
    """
    recipient = read_recipient(value)
    return recipient if len(recipient) > 9 else _clean(str(value))


def read_sender(value: Any) -> str:
    """Return the number of a phone in E.164; a short code or a name unchanged.

    Short codes send no texts of their own, and numbers of small countries are as short.

    >>> read_sender("50051234"), read_sender("6834002"), read_sender("71234")
    ('+50051234', '+6834002', '71234')
    """
    recipient = read_recipient(value)
    digits = recipient.removeprefix("+")
    long = len(digits) >= _SHORTEST_NUMBER and digits.isascii() and digits.isdigit()
    return recipient if long and _is_possible(recipient) else read_address(value)


def _is_possible(number: str) -> bool:
    """Return True if numbers of the country have this length."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return False
    length = phonenumbers.is_possible_number_with_reason(parsed)
    return bool(length == phonenumbers.ValidationResult.IS_POSSIBLE)


def read_time(value: Any) -> datetime | None:
    """Return an ISO 8601 time as aware UTC, which is the default offset; None when unreadable."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_code(fields: Mapping[str, Any]) -> int | None:
    """Return Sinch's code for a message's status, given as number or string; None when invalid."""
    code = _read_int(fields.get("code"))
    return code if code is not None and 0 <= code < _CODE_LIMIT else None


def read_reference(fields: Mapping[str, Any]) -> str | None:
    """Return the client_reference; None when it cannot be one of ours."""
    return _read_opaque(fields, "client_reference", max_length=128)


def format_time(time: datetime) -> str:
    """Format an aware time as Sinch does.

    >>> format_time(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-03-01T12:00:00.000Z'
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body.  Raises UnreadableAnswer."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise UnreadableAnswer("not JSON") from e
    if not isinstance(value, dict):
        raise UnreadableAnswer("not a JSON object")
    return value


def _read_id(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise UnreadableAnswer(f"no {name}")
    return value


def _read_opaque(fields: Mapping[str, Any], name: str, *, max_length: int) -> str | None:
    value = fields.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= max_length:
        return None
    return value if _OPAQUE.fullmatch(value) else None


def _clean(text: str) -> str:
    """Replace what databases cannot store: lone surrogates by `?`; drop NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _read_count(fields: Mapping[str, Any], name: str) -> int:
    value = _read_int(fields.get(name))
    if value is None or value < 0:
        raise UnreadableAnswer(f"no {name}")
    return value


def _read_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    return None
