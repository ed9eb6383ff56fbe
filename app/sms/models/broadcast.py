"""Tables of a broadcast: the broadcast, its chunks of recipients, its Idempotency-Key."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import BigId, EnumText
from app.sms.models.states import BroadcastStatus, Category, ExclusionReason


class Broadcast(Base):
    """What a client asked for."""

    __tablename__ = "broadcasts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    client: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    text: Mapped[str] = mapped_column(Text)
    # Of text, sender and values: what "the same text" means.
    text_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    sender: Mapped[str] = mapped_column(String(16))
    category: Mapped[Category] = mapped_column(EnumText(Category))
    priority: Mapped[int]
    reference: Mapped[str | None] = mapped_column(String(64))
    # Options that go to Sinch with each batch, and values by default.
    options: Mapped[dict[str, Any]]
    encoding: Mapped[str] = mapped_column(String(8))
    parts: Mapped[int]
    send_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    status: Mapped[BroadcastStatus] = mapped_column(EnumText(BroadcastStatus))
    # Numbers, each once.
    recipients: Mapped[int]
    invalid: Mapped[int]
    duplicates: Mapped[int]
    # The first chunk that is not cut into batches yet; `chunks` when all are.
    planned: Mapped[int]
    chunks: Mapped[int]
    # Sinch's last refusal: status, code, text.
    refusal: Mapped[dict[str, Any] | None]
    # When its first batch was claimed, and when its last one ended.
    first_submitted_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    # When the end of its last message was known.
    all_reported_at: Mapped[datetime | None]
    # Whom it goes to where that is not a list of numbers, and the tag when it is one alone.
    audience: Mapped[dict[str, Any] | None]
    tag: Mapped[str | None] = mapped_column(String(64))
    # Whether its audience is still being looked up, and up to which number it is.
    resolving: Mapped[bool] = mapped_column(default=False, server_default=sql("false"))
    resolved_to: Mapped[str | None] = mapped_column(String(16))
    # By language: the text, its encoding and its parts, where there are translations.
    texts: Mapped[dict[str, Any] | None]
    # The broadcast whose unreached recipients this one is sent to again.
    resend_of: Mapped[int | None] = mapped_column(BigId)

    __table_args__ = (
        # A broadcast's unreached recipients are sent to again once.
        Index("uq_broadcasts_resend_of", "resend_of", unique=True),
        Index("ix_broadcasts_same_text", "client", "text_hash", "created_at"),
        # Few are open at a time, many are kept.
        Index(
            "ix_broadcasts_open",
            "priority",
            "id",
            sqlite_where=sql("completed_at IS NULL"),
            postgresql_where=sql("completed_at IS NULL"),
        ),
        Index(
            "ix_broadcasts_unsettled",
            "id",
            sqlite_where=sql("completed_at IS NOT NULL AND all_reported_at IS NULL"),
            postgresql_where=sql("completed_at IS NOT NULL AND all_reported_at IS NULL"),
        ),
        # Each is looked through for a number.
        Index(
            "ix_broadcasts_to_many",
            "id",
            sqlite_where=sql("recipients > 1"),
            postgresql_where=sql("recipients > 1"),
        ),
        Index("ix_broadcasts_status", "status", "id"),
    )


class Chunk(Base):
    """A piece of an audience: up to a batch of numbers, one a line, and their own values."""

    __tablename__ = "chunks"

    broadcast_id: Mapped[int] = mapped_column(ForeignKey("broadcasts.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int]
    recipients: Mapped[str] = mapped_column(Text)
    parameters: Mapped[dict[str, Any] | None]
    # Which of the broadcast's texts they get.
    language: Mapped[str | None] = mapped_column(String(16))
    # Why none of them is sent to, known when the audience was looked up.
    exclusion_reason: Mapped[ExclusionReason | None] = mapped_column(EnumText(ExclusionReason))

    __table_args__ = (
        # By which broadcasts to one person are found.
        Index(
            "ix_chunks_alone",
            "recipients",
            sqlite_where=sql("size = 1"),
            postgresql_where=sql("size = 1"),
        ),
    )


class IdempotencyKey(Base):
    """A client's key, the request it stands for, and the answer once there is one."""

    __tablename__ = "idempotency_keys"

    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    broadcast_id: Mapped[int] = mapped_column(ForeignKey("broadcasts.id"))
    created_at: Mapped[datetime] = mapped_column(index=True)
    # Until then the first request may still be at work.
    running_until: Mapped[datetime]
    answer_status: Mapped[int | None]
    answer: Mapped[dict[str, Any] | None]
