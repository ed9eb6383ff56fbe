"""The tables of what clients are told.

webhook_endpoints 1─* deliveries   one event of the outbox, for one endpoint

An endpoint is its own queue: who posts to it leases it as a whole.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, LargeBinary, String, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText


class EndpointStatus(StrEnum):
    """Whether anything is posted to an endpoint."""

    ACTIVE = "active"
    OFF = "off"  # its client wants nothing for now
    FAILED = "failed"  # it took nothing for days
    GONE = "gone"  # it answered 410: never again


class DeliveryStatus(StrEnum):
    """Where one event stands on its way to one endpoint."""

    WAITING = "waiting"  # to be posted, or to be posted again
    DELIVERED = "delivered"  # it answered 2xx
    ABANDONED = "abandoned"  # tried for a day in vain


class Endpoint(Base):
    """Where a client wants to be told."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    client: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime]
    url: Mapped[str] = mapped_column(Text)
    # What it listens to.
    event_types: Mapped[list[str]]
    secret: Mapped[bytes] = mapped_column(LargeBinary(64))
    # Signs beside the new one until then.
    old_secret: Mapped[bytes | None] = mapped_column(LargeBinary(64))
    old_secret_until: Mapped[datetime | None]
    status: Mapped[EndpointStatus] = mapped_column(EnumText(EndpointStatus))
    # How often in a row it answered quickly; few times make it one of the slow lane.
    quick: Mapped[int] = mapped_column(default=0)
    # How often in a row it failed, since when, and how the last time.
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    problem: Mapped[str | None] = mapped_column(String(64))
    delivered_at: Mapped[datetime | None]
    # Nothing is posted to it before.
    not_before: Mapped[datetime | None]
    # Who posts to it now, until when, and when that was last so.
    lease: Mapped[str | None] = mapped_column(String(32))
    leased_until: Mapped[datetime | None]
    served_at: Mapped[datetime]

    __table_args__ = (NEVER_REUSE_IDS,)


class Delivery(Base):
    """One event for one endpoint, and what came of it.

    Without foreign keys: what is left of an endpoint that is deleted is forgotten with the rest.
    """

    __tablename__ = "deliveries"

    endpoint_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    event_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    status: Mapped[DeliveryStatus] = mapped_column(EnumText(DeliveryStatus))
    # Since when it waits, and when it is posted next; it is given up a day after the first.
    waiting_since: Mapped[datetime]
    due_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    # The last try.
    tried_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    http_status: Mapped[int | None]
    problem: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        Index(
            "ix_deliveries_due",
            "endpoint_id",
            "due_at",
            sqlite_where=sql("due_at IS NOT NULL"),
            postgresql_where=sql("due_at IS NOT NULL"),
        ),
        Index("ix_deliveries_status", "endpoint_id", "status", "event_id"),
        Index("ix_deliveries_event_id", "event_id"),
        {"sqlite_with_rowid": False},
    )
