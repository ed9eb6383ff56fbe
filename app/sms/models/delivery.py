"""Tables of the delivery of large broadcasts: messages by country, and deliveries by time.

The roll-up counts them some seconds after the reports.  Of a broadcast with few recipients both
are counted when they are read, so it has no rows here.
"""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import BigId, EnumText
from app.sms.models.statuses import MessageStatus


class CountryCount(Base):
    """Number of messages of a broadcast that Sinch has accepted, by country and status."""

    __tablename__ = "country_counts"

    broadcast_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    status: Mapped[MessageStatus] = mapped_column(EnumText(MessageStatus), primary_key=True)
    messages: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class DeliverySlot(Base):
    """Number of messages of a broadcast that were delivered in a slot.

    `slot` is when the slot begins, in seconds from the broadcast's start (`send_at`, else
    `created_at`).
    """

    __tablename__ = "delivery_slots"

    broadcast_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True)
    messages: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)
