"""The tables of the analytics: messages and texts from phones, summed up by day.

A day is a UTC day: of a message, the one on which Sinch had its batch; of a text from a phone, the
one on which it was noted.  Where there is no tag or client, it is "".
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
    """By what the analytics can be grouped."""

    DAY = "day"
    TAG = "tag"
    SENDER = "sender"
    COUNTRY = "country"
    STATUS = "status"
    CODE = "code"
    CLIENT = "client"


class DailyCount(Base):
    """So many messages handed to Sinch on a day stand so; `code` is -1 where Sinch gave none."""

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
    """How long the delivered messages of a day took from Sinch to the phone.

    By classes of waiting times, packed as `histograms` says: a row for each class would make ten
    million messages twice as dear to look at as ten thousand.
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
    """So many texts came from phones on a day, of which so many are nothing but a word like STOP.

    `client` is whose broadcast the phone was sent last.
    """

    __tablename__ = "daily_inbounds"

    day: Mapped[date] = mapped_column(primary_key=True)
    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    inbounds: Mapped[int]
    opt_outs: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)
