"""Tables of drafts, which people write step by step, and of approvals of sending again."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnClause, Index, String, Text

from app.db.base import Base, column, partial_index
from app.db.types import NEVER_REUSE_IDS, BigId

MAX_USER_NAME = 60


class StoredDraft(Base, **NEVER_REUSE_IDS):
    """A broadcast that is not sent yet, or the one that it became.

    `version` grows with every change: an approval and a confirmation are of one version.
    """

    __tablename__ = "drafts"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    public_id: ColumnClause[str] = column(String(26), unique=True)
    version: ColumnClause[int]
    title: ColumnClause[str] = column(String(64))
    # What is known so far, as the JSON body of POST /api/broadcast without its recipients.
    body: ColumnClause[dict[str, Any]]
    # The recipients in E.164, one per line, unless there is an audience or a file.
    numbers: ColumnClause[str | None] = column(Text)
    # A CSV file of recipients: its rows, what its columns are, and which rows are left out.
    file: ColumnClause[dict[str, Any] | None]
    created_at: ColumnClause[datetime]
    created_by: ColumnClause[str] = column(String(MAX_USER_NAME))
    changed_at: ColumnClause[datetime]
    changed_by: ColumnClause[str] = column(String(MAX_USER_NAME))
    # The users who asked for the approval of this version, and who gave it.
    asked_at: ColumnClause[datetime | None]
    asked_by: ColumnClause[str | None] = column(String(MAX_USER_NAME))
    approved_at: ColumnClause[datetime | None]
    approved_by: ColumnClause[str | None] = column(String(MAX_USER_NAME))
    # What was asked for, then approved: a hash of the text, as a quote has it, and how many get it.
    approved_text: ColumnClause[str | None] = column(String(64))
    approved_people: ColumnClause[int | None]
    # Those figures of the quote, as `pick_figures` has them.
    approved_figures: ColumnClause[dict[str, Any] | None]
    # Set in the transaction that stores the broadcast: a draft is sent once.
    broadcast_id: ColumnClause[int | None] = column(BigInteger)

    __table_args__ = (
        Index("ix_drafts_changed_at", "changed_at"),
        # Finds who approved a broadcast.
        partial_index("ix_drafts_broadcast", "broadcast_id", where="broadcast_id IS NOT NULL"),
    )


class ResendApproval(Base):
    """A user's question to send a broadcast again to those not reached, and its approval."""

    __tablename__ = "resend_approvals"

    broadcast_id: ColumnClause[int] = column(BigId, primary_key=True, autoincrement=False)
    people: ColumnClause[int]
    # Of a quote for them, as `pick_figures` has them.
    figures: ColumnClause[dict[str, Any] | None]
    asked_at: ColumnClause[datetime]
    asked_by: ColumnClause[str] = column(String(MAX_USER_NAME))
    approved_at: ColumnClause[datetime | None]
    approved_by: ColumnClause[str | None] = column(String(MAX_USER_NAME))
