"""Tags: how many bear them, what becomes of them as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Select, bindparam, case, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput, Conflict, NotFound
from app.pagination import Page, make_page
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag
from app.subscribers.tags.assignments import (
    add_tags,
    chunked,
    insert_missing,
    lock_subscribers,
    read_tags,
    remove_tags,
)

MAX_FAULTS_SHOWN = 100
_NOBODY = (0, 0, 0)

_SUBSCRIBERS, _TAGS, _BORNE = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
# Made once: to make a statement costs several times what it takes to run one.
_BY_NAME = select(_TAGS).where(_TAGS.c.name == bindparam("this"))
_TO_CHANGE = _BY_NAME.with_for_update()
_TO_GIVE = _BY_NAME.with_for_update(read=True)
_LIST = select(_TAGS).order_by(_TAGS.c.id)
_COUNT = (
    select(
        _BORNE.c.tag_id,
        func.count().label("all"),
        func.sum(case((_SUBSCRIBERS.c.active & _BORNE.c.confirmed, 1), else_=0)).label("active"),
        func.sum(case((_BORNE.c.confirmed, 0), else_=1)).label("unconfirmed"),
    )
    .join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _BORNE.c.subscriber_id)
    .where(_BORNE.c.tag_id.in_(bindparam("these", expanding=True)))
    .group_by(_BORNE.c.tag_id)
)
_ADD = insert_missing(_TAGS)
_CHANGE = update(_TAGS).where(_TAGS.c.id == bindparam("this"))
_IDS = select(_SUBSCRIBERS.c.id, _SUBSCRIBERS.c.public_id).where(
    _SUBSCRIBERS.c.public_id.in_(bindparam("these", expanding=True))
)


@dataclass(frozen=True, slots=True)
class TagCounts:
    """A tag's row, and how many bear it: all, of these the active who confirmed, who have not."""

    row: Row[Any]
    all: int
    active: int
    unconfirmed: int


def list_tags(ctx: SubscriberContext, *, cursor: int = 0, limit: int = 100) -> Page[TagCounts]:
    """List tags in the order of creation."""
    query = _LIST.where(_TAGS.c.id > cursor).limit(limit + 1)
    with ctx.db.read() as tx:
        page = make_page(tx.execute(query).all(), limit)
        return Page(_count(tx, page.rows), page.cursor)


def view_tag(ctx: SubscriberContext, name: str) -> TagCounts:
    """One tag.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _count(tx, [_find(tx, name)])[0]


def create_tag(
    ctx: SubscriberContext, name: str, *, actor: str, double_opt_in: bool = False
) -> TagCounts:
    """A new tag.  Raises Conflict when there is one of this name."""
    row = {"name": name, "double_opt_in": double_opt_in, "created_at": ctx.now()}
    with ctx.db.write() as tx:
        added = tx.execute(_ADD[tx.dialect.name].execution_options(preserve_rowcount=True), row)
        if not added.rowcount:
            raise _refuse_name(name)
        _note(tx, ctx, name, actor=actor, action="create tag")
        return _count(tx, [_find(tx, name)])[0]


def change_tag(
    ctx: SubscriberContext,
    old_name: str,
    *,
    actor: str,
    name: str | None = None,
    double_opt_in: bool | None = None,
) -> TagCounts:
    """Change what is given.  Raises NotFound, and Conflict when the new name is another's.

    Whoever bears it already has confirmed it, or not, as before.
    """
    values: dict[str, Any] = {} if double_opt_in is None else {"double_opt_in": double_opt_in}
    values |= {} if name is None else {"name": name}
    try:
        with ctx.db.write() as tx:
            row = _find(tx, old_name, how=_TO_CHANGE)
            if values:
                tx.execute(_CHANGE, {"this": row.id, **values})
                _note(tx, ctx, old_name, actor=actor, action="change tag", facts=values)
            return _count(tx, [_find(tx, name or old_name)])[0]
    except IntegrityError as e:
        raise _refuse_name(name or old_name) from e


def delete_tag(ctx: SubscriberContext, name: str, *, actor: str) -> int:
    """Delete a tag and its assignments.  Returns how many subscribers had it.  Raises NotFound."""
    with ctx.db.write() as tx:
        row = _find(tx, name, how=_TO_CHANGE)
        removed = tx.execute(delete(_BORNE).where(_BORNE.c.tag_id == row.id)).rowcount
        tx.execute(delete(_TAGS).where(_TAGS.c.id == row.id))
        facts = {"subscribers": removed}
        _note(tx, ctx, name, actor=actor, action="delete tag", facts=facts)
    return removed


def change_tag_subscribers(
    ctx: SubscriberContext,
    name: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    actor: str,
) -> dict[str, int]:
    """Give a tag to subscribers and take it from others; how many of each it was new to.

    Raises NotFound for the tag, BadInput that names subscribers whom there are not.
    """
    with ctx.db.write() as tx:
        tag = _find(tx, name, how=_TO_GIVE)
        ids = _find_ids(tx, {"add": add, "remove": remove})
        held = lock_subscribers(tx, ids.values())
        borne = read_tags(tx, sorted(held))
        bearers = {each for each in held if tag.id in {b.tag_id for b in borne.get(each, ())}}
        added = held.intersection(ids[each] for each in add) - bearers
        removed = bearers.intersection(ids[each] for each in remove)
        add_tags(tx, {name: tag}, {each: [name] for each in sorted(added)})
        remove_tags(tx, [(tag.id, each) for each in sorted(removed)])
    counts = {"added": len(added), "removed": len(removed)}
    logger.bind(tag=name, client=actor, **counts).info("a tag was given or taken")
    return counts


def _find(tx: Connection, name: str, *, how: Select[Any] = _BY_NAME) -> Row[Any]:
    """The tag's row; with `how` held as well.  Raises NotFound."""
    row = tx.execute(how, {"this": name}).first()
    if row is None:
        raise NotFound("There is no such tag.")
    return row


def _find_ids(tx: Connection, wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The numbers of subscribers by their ids, which are given by field."""
    found: dict[str, int] = {}
    for part in chunked(list({each for ids in wanted.values() for each in ids})):
        found |= {row.public_id: row.id for row in tx.execute(_IDS, {"these": list(part)})}
    faults = {
        field: [f"There is no subscriber {each[:26]}." for each in ids if each not in found]
        for field, ids in wanted.items()
    }
    faulty = {field: reasons[:MAX_FAULTS_SHOWN] for field, reasons in faults.items() if reasons}
    if faulty:
        raise BadInput("Some of the subscribers there are not; nothing was done.", fields=faulty)
    return found


def _count(tx: Connection, rows: Sequence[Row[Any]]) -> list[TagCounts]:
    counts = {row.tag_id: row for row in tx.execute(_COUNT, {"these": [row.id for row in rows]})}
    return [
        TagCounts(
            row, *((n.all, n.active, n.unconfirmed) if (n := counts.get(row.id)) else _NOBODY)
        )
        for row in rows
    ]


def _refuse_name(name: str) -> Conflict:
    return Conflict(f"There is a tag {name} already.")


def _note(
    tx: Connection,
    ctx: SubscriberContext,
    name: str,
    *,
    actor: str,
    action: str,
    facts: dict[str, Any] | None = None,
) -> None:
    write_audit(tx, now=ctx.now(), actor=actor, action=action, subject=name, facts=facts)
    logger.bind(tag=name, client=actor, action=action).info("a tag was changed")
