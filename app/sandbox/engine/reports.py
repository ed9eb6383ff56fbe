"""Delivery reports in Sinch's shapes, for answers and callbacks alike."""

from typing import Any

from app.sandbox.clock import format_time
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.outcomes import StatusChange

Json = dict[str, Any]


def build_batch_report(batch: Batch, now: float, *, full: bool) -> Json:
    """Count the messages by status and code; a full report lists their recipients too."""
    groups: dict[tuple[int, str], list[str]] = {}
    for index, number in enumerate(batch.recipients):
        change = batch.find_status(index, now)
        groups.setdefault((change.code, change.status), []).append(number)
    return {
        "type": "delivery_report_sms",
        "batch_id": batch.id,
        "total_message_count": len(batch.recipients),
        "statuses": [
            {"code": code, "status": status, "count": len(numbers)}
            | ({"recipients": numbers} if full else {})
            for (code, status), numbers in groups.items()
        ],
    } | _show_reference(batch)


def build_recipient_report(batch: Batch, index: int, change: StatusChange) -> Json:
    """Report one status change of the message at this index."""
    return {
        "type": "recipient_delivery_report_sms",
        "batch_id": batch.id,
        "recipient": batch.recipients[index],
        "code": change.code,
        "status": change.status,
        "at": format_time(change.at),
    } | _show_reference(batch)


def _show_reference(batch: Batch) -> Json:
    reference = batch.client_reference
    return {} if reference is None else {"client_reference": reference}
