"""Statements of the hot path: compiled once, and run by the driver itself.

SQLAlchemy takes ten times as long to run a statement as SQLite does.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from psycopg import RawCursor
from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Table,
    UpdateBase,
    bindparam,
    insert,
    literal,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.expression import ReturnsRows
from sqlalchemy.types import TypeEngine

from app.db.types import EnumText, UtcTime
from app.failpoints import failpoints

Statement = ReturnsRows | UpdateBase
_NOTHING: Mapping[str, Any] = {}
_FAILED = "failed"
# PostgreSQL with parameters as $1.
_NUMBERED: Dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement in one dialect: its SQL, and what converts its parameters and its rows.

    `constants` are the parameters with a value of their own; `converters` has the position of each
    parameter that is converted.  Rows are None without any to return.
    """

    sql: str
    names: Sequence[str]
    constants: Mapping[str, Any]
    converters: Sequence[tuple[int, Callable[[Any], Any]]]
    read_row: Callable[[Sequence[Any]], Any] | None

    def bind(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the parameters as the driver takes them."""
        given = {**self.constants, **values} if self.constants else values
        bound = [given[name] for name in self.names]
        for position, convert in self.converters:
            bound[position] = convert(bound[position])
        return bound


class Prepared:
    """A statement of SQLAlchemy, or one for each dialect by its name, run without SQLAlchemy.

    Its parameters are `bindparam`s.  Lists of values are written with `one_of`.
    """

    def __init__(self, statement: Statement | Mapping[str, Statement]) -> None:
        self._statement = statement
        self._forms: dict[str, _Form] = {}

    def fetch(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> list[Any]:
        """Run the statement.  Returns its rows, as named tuples."""
        form = self._form(tx.dialect)
        assert form.read_row is not None
        return [form.read_row(row) for row in _execute(tx, form, values).fetchall()]

    def first(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> Any:
        """Run the statement.  Returns its first row, or None."""
        rows = self.fetch(tx, values)
        return rows[0] if rows else None

    def change(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> int:
        """Run the statement.  Returns the number of rows that it inserted or changed."""
        count: int = _execute(tx, self._form(tx.dialect), values).rowcount
        return count

    def _form(self, dialect: Dialect) -> _Form:
        form = self._forms.get(dialect.name)
        if form is None:
            statement = self._statement
            if isinstance(statement, Mapping):
                statement = statement[dialect.name]
            form = self._forms[dialect.name] = _compile(statement, dialect)
        return form


class PreparedInsert:
    """An INSERT of some rows of a table; `returning` names the columns to return of each."""

    def __init__(self, table: Table, *returning: str) -> None:
        self._table, self._returning = table, returning
        self._of_count = cache(self._prepare)

    def run(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Insert rows with equal keys.  Returns named tuples in any order, if there are columns."""
        statement = self._of_count(len(rows), tuple(rows[0]))
        values = {
            f"{name}_{number}": value
            for number, row in enumerate(rows)
            for name, value in row.items()
        }
        if self._returning:
            return statement.fetch(tx, values)
        statement.change(tx, values)
        return []

    def _prepare(self, count: int, names: tuple[str, ...]) -> Prepared:
        columns = self._table.c
        statement = insert(self._table).values(
            [
                {name: bindparam(f"{name}_{number}", type_=columns[name].type) for name in names}
                for number in range(count)
            ]
        )
        if self._returning:
            return Prepared(statement.returning(*(columns[name] for name in self._returning)))
        return Prepared(statement)


def one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Match rows whose column has one of these values, each of which is a parameter."""
    return column.in_([literal(value, column.type) for value in values])


def run_sql(tx: Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """Run SQL by the driver.  Returns its cursor.

    Parameters are `?` for SQLite, `$1` for PostgreSQL, whose driver looks for no other then.
    """
    failpoints.reach("statement")
    driver: Any = tx.connection.driver_connection
    cursor = driver if tx.dialect.name == "sqlite" else RawCursor(driver)
    try:
        return cursor.execute(sql, parameters)
    except tx.dialect.loaded_dbapi.Error as e:
        tx.exec_driver_sql(sql, execution_options={_FAILED: e})
        raise


def raise_again(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
    """Raise the error of run_sql, so that SQLAlchemy handles it as one of its own statements.

    It wraps the error, tells the listeners, and drops a connection that is lost.
    """
    error = context.execution_options.get(_FAILED)
    if error is not None:
        raise error


def _execute(tx: Connection, form: _Form, values: Mapping[str, Any]) -> Any:
    if not tx.in_transaction():
        tx.begin()
    return run_sql(tx, form.sql, form.bind(values))


def _compile(statement: Statement, dialect: Dialect) -> _Form:
    compiled: Any = statement.compile(dialect=dialect if dialect.name == "sqlite" else _NUMBERED)
    binds = {name: bind for bind, name in compiled.bind_names.items()}
    names = compiled.positiontup or ()
    converters = [make_converter(binds[name].type, dialect) for name in names]
    return _Form(
        sql=str(compiled),
        names=names,
        constants={name: bind.effective_value for name, bind in binds.items() if not bind.required},
        converters=[(n, convert) for n, convert in enumerate(converters) if convert],
        read_row=_make_reader(statement, dialect),
    )


def _make_reader(statement: Any, dialect: Dialect) -> Callable[[Sequence[Any]], Any] | None:
    columns = list(statement.exported_columns)
    if not columns:
        return None
    names = [column.key for column in columns]
    kind: Any = namedtuple("Row", names)  # type: ignore[misc]
    make_row: Callable[[Iterable[Any]], Any] = kind._make
    readers = [
        column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
    ]
    if not any(readers):
        return make_row
    return lambda row: make_row(
        read(value) if read else value for read, value in zip(readers, row, strict=True)
    )


def make_converter(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes the values of a type ready for the driver, or None if they are.

    Times and enumerations repeat, and take 6 microseconds each.
    """
    convert = kind.dialect_impl(dialect).bind_processor(dialect)
    if isinstance(kind, (UtcTime, EnumText)) and convert:
        return lru_cache(maxsize=1024)(convert)
    return convert
