"""CSV export of all subscribers, page by page; the file can be imported again."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, true

from app.csv_cells import Cell, write_lines
from app.db.base import table_of
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag, Tag

_PAGE = 2_000
_HEADERS = (
    "id", "phone", "first_name", "last_name", "language", "time_zone", "active", "tags",
    "consented_at", "subscribed_at", "updated_at",
)  # fmt: skip

_SUBSCRIBERS, _TAGS, _ASSIGNMENTS = table_of(Subscriber), table_of(Tag), table_of(SubscriberTag)
_SQLITE_KEYS = func.json_each(_SUBSCRIBERS.c.attributes).table_valued("key")
_NAMES = {
    "sqlite": select(_SQLITE_KEYS.c.key)
    .select_from(_SUBSCRIBERS.join(_SQLITE_KEYS, true()))
    .distinct(),
    "postgresql": select(func.json_object_keys(_SUBSCRIBERS.c.attributes)).distinct(),
}


def export_subscribers(ctx: SubscriberContext) -> Iterator[str]:
    """Yield the file, a page of lines at a time.

    Unconfirmed tags are left out.  A change during the export may be in it or not.
    """
    with ctx.db.read() as tx:
        names = sorted(tx.execute(_NAMES[tx.dialect.name]).scalars())
    return _write(ctx, names)


def _write(ctx: SubscriberContext, names: Sequence[str]) -> Iterator[str]:
    yield write_lines([(*_HEADERS, *(ATTRIBUTE + name for name in names))])
    after = 0
    while True:
        with ctx.db.read() as tx:
            query = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.id > after)
            rows = tx.execute(query.order_by(_SUBSCRIBERS.c.id).limit(_PAGE)).all()
            tags = _read_tags(tx, rows)
        if rows:
            yield write_lines(_make_row(row, tags.get(row.id, []), names) for row in rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1].id


def _read_tags(tx: Connection, rows: Sequence[Row[Any]]) -> dict[int, list[str]]:
    tags: dict[int, list[str]] = {}
    if not rows:
        return tags
    query = (
        select(_ASSIGNMENTS.c.subscriber_id, _TAGS.c.name)
        .join(_TAGS, _TAGS.c.id == _ASSIGNMENTS.c.tag_id)
        .where(_ASSIGNMENTS.c.subscriber_id.between(rows[0].id, rows[-1].id))
        .where(_ASSIGNMENTS.c.confirmed)
        .order_by(_TAGS.c.name)
    )
    for row in tx.execute(query):
        tags.setdefault(row.subscriber_id, []).append(row.name)
    return tags


def _make_row(row: Row[Any], tags: Sequence[str], names: Sequence[str]) -> tuple[Cell, ...]:
    attributes = row.attributes or {}
    return (
        row.public_id,
        row.phone,
        row.first_name,
        row.last_name,
        row.language,
        row.time_zone,
        row.active,
        ";".join(tags),
        row.consented_at and row.consented_at.isoformat(),
        row.subscribed_at.isoformat(),
        row.updated_at.isoformat(),
        *(attributes.get(name) for name in names),
    )
