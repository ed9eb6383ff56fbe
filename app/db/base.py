"""Base class of all tables, and the key-value table of the installation.

A model describes a table: its attributes are the columns.  SQLAlchemy's object mapper is not used:
it would take a tenth of the start of each process.
"""

from datetime import date, datetime
from types import NoneType, UnionType
from typing import Any, ClassVar, get_args

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnClause,
    Date,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy import text as sql

from app.db.types import UtcTime

_JSON = JSON(none_as_null=True)
# The type of a column by its annotation, unless it is described by `column`.
_TYPES: dict[Any, Any] = {
    bool: Boolean,
    date: Date,
    datetime: UtcTime,
    dict[str, Any]: _JSON,
    int: Integer,
    list[str]: _JSON,
}


def column(*arguments: Any, **options: Any) -> Any:
    """Describe a column beyond its annotation, by the arguments of SQLAlchemy's `Column`."""
    return arguments, options


class Base:
    """Base class of the tables: each model may be used as its table in a statement.

    The annotation `ColumnClause[int | None]` makes a column that may be NULL.  Keyword arguments of
    a class are options of its table.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[Any, ...]] = ()
    __table__: ClassVar[Table]

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the table of a model."""
        columns = [
            _make_column(name, get_args(annotation)[0], *vars(cls).get(name, column()))
            for name, annotation in cls.__annotations__.items()
        ]
        cls.__table__ = Table(
            cls.__tablename__, cls.metadata, *columns, *cls.__table_args__, **options
        )
        for made in columns:
            setattr(cls, made.name, made)

    @classmethod
    def __clause_element__(cls) -> Table:
        """Return what a statement takes for the model: SQLAlchemy asks for it."""
        return cls.__table__


def _make_column(
    name: str, annotation: Any, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Column[Any]:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    may_be_null = {"nullable": NoneType in kinds}
    return Column(name, *(arguments or (_TYPES[kinds[0]],)), **may_be_null | options)


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    return model.__table__


def partial_index(name: str, *columns: str, where: str) -> Index:
    """Return an index over the rows that match a condition, on either database."""
    return Index(name, *columns, sqlite_where=sql(where), postgresql_where=sql(where))


class Metadata(Base):
    """A key-value row of the installation, such as its instance id."""

    __tablename__ = "metadata"

    name: ColumnClause[str] = column(String(32), primary_key=True)
    value: ColumnClause[str] = column(Text)
