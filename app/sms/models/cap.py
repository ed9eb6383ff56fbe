"""Tables of caps and of what counts against them."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ColumnClause, String

from app.db.base import Base, column
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


class Cap(Base, sqlite_with_rowid=False):
    """A limit on what a client, a key, or all clients may send."""

    __tablename__ = "caps"

    client: ColumnClause[str] = column(String(64), primary_key=True)
    period: ColumnClause[CapPeriod] = column(EnumText(CapPeriod), primary_key=True)
    unit: ColumnClause[CapUnit] = column(EnumText(CapUnit), primary_key=True)
    amount: ColumnClause[int] = column(BigInteger)
    # Start of the hour or day in which clients were told last that it is nearly, or fully, used.
    neared_in: ColumnClause[datetime | None]
    reached_in: ColumnClause[datetime | None]


class CapCounter(Base, sqlite_with_rowid=False):
    """The use of caps by a client, a key, or all, in the hour or day that began at `started_at`."""

    __tablename__ = "cap_counters"

    client: ColumnClause[str] = column(String(64), primary_key=True)
    period: ColumnClause[CapPeriod] = column(EnumText(CapPeriod), primary_key=True)
    started_at: ColumnClause[datetime]
    parts: ColumnClause[int] = column(BigInteger)
    micros: ColumnClause[int] = column(BigInteger)


class CapUse(Base, sqlite_with_rowid=False):
    """A batch that counts since `at`: another attempt within the period counts no more."""

    __tablename__ = "cap_uses"

    batch_id: ColumnClause[int] = column(BigId, primary_key=True, autoincrement=False)
    at: ColumnClause[datetime]
