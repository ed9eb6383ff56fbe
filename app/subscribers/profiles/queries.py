"""Subscribers as others see them: one, a page of them, all that is known of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, or_, select

from app.db.base import table_of
from app.errors import NotFound
from app.pagination import Page, make_page
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.audiences.conditions import Condition, Op, make_test
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag
from app.subscribers.suppressions.store import Suppressed, read_suppressions
from app.subscribers.tags.assignments import TagAssignment, read_tags

_SUBSCRIBERS, _TAGS, _BORNE = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
_BEARERS = _BORNE.join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _BORNE.c.subscriber_id)
# Made once: to make a statement costs several times what it takes to run one.
_BY_PUBLIC_ID = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.public_id == bindparam("this"))
_HOLD = _BY_PUBLIC_ID.with_for_update()
_BY_PHONE = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone == bindparam("this"))
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Person:
    """A subscriber's row, the tags, and the suppression of the number while it is in force."""

    row: Row[Any]
    tags: Sequence[TagAssignment]
    suppressed: Suppressed | None


def view_subscriber(ctx: SubscriberContext, public_id: str) -> Person:
    """One subscriber.  Raises NotFound."""
    with ctx.db.read() as tx:
        return read_person(tx, ctx, find_subscriber(tx, public_id))


def look_up_subscriber(ctx: SubscriberContext, phone: str) -> Person:
    """The subscriber of a number.  Raises NotFound."""
    with ctx.db.read() as tx:
        row = tx.execute(_BY_PHONE, {"this": phone}).first()
        if row is None:
            raise NotFound("There is no subscriber with this number.")
        return read_person(tx, ctx, row)


def find_subscriber(tx: Connection, public_id: str, *, hold: bool = False) -> Row[Any]:
    """A subscriber's row, with `hold` changed by nobody else before the end of the transaction.

    Raises NotFound.
    """
    row = tx.execute(_HOLD if hold else _BY_PUBLIC_ID, {"this": public_id}).first()
    if row is None:
        raise NotFound("There is no such subscriber.")
    return row


def read_person(tx: Connection, ctx: SubscriberContext, row: Row[Any]) -> Person:
    """What belongs to a subscriber's row."""
    return _read_persons(tx, ctx, [row])[0]


def list_subscribers(
    ctx: SubscriberContext,
    *,
    cursor: int = 0,
    limit: int = 100,
    tag: str | None = None,
    text: str | None = None,
    active: bool | None = None,
    attribute: Sequence[tuple[str, str]] = (),
) -> Page[Person]:
    """Subscribers who fit all that is given, in the order of their making."""
    query = _start_list(tag, cursor).limit(limit + 1)
    if text is not None:
        query = query.where(_is_named(text))
    if active is not None:
        query = query.where(_SUBSCRIBERS.c.active.is_(active))
    with ctx.db.read() as tx:
        for name, value in attribute:
            same = (
                make_test(Condition(ATTRIBUTE + name, Op.EQ, each), tx.dialect)
                for each in read_words(value)
            )
            query = query.where(or_(*same))
        page = make_page(tx.execute(query).all(), limit)
        return Page(_read_persons(tx, ctx, page.rows), page.cursor)


def read_words(text: str) -> list[Any]:
    """The values that look like this text: itself, the number, the truth value it may be.

    >>> read_words("7"), read_words("true"), read_words("Berlin")
    (['7', 7.0], ['true', True], ['Berlin'])
    """
    values: list[Any] = [text]
    if text in _WORDS:
        values.append(_WORDS[text])
    try:
        number = float(text)
    except ValueError:
        return values
    return [*values, number] if abs(number) < float("inf") else values


def _start_list(tag: str | None, cursor: int) -> Select[Any]:
    """All, or who bears a tag, confirmed or not yet: then nobody else is looked at."""
    if tag is None:
        ids: ColumnElement[int] = _SUBSCRIBERS.c.id
        query = select(_SUBSCRIBERS)
    else:
        ids = _BORNE.c.subscriber_id
        named = select(_TAGS.c.id).where(_TAGS.c.name == tag).scalar_subquery()
        query = select(_SUBSCRIBERS).select_from(_BEARERS).where(_BORNE.c.tag_id == named)
    return query.where(ids > cursor).order_by(ids)


def _is_named(text: str) -> ColumnElement[bool]:
    """Whether a name holds this text, whatever its case.

    Databases fold the case of ASCII alone, or that of all letters, as they were set up: the rest
    is asked for in every case it is usually written in.
    """
    spellings = dict.fromkeys((text, text.lower(), text.upper(), text.title()))
    names = (_SUBSCRIBERS.c.first_name, _SUBSCRIBERS.c.last_name)
    return or_(*(name.icontains(each, autoescape=True) for name in names for each in spellings))


def _read_persons(tx: Connection, ctx: SubscriberContext, rows: Sequence[Row[Any]]) -> list[Person]:
    tags = read_tags(tx, [row.id for row in rows])
    known = read_suppressions(tx, ctx, [row.phone for row in rows])
    active = {phone: each for phone, each in known.items() if each.active}
    return [Person(row, tags.get(row.id, []), active.get(row.phone)) for row in rows]
