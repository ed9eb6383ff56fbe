"""Delivery reports in Sinch's shapes, for answers and callbacks alike."""

from collections.abc import Collection
from typing import Any

from app.sandbox.clock import format_minute, format_time
from app.sandbox.control.settings import Settings
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.outcomes import Change
from app.sandbox.errors import not_found
from app.sandbox.numbers import digits_of

Json = dict[str, Any]


def echo(entry: str, settings: Settings) -> str:
    """A number as answers print it: bare digits, or with a plus when that is switched on."""
    return f"+{entry}" if settings.plus_in_numbers and entry.isdigit() else entry


def batch_report(
    batch: Batch,
    now: float,
    *,
    full: bool,
    settings: Settings,
    statuses: Collection[str] = (),
    codes: Collection[int] = (),
) -> Json:
    """How many messages are in which status, and with ``full`` which."""
    groups: dict[tuple[int, str], list[str]] = {}
    for place, number in enumerate(batch.recipients):
        change = batch.status(place, now)
        if is_wanted(change, statuses, codes):
            groups.setdefault((change.code, change.status), []).append(echo(number, settings))
    report: Json = {
        "type": f"delivery_report_{_kind(batch)}",
        "batch_id": batch.id,
        "total_message_count": _number(len(batch.recipients), settings),
        "statuses": [
            {"code": _number(code, settings), "status": status, "count": len(numbers)}
            | ({"recipients": numbers} if full else {})
            for (code, status), numbers in groups.items()
        ],
    }
    return report | _reference(batch)


def recipient_report(batch: Batch, place: int, change: Change, *, settings: Settings) -> Json:
    """What is known of one message once this change has come about."""
    number = batch.recipients[place]
    report: Json = {
        "type": f"recipient_delivery_report_{_kind(batch)}",
        "batch_id": batch.id,
        "recipient": echo(number, settings),
        "code": _number(change.code, settings),
        "status": change.status,
        "at": format_time(change.at),
    }
    if change.code < 400:
        report["operator_status_at"] = format_minute(change.at)
    return (
        report
        | _reference(batch)
        | _sender(batch, number)
        | _text(batch, number)
        | _operator(change, settings)
    )


def current_recipient_report(batch: Batch, number: str, now: float, settings: Settings) -> Json:
    """The latest report on one number.  Refused with 404 when the batch does not hold it."""
    digits = digits_of(number)
    if digits not in batch.recipients:
        raise not_found(f"recipient {number}")
    place = batch.recipients.index(digits)
    return recipient_report(batch, place, batch.status(place, now), settings=settings)


def is_wanted(change: Change, statuses: Collection[str], codes: Collection[int]) -> bool:
    return (not statuses or change.status.lower() in statuses) and (
        not codes or change.code in codes
    )


def _kind(batch: Batch) -> str:
    return "mms" if batch.order.type == "mt_media" else "sms"


def _number(value: int, settings: Settings) -> int | str:
    return str(value) if settings.codes_as_strings else value


def _reference(batch: Batch) -> Json:
    return {} if batch.reference is None else {"client_reference": batch.reference}


def _sender(batch: Batch, number: str) -> Json:
    sender = None if "from" in batch.order.fields else batch.sender_for(number)
    return {} if sender is None else {"applied_originator": digits_of(sender) or sender}


def _text(batch: Batch, number: str) -> Json:
    text = None if batch.order.type == "mt_binary" else batch.text_for(number)
    if text is None:
        return {}
    found: Json = {}
    if "max_number_of_message_parts" in batch.order.fields:
        found["number_of_message_parts"] = batch.measured(text).parts
    if batch.settings.auto_encoding:
        found["encoding"] = "UNICODE" if batch.measured(text).unicode else "GSM"
    return found


def _operator(change: Change, settings: Settings) -> Json:
    known = settings.report_operator is not None and change.code < 402
    return {"operator": settings.report_operator} if known else {}
