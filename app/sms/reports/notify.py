"""What was booked is told: to the clients whose messages ended."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.db.base import table_of
from app.sms.context import Context
from app.sms.lifecycle.outbox import EventType, enqueue_event
from app.sms.models.broadcast import Broadcast
from app.sms.models.statuses import explain
from app.sms.reports.record import DeliveryReport, RecordedReports

# Numbers in one event to a client.
MAX_MESSAGES = 1_000

_BROADCASTS = table_of(Broadcast)
_OWNER = select(_BROADCASTS.c.client, _BROADCASTS.c.public_id, _BROADCASTS.c.reference).where(
    _BROADCASTS.c.id == bindparam("this")
)


def notify_clients(tx: Connection, ctx: Context, booked: RecordedReports) -> None:
    """Note for the clients which messages ended."""
    for broadcast_id, ended in sorted(booked.ended.items()):
        owner = tx.execute(_OWNER, {"this": broadcast_id}).one()
        for some in _cut(ended):
            facts: dict[str, Any] = {
                "broadcast_id": owner.public_id,
                "reference": owner.reference,
                "messages": [_describe(each) for each in some],
            }
            enqueue_event(
                tx, ctx, client=owner.client, event_type=EventType.MESSAGES_UPDATED, facts=facts
            )


def _cut(ended: Sequence[DeliveryReport]) -> Iterator[Sequence[DeliveryReport]]:
    for start in range(0, len(ended), MAX_MESSAGES):
        yield ended[start : start + MAX_MESSAGES]


def _describe(told: DeliveryReport) -> dict[str, Any]:
    return {
        "recipient": told.recipient,
        "status": told.status.value,
        "code": told.code,
        "reason": explain(told.status, told.code).sentence,
        "at": told.at.isoformat() if told.at else None,
    }
