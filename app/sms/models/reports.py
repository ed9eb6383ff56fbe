"""The tables of what Sinch tells us: raw events, what they add up to, texts from phones.

events    as received, stored before Sinch is answered; gone once applied
tallies   how many messages of a broadcast ended how and how quickly: the sums of `messages`
inbounds  texts from phones, each once
outbox    what clients are to be told; written with the change it tells of
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, String, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import NEVER_AGAIN, BigId, EnumText
from app.sms.models.statuses import MessageStatus


class DeadLetterReason(StrEnum):
    """Why an event is kept although nothing more is done with it."""

    UNREADABLE = "unreadable"  # not what Sinch's contract describes
    FOREIGN = "foreign"  # about a batch that is not ours


class Event(Base):
    """One callback as its bytes came; waits to be applied, or is kept as a leftover."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    received_at: Mapped[datetime]
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    # How often it was put off, and until when.
    tries: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    dead_letter_reason: Mapped[DeadLetterReason | None] = mapped_column(EnumText(DeadLetterReason))

    __table_args__ = (
        Index(
            "ix_events_waiting",
            "id",
            sqlite_where=sql("dead_letter_reason IS NULL"),
            postgresql_where=sql("dead_letter_reason IS NULL"),
        ),
        Index(
            "ix_events_left",
            "received_at",
            sqlite_where=sql("dead_letter_reason IS NOT NULL"),
            postgresql_where=sql("dead_letter_reason IS NOT NULL"),
        ),
        NEVER_AGAIN,
    )


class DeliveryCount(Base):
    """So many messages of a broadcast were reported so.

    `code` is -1 where Sinch gave none.  `bucket` is how long after the broadcast's start
    (`send_at`, else `created_at`) they were delivered, as `buckets.bucket_of` numbers it; -1 for
    every other status.
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
    # The last broadcast this phone was sent before, if any.
    broadcast_id: Mapped[int | None] = mapped_column(BigId)

    __table_args__ = (
        Index("ix_inbounds_sender", "sender", "id"),
        Index("ix_inbounds_broadcast", "broadcast_id", "id"),
        Index("ix_inbounds_kind", "kind", "id"),
        Index("ix_inbounds_noted_at", "recorded_at"),
        NEVER_AGAIN,
    )


class OutboxEvent(Base):
    """Something a client is to be told; written in the transaction that made it true."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    # None for what concerns every client, such as an inbound that answers no broadcast.
    client: Mapped[str | None] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime]
    facts: Mapped[dict[str, Any]]
    # Whether deliveries were made of it, one for each endpoint that listens.
    fanned_out: Mapped[bool] = mapped_column(default=False)

    __table_args__ = (
        Index(
            "ix_outbox_unspread",
            "id",
            sqlite_where=sql("spread = 0"),
            postgresql_where=sql("spread = false"),
        ),
        Index("ix_outbox_at", "at"),
        NEVER_AGAIN,
    )
