"""The audit log: sealed entries cannot be changed without a trace."""

import json
from datetime import timedelta

import pytest
from loguru import logger
from sqlalchemy import delete, insert, select, update

from app.db.audit import AuditEntry, write_audit
from app.db.base import table_of
from app.db.engine import Database
from app.operate.audit import (
    BEGINNING,
    AuditSeal,
    hash_entries,
    list_entries,
    seal_entries,
    verify_entries,
)
from tests.callers import Caller
from tests.clocks import ManualClock

ENTRIES, SEALS = table_of(AuditEntry), table_of(AuditSeal)
LATER_S = 301


@pytest.fixture
def db(either_database):
    db = Database(either_database)
    yield db
    db.close()


@pytest.fixture
def clock():
    return ManualClock()


def _write(db, clock, *subjects, **facts):
    for subject in subjects:
        with db.write() as tx:
            write_audit(tx, clock.now(), "ops", "pause", subject, **facts)


def _seal(db, clock, *subjects):
    _write(db, clock, *subjects, note="Für Ängström 😀", share=0.1)
    clock.advance(LATER_S)
    return seal_entries(db, clock)


def test_entries_are_sealed_once_they_are_old_enough(db, clock):
    assert verify_entries(db).head == BEGINNING
    _write(db, clock, "a")
    assert seal_entries(db, clock) == 0

    clock.advance(LATER_S)
    _write(db, clock, "b")

    assert seal_entries(db, clock) == 1
    assert seal_entries(db, clock) == 0
    verdict = verify_entries(db)
    assert (verdict.sealed, verdict.unsealed, verdict.broken) == (1, 1, None)


@pytest.mark.parametrize(
    "change",
    [
        update(ENTRIES).where(ENTRIES.c.subject == "b").values(actor="nemo"),
        update(ENTRIES).where(ENTRIES.c.subject == "b").values(action="resume"),
        update(ENTRIES).where(ENTRIES.c.subject == "b").values(subject="c"),
        update(ENTRIES).where(ENTRIES.c.subject == "b").values(facts={"note": "other"}),
        update(ENTRIES).where(ENTRIES.c.subject == "b").values(facts=None),
        delete(ENTRIES).where(ENTRIES.c.subject == "b"),
    ],
)
def test_a_change_of_a_sealed_entry_is_found(db, clock, change):
    assert _seal(db, clock, "a") == 1
    assert _seal(db, clock, "b", "d") == 2
    assert _seal(db, clock, "e") == 1
    assert verify_entries(db).broken is None

    with db.write() as tx:
        tx.execute(change)

    assert verify_entries(db).broken.startswith("Entries 2 to 3 are not as they were sealed at ")


def test_a_changed_entry_with_a_seal_that_fits_it_is_found_by_the_seal_behind(db, clock):
    for subject in ("a", "b", "c"):
        _seal(db, clock, subject)
    with db.write() as tx:
        tx.execute(update(ENTRIES).where(ENTRIES.c.subject == "b").values(actor="nemo"))
        before = tx.execute(select(SEALS.c.hash).where(SEALS.c.id == 1)).scalar_one()
        entries = tx.execute(select(ENTRIES).where(ENTRIES.c.subject == "b")).all()
        forged = hash_entries(before, entries)
        tx.execute(update(SEALS).where(SEALS.c.id == 2).values(hash=forged))

    assert verify_entries(db).broken.startswith("Entries 3 to 3 are not as they were sealed at ")


def test_a_change_of_the_time_and_an_added_entry_are_found(db, clock):
    _seal(db, clock, "a", "c")
    with db.write() as tx:
        second = tx.execute(select(ENTRIES).where(ENTRIES.c.subject == "c")).one()
        tx.execute(delete(ENTRIES).where(ENTRIES.c.id == second.id))
        values = {**second._mapping, "at": second.at + timedelta(microseconds=1)}
        tx.execute(insert(ENTRIES), values)
    assert verify_entries(db).broken

    with db.write() as tx:
        tx.execute(update(ENTRIES).where(ENTRIES.c.id == second.id).values(at=second.at))
    assert verify_entries(db).broken is None


def test_removed_seals_are_found_by_a_head_that_was_noted(db, clock):
    _seal(db, clock, "a")
    first = verify_entries(db).head
    _seal(db, clock, "b")
    head = verify_entries(db).head
    assert verify_entries(db, head=first).broken is None

    with db.write() as tx:
        tx.execute(delete(SEALS).where(SEALS.c.id == 2))
        tx.execute(delete(ENTRIES).where(ENTRIES.c.subject == "b"))

    assert verify_entries(db).broken is None
    assert verify_entries(db, head=head).broken == (
        "No seal has this head: seals at the end were removed"
    )


def test_the_head_is_logged_once_a_day(db, clock):
    noon = clock.now().replace(hour=12) + timedelta(days=1)
    clock.advance((noon - clock.now()).total_seconds())
    logged, heads = [], []
    handler = logger.add(
        logged.append, format="{extra[head]}", filter=lambda line: "head" in line["extra"]
    )
    try:
        for waits_s in (0, 0, 86_400):
            clock.advance(waits_s)
            _seal(db, clock, "a")
            heads.append(verify_entries(db).head.hex())
    finally:
        logger.remove(handler)

    assert [str(line).strip() for line in logged] == [heads[0], heads[2]]


def test_entries_are_listed_newest_first_in_pages_and_by_what_is_asked(db, clock):
    _write(db, clock, "a", "b", "c")

    page = list_entries(db, only={}, limit=2)
    rest = list_entries(db, only={}, cursor=int(page.cursor), limit=2)

    assert [entry.subject for entry in (*page.rows, *rest.rows)] == ["c", "b", "a"]
    assert [entry.subject for entry in list_entries(db, only={"subject": "b"}).rows] == ["b"]
    assert list_entries(db, only={"action": "resume"}).rows == []


@pytest.mark.parametrize("path", ["/api/subscribers.csv", "/api/suppressions.csv"])
def test_an_export_is_in_the_log(service, path):
    caller = Caller(service)

    assert caller.get(path).status_code == 200

    (entry,) = list_entries(service.extensions["clarion"].db, only={}).rows
    assert (entry.actor, entry.action) == ("tests", "export")
    assert entry.subject == path.rsplit("/", 1)[1]


def test_each_command_that_writes_numbers_to_a_file_is_in_the_log_as_an_export(
    service, sandbox, tmp_path
):
    ctx, path = service.extensions["clarion"], tmp_path / "people.csv"
    path.write_text("phone\n+46701234567\n+4930901820\nnone\n")

    def run(*arguments):
        ended = service.test_cli_runner().invoke(args=[*map(str, arguments)])
        assert ended.exit_code in (0, 1), ended.output
        return ended.output.split()

    refused, warnings, report = (tmp_path / name for name in ("refused", "warnings", "report"))
    files = ["--refused", refused, "--warnings", warnings]
    _, import_id, *_ = run("subscribers", "import", path, *files)
    _, sent, *_ = run("send", "--to", "+46701234567", "--message", "Hi", "--report", report)
    run("subscribers", "export", tmp_path / "all.csv")
    run("suppressions", "export")
    run("suppressions", "export", "--hashes")
    run("consent", "evidence", "+46701234567", "--to", tmp_path / "evidence.json")
    run("backup", "create", tmp_path / "backups")

    entries = list_entries(ctx.db, only={"action": "export"}).rows[::-1]
    assert [entry.subject for entry in entries] == [
        f"refused-{import_id}.csv",
        f"warnings-{import_id}.csv",
        f"{sent}.csv",
        "subscribers",
        "suppressions",
        "suppressions",
        "consent evidence",
        "backup",
    ]
    assert {entry.actor.split(":")[0] for entry in entries} == {"cli"}


def test_an_operator_lists_verifies_and_exports_the_log(service):
    ctx, run = service.extensions["clarion"], service.test_cli_runner().invoke
    empty = run(args=["audit", "list"]).output
    clock = ManualClock()
    clock.advance(-LATER_S)
    _seal(ctx.db, clock, "06eadcew")
    _write(ctx.db, clock, "other")

    listed = run(args=["audit", "list", "--subject", "06eadcew"]).output
    verified = run(args=["audit", "verify"]).output
    exported = run(args=["audit", "export"]).output

    assert empty == "There are no entries.\n"
    assert listed.splitlines()[1].split()[4:7] == ["ops", "pause", "06eadcew"]
    sealed, head = verified.splitlines()
    assert sealed == "1 entry is as it was; 1 not sealed yet."
    assert run(args=["audit", "verify", "--head", head.split()[1]]).exit_code == 0
    assert run(args=["audit", "verify", "--head", "00" * 32]).exit_code == 1
    assert run(args=["audit", "verify", "--head", "zz"]).exit_code == 2
    entries = [json.loads(line) for line in exported.splitlines()]
    assert [(entry["action"], entry["subject"]) for entry in entries] == [
        ("pause", "06eadcew"),
        ("pause", "other"),
        ("export", "audit"),
    ]
