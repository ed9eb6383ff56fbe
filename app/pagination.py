"""Pages of a list, and reading of a long one.  The cursor of a page is the id of its last row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, tuple_

from app.db.engine import Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in order, and the cursor of the next page; None on the last page."""

    rows: list[T]
    cursor: str | None


def make_page(rows: Sequence[Row[Any]], limit: int, *, key: str = "id") -> Page[Row[Any]]:
    """Make a page of `limit` rows, of which the query has fetched one more if the list goes on.

    `key` is the column that the list is ordered by, which gives the cursor.
    """
    has_more = len(rows) > limit
    return Page(list(rows[:limit]), str(getattr(rows[limit - 1], key)) if has_more else None)


def read_newest(
    tx: Connection, query: Select[Any], key: Column[Any], *, cursor: int | None, limit: int
) -> Page[Row[Any]]:
    """Read the page of a list behind a cursor, the newest rows first.

    `key` is a column of the query that grows with each new row.
    """
    query = query.order_by(key.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(key < cursor)
    return make_page(tx.execute(query).all(), limit, key=key.name)


def read_pages(
    db: Database, query: Select[Any], *key: ColumnElement[Any], size: int
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of a query in pages, each in a transaction of its own, until the last.

    `key` are columns of the query that order its rows and that no two rows share.
    """
    page, behind = query.order_by(*key).limit(size), tuple_(*key)
    rows: Sequence[Row[Any]] = []
    while True:
        last = [rows[-1]._mapping[column] for column in key] if rows else None
        with db.read() as tx:
            rows = tx.execute(page if last is None else page.where(behind > tuple_(*last))).all()
        if rows:
            yield rows
        if len(rows) < size:
            return
