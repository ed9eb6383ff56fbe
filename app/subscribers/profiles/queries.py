"""Read subscribers with their tags and suppressions: one, or a page of a list."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, or_, select

from app.db.base import table_of
from app.errors import NotFound
from app.pagination import Page, make_page
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.audiences.conditions import Condition, Op, make_test
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag
from app.subscribers.suppressions.store import read_suppressions
from app.subscribers.tags.assignments import read_tags

_SUBSCRIBERS, _TAGS, _ASSIGNMENTS = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
# A page without matches reads all subscribers.
LIST_WITHIN_S = 10.0
_TRUTH_VALUES = {"true": True, "false": False}
# A subscriber's columns, tags, and the number's suppression if it is in force.
Person = dict[str, Any]


def view_subscriber(ctx: SubscriberContext, public_id: str) -> Person:
    """Return one subscriber.  Raises NotFound."""
    with ctx.db.read() as tx:
        return read_person(tx, ctx, find_subscriber(tx, public_id))


def look_up_subscriber(ctx: SubscriberContext, phone: str) -> Person:
    """Return the subscriber of a number.  Raises NotFound."""
    for person in look_up_subscribers(ctx, [phone]).values():
        return person
    raise NotFound("There is no subscriber with this number.")


def look_up_subscribers(ctx: SubscriberContext, phones: Sequence[str]) -> dict[str, Person]:
    """Return the subscribers of a few numbers, by number."""
    query = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone.in_(phones))
    with ctx.db.read() as tx:
        persons = read_persons(tx, ctx, tx.execute(query).all())
        return {person["phone"]: person for person in persons}


def find_subscriber(tx: Connection, public_id: str, *, lock: bool = False) -> Row[Any]:
    """Return a subscriber's row, locked for a change with `lock`.  Raises NotFound."""
    query = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.public_id == public_id)
    row = tx.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("There is no such subscriber.")
    return row


def read_person(tx: Connection, ctx: SubscriberContext, row: Row[Any]) -> Person:
    """Add tags and suppression to a subscriber's row."""
    return read_persons(tx, ctx, [row])[0]


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
    """Return a page of the persons that match every given filter, the oldest first."""
    query = _start_list(tag, cursor).limit(limit + 1)
    if text is not None:
        query = query.where(_has_name(text))
    if active is not None:
        query = query.where(_SUBSCRIBERS.c.active.is_(active))
    with ctx.db.read(within_s=LIST_WITHIN_S) as tx:
        for name, written in attribute:
            conditions = (
                Condition(ATTRIBUTE + name, Op.EQ, value) for value in parse_values(written)
            )
            query = query.where(or_(*(make_test(each, tx.dialect) for each in conditions)))
        page = make_page(tx.execute(query).all(), limit)
        return Page(read_persons(tx, ctx, page.rows), page.cursor)


def parse_values(text: str) -> list[Any]:
    """Return the values that are written like this text: itself, a number, a truth value.

    >>> parse_values("7"), parse_values("true"), parse_values("Berlin")
    (['7', 7.0], ['true', True], ['Berlin'])
    """
    values: list[Any] = [text]
    if text in _TRUTH_VALUES:
        values.append(_TRUTH_VALUES[text])
    try:
        number = float(text)
    except ValueError:
        return values
    return [*values, number] if abs(number) < float("inf") else values


def _start_list(tag: str | None, cursor: int) -> Select[Any]:
    """Select subscribers behind the cursor: all, or through the assignments of one tag."""
    if tag is None:
        ids: ColumnElement[int] = _SUBSCRIBERS.c.id
        query = select(_SUBSCRIBERS)
    else:
        ids = _ASSIGNMENTS.c.subscriber_id
        tag_id = select(_TAGS.c.id).where(_TAGS.c.name == tag).scalar_subquery()
        tagged = _ASSIGNMENTS.join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == ids)
        query = select(_SUBSCRIBERS).select_from(tagged).where(_ASSIGNMENTS.c.tag_id == tag_id)
    return query.where(ids > cursor).order_by(ids)


def _has_name(text: str) -> ColumnElement[bool]:
    """Return a test whether a name contains this text in any case.

    A database may fold the case of ASCII letters only, so the usual spellings are tried.
    """
    spellings = dict.fromkeys((text, text.lower(), text.upper(), text.title()))
    names = (_SUBSCRIBERS.c.first_name, _SUBSCRIBERS.c.last_name)
    return or_(*(name.icontains(each, autoescape=True) for name in names for each in spellings))


def read_persons(tx: Connection, ctx: SubscriberContext, rows: Sequence[Row[Any]]) -> list[Person]:
    """Add tags and suppressions to the rows of subscribers."""
    tags = read_tags(tx, [row.id for row in rows])
    known = read_suppressions(tx, ctx, [row.phone for row in rows])
    active = {phone: suppression for phone, suppression in known.items() if suppression.active}
    return [
        {
            **row._asdict(),
            "attributes": row.attributes or {},
            "tags": [tag.name for tag in tags.get(row.id, []) if tag.confirmed],
            "unconfirmed_tags": [tag.name for tag in tags.get(row.id, []) if not tag.confirmed],
            "suppressed": row.phone in active,
            "suppression": active.get(row.phone),
        }
        for row in rows
    ]
