"""What Sinch would call back with, and what then stands in the books."""

import json
from typing import Any

from sqlalchemy import Row, insert, select

from app.sms.context import Context
from app.sms.models.batch import Message
from app.sms.models.reports import DeliveryCount, Event, Inbound, OutboxEvent
from app.webhooks.incoming.apply import apply_events

AT = "2026-03-01T12:00:05.250Z"


def report(
    recipient: str,
    status: str,
    code: int | str = 0,
    *,
    batch: str = "01SINCHBATCH",
    reference: str | None = None,
    at: str = AT,
    **more: Any,
) -> bytes:
    """A report on one recipient."""
    fields = {
        "type": "recipient_delivery_report_sms",
        "batch_id": batch,
        "recipient": recipient.lstrip("+"),
        "code": code,
        "status": status,
        "at": at,
        **({"client_reference": reference} if reference else {}),
        **more,
    }
    return json.dumps(fields).encode()


def batch_report(
    statuses: list[dict[str, Any]],
    *,
    batch: str = "01SINCHBATCH",
    reference: str | None = None,
    total: int | None = None,
) -> bytes:
    """A summary or full report: each status with code and count, and perhaps recipients."""
    fields = {
        "type": "delivery_report_sms",
        "batch_id": batch,
        "total_message_count": total or sum(each["count"] for each in statuses),
        "statuses": statuses,
        **({"client_reference": reference} if reference else {}),
    }
    return json.dumps(fields).encode()


def inbound(sender: str, text: str, *, name: str = "01INBOUND", **more: Any) -> bytes:
    """A text from a phone."""
    fields = {
        "type": "mo_text",
        "id": name,
        "from": sender.lstrip("+"),
        "to": "12015550199",
        "body": text,
        "received_at": AT,
        **more,
    }
    return json.dumps(fields).encode()


def store_events(ctx: Context, *raw: bytes) -> None:
    """Events as the webhook stores them."""
    rows = [{"received_at": ctx.now(), "raw": each, "tries": 0} for each in raw]
    with ctx.db.write() as tx:
        for row in rows:
            tx.execute(insert(Event).values(row))


def tell(ctx: Context, *raw: bytes, at_once: bool = True) -> None:
    """Store events and apply them: together, or one group each."""
    for some in [raw] if at_once else [(each,) for each in raw]:
        store_events(ctx, *some)
        apply_events(ctx)


def read_all(ctx: Context, table: type[Any]) -> list[Row[Any]]:
    """The rows of a table, in the order of its key."""
    order = table.__table__.primary_key.columns
    with ctx.db.read() as tx:
        return list(tx.execute(select(table.__table__).order_by(*order)))


def events(ctx: Context) -> list[Row[Any]]:
    return read_all(ctx, Event)


def inbounds(ctx: Context) -> list[Row[Any]]:
    return read_all(ctx, Inbound)


def outbox(ctx: Context, kind: str) -> list[dict[str, Any]]:
    """What clients are told of this kind."""
    return [row.facts for row in read_all(ctx, OutboxEvent) if row.event_type == kind]


def ends(ctx: Context, broadcast_id: int) -> dict[str, tuple[str | None, int | None]]:
    """Status and code of each message."""
    query = select(Message.recipient, Message.status, Message.code).where(
        Message.broadcast_id == broadcast_id
    )
    with ctx.db.read() as tx:
        return {row.recipient: (row.status, row.code) for row in tx.execute(query)}


def sums(ctx: Context, broadcast_id: int) -> dict[tuple[str, int, int], int]:
    """The tallies of a broadcast that are not 0."""
    return {
        (row.status, row.code, row.bucket): row.messages
        for row in read_all(ctx, DeliveryCount)
        if row.broadcast_id == broadcast_id and row.messages
    }
