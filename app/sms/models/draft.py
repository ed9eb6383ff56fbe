"""Tables of drafts, which people write step by step, and of approvals of sending again."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, partial_index
from app.db.types import NEVER_REUSE_IDS, BigId

MAX_USER_NAME = 60


class StoredDraft(Base):
    """A broadcast that is not sent yet, or the one that it became.

    `version` grows with every change: an approval and a confirmation are of one version.
    """

    __tablename__ = "drafts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    version: Mapped[int]
    title: Mapped[str] = mapped_column(String(64))
    # What is known so far, as the JSON body of POST /api/broadcast without its recipients.
    body: Mapped[dict[str, Any]]
    # The recipients in E.164, one per line, unless there is an audience or a file.
    numbers: Mapped[str | None] = mapped_column(Text)
    # A CSV file of recipients: its rows, what its columns are, and which rows are left out.
    file: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(MAX_USER_NAME))
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(String(MAX_USER_NAME))
    # The users who asked for the approval of this version, and who gave it.
    asked_at: Mapped[datetime | None]
    asked_by: Mapped[str | None] = mapped_column(String(MAX_USER_NAME))
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None] = mapped_column(String(MAX_USER_NAME))
    # What was asked for, then approved: a hash of the text, as a quote has it, and how many get it.
    approved_text: Mapped[str | None] = mapped_column(String(64))
    approved_people: Mapped[int | None]
    # Set in the transaction that stores the broadcast: a draft is sent once.
    broadcast_id: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (
        Index("ix_drafts_changed_at", "changed_at"),
        # Finds who approved a broadcast.
        partial_index("ix_drafts_broadcast", "broadcast_id", where="broadcast_id IS NOT NULL"),
        NEVER_REUSE_IDS,
    )


class ResendApproval(Base):
    """A user's question to send a broadcast again to those not reached, and its approval."""

    __tablename__ = "resend_approvals"

    broadcast_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    people: Mapped[int]
    asked_at: Mapped[datetime]
    asked_by: Mapped[str] = mapped_column(String(MAX_USER_NAME))
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[str | None] = mapped_column(String(MAX_USER_NAME))
