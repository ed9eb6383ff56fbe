"""Outbox: events for clients, written in the transaction that they report."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Connection, Row, String, bindparam, column, insert, or_, select, table

from app.db.base import table_of
from app.db.prepared import Prepared
from app.ids import make_id
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.sms.models.states import BroadcastStatus


class EventType(StrEnum):
    """Types of events for clients."""

    BROADCAST_COMPLETED = "broadcast.completed"  # no batch is left to send
    BROADCAST_ALL_REPORTED = "broadcast.all_reported"  # every message has a final status
    MESSAGES_UPDATED = "messages.updated"  # messages got a final status
    INBOUND_RECEIVED = "inbound.received"  # a phone texted us
    CAP_NEARED = "cap.neared"  # 80 % of a cap on sending are used
    CAP_REACHED = "cap.reached"  # a cap on sending is reached: texts wait
    TEST = "webhook.test"  # requested by a client to test its endpoint


# Types that an endpoint can subscribe to.
LISTENABLE = tuple(event_type for event_type in EventType if event_type is not EventType.TEST)

# The model of this table belongs to app.webhooks, which this package must not import.
_ENDPOINTS = table("webhook_endpoints", column("client", String), column("event_types", JSON))

_OUTBOX = table_of(OutboxEvent)
_INSERT = insert(_OUTBOX).returning(_OUTBOX.c.id)
_CLIENT = bindparam("client", type_=String)
_SUBSCRIBED = Prepared(
    select(_ENDPOINTS.c.event_types).where(or_(_ENDPOINTS.c.client == _CLIENT, _CLIENT.is_(None)))
)


def enqueue_event(
    tx: Connection,
    ctx: Context,
    *,
    client: str | None,
    event_type: EventType,
    facts: Mapping[str, Any],
) -> None:
    """Add an event for a client, or for every client, if any of its endpoints subscribed to it."""
    if _is_subscribed(tx, client, event_type):
        add_event(tx, ctx, client=client, event_type=event_type, facts=facts)


def notify_clients(
    tx: Connection,
    ctx: Context,
    event_type: EventType,
    broadcasts: Sequence[Row[Any]],
    status: BroadcastStatus,
) -> None:
    """Add an event about each broadcast for its client, if one of its endpoints subscribed."""
    clients = {broadcast.client for broadcast in broadcasts}
    subscribed = {client for client in clients if _is_subscribed(tx, client, event_type)}
    for broadcast in broadcasts:
        if broadcast.client in subscribed:
            facts = {
                "broadcast_id": broadcast.public_id,
                "reference": broadcast.reference,
                "status": status.value,
            }
            add_event(tx, ctx, client=broadcast.client, event_type=event_type, facts=facts)


def _is_subscribed(tx: Connection, client: str | None, event_type: EventType) -> bool:
    rows = _SUBSCRIBED.fetch(tx, {"client": client})
    return any(event_type in row.event_types for row in rows)


def add_event(
    tx: Connection,
    ctx: Context,
    *,
    client: str | None,
    event_type: EventType,
    facts: Mapping[str, Any],
    fanned_out: bool = False,
) -> int:
    """Add an event, whether or not an endpoint subscribed.  Returns the id of its row."""
    now = ctx.now()
    row = {"public_id": make_id(now), "client": client, "event_type": event_type.value, "at": now}
    added = tx.execute(_INSERT, row | {"facts": dict(facts), "fanned_out": fanned_out})
    return int(added.scalar_one())
