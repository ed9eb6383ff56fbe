"""Tables of the analytics: daily counters of messages and inbounds.

A day is a UTC day: for a message the day on which Sinch accepted its batch, for an inbound the day
on which it was recorded.  A missing tag or client is "".
"""

from datetime import date
from enum import StrEnum

from sqlalchemy import ColumnClause, LargeBinary, String

from app.db.base import Base, column
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


class DailyCount(Base, sqlite_with_rowid=False):
    """Number of messages of a day with a status and code; `code` is -1 where Sinch gave none."""

    __tablename__ = "daily_counts"

    day: ColumnClause[date] = column(primary_key=True)
    client: ColumnClause[str] = column(String(64), primary_key=True)
    tag: ColumnClause[str] = column(String(MAX_TAG_CHARACTERS), primary_key=True)
    sender: ColumnClause[str] = column(String(16), primary_key=True)
    country: ColumnClause[str] = column(String(2), primary_key=True)
    status: ColumnClause[MessageStatus] = column(EnumText(MessageStatus), primary_key=True)
    code: ColumnClause[int] = column(primary_key=True)
    messages: ColumnClause[int]
    parts: ColumnClause[int]


class DailyDelay(Base, sqlite_with_rowid=False):
    """Histogram of how long the delivered messages of a day took from Sinch to the phone.

    `delays` holds the counts by latency bucket, packed by lifecycle/latency.py: with a row per
    bucket, reading ten million messages would cost twice as much as reading ten thousand.
    """

    __tablename__ = "daily_delays"

    day: ColumnClause[date] = column(primary_key=True)
    client: ColumnClause[str] = column(String(64), primary_key=True)
    tag: ColumnClause[str] = column(String(MAX_TAG_CHARACTERS), primary_key=True)
    sender: ColumnClause[str] = column(String(16), primary_key=True)
    country: ColumnClause[str] = column(String(2), primary_key=True)
    delays: ColumnClause[bytes] = column(LargeBinary)


class DailyInbound(Base, sqlite_with_rowid=False):
    """Number of inbounds of a day, and of those that are opt-outs.

    `client` is the client of the last broadcast to that phone.
    """

    __tablename__ = "daily_inbounds"

    day: ColumnClause[date] = column(primary_key=True)
    client: ColumnClause[str] = column(String(64), primary_key=True)
    inbounds: ColumnClause[int]
    opt_outs: ColumnClause[int]
