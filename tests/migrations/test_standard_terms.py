"""Migration 0010 on a database with rows in every table, and the service that goes on with it.

tests/payloads/database-0009.json was written by the version before the migration.  Its times are
moved so that it was made a moment ago; the ledger of consent keeps its own, which are hashed.
"""

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import URL, MetaData, Table, inspect, make_url, select, text

from app.db.engine import Database
from app.db.migrating import _configure, check_schema, upgrade_database
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState
from app.sms.operations.invariants import find_violations
from app.subscribers.consent.verify import verify_ledger
from app.subscribers.imports.job import work_imports
from app.subscribers.imports.service import list_imports
from app.webhooks.incoming.apply import apply_events
from tests.background import context_of, work_off, work_until
from tests.callers import PATIENT, Caller
from tests.factories import INSTANCE, KEY
from tests.migrations.old import make_old_database

DUMP = json.loads((Path(__file__).parents[1] / "payloads/database-0009.json").read_text("utf-8"))
ROWS = DUMP["tables"]
_S = BatchState


@pytest.fixture(params=["sqlite", "postgres"])
def old(request, tmp_path) -> str:
    """The URL of a database of revision 0009 with the rows of the dump."""
    return _make_old(request, tmp_path)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def migrated(request, tmp_path_factory) -> URL:
    """Such a database after the migration, to be copied: to make one takes half a second."""
    url = _make_old(request, tmp_path_factory.mktemp("migrated"))
    db = Database(url)
    upgrade_database(db, instance_id=INSTANCE)
    check_schema(db)
    db.close()
    return make_url(url)


def _make_old(request: pytest.FixtureRequest, folder: Path) -> str:
    db = make_old_database(request, folder, "0009")
    with db.write() as tx:
        _load(tx)
    db.close()
    return db.engine.url.render_as_string(hide_password=False)


def _load(tx: Any) -> None:
    moved = datetime.now(UTC) - datetime.fromisoformat(DUMP["made_at"])
    sqlite = tx.dialect.name == "sqlite"

    def read(value: Any, table: str) -> Any:
        if not isinstance(value, dict):
            return value
        if "$hex" in value:
            return bytes.fromhex(value["$hex"])
        if "$day" in value:
            return date.fromisoformat(value["$day"])
        if "$at" in value:
            at = datetime.fromisoformat(value["$at"])
            at = at if table == "consent_events" else at + moved
            return at.replace(tzinfo=None) if sqlite else at
        return value

    tables = MetaData()
    tables.reflect(tx)
    for name, rows in ROWS.items():
        table: Table = tables.tables[name]
        tx.execute(table.delete())
        if rows:
            values = [{key: read(value, name) for key, value in row.items()} for row in rows]
            tx.execute(table.insert(), values)
        if not sqlite and "id" in table.c and name != "consent_events":
            tx.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), "
                    f"(SELECT coalesce(max(id), 1) FROM {name}))"
                )
            )


@pytest.fixture
def service(migrated, request, tmp_path, make_service, sandbox):
    if migrated.get_backend_name() == "sqlite":
        url = f"sqlite:///{shutil.copy(migrated.database, tmp_path)}"
    else:
        url = request.getfixturevalue("postgres").create_database(migrated.database)
    return make_service(DATABASE_URL=url, **PATIENT)


@pytest.fixture
def ctx(service):
    return context_of(service)


def _read(ctx, table, *columns) -> list[Any]:
    rows = MetaData()
    with ctx.db.read() as tx:
        rows.reflect(tx, only=[table])
        found = rows.tables[table]
        return list(tx.execute(select(*(found.c[name] for name in columns)).order_by(found.c[columns[0]])))


def test_the_dump_has_rows_in_every_table_but_those_of_today():
    assert not [name for name, rows in ROWS.items() if not rows and name != "daily_inbounds"]


def test_no_row_is_lost(service, ctx):
    renamed = {"facts": "metadata", "tallies": "delivery_counts", "import_pieces": "import_chunks"}
    with ctx.db.read() as tx:
        names = set(inspect(tx).get_table_names())
        counts = {
            name: tx.execute(text(f"SELECT count(*) FROM {renamed.get(name, name)}")).scalar()
            for name in ROWS
        }

    assert names.isdisjoint(renamed)
    assert counts == {name: len(rows) for name, rows in ROWS.items()}


def test_stored_words_are_those_of_today(service, ctx):
    statuses = {row.status for row in _read(ctx, "broadcasts", "status")}
    types = {row.event_type for row in _read(ctx, "outbox", "event_type")}
    [listened] = _read(ctx, "webhook_endpoints", "id", "event_types")

    assert {"missed_start", "halted", "complete_needs_attention"} <= statuses
    assert "broadcast.completed" in types
    assert listened.event_types[:2] == ["broadcast.completed", "broadcast.all_reported"]
    assert "complete_with_attention" not in json.dumps([
        row.facts for row in _read(ctx, "outbox", "id", "facts")
    ])
    assert find_violations(ctx) == []


def test_a_tag_whose_deletion_was_interrupted_is_gone(old):
    db = Database(old)
    with db.write() as tx:
        tx.execute(text("UPDATE tags SET name = '/1' WHERE name = 'news'"))
    upgrade_database(db, instance_id=INSTANCE)

    with db.read() as tx:
        assert tx.execute(text("SELECT name FROM tags")).scalars().all() == ["confirm-me"]
        assert tx.execute(text("SELECT count(*) FROM subscriber_tags")).scalar() == 0
    db.close()


def test_the_ledger_of_consent_still_verifies(service, ctx):
    check = verify_ledger(ctx.subscriber_context)

    assert check.broken is None
    assert check.links == len(ROWS["consent_events"])


def test_the_broadcasts_under_way_go_on_and_reach_each_recipient_once(service, ctx, sandbox):
    """Each that waited is sent once, none that was accepted is sent again."""
    before = {row["id"]: row["state"] for row in ROWS["batches"]}
    ours = _of_messages("pending")
    stopped = {row["phone"] for row in ROWS["suppressions"] if row["phone"]}
    caller = Caller(service)
    for row in ROWS["broadcasts"]:
        if row["status"] in ("paused", "late", "stopped"):
            answer = caller.post(f"/api/broadcasts/{row['public_id']}/resume")
            assert answer.status_code == 200, answer.get_json()
    _start_what_is_scheduled(ctx)
    while apply_events(ctx):
        pass

    def done() -> bool:
        return not [row for row in _read(ctx, "batches", "state") if row.state == "pending"]

    work_until(service, done)
    work_off(service)

    sent = sandbox.recipients()
    tagged = _tagged("news") - stopped
    # The confirmation of a STOP goes to the number that is suppressed by it.
    answered = {row["recipient"] for row in ROWS["messages"] if row["broadcast_id"] in _replies()}
    assert sorted(sent) == sorted((ours - stopped) | (ours & answered) | tagged)
    after = {row.id: row.state for row in _read(ctx, "batches", "id", "state")}
    assert {after[id] for id, state in before.items() if state == "accepted"} == {"accepted"}
    assert {after[id] for id, state in before.items() if state == "needs_attention"} == {
        "needs_attention"
    }
    assert {after[id] for id, state in before.items() if state == "unknown"} <= {
        "unknown", "needs_attention"
    }  # fmt: skip
    assert find_violations(ctx) == []


def _of_messages(state: str) -> set[str]:
    batches = {row["id"] for row in ROWS["batches"] if row["state"] == state}
    return {row["recipient"] for row in ROWS["messages"] if row["batch_id"] in batches}


def _replies() -> set[int]:
    return {row["id"] for row in ROWS["broadcasts"] if row["options"].get("reply")}


def _tagged(name: str) -> set[str]:
    [tag] = [row["id"] for row in ROWS["tags"] if row["name"] == name]
    ids = {row["subscriber_id"] for row in ROWS["subscriber_tags"] if row["tag_id"] == tag}
    return {row["phone"] for row in ROWS["subscribers"] if row["id"] in ids}


def _start_what_is_scheduled(ctx) -> None:
    with ctx.db.write() as tx:
        scheduled = Broadcast.__table__.update().where(Broadcast.send_at > ctx.now())
        tx.execute(scheduled.values(send_at=ctx.now()))


def test_the_repeated_request_gets_the_stored_answer(service, sandbox):
    [kept] = ROWS["idempotency_keys"]
    [broadcast] = [row for row in ROWS["broadcasts"] if row["id"] == kept["broadcast_id"]]
    recipients = [
        row["recipient"] for row in ROWS["messages"] if row["broadcast_id"] == broadcast["id"]
    ]

    answer = Caller(service, KEY).send(
        *recipients, idempotency_key=kept["key"], reference=broadcast["reference"]
    )

    assert (answer.status_code, answer.get_json()) == (202, kept["answer"])
    assert sandbox.posts() == 0


def test_the_half_done_import_ends_complete(service, ctx):
    while work_imports(ctx.subscriber_context):
        pass

    newest = list_imports(ctx.subscriber_context, limit=10).rows[0]
    assert (newest.status, newest.created, newest.refused) == ("complete", 40, 0)


def test_a_report_from_before_is_applied(service, ctx):
    while apply_events(ctx):
        pass

    with ctx.db.read() as tx:
        ended = tx.execute(select(Batch.ended).where(Batch.broadcast_id == 2)).scalar_one()
    assert ended == 1
