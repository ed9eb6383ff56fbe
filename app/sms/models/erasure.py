"""Table of unfinished erasures."""

from datetime import datetime

from sqlalchemy import JSON, ColumnClause, String

from app.db.base import Base, column


class Erasure(Base, sqlite_with_rowid=False):
    """An erasure that waits for open broadcasts; the row is deleted when the erasure is complete.

    `remaining` names the data that the last pass could not erase yet.
    """

    __tablename__ = "erasures"

    phone: ColumnClause[str] = column(String(16), primary_key=True)
    requested_at: ColumnClause[datetime]
    actor: ColumnClause[str] = column(String(128))
    remaining: ColumnClause[list[str]] = column(JSON)
