"""Tables of the analytics: daily counters of messages and inbounds.

A day is a UTC day: for a message the day on which Sinch accepted its batch, for an inbound the day
on which it was recorded.  A missing tag or client is "".
"""

from datetime import date
from enum import StrEnum

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import EnumText
from app.sms.models.statuses import MessageStatus

MAX_TAG_CHARACTERS = 64


class Dimension(StrEnum):
    """Dimensions by which the analytics can be grouped."""

    DAY = "day"
    TAG = "tag"
    SENDER = "sender"
    COUNTRY = "country"
    STATUS = "status"
    CODE = "code"
    CLIENT = "client"


class DailyCount(Base):
    """Number of messages of a day with a status and code; `code` is -1 where Sinch gave none."""

    __tablename__ = "daily_counts"

    day: Mapped[date] = mapped_column(primary_key=True)
    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    tag: Mapped[str] = mapped_column(String(MAX_TAG_CHARACTERS), primary_key=True)
    sender: Mapped[str] = mapped_column(String(16), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    status: Mapped[MessageStatus] = mapped_column(EnumText(MessageStatus), primary_key=True)
    code: Mapped[int] = mapped_column(primary_key=True)
    messages: Mapped[int]
    parts: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class DailyDelay(Base):
    """Histogram of how long the delivered messages of a day took from Sinch to the phone.

    `delays` holds the counts by latency bucket, packed by lifecycle/latency.py: with a row per
    bucket, reading ten million messages would cost twice as much as reading ten thousand.
    """

    __tablename__ = "daily_delays"

    day: Mapped[date] = mapped_column(primary_key=True)
    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    tag: Mapped[str] = mapped_column(String(MAX_TAG_CHARACTERS), primary_key=True)
    sender: Mapped[str] = mapped_column(String(16), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    delays: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = ({"sqlite_with_rowid": False},)


class DailyInbound(Base):
    """Number of inbounds of a day, and of those that are opt-outs.

    `client` is the client of the last broadcast to that phone.
    """

    __tablename__ = "daily_inbounds"

    day: Mapped[date] = mapped_column(primary_key=True)
    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    inbounds: Mapped[int]
    opt_outs: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)
