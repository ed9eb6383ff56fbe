"""Tables of a broadcast: the broadcast, its chunks of recipients, its Idempotency-Key."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnClause, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy import text as sql

from app.db.base import Base, column, partial_index
from app.db.types import BigId, EnumText
from app.sms.models.states import BroadcastStatus, Category, ExclusionReason

# The address of a broadcast by its public id.
BROADCAST_URL = "/api/broadcasts/{}"


class Broadcast(Base):
    """One text to an audience, as a client requested it."""

    __tablename__ = "broadcasts"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    public_id: ColumnClause[str] = column(String(26), unique=True)
    client: ColumnClause[str] = column(String(64))
    # The key of the database that made it, and the countries that the key may send to.
    key_id: ColumnClause[int | None] = column(BigId)
    countries: ColumnClause[list[str] | None]
    # The user who made it on the pages, or cli: and the operator on the command line.
    created_by: ColumnClause[str | None] = column(String(60))
    created_at: ColumnClause[datetime]
    text: ColumnClause[str] = column(Text)
    # Over text, sender and parameters; equal hashes mean the same text.
    text_hash: ColumnClause[bytes] = column(LargeBinary(32))
    sender: ColumnClause[str] = column(String(16))
    category: ColumnClause[Category] = column(EnumText(Category))
    priority: ColumnClause[int]
    reference: ColumnClause[str | None] = column(String(64))
    # Options that go to Sinch with each batch, and default parameters.
    options: ColumnClause[dict[str, Any]]
    encoding: ColumnClause[str] = column(String(8))
    parts: ColumnClause[int]
    send_at: ColumnClause[datetime | None]
    expires_at: ColumnClause[datetime]
    status: ColumnClause[BroadcastStatus] = column(EnumText(BroadcastStatus))
    # Distinct valid numbers.
    recipients: ColumnClause[int]
    invalid: ColumnClause[int]
    duplicates: ColumnClause[int]
    # Number of the first chunk without batches; equals `chunks` once all have batches.
    planned: ColumnClause[int]
    chunks: ColumnClause[int]
    # Sinch's last refusal: status, code, text.
    refusal: ColumnClause[dict[str, Any] | None]
    # When the first batch was claimed, and when the last one reached a final state.
    first_submitted_at: ColumnClause[datetime | None]
    completed_at: ColumnClause[datetime | None]
    # When the last message got a final status.
    all_reported_at: ColumnClause[datetime | None]
    # The audience unless it is a list of numbers; the tag if it is a single tag.
    audience: ColumnClause[dict[str, Any] | None]
    tag: ColumnClause[str | None] = column(String(64))
    # Whether its audience is still being looked up, and the last number found so far.
    resolving: ColumnClause[bool] = column(default=False, server_default=sql("false"))
    resolved_to: ColumnClause[str | None] = column(String(16))
    # Text, encoding and parts by language, if there are translations.
    texts: ColumnClause[dict[str, Any] | None]
    # Since when its text and numbers are being deleted, and whether all of them are.
    purged_at: ColumnClause[datetime | None]
    is_purged: ColumnClause[bool] = column(server_default=sql("false"))
    # The broadcast to whose undelivered recipients this one is sent again.
    resend_of: ColumnClause[int | None] = column(BigId)

    __table_args__ = (
        # A broadcast can be resent once.
        Index("uq_broadcasts_resend_of", "resend_of", unique=True),
        Index("ix_broadcasts_same_text", "client", "text_hash", "created_at"),
        # Few broadcasts are open at a time, many are kept.
        partial_index("ix_broadcasts_open", "priority", "id", where="completed_at IS NULL"),
        partial_index(
            "ix_broadcasts_unsettled",
            "id",
            where="completed_at IS NOT NULL AND all_reported_at IS NULL",
        ),
        # Few broadcasts have all their reports and still their numbers.
        partial_index(
            "ix_broadcasts_to_purge",
            "all_reported_at",
            where="all_reported_at IS NOT NULL AND is_purged = false",
        ),
        # The search for a number reads the chunks of each of these.
        partial_index("ix_broadcasts_to_many", "id", where="recipients > 1"),
        Index("ix_broadcasts_status", "status", "id"),
        Index("ix_broadcasts_client", "client", "id"),
        # Finds a client's broadcasts by their reference, and those of all clients.
        partial_index(
            "ix_broadcasts_reference", "reference", "client", "id", where="reference IS NOT NULL"
        ),
    )


class Chunk(Base):
    """Part of an audience: at most a batch of numbers, one per line, and their parameters."""

    __tablename__ = "chunks"

    broadcast_id: ColumnClause[int] = column(ForeignKey("broadcasts.id"), primary_key=True)
    number: ColumnClause[int] = column(primary_key=True)
    size: ColumnClause[int]
    recipients: ColumnClause[str] = column(Text)
    parameters: ColumnClause[dict[str, Any] | None]
    # Which of the broadcast's texts the recipients get.
    language: ColumnClause[str | None] = column(String(16))
    # Why all its recipients are excluded, known when the audience was looked up.
    exclusion_reason: ColumnClause[ExclusionReason | None] = column(EnumText(ExclusionReason))

    __table_args__ = (
        # Finds the broadcasts to a single recipient.
        partial_index("ix_chunks_alone", "recipients", where="size = 1"),
    )


class IdempotencyKey(Base):
    """A client's idempotency key, the hash of its request, and the answer once there is one."""

    __tablename__ = "idempotency_keys"

    client: ColumnClause[str] = column(String(64), primary_key=True)
    key: ColumnClause[str] = column(String(255), primary_key=True)
    request_hash: ColumnClause[bytes] = column(LargeBinary(32))
    broadcast_id: ColumnClause[int] = column(ForeignKey("broadcasts.id"))
    created_at: ColumnClause[datetime] = column(index=True)
    # Until then the first request may still be running.
    running_until: ColumnClause[datetime]
    answer_status: ColumnClause[int | None]
    answer: ColumnClause[dict[str, Any] | None]
