"""Base class of all tables, and the key-value table of the installation."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, MetaData, String, Table, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.db.types import UtcTime


class Base(DeclarativeBase):
    """Base class of the tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own convention)
        datetime: UtcTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
    }


def table_of(model: type[Base]) -> Table:
    """Return the table of a model.  Statements on a table skip the cost of the object mapper."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def partial_index(name: str, *columns: str, where: str) -> Index:
    """Return an index over the rows that match a condition, on either database."""
    return Index(name, *columns, sqlite_where=sql(where), postgresql_where=sql(where))


class Metadata(Base):
    """A key-value row of the installation, such as its instance id."""

    __tablename__ = "metadata"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
