"""Events for clients whose messages got a final status."""

from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.db.base import table_of
from app.db.prepared import Prepared, chunked
from app.sms.context import Context
from app.sms.lifecycle.outbox import EventType, enqueue_event
from app.sms.models.broadcast import Broadcast
from app.sms.models.statuses import explain
from app.sms.reports.record import DeliveryReport, RecordedReports

# Most messages in one event.
MAX_MESSAGES = 1_000

_BROADCASTS = table_of(Broadcast)
_OWNER = Prepared(
    select(_BROADCASTS.c.client, _BROADCASTS.c.public_id, _BROADCASTS.c.reference).where(
        _BROADCASTS.c.id == bindparam("broadcast_id")
    )
)


def notify_clients(tx: Connection, ctx: Context, recorded: RecordedReports) -> None:
    """Add events for the messages that got a final status."""
    for broadcast_id, ended in sorted(recorded.ended.items()):
        owner = _OWNER.first(tx, {"broadcast_id": broadcast_id})
        for reports in chunked(ended, MAX_MESSAGES):
            facts: dict[str, Any] = {
                "broadcast_id": owner.public_id,
                "reference": owner.reference,
                "messages": [_show_report(report) for report in reports],
            }
            enqueue_event(
                tx, ctx, client=owner.client, event_type=EventType.MESSAGES_UPDATED, facts=facts
            )


def _show_report(report: DeliveryReport) -> dict[str, Any]:
    return {
        "recipient": report.recipient,
        "status": report.status.value,
        "code": report.code,
        "reason": explain(report.status, report.code).sentence,
        "at": report.at.isoformat() if report.at else None,
    }
