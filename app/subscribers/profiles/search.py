"""Find subscribers by the beginning of their name, and list the newest.

Two indexes are over whole names in lower case, the first or the last name in front.  A database may
fold the case of ASCII letters only, so the usual spellings of a beginning are tried.
"""

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, String, and_, literal_column, select

from app.db.base import table_of
from app.pagination import Page, read_newest
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber
from app.subscribers.profiles.queries import LIST_WITHIN_S, Person, read_persons

_SUBSCRIBERS = table_of(Subscriber)
# No character is behind it.
_LAST = "\U0010ffff"
_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)
_NAMES = ("first_name", "last_name")


def find_by_name(ctx: SubscriberContext, text: str, *, limit: int) -> Page[Person]:
    """Return the first subscribers whose name begins with this text, in either order.

    The page's cursor is "more" if there are others; they are found by a longer beginning.
    """
    beginning = " ".join(text.replace(",", " ").split())
    # PostgreSQL takes no NUL, which is in no name.
    if not beginning or "\0" in beginning:
        return Page([], None)
    found: dict[int, Row[Any]] = {}
    with ctx.db.read(within_s=LIST_WITHIN_S) as tx:
        for test, order in _make_tests(tx, beginning):
            query = select(_SUBSCRIBERS).where(test).order_by(order).limit(limit + 1)
            found |= {row.id: row for row in tx.execute(query)}
        rows = sorted(found.values(), key=_get_name)
        return Page(read_persons(tx, ctx, rows[:limit]), "more" if len(rows) > limit else None)


def find_by_numbers(ctx: SubscriberContext, phones: Sequence[str]) -> dict[str, Row[Any]]:
    """Return the rows of subscribers by number; of at most some hundred numbers."""
    query = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone.in_(phones))
    with ctx.db.read() as tx:
        return {row.phone: row for row in tx.execute(query)}


def list_newest(
    ctx: SubscriberContext, *, cursor: int | None = None, limit: int = 50
) -> Page[Person]:
    """Return a page of subscribers, the newest first."""
    with ctx.db.read() as tx:
        query = select(_SUBSCRIBERS)
        page = read_newest(tx, query, _SUBSCRIBERS.c.id, cursor=cursor, limit=limit)
        return Page(read_persons(tx, ctx, page.rows), page.cursor)


def _make_tests(
    tx: Connection, beginning: str
) -> list[tuple[ColumnElement[bool], ColumnElement[str]]]:
    """Return tests that one range of an index answers, each with the order of that index."""
    columns = [_fold(tx, *names) for names in (_NAMES, _NAMES[::-1])]
    return [
        (_begins(column, spelling), column) for column in columns for spelling in _spell(beginning)
    ]


def _fold(tx: Connection, one: str, other: str) -> ColumnElement[str]:
    """Return the expression that an index is over, word for word: a parameter would not match."""
    collation = "" if tx.dialect.name == "sqlite" else ' COLLATE "C"'
    name = f"lower(coalesce({one}, '') || ' ' || coalesce({other}, ''))"
    return literal_column(f"{name}{collation}", String)


def _begins(column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    return and_(column >= beginning, column < beginning + _LAST)


def _spell(text: str) -> list[str]:
    """Return the beginnings as which a database may fold a text.

    >>> _spell("Ann"), _spell("åsa")
    (['ann'], ['åsa', 'Åsa'])
    """
    spellings = (text.lower(), text, text.upper(), text.title())
    return list(dict.fromkeys(spelling.translate(_FOLD) for spelling in spellings))


def _get_name(row: Row[Any]) -> tuple[str, str, int]:
    return ((row.first_name or "").casefold(), (row.last_name or "").casefold(), row.id)
