"""Messages and inbound texts of one person, for the export of their data."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from app.db.viewer import Viewer
from app.sms.messages.search import list_messages_to
from app.sms.models.reports import Inbound

# The newest; more than anyone gets in years.
_LIMIT = 10_000


def export_messages_to(tx: Connection, viewer: Viewer, phone: str) -> Mapping[str, Any]:
    """Return the viewer's messages to this number, newest first."""
    messages = list_messages_to(tx, viewer, phone, limit=_LIMIT)
    for message in messages:
        for name in ("at", "created_at"):
            message[name] = message[name].isoformat() if message[name] else None
    return {"messages": messages}


def export_texts_from(tx: Connection, _: Viewer, phone: str) -> Mapping[str, Any]:
    """Return the inbound texts from this number, newest first."""
    query = select(Inbound.__table__).where(Inbound.sender == phone).order_by(Inbound.id.desc())
    return {
        "inbounds": [
            {
                "inbound_id": row.id,
                "recipient": row.recipient,
                "kind": row.kind,
                "body": row.body,
                "received_at": row.received_at.isoformat() if row.received_at else None,
            }
            for row in tx.execute(query.limit(_LIMIT))
        ]
    }


SOURCES = (export_messages_to, export_texts_from)
