"""Tags: create, rename, delete, count and assign to subscribers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, case, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.prepared import chunked, insert_rows
from app.errors import BadInput, Conflict, NotFound
from app.failpoints import failpoints
from app.pagination import Page, make_page
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag
from app.subscribers.tags.assignments import add_tags, lock_subscribers, remove_tags, require_room

MAX_ERRORS_SHOWN = 100
# Assignments deleted in one transaction, which takes some 10 ms.
_DELETED_AT_ONCE = 5_000

_SUBSCRIBERS, _TAGS, _ASSIGNMENTS = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
# A tag's columns, and how many subscribers have it: all, active and confirmed, unconfirmed.  A tag
# that is not counted has its columns alone.
TagCounts = dict[str, Any]


def list_tags(
    ctx: SubscriberContext, *, cursor: int = 0, limit: int = 100, counted: bool = True
) -> Page[TagCounts]:
    """Return a page of tags, the oldest first; counting takes seconds among a million people."""
    query = select(_TAGS).where(_TAGS.c.id > cursor).order_by(_TAGS.c.id).limit(limit + 1)
    with ctx.db.read() as tx:
        page = make_page(tx.execute(query).all(), limit)
        rows = _count(tx, page.rows) if counted else [row._asdict() for row in page.rows]
        return Page(rows, page.cursor)


def list_tag_names(ctx: SubscriberContext) -> list[str]:
    """Return the names of all tags, sorted."""
    with ctx.db.read() as tx:
        return list(tx.execute(select(_TAGS.c.name).order_by(_TAGS.c.name)).scalars())


def view_tag(ctx: SubscriberContext, name: str, *, counted: bool = True) -> TagCounts:
    """Return one tag.  Raises NotFound."""
    with ctx.db.read() as tx:
        tag = _find(tx, name)
        return _count(tx, [tag])[0] if counted else tag._asdict()


def count_assignments(ctx: SubscriberContext, name: str) -> int:
    """Return how many subscribers have a tag, confirmed or not, active or not.  Raises NotFound."""
    with ctx.db.read() as tx:
        ours = _ASSIGNMENTS.c.tag_id == _find(tx, name).id
        query = select(func.count()).select_from(_ASSIGNMENTS).where(ours)
        return tx.execute(query).scalar_one()


def create_tag(
    ctx: SubscriberContext, name: str, *, actor: str, double_opt_in: bool = False
) -> TagCounts:
    """Create a tag.  Raises Conflict when the name exists, and BadInput for too many tags."""
    row = {"name": name, "double_opt_in": double_opt_in, "created_at": ctx.now()}
    with ctx.db.write() as tx:
        require_room(tx, 1)
        if not insert_rows(tx, _TAGS, [row], skip_known=True):
            raise _name_exists(name)
        _audit(tx, ctx, name, actor, "create tag")
        return _count(tx, [_find(tx, name)])[0]


def change_tag(
    ctx: SubscriberContext,
    old_name: str,
    *,
    actor: str,
    name: str | None = None,
    double_opt_in: bool | None = None,
) -> TagCounts:
    """Change what is given.  Raises NotFound, and Conflict when the new name exists.

    Existing assignments stay confirmed or unconfirmed.
    """
    values: dict[str, Any] = {} if double_opt_in is None else {"double_opt_in": double_opt_in}
    values |= {} if name is None else {"name": name}
    try:
        with ctx.db.write() as tx:
            row = _find(tx, old_name, lock=True)
            if values:
                tx.execute(update(_TAGS).where(_TAGS.c.id == row.id).values(values))
                _audit(tx, ctx, old_name, actor, "change tag", **values)
            return _count(tx, [_find(tx, name or old_name)])[0]
    except IntegrityError as e:
        raise _name_exists(name or old_name) from e


def delete_tag(ctx: SubscriberContext, name: str, *, actor: str) -> int:
    """Delete a tag and its assignments.  Returns how many subscribers had it.  Raises NotFound.

    The assignments are deleted in pages, so that callbacks and sends go on in between.  A deletion
    that broke off leaves the tag with the rest of its subscribers, and may be repeated.
    """
    removed = 0
    while True:
        with ctx.db.write() as tx:
            row = _find(tx, name, lock=True)
            ours = _ASSIGNMENTS.c.tag_id == row.id
            page = select(_ASSIGNMENTS.c.subscriber_id).where(ours).limit(_DELETED_AT_ONCE)
            found = _ASSIGNMENTS.c.subscriber_id.in_(page.order_by(_ASSIGNMENTS.c.subscriber_id))
            deleted = tx.execute(delete(_ASSIGNMENTS).where(ours, found)).rowcount
            removed += deleted
            if deleted < _DELETED_AT_ONCE:
                tx.execute(delete(_TAGS).where(_TAGS.c.id == row.id))
                _audit(tx, ctx, name, actor, "delete tag", subscribers=removed)
                return removed
        failpoints.reach("T1")
        ctx.db.give_way()


def change_tag_subscribers(
    ctx: SubscriberContext,
    name: str,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    actor: str,
) -> dict[str, int]:
    """Assign a tag to subscribers and remove it from others.  Returns how many changed.

    Raises NotFound for the tag, BadInput that names unknown subscribers.
    """
    with ctx.db.read() as tx:
        _find(tx, name)
        ids = _find_ids(tx, {"add": add, "remove": remove})
    to_add, to_remove = ({ids[public_id] for public_id in group} for group in (add, remove))
    counts = Counter(added=0, removed=0)
    for part in chunked(sorted(ids.values())):
        ctx.db.give_way()
        with ctx.db.write() as tx:
            tag = _find(tx, name, lock_shared=True)
            existing = lock_subscribers(tx, part)
            had = _ASSIGNMENTS.c.tag_id == tag.id, _ASSIGNMENTS.c.subscriber_id.in_(part)
            tagged = set(tx.execute(select(_ASSIGNMENTS.c.subscriber_id).where(*had)).scalars())
            added = sorted((existing & to_add) - tagged)
            removed = sorted(tagged & to_remove)
            add_tags(tx, {name: tag}, {subscriber_id: [name] for subscriber_id in added})
            remove_tags(tx, [(tag.id, subscriber_id) for subscriber_id in removed])
        counts.update(added=len(added), removed=len(removed))
    logger.bind(tag=name, client=actor, **counts).info("tag assignments changed")
    return dict(counts)


def _find(tx: Connection, name: str, *, lock: bool = False, lock_shared: bool = False) -> Row[Any]:
    query = select(_TAGS).where(_TAGS.c.name == name)
    if lock or lock_shared:
        query = query.with_for_update(read=lock_shared)
    row = tx.execute(query).first()
    if row is None:
        raise NotFound("There is no such tag.")
    return row


def _find_ids(tx: Connection, wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return subscribers' row ids by public id, which are given by field.  Raises BadInput."""
    ids: dict[str, int] = {}
    for part in chunked(list({public_id for group in wanted.values() for public_id in group})):
        query = select(_SUBSCRIBERS.c.id, _SUBSCRIBERS.c.public_id)
        rows = tx.execute(query.where(_SUBSCRIBERS.c.public_id.in_(part)))
        ids |= {row.public_id: row.id for row in rows}
    errors = {
        field: [f"There is no subscriber {each[:26]}." for each in group if each not in ids]
        for field, group in wanted.items()
    }
    shown = {field: reasons[:MAX_ERRORS_SHOWN] for field, reasons in errors.items() if reasons}
    if shown:
        raise BadInput("Unknown subscriber ids; nothing was changed.", fields=shown)
    return ids


def _count(tx: Connection, tags: Sequence[Row[Any]]) -> list[TagCounts]:
    query = (
        select(
            _ASSIGNMENTS.c.tag_id,
            func.count().label("all"),
            func.sum(case((_SUBSCRIBERS.c.active & _ASSIGNMENTS.c.confirmed, 1), else_=0)),
            func.sum(case((_ASSIGNMENTS.c.confirmed, 0), else_=1)),
        )
        .join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _ASSIGNMENTS.c.subscriber_id)
        .where(_ASSIGNMENTS.c.tag_id.in_([tag.id for tag in tags]))
        .group_by(_ASSIGNMENTS.c.tag_id)
    )
    counts = {tag_id: numbers for tag_id, *numbers in tx.execute(query)}
    names = ("all", "active", "unconfirmed")
    return [
        tag._asdict()
        | {"subscribers": dict(zip(names, counts.get(tag.id, (0, 0, 0)), strict=True))}
        for tag in tags
    ]


def _name_exists(name: str) -> Conflict:
    return Conflict(f"There is a tag {name} already.")


def _audit(
    tx: Connection, ctx: SubscriberContext, tag: str, actor: str, action: str, /, **facts: Any
) -> None:
    write_audit(tx, ctx.now(), actor, action, tag, **facts)
    logger.bind(tag=tag, client=actor, action=action).info("tag changed")
