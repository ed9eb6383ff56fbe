"""Tables of the delivery of large broadcasts: messages by country, and deliveries by time.

The roll-up counts them some seconds after the reports.  Of a broadcast with few recipients both
are counted when they are read, so it has no rows here.
"""

from sqlalchemy import ColumnClause, String

from app.db.base import Base, column
from app.db.types import BigId, EnumText
from app.sms.models.statuses import MessageStatus


class CountryCount(Base, sqlite_with_rowid=False):
    """Number of messages of a broadcast that Sinch has accepted, by country and status."""

    __tablename__ = "country_counts"

    broadcast_id: ColumnClause[int] = column(BigId, primary_key=True)
    country: ColumnClause[str] = column(String(2), primary_key=True)
    status: ColumnClause[MessageStatus] = column(EnumText(MessageStatus), primary_key=True)
    messages: ColumnClause[int]


class DeliverySlot(Base, sqlite_with_rowid=False):
    """Number of messages of a broadcast that were delivered in a slot.

    `slot` is when the slot begins, in seconds from the broadcast's start (`send_at`, else
    `created_at`).
    """

    __tablename__ = "delivery_slots"

    broadcast_id: ColumnClause[int] = column(BigId, primary_key=True)
    slot: ColumnClause[int] = column(primary_key=True)
    messages: ColumnClause[int]
