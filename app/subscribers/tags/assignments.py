"""Which subscribers bear which tags, within a transaction.

A tag that asks for a double opt-in is borne once the person has confirmed it; until then it waits.
Locks are taken in this order: tags, subscribers, then who bears what.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Connection,
    Insert,
    Table,
    and_,
    bindparam,
    delete,
    false,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.db.types import UtcTime
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag

# So many values go into one statement.
QUERY_CHUNK_SIZE = 1_000
# An answer's time is by Sinch's clock, that of the question by ours.
_CLOCKS_APART = timedelta(minutes=5)

T = TypeVar("T")
_SUBSCRIBERS, _TAGS, _BORNE = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
_THESE: BindParameter[Any] = bindparam("these", expanding=True)


def insert_missing(table: Table) -> dict[str, Insert]:
    """By dialect: the statement that inserts rows unless their key is there already."""
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    }


# Made once: to make a statement costs several times what it takes to run one.
_ADD_TAG, _ADD = insert_missing(_TAGS), insert_missing(_BORNE)
_HOLD_TAGS = (
    select(_TAGS).where(_TAGS.c.name.in_(_THESE)).order_by(_TAGS.c.name).with_for_update(read=True)
)
_HOLD_SUBSCRIBERS = (
    select(_SUBSCRIBERS.c.id)
    .where(_SUBSCRIBERS.c.id.in_(_THESE))
    .order_by(_SUBSCRIBERS.c.id)
    .with_for_update(read=True, key_share=True)
)
_OF_THESE = (
    select(_BORNE.c.subscriber_id, _TAGS.c.id, _TAGS.c.name, _BORNE.c.confirmed)
    .join(_TAGS, _TAGS.c.id == _BORNE.c.tag_id)
    .where(_BORNE.c.subscriber_id.in_(_THESE))
    .order_by(_TAGS.c.name)
)
_REMOVE = delete(_BORNE).where(
    _BORNE.c.tag_id == bindparam("tag"), _BORNE.c.subscriber_id == bindparam("person")
)
_WAITING = (
    select(_TAGS.c.id, _TAGS.c.name, _BORNE.c.subscriber_id)
    .select_from(_SUBSCRIBERS.join(_BORNE, _BORNE.c.subscriber_id == _SUBSCRIBERS.c.id))
    .join(_TAGS, _TAGS.c.id == _BORNE.c.tag_id)
    .where(
        _SUBSCRIBERS.c.phone == bindparam("who"),
        _BORNE.c.opt_in_requested_at <= bindparam("moment"),
    )
    .where(_BORNE.c.confirmed.is_(False))
    .order_by(_TAGS.c.name)
    .with_for_update(of=_BORNE)
)
_CONFIRM = (
    update(_BORNE)
    .where(_BORNE.c.tag_id == bindparam("tag"), _BORNE.c.subscriber_id == bindparam("person"))
    .values(confirmed=True)
)
_IS_UNASKED = and_(_BORNE.c.confirmed == false(), _BORNE.c.opt_in_requested_at.is_(None))
_UNASKED = (
    select(
        _SUBSCRIBERS.c.id,
        _SUBSCRIBERS.c.phone,
        _SUBSCRIBERS.c.language,
        _SUBSCRIBERS.c.time_zone,
        _BORNE.c.tag_id,
        _TAGS.c.name,
    )
    .select_from(_BORNE.join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _BORNE.c.subscriber_id))
    .join(_TAGS, _TAGS.c.id == _BORNE.c.tag_id)
    .where(_IS_UNASKED, _BORNE.c.subscriber_id > bindparam("after"))
    .where(_SUBSCRIBERS.c.active)
    .order_by(_BORNE.c.subscriber_id, _BORNE.c.tag_id)
    .limit(bindparam("most"))
    # What another process is asking about is asked about.
    .with_for_update(of=_BORNE, skip_locked=True)
)
_HAS_UNASKED = select(_BORNE.c.tag_id).where(_IS_UNASKED).limit(1)
_ASKED = (
    update(_BORNE)
    .where(_BORNE.c.tag_id == bindparam("tag"), _BORNE.c.subscriber_id == bindparam("person"))
    .values(opt_in_requested_at=bindparam("moment", type_=UtcTime()))
)


@dataclass(frozen=True, slots=True)
class TagAssignment:
    """A tag that a subscriber bears, or waits to confirm."""

    tag_id: int
    name: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who waits to be asked about tags; these by their ids."""

    id: int
    phone: str
    language: str | None
    time_zone: str | None
    tags: dict[int, str]


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """Some who wait to be asked, up to which of them all, and whether there are more."""

    subscribers: list[Waiting]
    reached: int
    more: bool


def chunked(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in parts that fit into one statement."""
    for start in range(0, len(values), QUERY_CHUNK_SIZE):
        yield values[start : start + QUERY_CHUNK_SIZE]


def lock_tags(tx: Connection, ctx: SubscriberContext, names: Iterable[str]) -> dict[str, Any]:
    """Tags by name, those that are not there yet made; nobody deletes one before the end of it."""
    wanted, found = sorted(set(names)), dict[str, Any]()
    for part in chunked(wanted):
        found |= {row.name: row for row in tx.execute(_HOLD_TAGS, {"these": list(part)})}
    missing = [name for name in wanted if name not in found]
    if missing:
        now = ctx.now()
        rows = [{"name": name, "double_opt_in": False, "created_at": now} for name in missing]
        tx.execute(_ADD_TAG[tx.dialect.name], rows)
        found |= lock_tags(tx, ctx, missing)
    return found


def lock_subscribers(tx: Connection, ids: Iterable[int]) -> set[int]:
    """Those of these subscribers that there are, whom nobody deletes before the end of it."""
    found = set[int]()
    for part in chunked(sorted(set(ids))):
        found.update(tx.execute(_HOLD_SUBSCRIBERS, {"these": list(part)}).scalars())
    return found


def read_tags(tx: Connection, ids: Sequence[int]) -> Mapping[int, list[TagAssignment]]:
    """What each of these subscribers bears, by name."""
    borne = defaultdict[int, list[TagAssignment]](list)
    for part in chunked(ids):
        for row in tx.execute(_OF_THESE, {"these": list(part)}):
            borne[row.subscriber_id].append(TagAssignment(row.id, row.name, row.confirmed))
    return borne


def add_tags(tx: Connection, tags: Mapping[str, Any], wanted: Mapping[int, Iterable[str]]) -> None:
    """Give subscribers tags, by name; the tags and the subscribers are held.

    What somebody bears already stays as it is, confirmed or not.
    """
    rows = [
        {
            "tag_id": tags[name].id,
            "subscriber_id": person,
            "confirmed": not tags[name].double_opt_in,
            "opt_in_requested_at": None,
        }
        for person, names in wanted.items()
        for name in sorted(names)
    ]
    if rows:
        tx.execute(_ADD[tx.dialect.name], rows)


def remove_tags(tx: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Take tags from subscribers, given as pairs of a tag's and a subscriber's id."""
    if pairs:
        tx.execute(_REMOVE, [{"tag": tag, "person": person} for tag, person in pairs])


def confirm_tags(tx: Connection, ctx: SubscriberContext, phone: str, at: datetime) -> list[str]:
    """Confirm what this number was asked about before; the tags that it bears from now on."""
    waiting = tx.execute(_WAITING, {"who": phone, "moment": at + _CLOCKS_APART}).all()
    if waiting:
        tx.execute(_CONFIRM, [{"tag": row.id, "person": row.subscriber_id} for row in waiting])
    return [row.name for row in waiting]


def has_unrequested_opt_in(tx: Connection) -> bool:
    """Whether anybody waits to be asked about a tag."""
    return tx.execute(_HAS_UNASKED).first() is not None


def find_unrequested_opt_ins(tx: Connection, *, after: int, most: int) -> WaitingPage:
    """Some active subscribers who wait to be asked, by their number, behind this one.

    Nobody else asks them before this transaction ends.  `most` counts their tags.
    """
    rows = tx.execute(_UNASKED, {"after": after, "most": most}).all()
    waiting: dict[int, Waiting] = {}
    for row in rows:
        person = Waiting(row.id, row.phone, row.language, row.time_zone, {})
        waiting.setdefault(row.id, person).tags[row.tag_id] = row.name
    more = len(rows) == most
    if more and len(waiting) > 1:
        # The last one may have more tags than came: one text is to ask about all.
        del waiting[rows[-1].id]
    return WaitingPage(list(waiting.values()), max(waiting, default=after), more)


def mark_opt_in_requested(tx: Connection, ctx: Iterable[Waiting], *, at: datetime) -> None:
    """Note that these people have been asked about their tags."""
    asked = [
        {"tag": tag_id, "person": person.id, "moment": at}
        for person in ctx
        for tag_id in person.tags
    ]
    tx.execute(_ASKED, asked)
