"""Column types that mean the same in both databases."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String
from sqlalchemy.types import TypeDecorator, TypeEngine

# SQLite numbers rows by itself only in a column of exactly this type.
BigId = BigInteger().with_variant(Integer, "sqlite")

# For tables whose rows are deleted: SQLite gives the number of the last row to the next one, once
# it is gone, and whoever has read the one would take the other for it.
NEVER_AGAIN = {"sqlite_autoincrement": True}


class UtcTime(TypeDecorator[datetime]):
    """An aware time; kept in UTC, given back in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without its offset")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class EnumText(TypeDecorator[Any]):
    """A member of a StrEnum, kept as its text."""

    impl = String(24)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind
        # Calling the enumeration takes five times as long, a million times a list of messages.
        self._members = {member.value: member for member in kind}

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else self._members[value]

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return self
