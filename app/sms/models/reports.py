"""Tables of callbacks, delivery counts, inbounds and the outbox.

events           raw callbacks, stored before Sinch gets its answer, deleted once applied
delivery_counts  number of messages of a broadcast by status, code and latency bucket
inbounds         texts from phones, each once
outbox           events for clients, written in the transaction that they report
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, partial_index
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText
from app.sms.models.statuses import MessageStatus


class DeadLetterReason(StrEnum):
    """Why an event is kept without being applied."""

    UNREADABLE = "unreadable"  # not what Sinch's contract describes
    FOREIGN = "foreign"  # about a batch that is not ours


class Event(Base):
    """The raw bytes of one callback: waiting to be applied, or kept as a dead letter."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    received_at: Mapped[datetime]
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    # How often the event was postponed, and until when.
    tries: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    dead_letter_reason: Mapped[DeadLetterReason | None] = mapped_column(EnumText(DeadLetterReason))

    __table_args__ = (
        partial_index("ix_events_waiting", "id", where="dead_letter_reason IS NULL"),
        partial_index("ix_events_left", "received_at", where="dead_letter_reason IS NOT NULL"),
        NEVER_REUSE_IDS,
    )


class DeliveryCount(Base):
    """Number of messages of a broadcast with a reported status, code and latency.

    `code` is -1 where Sinch gave none.  `bucket` is the latency bucket (lifecycle/latency.py) from
    the broadcast's start (`send_at`, else `created_at`) to the delivery; -1 for other statuses.
    """

    __tablename__ = "delivery_counts"

    broadcast_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    status: Mapped[MessageStatus] = mapped_column(EnumText(MessageStatus), primary_key=True)
    code: Mapped[int] = mapped_column(primary_key=True)
    bucket: Mapped[int] = mapped_column(primary_key=True)
    messages: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class Inbound(Base):
    """A text from a phone to us."""

    __tablename__ = "inbounds"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sinch_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    sender: Mapped[str] = mapped_column(String(32))
    recipient: Mapped[str] = mapped_column(String(32))
    # The text; base64 of a binary one, JSON of a media one.
    body: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime]
    client_reference: Mapped[str | None] = mapped_column(String(128))
    # The last broadcast sent to this phone before, if any.
    broadcast_id: Mapped[int | None] = mapped_column(BigId)

    __table_args__ = (
        Index("ix_inbounds_sender", "sender", "id"),
        Index("ix_inbounds_broadcast", "broadcast_id", "id"),
        Index("ix_inbounds_kind", "kind", "id"),
        Index("ix_inbounds_noted_at", "recorded_at"),
        NEVER_REUSE_IDS,
    )


class OutboxEvent(Base):
    """An event for a client, written in the transaction that it reports."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    # None for an event to every client, such as an inbound that answers no broadcast.
    client: Mapped[str | None] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime]
    facts: Mapped[dict[str, Any]]
    # Whether deliveries were created, one for each subscribed endpoint.
    fanned_out: Mapped[bool] = mapped_column(default=False)

    __table_args__ = (
        partial_index("ix_outbox_unspread", "id", where="fanned_out = false"),
        Index("ix_outbox_at", "at"),
        NEVER_REUSE_IDS,
    )
