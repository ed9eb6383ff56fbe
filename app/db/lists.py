"""Many values in one statement.

Phone numbers are passed as one parameter: with one for each the statement would be compiled anew
for each length, at twice the cost of the query, and their number would be limited.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    Connection,
    Dialect,
    Select,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.db.prepared import make_converter

# Maximum number of values in one statement.
QUERY_CHUNK_SIZE = 1_000

T = TypeVar("T")

# Subquery of the phone numbers in the parameter `phones`, by dialect name.
PHONES: Mapping[str, Select[tuple[Any]]] = {
    "sqlite": select(func.json_each(bindparam("phones", type_=Text)).table_valued("value").c.value),
    "postgresql": select(func.unnest(bindparam("phones", type_=ARRAY(String)))),
}


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
