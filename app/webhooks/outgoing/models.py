"""Tables of webhook endpoints and deliveries.

webhook_endpoints 1─* deliveries   one event of the outbox, for one endpoint

An endpoint is a queue of its own: a worker leases it as a whole.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnClause, Index, LargeBinary, String, Text
from sqlalchemy import text as sql

from app.db.base import Base, column
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText


class EndpointStatus(StrEnum):
    """Status of an endpoint; only an active one is posted to."""

    ACTIVE = "active"
    OFF = "off"  # switched off by its client or an operator
    FAILED = "failed"  # every try has failed for days
    GONE = "gone"  # it answered 410: never again


class DeliveryStatus(StrEnum):
    """Status of one event for one endpoint."""

    WAITING = "waiting"  # to be posted, for the first time or again
    DELIVERED = "delivered"  # it answered 2xx
    ABANDONED = "abandoned"  # failed for a day


class Endpoint(Base, **NEVER_REUSE_IDS):
    """A URL of a client that gets events."""

    __tablename__ = "webhook_endpoints"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    public_id: ColumnClause[str] = column(String(26), unique=True)
    client: ColumnClause[str] = column(String(64), index=True)
    created_at: ColumnClause[datetime]
    url: ColumnClause[str] = column(Text)
    # The types of events it gets.
    event_types: ColumnClause[list[str]]
    secret: ColumnClause[bytes] = column(LargeBinary(64))
    # Signs too until this time.
    old_secret: ColumnClause[bytes | None] = column(LargeBinary(64))
    old_secret_until: ColumnClause[datetime | None]
    status: ColumnClause[EndpointStatus] = column(EnumText(EndpointStatus))
    # Quick answers in a row; enough of them move it to the fast pool.
    quick: ColumnClause[int] = column(default=0)
    # Failures in a row, the time of the first, and the problem of the last.
    failures: ColumnClause[int] = column(default=0)
    failing_since: ColumnClause[datetime | None]
    problem: ColumnClause[str | None] = column(String(64))
    delivered_at: ColumnClause[datetime | None]
    # It pauses until this time.
    not_before: ColumnClause[datetime | None]
    # The worker's lease, its end, and when the last lease began.
    lease: ColumnClause[str | None] = column(String(32))
    leased_until: ColumnClause[datetime | None]
    served_at: ColumnClause[datetime]


class Delivery(Base, sqlite_with_rowid=False):
    """One event for one endpoint, and the result.

    Without foreign keys: rows of a deleted endpoint are purged with the old events.
    """

    __tablename__ = "deliveries"

    endpoint_id: ColumnClause[int] = column(BigId, primary_key=True)
    event_id: ColumnClause[int] = column(BigId, primary_key=True)
    status: ColumnClause[DeliveryStatus] = column(EnumText(DeliveryStatus))
    # Since when it waits, and when it is posted next; abandoned a day after it began to wait.
    waiting_since: ColumnClause[datetime]
    due_at: ColumnClause[datetime | None]
    tries: ColumnClause[int] = column(default=0)
    # Of the last try.
    tried_at: ColumnClause[datetime | None]
    duration_ms: ColumnClause[int | None]
    http_status: ColumnClause[int | None]
    problem: ColumnClause[str | None] = column(String(64))

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
    )
