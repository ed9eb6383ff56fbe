"""Whom a broadcast is for: people by their tags and by what is known of them."""

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
    bindparam,
    exists,
    func,
    not_,
    or_,
    select,
)

from app.db.base import table_of
from app.errors import BadInput
from app.subscribers.audiences.conditions import MOMENT_FIELD, Condition, Op, make_test
from app.subscribers.models import Subscriber, SubscriberTag, Tag

_SUBSCRIBERS, _TAGS, _BORNE = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
_KNOWN = select(_TAGS.c.name).where(_TAGS.c.name.in_(bindparam("these", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Active subscribers who bear one of `any`, all of `all`, none of `none`, and fit `where`.

    Only tags that are confirmed count, but for `none`: who has not confirmed one bears it there.
    """

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags it names, each once."""
        return tuple(dict.fromkeys((*self.any, *self.all, *self.none)))

    def to_json(self) -> dict[str, Any]:
        """The audience as JSON; from_json gives it back.

        >>> Audience(any=("vip",)).to_json()
        {'any': ['vip'], 'all': [], 'none': [], 'where': []}
        """
        conditions = [
            {"field": each.field, "op": each.op.value, "value": _write_value(each.value)}
            for each in self.where
        ]
        tags = {"any": list(self.any), "all": list(self.all), "none": list(self.none)}
        return {**tags, "where": conditions}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Audience":
        """The audience that to_json wrote."""
        conditions = (
            Condition(each["field"], Op(each["op"]), _read_value(each["field"], each["value"]))
            for each in stored["where"]
        )
        tags = {group: tuple(stored[group]) for group in ("any", "all", "none")}
        return cls(**tags, where=tuple(conditions))


def plain_tag(name: str) -> Audience:
    """All active subscribers who bear this tag."""
    return Audience(any=(name,))


def make_condition(audience: Audience, dialect: Dialect) -> ColumnElement[bool]:
    """Which rows of `subscribers` are meant: true or false of each, never NULL."""
    tests: list[ColumnElement[bool]] = [_SUBSCRIBERS.c.active]
    if audience.any:
        tests.append(or_(*(_bears(tag) for tag in audience.any)))
    tests += [_bears(tag) for tag in audience.all]
    tests += [not_(_bears(tag, confirmed=False)) for tag in audience.none]
    tests += [make_test(each, dialect) for each in audience.where]
    return and_(*tests)


def count_audience(tx: Connection, audience: Audience) -> int:
    """How many people are meant.  Raises BadInput that names the tags there are not."""
    require_known_tags(tx, audience)
    source, condition = find_people(audience, tx.dialect)
    count = select(func.count()).select_from(source).where(condition)
    return int(tx.execute(count).scalar_one())


def find_people(audience: Audience, dialect: Dialect) -> tuple[FromClause, ColumnElement[bool]]:
    """Where to look for the people of an audience, and which rows they are."""
    if len(audience.any) != 1:
        return _SUBSCRIBERS, make_condition(audience, dialect)
    # From the tag's side: who does not bear it is not looked at.
    borne = _BORNE.join(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _BORNE.c.subscriber_id)
    by_tag = and_(_BORNE.c.tag_id == _find_tag(audience.any[0]), _BORNE.c.confirmed)
    return borne, and_(by_tag, make_condition(replace(audience, any=()), dialect))


def require_known_tags(tx: Connection, audience: Audience) -> None:
    """Raise BadInput that names the tags of an audience there are not."""
    unknown = find_unknown_tags(tx, audience.tags)
    if unknown:
        raise BadInput(
            f"There is no tag {', '.join(unknown)}.",
            fields={"audience": [f"There is no tag {tag}." for tag in unknown]},
        )


def find_unknown_tags(tx: Connection, tags: Sequence[str]) -> list[str]:
    """Those of these tags there are not."""
    if not tags:
        return []
    known = set(tx.execute(_KNOWN, {"these": list(tags)}).scalars())
    return [tag for tag in tags if tag not in known]


def _bears(tag: str, *, confirmed: bool = True) -> ColumnElement[bool]:
    """Whether a subscriber bears this tag, confirmed or at all."""
    borne = [_BORNE.c.tag_id == _find_tag(tag), _BORNE.c.subscriber_id == _SUBSCRIBERS.c.id]
    if confirmed:
        borne.append(_BORNE.c.confirmed)
    return exists().where(*borne).correlate(_SUBSCRIBERS)


def _find_tag(tag: str) -> ColumnElement[int]:
    return select(_TAGS.c.id).where(_TAGS.c.name == tag).scalar_subquery()


def _write_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return list(value) if isinstance(value, tuple) else value


def _read_value(field: str, value: Any) -> Any:
    if field == MOMENT_FIELD:
        return datetime.fromisoformat(value)
    return tuple(value) if isinstance(value, list) else value
