"""Pages of a list.  The cursor of a page is the id of its last row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Row

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
