"""Audit log: who did what through the API, the pages and the command line.

An entry is written in the transaction of the deed.  A broadcast is the entry of its own sending: it
has the client and the user.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnClause, Connection, Index, String, insert

from app.db.base import Base, column, table_of
from app.db.types import BigId


class AuditEntry(Base):
    """An action of a person or client."""

    __tablename__ = "audit"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    at: ColumnClause[datetime]
    actor: ColumnClause[str] = column(String(128))
    action: ColumnClause[str] = column(String(32))
    subject: ColumnClause[str] = column(String(64))
    facts: ColumnClause[dict[str, Any] | None]

    __table_args__ = (Index("ix_audit_subject", "subject", "id"),)


def write_audit(
    tx: Connection, now: datetime, actor: str, action: str, subject: str, /, **facts: Any
) -> None:
    """Add an entry to the audit log: who did what to what."""
    entry = {"at": now, "actor": actor, "action": action, "subject": subject}
    tx.execute(insert(table_of(AuditEntry)), entry | {"facts": facts or None})
