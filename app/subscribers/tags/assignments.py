"""Tag assignments of subscribers: add, remove, confirm, within a transaction.

A tag with a double opt-in is assigned unconfirmed, until the person confirms it.
Locks are taken in this order: tags, subscribers, assignments.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, false, func, select, update

from app.db.base import table_of
from app.db.prepared import chunked, insert_rows
from app.db.types import UtcTime
from app.errors import BadInput
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag

# New tags of one call or file, and tags in all: more would be values of an attribute.
MAX_NEW_TAGS = 100
MAX_TAGS_IN_ALL = 10_000
# An answer's time is by Sinch's clock, the question's by ours.
_CLOCK_TOLERANCE = timedelta(minutes=5)

_SUBSCRIBERS, _TAGS, _ASSIGNMENTS = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
_ONE_ASSIGNMENT = and_(
    _ASSIGNMENTS.c.tag_id == bindparam("of_tag"),
    _ASSIGNMENTS.c.subscriber_id == bindparam("of_subscriber"),
)
_IS_UNREQUESTED = and_(
    _ASSIGNMENTS.c.confirmed == false(), _ASSIGNMENTS.c.opt_in_requested_at.is_(None)
)


@dataclass(frozen=True, slots=True)
class TagAssignment:
    """A tag of a subscriber, confirmed or not."""

    tag_id: int
    name: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class PendingOptIn:
    """A subscriber to be asked to confirm tags; `tags` are names by the tag's id."""

    id: int
    phone: str
    language: str | None
    time_zone: str | None
    tags: dict[int, str]


@dataclass(frozen=True, slots=True)
class PendingOptInPage:
    """Pending opt-ins, the last subscriber's id, and whether there are more behind it."""

    opt_ins: list[PendingOptIn]
    last_id: int
    more: bool


def lock_tags(tx: Connection, ctx: SubscriberContext, names: Iterable[str]) -> dict[str, Any]:
    """Create the tags that are missing, and lock all against deletion.  Returns rows by name.

    Raises BadInput for too many new tags.
    """
    wanted, tags = sorted(set(names)), dict[str, Any]()
    for part in chunked(wanted):
        query = select(_TAGS).where(_TAGS.c.name.in_(part)).order_by(_TAGS.c.name)
        tags |= {row.name: row for row in tx.execute(query.with_for_update(read=True))}
    missing = [name for name in wanted if name not in tags]
    if missing:
        require_room(tx, len(missing))
        now = ctx.now()
        rows = [{"name": name, "double_opt_in": False, "created_at": now} for name in missing]
        insert_rows(tx, _TAGS, rows, skip_known=True)
        tags |= lock_tags(tx, ctx, missing)
    return tags


def require_room(tx: Connection, missing: int) -> None:
    """Raise BadInput if this number of tags may not be created."""
    known = tx.execute(select(func.count()).select_from(_TAGS)).scalar_one()
    reason = None
    if missing > MAX_NEW_TAGS:
        reason = (
            f"{missing} tags are new, and a request may bring {MAX_NEW_TAGS}: create them first"
        )
    elif known + missing > MAX_TAGS_IN_ALL:
        reason = f"{missing} tags are new, and there may be {MAX_TAGS_IN_ALL} in all: delete some"
    if reason:
        reason += ", or keep such values in attributes"
        raise BadInput(reason, fields={"tags": [f"{reason}."]})


def lock_subscribers(tx: Connection, ids: Iterable[int]) -> set[int]:
    """Lock subscribers against deletion.  Returns the ids that exist."""
    locked = set[int]()
    for part in chunked(sorted(set(ids))):
        query = (
            select(_SUBSCRIBERS.c.id)
            .where(_SUBSCRIBERS.c.id.in_(part))
            .order_by(_SUBSCRIBERS.c.id)
            .with_for_update(read=True, key_share=True)
        )
        locked.update(tx.execute(query).scalars())
    return locked


def read_tags(tx: Connection, ids: Sequence[int]) -> Mapping[int, list[TagAssignment]]:
    """Return the tags of subscribers, ordered by name, by the subscriber's id."""
    assigned = defaultdict[int, list[TagAssignment]](list)
    for part in chunked(ids):
        query = (
            select(_ASSIGNMENTS.c.subscriber_id, _TAGS.c.id, _TAGS.c.name, _ASSIGNMENTS.c.confirmed)
            .join(_TAGS, _TAGS.c.id == _ASSIGNMENTS.c.tag_id)
            .where(_ASSIGNMENTS.c.subscriber_id.in_(part))
            .order_by(_TAGS.c.name)
        )
        for row in tx.execute(query):
            assigned[row.subscriber_id].append(TagAssignment(row.id, row.name, row.confirmed))
    return assigned


def add_tags(tx: Connection, tags: Mapping[str, Any], wanted: Mapping[int, Iterable[str]]) -> None:
    """Assign tags, given as names by the subscriber's id; tags and subscribers are locked.

    An assignment that exists stays as it is, confirmed or not.
    """
    rows = [
        {
            "tag_id": tags[name].id,
            "subscriber_id": subscriber_id,
            "confirmed": not tags[name].double_opt_in,
            "opt_in_requested_at": None,
        }
        for subscriber_id, names in wanted.items()
        for name in sorted(names)
    ]
    insert_rows(tx, _ASSIGNMENTS, rows, skip_known=True)


def remove_tags(tx: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Delete assignments, given as pairs of a tag's and a subscriber's id."""
    if pairs:
        tx.execute(delete(_ASSIGNMENTS).where(_ONE_ASSIGNMENT), _describe_pairs(pairs))


def confirm_tags(tx: Connection, ctx: SubscriberContext, phone: str, at: datetime) -> list[str]:
    """Confirm the tags that this number was asked about before `at`.  Returns their names."""
    query = (
        select(_TAGS.c.id, _TAGS.c.name, _ASSIGNMENTS.c.subscriber_id)
        .select_from(_SUBSCRIBERS)
        .join(_ASSIGNMENTS, _ASSIGNMENTS.c.subscriber_id == _SUBSCRIBERS.c.id)
        .join(_TAGS, _TAGS.c.id == _ASSIGNMENTS.c.tag_id)
        .where(_SUBSCRIBERS.c.phone == phone, _ASSIGNMENTS.c.confirmed.is_(False))
        .where(_ASSIGNMENTS.c.opt_in_requested_at <= at + _CLOCK_TOLERANCE)
        .order_by(_TAGS.c.name)
        .with_for_update(of=_ASSIGNMENTS)
    )
    rows = tx.execute(query).all()
    if rows:
        confirm = update(_ASSIGNMENTS).where(_ONE_ASSIGNMENT).values(confirmed=True)
        tx.execute(confirm, _describe_pairs([(row.id, row.subscriber_id) for row in rows]))
    return [row.name for row in rows]


def has_unrequested_opt_in(tx: Connection) -> bool:
    """Return True if a subscriber is still to be asked to confirm a tag."""
    query = select(_ASSIGNMENTS.c.tag_id).where(_IS_UNREQUESTED).limit(1)
    return tx.execute(query).first() is not None


def find_unrequested_opt_ins(tx: Connection, *, after: int, limit: int) -> PendingOptInPage:
    """Return active subscribers with an id above `after` who are still to be asked.

    Locks their assignments, so that no other process asks them too.  `limit` counts assignments.
    """
    query = (
        select(
            _SUBSCRIBERS.c.id,
            _SUBSCRIBERS.c.phone,
            _SUBSCRIBERS.c.language,
            _SUBSCRIBERS.c.time_zone,
            _ASSIGNMENTS.c.tag_id,
            _TAGS.c.name,
        )
        .select_from(_ASSIGNMENTS)
        .join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _ASSIGNMENTS.c.subscriber_id)
        .join(_TAGS, _TAGS.c.id == _ASSIGNMENTS.c.tag_id)
        .where(_IS_UNREQUESTED, _ASSIGNMENTS.c.subscriber_id > after, _SUBSCRIBERS.c.active)
        .order_by(_ASSIGNMENTS.c.subscriber_id, _ASSIGNMENTS.c.tag_id)
        .limit(limit)
        .with_for_update(of=_ASSIGNMENTS, skip_locked=True)
    )
    rows = tx.execute(query).all()
    pending: dict[int, PendingOptIn] = {}
    for row in rows:
        opt_in = PendingOptIn(row.id, row.phone, row.language, row.time_zone, {})
        pending.setdefault(row.id, opt_in).tags[row.tag_id] = row.name
    more = len(rows) == limit
    if more and len(pending) > 1:
        # The last subscriber may have more tags than came, and one text asks about all.
        del pending[rows[-1].id]
    return PendingOptInPage(list(pending.values()), max(pending, default=after), more)


def mark_opt_in_requested(tx: Connection, opt_ins: Iterable[PendingOptIn], *, at: datetime) -> None:
    """Record when these subscribers were asked to confirm their tags."""
    pairs = [(tag_id, opt_in.id) for opt_in in opt_ins for tag_id in opt_in.tags]
    at_time = bindparam("at", type_=UtcTime())
    statement = update(_ASSIGNMENTS).where(_ONE_ASSIGNMENT).values(opt_in_requested_at=at_time)
    tx.execute(statement, [{**pair, "at": at} for pair in _describe_pairs(pairs)])


def _describe_pairs(pairs: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"of_tag": tag_id, "of_subscriber": subscriber_id} for tag_id, subscriber_id in pairs]
