"""Imports in a test's hand: files, options, and what became of them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, text

from app.db.base import table_of
from app.subscribers.consent.ledger import read_events
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.job import work_imports
from app.subscribers.imports.models import ImportOptions, ImportRefusal
from app.subscribers.imports.service import create_import, view_import
from app.subscribers.imports.upload import store_file
from app.subscribers.models import Subscriber
from app.subscribers.profiles.entry import GivenConsent

CONSENT = GivenConsent(
    at=datetime(2025, 1, 1, tzinfo=UTC), source="https://shop.example", wording="Yes, text me."
)
COUNTS = ("rows", "created", "updated", "unchanged", "merged", "refused")


def write_csv(*rows: Iterable[str], delimiter: str = ",") -> bytes:
    """A file of plain cells."""
    return "".join(delimiter.join(row) + "\n" for row in rows).encode()


class Ended(BaseException):
    """The process has ended here: goes through everything, and nobody cleans up."""


def begin(
    people: SubscriberContext, file: bytes, *, client: str = "tests", **options: Any
) -> Row[Any]:
    """An import whose file is there, and of which nothing is done."""
    row = create_import(people, ImportOptions(**options), client=client)
    return store_file(people, row.public_id, [file])


def finish(people: SubscriberContext, row: Row[Any]) -> Row[Any]:
    """The same once it has ended."""
    while work_imports(people):
        pass
    return view_import(people, row.public_id)


def import_file(people: SubscriberContext, file: bytes, **options: Any) -> Row[Any]:
    """An import that has ended."""
    return finish(people, begin(people, file, **options))


def counts(row: Row[Any]) -> dict[str, int]:
    """Where its rows are, without the places where none is; they add up."""
    counted = {name: getattr(row, name) for name in COUNTS}
    assert counted["rows"] == sum(counted.values()) - counted["rows"]
    return {name: many for name, many in counted.items() if many}


def refusals(people: SubscriberContext, row: Row[Any]) -> list[tuple[int, str, str, str]]:
    """What it refused: line, column, cell, reason."""
    table = table_of(ImportRefusal)
    query = select(table).where(table.c.import_id == row.id)
    with people.db.read() as tx:
        rows = tx.execute(query.order_by(table.c.line, table.c.position)).all()
    return [(each.line, each.header, each.cell, each.reason) for each in rows]


def everybody(people: SubscriberContext) -> dict[str, dict[str, Any]]:
    """All subscribers by number, with their tags and what the ledger says of them."""
    with people.db.read() as tx:
        found = {
            row.phone: {
                "name": (row.first_name, row.last_name),
                "language": row.language,
                "zone": row.time_zone,
                "active": row.active,
                "attributes": row.attributes or {},
                "consented_at": row.consented_at,
                "tags": [],
                "links": len(read_events(tx, row.phone)),
            }
            for row in tx.execute(select(table_of(Subscriber)))
        }
        borne = text(
            "SELECT s.phone, t.name, b.confirmed FROM subscriber_tags b "
            "JOIN subscribers s ON s.id = b.subscriber_id JOIN tags t ON t.id = b.tag_id "
            "ORDER BY t.name"
        )
        for phone, name, confirmed in tx.execute(borne):
            found[phone]["tags"].append(name if confirmed else f"{name}?")
    return found


def written(people: SubscriberContext) -> list[Any]:
    """Every row about people as it is stored, to see whether anything was written."""
    tables = ("subscribers", "subscriber_tags", "tags", "consent_events", "suppressions")
    with people.db.read() as tx:
        return [
            sorted(map(repr, tx.execute(text(f"SELECT * FROM {table}")).all())) for table in tables
        ]


def with_rules(people: SubscriberContext, **rules: Any) -> SubscriberContext:
    """The same under other rules."""
    return replace(people, rules=replace(people.rules, **rules))
