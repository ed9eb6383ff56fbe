"""Many subscribers at once, in statements that each database carries out quickest.

SQLite is quickest where rows are bound one after another, PostgreSQL where each column comes as
one array; both without SQLAlchemy's share, which for a million rows is most of the time.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import repeat
from json.encoder import encode_basestring
from typing import Any

from sqlalchemy import Connection, func, select

from app.db.base import table_of
from app.db.types import UtcTime
from app.ids import make_ids
from app.subscribers.consent.ledger import append_consents
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.plan import Change, ImportPlan
from app.subscribers.imports.rows import ParsedEntries
from app.subscribers.models import ConsentKind, Subscriber
from app.subscribers.suppressions.store import restore_phone
from app.subscribers.tags.assignments import lock_tags

_SUBSCRIBERS = table_of(Subscriber)
_TIME = UtcTime()

_ADD = {
    "sqlite": "INSERT INTO subscribers (public_id, phone, first_name, last_name, language, "
    "time_zone, active, attributes, subscribed_at, updated_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "postgresql": "INSERT INTO subscribers (public_id, phone, first_name, last_name, language, "
    "time_zone, active, attributes, subscribed_at, updated_at) "
    "SELECT *, %s::timestamptz, %s::timestamptz FROM unnest(%s::text[], %s::text[], %s::text[], "
    "%s::text[], %s::text[], %s::text[], %s::bool[], %s::json[]) "
    "ON CONFLICT (phone) DO NOTHING RETURNING id, phone",
}
_CHANGE = {
    "sqlite": "UPDATE subscribers SET first_name = ?, last_name = ?, language = ?, time_zone = ?, "
    "active = ?, attributes = ?, updated_at = ? WHERE id = ?",
    "postgresql": "UPDATE subscribers SET first_name = n.first_name, last_name = n.last_name, "
    "language = n.language, time_zone = n.time_zone, active = n.active, "
    "attributes = n.attributes, updated_at = %s "
    "FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bool[], %s::json[], "
    "%s::bigint[], %s::timestamptz[]) AS n(first_name, last_name, language, time_zone, active, "
    "attributes, id, seen_at) "
    "WHERE subscribers.id = n.id AND subscribers.updated_at = n.seen_at",
}
_BEAR = {
    "sqlite": "INSERT INTO subscriber_tags (tag_id, subscriber_id, confirmed) VALUES (?, ?, ?) "
    "ON CONFLICT DO NOTHING",
    "postgresql": "INSERT INTO subscriber_tags (tag_id, subscriber_id, confirmed) "
    "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bool[]) ON CONFLICT DO NOTHING",
}
# Made once: to make a statement costs several times what it takes to run one.
_LAST_ID = select(func.max(_SUBSCRIBERS.c.id))


class Raced(Exception):
    """Somebody else has written the same people meanwhile: plan anew in another transaction."""


def write_plan(
    tx: Connection, ctx: SubscriberContext, plan: ImportPlan, *, stamp: datetime, actor: str
) -> None:
    """Do what was planned in this transaction, which has locked nothing of people's yet.

    Raises Raced, and WrongKey of suppressions.
    """
    if plan.new:
        restore_phone(tx, ctx, [plan.entries.phones[place] for place in plan.new])
    tags = lock_tags(tx, ctx, _list_tags(plan))
    ids = _add_people(tx, plan, stamp) if plan.new else {}
    if plan.changes:
        _change_people(tx, plan.changes, stamp)
    _give_tags(tx, plan, ids, tags)
    if plan.consents:
        append_consents(tx, ctx, ConsentKind.OPT_IN, plan.consents, actor=actor, channel="import")


def _add_people(tx: Connection, plan: ImportPlan, stamp: datetime) -> Mapping[str, int]:
    """The ids of the new ones, by number."""
    entries, many = plan.entries, len(plan.new)
    chosen = _Choice(entries, plan.new)
    actives = chosen.detail("active")
    columns: list[Sequence[Any]] = [
        make_ids(stamp, many),
        chosen.take(entries.phones),
        *(chosen.detail(name) for name in ("first_name", "last_name", "language", "time_zone")),
        [True if each is None else each for each in actives],
        _write_attributes({name: chosen.take(each) for name, each in entries.attributes.items()})
        or [None] * many,
    ]
    if tx.dialect.name != "sqlite":
        found = tx.exec_driver_sql(_ADD["postgresql"], (stamp, stamp, *map(list, columns)))
        ids = {row.phone: row.id for row in found}
        if len(ids) != many:
            raise Raced
        return ids
    stored = _as_stored(tx, stamp)
    rows = list(zip(*columns, repeat(stored, many), repeat(stored, many), strict=True))
    tx.exec_driver_sql(_ADD["sqlite"], rows)
    # Nobody else writes, and ids follow one another.
    last = tx.execute(_LAST_ID).scalar_one()
    return dict(zip(columns[1], range(last - many + 1, last + 1), strict=True))


class _Choice:
    """Some places of all columns; the columns themselves where it is all of them."""

    def __init__(self, entries: ParsedEntries, places: Sequence[int]) -> None:
        self._entries = entries
        self._places = places
        self._all = len(places) == len(entries.phones)

    def take(self, column: list[Any]) -> list[Any]:
        return column if self._all else [column[place] for place in self._places]

    def detail(self, name: str) -> list[Any]:
        column = self._entries.details.get(name)
        return self.take(column) if column is not None else [None] * len(self._places)


def _write_attributes(columns: Mapping[str, list[Any]]) -> list[str | None]:
    """Each place's attributes as JSON; None where it has none."""
    parts: list[list[str]] = []
    for name, column in columns.items():
        key = f"{json.dumps(name)}: "
        parts.append(["" if value is None else key + _write_value(value) for value in column])
    written: list[str | None] = []
    for row in zip(*parts, strict=True):
        inner = ", ".join(filter(None, row))
        written.append(f"{{{inner}}}" if inner else None)
    return written


def _write_value(value: Any) -> str:
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def _change_people(tx: Connection, changes: Sequence[Change], stamp: datetime) -> None:
    details = [each.details for each in changes]
    columns: list[list[Any]] = [
        *(
            [each[name] for each in details]
            for name in ("first_name", "last_name", "language", "time_zone", "active")
        ),
        [json.dumps(each.attributes) if each.attributes else None for each in changes],
    ]
    ids = [each.id for each in changes]
    if tx.dialect.name == "sqlite":
        stamps = repeat(_as_stored(tx, stamp), len(ids))
        tx.exec_driver_sql(_CHANGE["sqlite"], list(zip(*columns, stamps, ids, strict=True)))
        return
    seen = [each.seen_at for each in changes]
    changed = tx.exec_driver_sql(_CHANGE["postgresql"], (stamp, *columns, ids, seen))
    if changed.rowcount != len(ids):
        raise Raced


def _give_tags(
    tx: Connection, plan: ImportPlan, ids: Mapping[str, int], tags: Mapping[str, Any]
) -> None:
    """Give new and known people their tags; one to be confirmed waits for that."""
    entries = plan.entries
    given = [(ids[entries.phones[place]], entries.tags[place]) for place in plan.new]
    given += [(each.id, tuple(each.tags)) for each in plan.changes if each.tags]
    borne = {name: (tag.id, not tag.double_opt_in) for name, tag in tags.items()}
    rows = [(borne[name][0], person, borne[name][1]) for person, names in given for name in names]
    if not rows:
        return
    if tx.dialect.name == "sqlite":
        tx.exec_driver_sql(_BEAR["sqlite"], rows)
    else:
        tx.exec_driver_sql(_BEAR["postgresql"], tuple(map(list, zip(*rows, strict=True))))


def _list_tags(plan: ImportPlan) -> set[str]:
    """The tags that somebody gets."""
    tags = plan.entries.tags
    given = {tags[place] for place in plan.new}.union(tuple(each.tags) for each in plan.changes)
    return {name for names in given for name in names}


def _as_stored(tx: Connection, moment: datetime) -> str:
    """A time as SQLite keeps it."""
    write = _TIME.bind_processor(tx.dialect)
    assert write is not None
    return str(write(moment))
