"""Column types that behave alike in SQLite and PostgreSQL, and the test of a time."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    Integer,
    SQLColumnExpression,
    String,
    or_,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

# SQLite generates ids only in a column of type INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")

# The largest id that a column can hold; a larger number in a query is an error of the database.
MAX_ID = 2**63 - 1

# For tables whose rows are deleted: otherwise SQLite reuses the id of the last row once it is
# deleted, and a reader of the old row would take the new row for it.
NEVER_REUSE_IDS = {"sqlite_autoincrement": True}


class UtcTime(TypeDecorator[datetime]):
    """An aware time, stored and loaded in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its offset")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        time: datetime = value
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def has_come(at: SQLColumnExpression[Any], now: Any, latest: Any) -> ColumnElement[bool]:
    """Return the SQL test whether a time of ours has come: a datetime, or a parameter, for each.

    A time behind the latest that we set was written before a clock was set back.
    """
    return or_(at <= now, at > latest)


class EnumText(TypeDecorator[Any]):
    """A member of a StrEnum, stored as its value."""

    impl = String(24)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind
        # Five times as fast as calling the enumeration; a list of messages needs a million of them.
        self._members = {member.value: member for member in kind}

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else self._members[value]

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return self
