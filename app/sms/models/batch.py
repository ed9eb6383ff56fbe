"""Tables of batches, attempts, messages, marketing sends and gates."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, partial_index
from app.db.types import BigId, EnumText
from app.sms.models.states import (
    Attention,
    BatchState,
    CancelRequestState,
    ExclusionReason,
    Outcome,
)
from app.sms.models.statuses import MessageStatus


class Batch(Base):
    """One call to Sinch: the recipients `start` to `start + size` of a chunk."""

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    broadcast_id: Mapped[int] = mapped_column(ForeignKey("broadcasts.id"))
    chunk: Mapped[int]
    start: Mapped[int]
    size: Mapped[int]
    # How often the batch was halved to find a number that Sinch rejects.
    level: Mapped[int] = mapped_column(default=0)
    # Indexes of its recipients in the chunk; None for those from `start` on.  Set once recipients
    # were withheld: on the batch, and on the batches of those withheld, whose `start` is beyond
    # the chunk.
    recipient_indexes: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    # Why its recipients are excluded or deferred.
    exclusion_reason: Mapped[ExclusionReason | None] = mapped_column(EnumText(ExclusionReason))
    client_reference: Mapped[str] = mapped_column(String(64), unique=True)
    state: Mapped[BatchState] = mapped_column(EnumText(BatchState))
    attempt: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    sinch_id: Mapped[str | None] = mapped_column(String(64))
    # Since when its outcome is unknown, and what Sinch's list has shown so far.
    unknown_at: Mapped[datetime | None]
    next_reconcile_at: Mapped[datetime | None]
    reconcile_attempts: Mapped[int] = mapped_column(default=0)
    not_found_count: Mapped[int] = mapped_column(default=0)
    absent_before_at: Mapped[datetime | None]
    absent_at: Mapped[datetime | None]
    attention: Mapped[Attention | None] = mapped_column(EnumText(Attention))
    # Sinch's ids of further copies of the batch, still to be cancelled.
    duplicate_sinch_ids: Mapped[list[str] | None]
    # Whether to cancel an accepted batch at Sinch, and the result.
    cancel_request: Mapped[CancelRequestState | None] = mapped_column(EnumText(CancelRequestState))
    # When we learned that Sinch accepted the batch.
    accepted_at: Mapped[datetime | None]
    # How many of its messages have a final status, and when to fetch a report unless all have.
    ended: Mapped[int] = mapped_column(default=0)
    next_report_at: Mapped[datetime | None]
    report_fetches: Mapped[int] = mapped_column(default=0)
    # True while the counters differ from the messages of the batch.  The contributions are what the
    # batch has added to the daily counters, and to those of its broadcast's delivery.
    rollup_dirty: Mapped[bool] = mapped_column(default=False)
    rollup_contribution: Mapped[dict[str, Any] | None]
    delivery_contribution: Mapped[dict[str, Any] | None]

    __table_args__ = (
        UniqueConstraint("broadcast_id", "chunk", "start", "level"),
        Index("ix_batches_of_broadcast", "broadcast_id", "state", "id", "size", "accepted_at"),
        Index("ix_batches_sinch_id", "sinch_id"),
        partial_index(
            "ix_batches_unreported", "next_report_at", where="next_report_at IS NOT NULL"
        ),
        partial_index("ix_batches_rollup_dirty", "id", where="rollup_dirty = true"),
        partial_index("ix_batches_leased", "lease_until", where="state = 'sending'"),
        partial_index(
            "ix_batches_to_reconcile", "next_reconcile_at", where="next_reconcile_at IS NOT NULL"
        ),
        partial_index(
            "ix_batches_troubled",
            "state",
            "id",
            where="state IN ('held', 'unknown', 'needs_attention', 'duplicate')",
        ),
        partial_index("ix_batches_cancel_request", "id", where="cancel_request = 'wanted'"),
    )


class Attempt(Base):
    """One POST to Sinch, written before its first byte leaves."""

    __tablename__ = "attempts"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[Outcome | None] = mapped_column(EnumText(Outcome))
    http_status: Mapped[int | None]
    payload_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    worker: Mapped[str] = mapped_column(String(64))
    # An operator allowed another attempt although Sinch may have accepted this one.
    overridden: Mapped[bool] = mapped_column(default=False)

    __table_args__ = (
        partial_index("ix_attempts_repeated", "batch_id", "number", where="number > 1"),
    )


class Message(Base):
    """One recipient's copy of a broadcast.

    `status` is None until Sinch reports on the message: its status then follows from the state of
    its batch, so that a million messages cost one write each.  `status_at` is Sinch's time, where
    it gave one; `recorded_at` is ours.  The table has no foreign keys: their check costs as much
    as the row.
    """

    __tablename__ = "messages"

    broadcast_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    recipient: Mapped[str] = mapped_column(String(16), primary_key=True)
    batch_id: Mapped[int] = mapped_column(BigId)
    status: Mapped[MessageStatus | None] = mapped_column(EnumText(MessageStatus))
    code: Mapped[int | None]
    status_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime | None]

    __table_args__ = ({"sqlite_with_rowid": False},)


class MarketingSend(Base):
    """A marketing text that may have gone to a number; counted for the daily frequency cap."""

    __tablename__ = "marketing_sends"

    phone: Mapped[str] = mapped_column(String(16), primary_key=True)
    batch_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]

    __table_args__ = (Index("ix_marketing_sends_at", "at"), {"sqlite_with_rowid": False})


class Gate(Base):
    """A reason that pauses all sending, shared by every worker; see lifecycle/gates.py."""

    __tablename__ = "gates"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    until_at: Mapped[datetime | None]
    # How often in a row the gate closed; waits grow with it.
    tries: Mapped[int] = mapped_column(default=0)
    facts: Mapped[dict[str, Any] | None]
