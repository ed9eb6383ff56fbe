"""Audiences: subscribers chosen by tags and by conditions, as JSON and as SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    FromClause,
    and_,
    exists,
    func,
    not_,
    select,
)

from app.db.base import table_of
from app.db.prepared import chunked
from app.errors import BadInput
from app.rate_limit import reserve_capacity
from app.subscribers.audiences.conditions import TIME_FIELD, Condition, Op, make_test
from app.subscribers.models import Subscriber, SubscriberTag, Tag

_SUBSCRIBERS, _TAGS, _ASSIGNMENTS = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Active subscribers with a tag of `any`, all of `all`, none of `none`, matching `where`.

    Only confirmed tags count for `any` and `all`; unconfirmed ones count for `none` too.  With
    `phones`, which are not stored, only those among a few numbers.
    """

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    phones: tuple[str, ...] | None = None

    @property
    def lookups(self) -> int:
        """The number of look-ups that the test of one subscriber takes."""
        return len(self.where) + len(self.all) + min(len(self.any), 1) + min(len(self.none), 1)

    @property
    def tags(self) -> tuple[str, ...]:
        """All distinct tag names."""
        return tuple(dict.fromkeys((*self.any, *self.all, *self.none)))

    @property
    def only_tag(self) -> str | None:
        """The one tag that all subscribers have; None if none or several are asked for."""
        tags = {*self.any, *self.all}
        return tags.pop() if len(tags) == 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return the audience as JSON for from_json.

        >>> Audience(any=("vip",)).to_json()
        {'any': ['vip'], 'all': [], 'none': [], 'where': []}
        """
        conditions = [
            {"field": test.field, "op": test.op.value, "value": _write_value(test.value)}
            for test in self.where
        ]
        tags = {"any": list(self.any), "all": list(self.all), "none": list(self.none)}
        return {**tags, "where": conditions}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Audience":
        """Return the audience that to_json wrote."""
        conditions = (
            Condition(test["field"], Op(test["op"]), _read_value(test["field"], test["value"]))
            for test in stored["where"]
        )
        tags = {group: tuple(stored[group]) for group in ("any", "all", "none")}
        return cls(**tags, where=tuple(conditions))


def plain_tag(name: str) -> Audience:
    """Return the audience of all active subscribers with this tag."""
    return Audience(any=(name,))


def make_condition(audience: Audience, dialect: Dialect) -> ColumnElement[bool]:
    """Return the SQL test of a row of `subscribers`: true or false, never NULL."""
    tests: list[ColumnElement[bool]] = [_SUBSCRIBERS.c.active]
    if audience.phones is not None:
        tests.append(_SUBSCRIBERS.c.phone.in_(audience.phones))
    if audience.any:
        tests.append(_has_tag(audience.any))
    tests += [_has_tag([tag]) for tag in audience.all]
    if audience.none:
        tests.append(not_(_has_tag(audience.none, confirmed=False)))
    tests += [make_test(condition, dialect) for condition in audience.where]
    return and_(*tests)


def count_audience(tx: Connection, audience: Audience) -> int:
    """Return the number of subscribers.

    Raises BadInput that names unknown tags, Overloaded while too many others are counted.
    """
    require_known_tags(tx, audience)
    if audience.where:
        reserve_capacity()  # every subscriber may have to be looked at
    source, condition = find_people(audience, tx.dialect)
    count = select(func.count()).select_from(source).where(condition)
    return int(tx.execute(count).scalar_one())


def has_at_most(tx: Connection, audience: Audience, limit: int) -> bool:
    """Return True if an audience has no more subscribers than this, for sure and without a count.

    Looks at the subscribers with its one tag, otherwise at all there are.
    """
    candidates = select(_SUBSCRIBERS.c.id)
    if len(audience.any) == 1:
        with_tag = _ASSIGNMENTS.c.tag_id == _find_tag(audience.any[0])
        candidates = select(_ASSIGNMENTS.c.subscriber_id).where(with_tag)
    return tx.execute(candidates.offset(limit).limit(1)).first() is None


def find_people(
    audience: Audience, dialect: Dialect, *, in_order: bool = False
) -> tuple[FromClause, ColumnElement[bool]]:
    """Return the FROM clause and the SQL test that select the subscribers of an audience.

    With `in_order` the first ones by number are found without sorting all.
    """
    if len(audience.any) != 1:
        return _SUBSCRIBERS, make_condition(audience, dialect)
    condition = make_condition(replace(audience, any=()), dialect)
    with_tag = _ASSIGNMENTS.c.tag_id == _find_tag(audience.any[0])
    is_theirs = _SUBSCRIBERS.c.id == _ASSIGNMENTS.c.subscriber_id
    if in_order:
        # A scalar subquery is never made into a join, which PostgreSQL would sort.
        confirmed = select(_ASSIGNMENTS.c.confirmed).where(with_tag, is_theirs)
        return _SUBSCRIBERS, and_(
            confirmed.correlate(_SUBSCRIBERS).scalar_subquery().is_(True), condition
        )
    # Read from the tag's assignments, so that subscribers without the tag are not visited.
    tagged = _ASSIGNMENTS.join(_SUBSCRIBERS, is_theirs)
    return tagged, and_(with_tag, _ASSIGNMENTS.c.confirmed, condition)


def require_known_tags(tx: Connection, audience: Audience) -> None:
    """Raise BadInput that names the unknown tags of an audience."""
    unknown = find_unknown_tags(tx, audience.tags)
    if unknown:
        raise BadInput(
            f"There is no tag {', '.join(unknown)}.",
            fields={"audience": [f"There is no tag {tag}." for tag in unknown]},
        )


def find_unknown_tags(tx: Connection, tags: Sequence[str]) -> list[str]:
    """Return the tags that do not exist, in the order given."""
    known = set[str]()
    for part in chunked(tags):
        known.update(tx.execute(select(_TAGS.c.name).where(_TAGS.c.name.in_(part))).scalars())
    return [tag for tag in tags if tag not in known]


def _has_tag(tags: Sequence[str], *, confirmed: bool = True) -> ColumnElement[bool]:
    """Return the SQL test whether a subscriber has one of these tags: confirmed only, or any."""
    tests = [_ASSIGNMENTS.c.subscriber_id == _SUBSCRIBERS.c.id]
    if len(tags) == 1:
        tests.append(_ASSIGNMENTS.c.tag_id == _find_tag(tags[0]))
    else:
        # The sum keeps the database from looking for each tag: a subscriber has few.
        ids = select(_TAGS.c.id).where(_TAGS.c.name.in_(tags))
        tests.append((_ASSIGNMENTS.c.tag_id + 0).in_(ids))
    if confirmed:
        tests.append(_ASSIGNMENTS.c.confirmed)
    return exists().where(*tests).correlate(_SUBSCRIBERS)


def _find_tag(tag: str) -> ColumnElement[int]:
    return select(_TAGS.c.id).where(_TAGS.c.name == tag).scalar_subquery()


def _write_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return list(value) if isinstance(value, tuple) else value


def _read_value(field: str, value: Any) -> Any:
    if field == TIME_FIELD:
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) else value
