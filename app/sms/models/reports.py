"""Tables of callbacks, delivery counts, inbounds and the outbox.

events           raw callbacks, stored before Sinch gets its answer, deleted once applied
delivery_counts  number of messages of a broadcast by status, code and latency bucket
inbounds         texts from phones, each once
outbox           events for clients, written in the transaction that they report
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnClause, Index, LargeBinary, String, Text

from app.db.base import Base, column, partial_index
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText
from app.sms.models.statuses import MessageStatus


class DeadLetterReason(StrEnum):
    """Why an event is kept without being applied."""

    UNREADABLE = "unreadable"  # not what Sinch's contract describes
    FOREIGN = "foreign"  # about a batch that is not ours


class Event(Base, **NEVER_REUSE_IDS):
    """The raw bytes of one callback: waiting to be applied, or kept as a dead letter."""

    __tablename__ = "events"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    received_at: ColumnClause[datetime]
    raw: ColumnClause[bytes] = column(LargeBinary)
    # How often the event was postponed, and until when.
    tries: ColumnClause[int] = column(default=0)
    not_before: ColumnClause[datetime | None]
    dead_letter_reason: ColumnClause[DeadLetterReason | None] = column(EnumText(DeadLetterReason))

    __table_args__ = (
        partial_index("ix_events_waiting", "id", where="dead_letter_reason IS NULL"),
        partial_index("ix_events_left", "received_at", where="dead_letter_reason IS NOT NULL"),
    )


class DeliveryCount(Base, sqlite_with_rowid=False):
    """Number of messages of a broadcast with a reported status, code and latency.

    `code` is -1 where Sinch gave none.  `bucket` is the latency bucket (lifecycle/latency.py) from
    the broadcast's start (`send_at`, else `created_at`) to the delivery; -1 for other statuses.
    """

    __tablename__ = "delivery_counts"

    broadcast_id: ColumnClause[int] = column(BigId, primary_key=True)
    status: ColumnClause[MessageStatus] = column(EnumText(MessageStatus), primary_key=True)
    code: ColumnClause[int] = column(primary_key=True)
    bucket: ColumnClause[int] = column(primary_key=True)
    messages: ColumnClause[int]


class Inbound(Base, **NEVER_REUSE_IDS):
    """A text from a phone to us."""

    __tablename__ = "inbounds"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    sinch_id: ColumnClause[str] = column(String(64), unique=True)
    kind: ColumnClause[str] = column(String(16))
    sender: ColumnClause[str] = column(String(32))
    recipient: ColumnClause[str] = column(String(32))
    # The text; base64 of a binary one, JSON of a media one.
    body: ColumnClause[str] = column(Text)
    received_at: ColumnClause[datetime | None]
    recorded_at: ColumnClause[datetime]
    client_reference: ColumnClause[str | None] = column(String(128))
    # The last broadcast sent to this phone before, if any.
    broadcast_id: ColumnClause[int | None] = column(BigId)

    __table_args__ = (
        Index("ix_inbounds_sender", "sender", "id"),
        Index("ix_inbounds_broadcast", "broadcast_id", "id"),
        Index("ix_inbounds_kind", "kind", "id"),
        Index("ix_inbounds_noted_at", "recorded_at"),
    )


class OutboxEvent(Base, **NEVER_REUSE_IDS):
    """An event for a client, written in the transaction that it reports."""

    __tablename__ = "outbox"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    public_id: ColumnClause[str] = column(String(26), unique=True)
    # None for an event to every client, such as an inbound that answers no broadcast.
    client: ColumnClause[str | None] = column(String(64))
    event_type: ColumnClause[str] = column(String(32))
    at: ColumnClause[datetime]
    facts: ColumnClause[dict[str, Any]]
    # Whether deliveries were created, one for each subscribed endpoint.
    fanned_out: ColumnClause[bool] = column(default=False)

    __table_args__ = (
        partial_index("ix_outbox_unspread", "id", where="fanned_out = false"),
        Index("ix_outbox_at", "at"),
    )
