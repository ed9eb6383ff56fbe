"""Statements of the hot path: compiled once, and run by the driver itself.

SQLAlchemy takes ten times as long to run a statement as SQLite does.

Many phone numbers are passed as one parameter: with one for each the statement would be compiled
anew for each length, at twice the cost of the query, and their number would be limited.
"""

import json
from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, NoReturn, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    String,
    Table,
    Text,
    UpdateBase,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.expression import ClauseList, ReturnsRows
from sqlalchemy.sql.operators import in_op
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.sql.visitors import iterate, replacement_traverse
from sqlalchemy.types import NullType, TypeEngine

from app.db.types import EnumText, UtcTime
from app.failpoints import failpoints

T = TypeVar("T")

Statement = ReturnsRows | UpdateBase
_NOTHING: Mapping[str, Any] = {}
_FAILED = "failed"
# PostgreSQL with parameters as $1.
_NUMBERED: Dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
# Maximum number of values in one statement.
QUERY_CHUNK_SIZE = 1_000
# Subquery of the phone numbers in the parameter `phones`, by dialect name.
PHONES: Mapping[str, Select[tuple[Any]]] = {
    "sqlite": select(func.json_each(bindparam("phones", type_=Text)).table_valued("value").c.value),
    "postgresql": select(func.unnest(bindparam("phones", type_=ARRAY(String)))),
}


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement in one dialect: its SQL, and what converts its parameters and its rows.

    `constants` are the parameters with a value of their own; `lists` are those that are a list,
    with the size that this form has room for; `converters` has the position of each parameter that
    is converted.  Rows are None without any to return.
    """

    sql: str
    names: Sequence[str]
    constants: Mapping[str, Any]
    lists: Mapping[str, int]
    converters: Sequence[tuple[int, Callable[[Any], Any]]]
    read_row: Callable[[Sequence[Any]], Any] | None

    def bind(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the parameters as the driver takes them."""
        given = {**self.constants, **values} if self.constants else values
        for name, size in self.lists.items():
            given = {**given, **_name_items(name, values[name], size)}
        bound = [given[name] for name in self.names]
        for position, convert in self.converters:
            bound[position] = convert(bound[position])
        return bound


class _Forms:
    """The forms of a statement in one dialect: one for each size of its lists."""

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        self._statement, self._dialect = statement, dialect
        self._lists = [bind.key for bind in _find_lists(statement) if bind.required]
        self._by_size: dict[tuple[int, ...], _Form] = {}

    def choose(self, values: Mapping[str, Any]) -> _Form:
        """Return the form that has room for these lists."""
        sizes = tuple([_round_up(len(values[name])) for name in self._lists])
        form = self._by_size.get(sizes)
        if form is None:
            lists = dict(zip(self._lists, sizes, strict=True))
            form = self._by_size[sizes] = _compile(self._statement, self._dialect, lists)
        return form


class Prepared:
    """A statement of SQLAlchemy, or one for each dialect by its name, run without SQLAlchemy.

    Its parameters are `bindparam`s.  One with `expanding` is a list for `in_`.
    """

    def __init__(self, statement: Statement | Mapping[str, Statement]) -> None:
        self._statement = statement
        self._forms: dict[str, _Forms] = {}

    def fetch(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> list[Any]:
        """Run the statement.  Returns its rows, as named tuples."""
        return list(self.read(tx, values))

    def read(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> Iterator[Any]:
        """Run the statement.  Yields its rows, as named tuples, while the database finds them."""
        form = self._choose_form(tx.dialect, values)
        assert form.read_row is not None
        cursor = _execute(tx, form, values)
        try:
            yield from map(form.read_row, cursor)
        except tx.dialect.loaded_dbapi.Error as e:
            _raise_as_sqlalchemy(tx, form.sql, e)

    def first(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> Any:
        """Run the statement.  Returns its first row, or None."""
        rows = self.fetch(tx, values)
        return rows[0] if rows else None

    def change(self, tx: Connection, values: Mapping[str, Any] = _NOTHING) -> int:
        """Run the statement.  Returns the number of rows that it inserted or changed."""
        form = self._choose_form(tx.dialect, values)
        count: int = _execute(tx, form, values).rowcount
        return count

    def change_each(self, tx: Connection, values: Sequence[Mapping[str, Any]]) -> None:
        """Run the statement once with each of some values, whose lists are equally long."""
        form = self._choose_form(tx.dialect, values[0])
        _begin(tx)
        run_sql(tx, form.sql, [form.bind(each) for each in values], many=True)

    def _choose_form(self, dialect: Dialect, values: Mapping[str, Any]) -> _Form:
        forms = self._forms.get(dialect.name)
        if forms is None:
            statement = self._statement
            if isinstance(statement, Mapping):
                statement = statement[dialect.name]
            forms = self._forms[dialect.name] = _Forms(statement, dialect)
        return forms.choose(values)


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

    def run_each(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows with equal keys one by one: any number of them has the same statement."""
        values = [{f"{name}_0": value for name, value in row.items()} for row in rows]
        self._of_count(1, tuple(rows[0])).change_each(tx, values)

    def _prepare(self, count: int, names: tuple[str, ...]) -> Prepared:
        columns = self._table.c
        defaults = {
            column.name: literal(column.default.arg, column.type)
            for column in columns
            if column.name not in names and isinstance(column.default, ScalarElementColumnDefault)
        }
        statement = insert(self._table).values(
            [
                defaults
                | {name: bindparam(f"{name}_{number}", type_=columns[name].type) for name in names}
                for number in range(count)
            ]
        )
        if self._returning:
            return Prepared(statement.returning(*(columns[name] for name in self._returning)))
        return Prepared(statement)


class PreparedUpdate:
    """An UPDATE of some columns of the row with a primary key, if it meets conditions."""

    def __init__(self, table: Table, *conditions: ColumnElement[bool]) -> None:
        self._table, self._conditions = table, conditions
        self._of_columns = cache(self._prepare)

    def run(
        self,
        tx: Connection,
        key: Any,
        values: Mapping[str, Any],
        expected: Mapping[str, Any] = _NOTHING,
    ) -> int:
        """Set columns of a row by their names.  Returns the number of rows that it changed.

        `expected` are the parameters of the conditions.
        """
        new = {f"new_{name}": value for name, value in values.items()}
        return self._of_columns(tuple(values)).change(tx, {**expected, "key": key, **new})

    def _prepare(self, names: tuple[str, ...]) -> Prepared:
        (key,) = self._table.primary_key
        row = update(self._table).where(key == bindparam("key"), *self._conditions)
        return Prepared(row.values({name: bindparam(f"new_{name}") for name in names}))


def one_of(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Match rows whose column has one of these values, each of which is a parameter."""
    return column.in_([literal(value, column.type) for value in values])


def run_sql(tx: Connection, sql: str, parameters: Sequence[Any] = (), *, many: bool = False) -> Any:
    """Run SQL by the driver.  Returns its cursor.

    Parameters are `?` for SQLite, `$1` for PostgreSQL, whose driver looks for no other then.  With
    `many` there are several sequences of them.
    """
    failpoints.reach("statement")
    driver: Any = tx.connection.dbapi_connection
    dbapi: Any = tx.dialect.loaded_dbapi
    cursor = driver if tx.dialect.name == "sqlite" else dbapi.RawCursor(driver)
    try:
        return cursor.executemany(sql, parameters) if many else cursor.execute(sql, parameters)
    except dbapi.Error as e:
        _raise_as_sqlalchemy(tx, sql, e)


def _raise_as_sqlalchemy(tx: Connection, sql: str, error: Exception) -> NoReturn:
    tx.exec_driver_sql(sql, execution_options={_FAILED: error})
    raise error


def raise_again(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
    """Raise the error of run_sql, so that SQLAlchemy handles it as one of its own statements.

    It wraps the error, tells the listeners, and drops a connection that is lost.
    """
    error = context.execution_options.get(_FAILED)
    if error is not None:
        raise error


def _begin(tx: Connection) -> None:
    if not tx.in_transaction():
        tx.begin()


def _execute(tx: Connection, form: _Form, values: Mapping[str, Any]) -> Any:
    _begin(tx)
    return run_sql(tx, form.sql, form.bind(values))


def _find_lists(statement: Statement) -> Iterator[BindParameter[Any]]:
    for part in iterate(statement):
        if isinstance(part, BindParameter) and part.expanding:
            yield part


def _round_up(size: int) -> int:
    """Return the next power of two: a form serves lists of about its size."""
    return 1 << max(size - 1, 0).bit_length()


def _name_items(name: str, items: Sequence[Any], size: int) -> dict[str, Any]:
    """Return the parameters of a list.  What is left of its room repeats an item, or is NULL."""
    filler = items[-1] if items else None
    padded = [*items, *[filler] * (size - len(items))]
    return {f"{name}_{number}": item for number, item in enumerate(padded)}


def _write_out(statement: Statement, dialect: Dialect, lists: Mapping[str, int]) -> Statement:
    """Replace each list by its items, and write constants out."""

    def replace(part: Any, **_: Any) -> Any:
        if not isinstance(part, BindParameter):
            return None
        if not part.expanding:
            return _write_constant(part, dialect)
        if part.required:
            names = _name_items(part.key, (), lists[part.key])
            items: list[Any] = [bindparam(name, type_=part.type) for name in names]
        else:
            constants = [literal(value, part.type) for value in part.effective_value or ()]
            items = [_write_constant(item, dialect) for item in constants]
        return ClauseList(*items).self_group(against=in_op)

    written: Any = replacement_traverse(statement, {}, replace)  # type: ignore[call-overload]
    return cast(Statement, written)


def _write_constant(part: BindParameter[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return a constant as SQL, if it is a number, True, False or a member of an enumeration.

    As a parameter SQLite would parse its statement at each run, if it might be that of a partial
    index, and PostgreSQL's plan for all values would not use that index.
    """
    # A value of an UPDATE gets its type from its column, later.
    if part.required or isinstance(part.type, NullType):
        return part
    if not isinstance(part.effective_value, int | StrEnum):
        return part
    sql = str(part.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    return literal_column(sql, part.type)


def _compile(statement: Statement, dialect: Dialect, lists: Mapping[str, int]) -> _Form:
    if dialect.name != "sqlite":
        dialect = _NUMBERED
    written: Any = _write_out(statement, dialect, lists)
    compiled = written.compile(dialect=dialect)
    binds = {name: bind for bind, name in compiled.bind_names.items()}
    names = compiled.positiontup or ()
    converters = [make_converter(binds[name].type, dialect) for name in names]
    return _Form(
        sql=str(compiled),
        names=names,
        constants={name: bind.effective_value for name, bind in binds.items() if not bind.required},
        lists=lists,
        converters=[(n, convert) for n, convert in enumerate(converters) if convert],
        read_row=_make_reader(statement, dialect),
    )


def _make_reader(statement: Any, dialect: Dialect) -> Callable[[Sequence[Any]], Any] | None:
    columns = list(statement.exported_columns)
    if not columns:
        return None
    kind: Any = namedtuple("Row", [column.key for column in columns])  # type: ignore[misc]
    make_row: Callable[[Iterable[Any]], Any] = kind._make
    made = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
    readers = [(position, read) for position, read in enumerate(made) if read]
    if not readers:
        return make_row

    def read_row(row: Sequence[Any]) -> Any:
        values = list(row)
        for position, read in readers:
            values[position] = read(values[position])
        return make_row(values)

    return read_row


def make_converter(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes the values of a type ready for the driver, or None if they are.

    Times and enumerations repeat, and take 6 microseconds each.
    """
    convert = kind.dialect_impl(dialect).bind_processor(dialect)
    if isinstance(kind, (UtcTime, EnumText)) and convert:
        return lru_cache(maxsize=1024)(convert)
    return convert


def pack(tx: Connection, phones: Collection[str]) -> Any:
    """Pack phone numbers into the value of the parameter `phones`."""
    return json.dumps(list(phones)) if tx.dialect.name == "sqlite" else list(phones)


def chunked(values: Sequence[T], size: int = QUERY_CHUNK_SIZE) -> Iterator[Sequence[T]]:
    """Yield the values in chunks of at most `size`, in order.

    >>> [len(chunk) for chunk in chunked(["+4670"] * 2001)]
    [1000, 1000, 1]
    """
    for start in range(0, len(values), size):
        yield values[start : start + size]


def insert_rows(
    tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, skip_known: bool = False
) -> int:
    """Insert rows of the same columns.  Returns how many.

    With `skip_known` a row whose key exists is passed over; otherwise it raises IntegrityError.
    The driver gets the values directly: SQLAlchemy takes as long to prepare a row as SQLite takes
    to insert it.
    """
    if not rows:
        return 0
    sql, converters, by_name = _compile_insert(table, tx.dialect, tuple(rows[0]), skip_known)
    columns = ([row[name] for row in rows] for name in converters)
    converted = zip(
        *(
            map(convert, column) if convert else column
            for convert, column in zip(converters.values(), columns, strict=True)
        ),
        strict=True,
    )
    values: list[Any] = (
        [dict(zip(converters, row, strict=True)) for row in converted]
        if by_name
        else list(converted)
    )
    return tx.exec_driver_sql(sql, values).rowcount


@lru_cache(maxsize=64)
def _compile_insert(
    table: Table, dialect: Dialect, names: tuple[str, ...], skip_known: bool
) -> tuple[str, Mapping[str, Callable[[Any], Any] | None], bool]:
    """Return the SQL, the converters of values by column, and True for named parameters."""
    build = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    statement = build(table).on_conflict_do_nothing() if skip_known else build(table)
    compiled = statement.compile(dialect=dialect, column_keys=names)
    converters = {
        name: make_converter(table.c[name].type, dialect) for name in compiled.positiontup or names
    }
    return str(compiled), converters, compiled.positiontup is None
