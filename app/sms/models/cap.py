"""Tables of caps and of what counts against them."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import BigId, EnumText

# In place of a client: a cap on what all clients send together; and before the number of a key, a
# cap on what that key and those that replaced it send.  No client has such a name.
ALL = "*"
KEY = "key:"


class CapPeriod(StrEnum):
    """Periods of caps: an hour or a day of UTC, or each broadcast."""

    HOUR = "hour"
    DAY = "day"
    BROADCAST = "broadcast"


class CapUnit(StrEnum):
    """Units of caps."""

    PARTS = "parts"  # message parts
    COST = "cost"  # millionths of the currency's unit
    RECIPIENTS = "recipients"  # of one broadcast


class Cap(Base):
    """A limit on what a client, a key, or all clients may send."""

    __tablename__ = "caps"

    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    period: Mapped[CapPeriod] = mapped_column(EnumText(CapPeriod), primary_key=True)
    unit: Mapped[CapUnit] = mapped_column(EnumText(CapUnit), primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    # Start of the hour or day in which clients were told last that it is nearly, or fully, used.
    neared_in: Mapped[datetime | None]
    reached_in: Mapped[datetime | None]

    __table_args__ = ({"sqlite_with_rowid": False},)


class CapCounter(Base):
    """The use of caps by a client, a key, or all, in the hour or day that began at `started_at`."""

    __tablename__ = "cap_counters"

    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    period: Mapped[CapPeriod] = mapped_column(EnumText(CapPeriod), primary_key=True)
    started_at: Mapped[datetime]
    parts: Mapped[int] = mapped_column(BigInteger)
    micros: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = ({"sqlite_with_rowid": False},)


class CapUse(Base):
    """A batch that counts since `at`: another attempt within the period counts no more."""

    __tablename__ = "cap_uses"

    batch_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    at: Mapped[datetime]

    __table_args__ = ({"sqlite_with_rowid": False},)
