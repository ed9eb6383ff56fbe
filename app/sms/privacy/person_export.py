"""What the tables of broadcasts know of one person, for the export of everything on them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, select

from app.db.base import table_of
from app.sms.messages.search import list_messages_to
from app.sms.models.reports import Inbound

# The newest; so many nobody gets in years.
_MOST = 10_000
_INBOUNDS = table_of(Inbound)
_TEXTS = (
    select(_INBOUNDS)
    .where(_INBOUNDS.c.sender == bindparam("who"))
    .order_by(_INBOUNDS.c.id.desc())
    .limit(_MOST)
)


def export_messages_to(tx: Connection, phone: str) -> Mapping[str, Any]:
    """What this number was sent, the newest first."""
    messages = list_messages_to(tx, phone, most=_MOST)
    times = ("at", "created_at")
    return {
        "messages": [
            each | {name: each[name].isoformat() if each[name] else None for name in times}
            for each in messages
        ]
    }


def export_texts_from(tx: Connection, phone: str) -> Mapping[str, Any]:
    """What this number texted us, the newest first."""
    return {
        "inbounds": [
            {
                "inbound_id": row.id,
                "recipient": row.recipient,
                "kind": row.kind,
                "body": row.body,
                "received_at": row.received_at.isoformat() if row.received_at else None,
            }
            for row in tx.execute(_TEXTS, {"who": phone})
        ]
    }


SOURCES = (export_messages_to, export_texts_from)
