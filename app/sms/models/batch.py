"""Tables of batches, attempts, messages, marketing sends and gates."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ColumnClause, ForeignKey, Index, LargeBinary, String, UniqueConstraint

from app.db.base import Base, column, partial_index
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

    id: ColumnClause[int] = column(BigId, primary_key=True)
    broadcast_id: ColumnClause[int] = column(ForeignKey("broadcasts.id"))
    chunk: ColumnClause[int]
    start: ColumnClause[int]
    size: ColumnClause[int]
    # How often the batch was halved to find a number that Sinch rejects.
    level: ColumnClause[int] = column(default=0)
    # Indexes of its recipients in the chunk; None for those from `start` on.  Set once recipients
    # were withheld: on the batch, and on the batches of those withheld, whose `start` is beyond
    # the chunk.
    recipient_indexes: ColumnClause[list[int] | None] = column(JSON(none_as_null=True))
    # Why its recipients are excluded or deferred.
    exclusion_reason: ColumnClause[ExclusionReason | None] = column(EnumText(ExclusionReason))
    client_reference: ColumnClause[str] = column(String(64), unique=True)
    state: ColumnClause[BatchState] = column(EnumText(BatchState))
    attempt: ColumnClause[int] = column(default=0)
    not_before: ColumnClause[datetime | None]
    lease_until: ColumnClause[datetime | None]
    sinch_id: ColumnClause[str | None] = column(String(64))
    # Since when its outcome is unknown, and what Sinch's list has shown so far.
    unknown_at: ColumnClause[datetime | None]
    next_reconcile_at: ColumnClause[datetime | None]
    reconcile_attempts: ColumnClause[int] = column(default=0)
    not_found_count: ColumnClause[int] = column(default=0)
    absent_before_at: ColumnClause[datetime | None]
    absent_at: ColumnClause[datetime | None]
    attention: ColumnClause[Attention | None] = column(EnumText(Attention))
    # Sinch's ids of further copies of the batch, still to be cancelled.
    duplicate_sinch_ids: ColumnClause[list[str] | None]
    # Whether to cancel an accepted batch at Sinch, and the result.
    cancel_request: ColumnClause[CancelRequestState | None] = column(EnumText(CancelRequestState))
    # When we learned that Sinch accepted the batch.
    accepted_at: ColumnClause[datetime | None]
    # How many of its messages have a final status, and when to fetch a report unless all have.
    ended: ColumnClause[int] = column(default=0)
    next_report_at: ColumnClause[datetime | None]
    report_fetches: ColumnClause[int] = column(default=0)
    # True while the counters differ from the messages of the batch.  The contributions are what the
    # batch has added to the daily counters, and to those of its broadcast's delivery.
    rollup_dirty: ColumnClause[bool] = column(default=False)
    rollup_contribution: ColumnClause[dict[str, Any] | None]
    delivery_contribution: ColumnClause[dict[str, Any] | None]

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

    batch_id: ColumnClause[int] = column(ForeignKey("batches.id"), primary_key=True)
    number: ColumnClause[int] = column(primary_key=True)
    started_at: ColumnClause[datetime]
    ended_at: ColumnClause[datetime | None]
    outcome: ColumnClause[Outcome | None] = column(EnumText(Outcome))
    http_status: ColumnClause[int | None]
    payload_hash: ColumnClause[bytes] = column(LargeBinary(32))
    worker: ColumnClause[str] = column(String(64))
    # An operator allowed another attempt although Sinch may have accepted this one.
    overridden: ColumnClause[bool] = column(default=False)

    __table_args__ = (
        partial_index("ix_attempts_repeated", "batch_id", "number", where="number > 1"),
    )


class Message(Base, sqlite_with_rowid=False):
    """One recipient's copy of a broadcast.

    `status` is None until Sinch reports on the message: its status then follows from the state of
    its batch, so that a million messages cost one write each.  `status_at` is Sinch's time, where
    it gave one; `recorded_at` is ours.  The table has no foreign keys: their check costs as much
    as the row.
    """

    __tablename__ = "messages"

    broadcast_id: ColumnClause[int] = column(BigId, primary_key=True)
    recipient: ColumnClause[str] = column(String(16), primary_key=True)
    batch_id: ColumnClause[int] = column(BigId)
    status: ColumnClause[MessageStatus | None] = column(EnumText(MessageStatus))
    code: ColumnClause[int | None]
    status_at: ColumnClause[datetime | None]
    recorded_at: ColumnClause[datetime | None]


class MarketingSend(Base, sqlite_with_rowid=False):
    """A marketing text that may have gone to a number; counted for the daily frequency cap."""

    __tablename__ = "marketing_sends"

    phone: ColumnClause[str] = column(String(16), primary_key=True)
    batch_id: ColumnClause[int] = column(BigId, primary_key=True)
    at: ColumnClause[datetime]

    __table_args__ = (Index("ix_marketing_sends_at", "at"),)


class Gate(Base):
    """A reason that pauses all sending, shared by every worker; see lifecycle/gates.py."""

    __tablename__ = "gates"

    name: ColumnClause[str] = column(String(16), primary_key=True)
    until_at: ColumnClause[datetime | None]
    # How often in a row the gate closed; waits grow with it.
    tries: ColumnClause[int] = column(default=0)
    facts: ColumnClause[dict[str, Any] | None]
