"""What clients are to be told, written in the transaction that makes it true."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Connection, String, bindparam, column, insert, or_, select, table

from app.db.base import table_of
from app.ids import make_id
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent


class EventType(StrEnum):
    """What a client can be told of."""

    BROADCAST_COMPLETED = "broadcast.completed"  # nothing of it is left to send
    BROADCAST_ALL_REPORTED = "broadcast.all_reported"  # the end of every message is known
    MESSAGES_UPDATED = "messages.updated"  # messages ended
    INBOUND_RECEIVED = "inbound.received"  # a phone texted us
    TEST = "webhook.test"  # whoever asked for a test shall see it work


# What a client may listen to.
LISTENABLE = tuple(each for each in EventType if each is not EventType.TEST)

# The model of this table stands above us, in app.webhooks.
_ENDPOINTS = table("webhook_endpoints", column("client", String), column("event_types", JSON))

# Made once: to make a statement costs several times what it takes to run one.
_OUTBOX = table_of(OutboxEvent)
_ADD = insert(_OUTBOX).returning(_OUTBOX.c.id)
_CLIENT = bindparam("client", type_=String)
_LISTENING = select(_ENDPOINTS.c.event_types).where(
    or_(_ENDPOINTS.c.client == _CLIENT, _CLIENT.is_(None))
)


def enqueue_event(
    tx: Connection, ctx: Context, *, client: str | None, event_type: str, facts: Mapping[str, Any]
) -> None:
    """Note that a client, or every one, is to be told of something once this is committed.

    Writes nothing where none of its endpoints listens.
    """
    wanted = EventType(event_type)
    listening = tx.execute(_LISTENING, {"client": client}).scalars()
    if any(wanted in event_types for event_types in listening):
        add_event(tx, ctx, client=client, event_type=wanted, facts=facts)


def add_event(
    tx: Connection,
    ctx: Context,
    *,
    client: str | None,
    event_type: EventType,
    facts: Mapping[str, Any],
    fanned_out: bool = False,
) -> int:
    """Note an event, whoever listens; the id of its row."""
    now = ctx.now()
    row = {"public_id": make_id(now), "client": client, "event_type": event_type.value, "at": now}
    added = tx.execute(_ADD, row | {"facts": dict(facts), "fanned_out": fanned_out})
    return int(added.scalar_one())
