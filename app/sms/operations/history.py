"""History of a broadcast: what people did to it, and to its batches and its draft."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.draft import StoredDraft

_AUDIT, _BATCHES, _DRAFTS = table_of(AuditEntry), table_of(Batch), table_of(StoredDraft)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An action on a broadcast: the audit log's word for it, by whom, and its facts."""

    at: datetime
    actor: str
    action: str
    facts: dict[str, Any]


def read_history(ctx: Context, broadcast: Row[Any]) -> list[HistoryEntry]:
    """Return the actions on a broadcast that the viewer has found, the newest first."""
    with ctx.db.read() as tx:
        entries = list(_select_entries(tx, broadcast))
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _select_entries(tx: Connection, broadcast: Row[Any]) -> Iterator[HistoryEntry]:
    drafts = select(_DRAFTS.c.public_id).where(_DRAFTS.c.broadcast_id == broadcast.id)
    subjects = [broadcast.public_id, *tx.execute(drafts).scalars()]
    of_broadcast = select(_AUDIT).where(_AUDIT.c.subject.in_(subjects))
    of_batches = (
        select(_AUDIT)
        .join(_BATCHES, _BATCHES.c.client_reference == _AUDIT.c.subject)
        .where(_BATCHES.c.broadcast_id == broadcast.id)
    )
    for query in (of_broadcast, of_batches):
        for row in tx.execute(query):
            yield HistoryEntry(row.at, row.actor, row.action, row.facts or {})
