"""`flask suppressions` and `flask consent`, as an operator uses them."""

import json
import sqlite3

import pytest
from sqlalchemy import insert, text

from app.subscribers.consent.ledger import (
    ConsentEntry,
    ConsentKind,
    append_consent_entries,
    read_events,
)
from app.subscribers.models import Cause, Scope, Subscriber
from app.subscribers.suppressions.store import find_suppressed
from tests.factories import AUTH, broadcast_to
from tests.people import suppress

ANN, BOB, CY = "+46701234567", "+46707654321", "+46701111111"


@pytest.fixture
def run(service):
    return runner_of(service)


def runner_of(service):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=arguments)

    return run


def people_of(service):
    return service.extensions["clarion"].subscriber_context


def suppressed(service, *phones):
    people = people_of(service)
    with people.db.read() as tx:
        return find_suppressed(tx, people, phones or [ANN, BOB, CY], marketing=False)


def test_numbers_are_added_and_released(service, run):
    added = run("suppressions", "add", ANN, BOB, "--note", "called us")

    assert added.output == "2 of 2 were written to until now.\n"
    assert suppressed(service) == {ANN, BOB}
    assert "called us" in run("suppressions", "export").output
    assert run("suppressions", "release", ANN, "--note", "a slip").exit_code == 0
    assert suppressed(service) == {BOB}
    again = run("suppressions", "release", ANN, "--note", "a slip")
    assert (again.exit_code, again.output) == (1, "Error: this number is not suppressed\n")
    assert run("suppressions", "add", "0701234567").exit_code == 2


def test_a_note_that_no_column_can_hold_is_refused(run):
    long = run("suppressions", "add", ANN, "--note", "n" * 201)
    none = run("suppressions", "release", ANN, "--note", " ")

    assert (long.exit_code, none.exit_code) == (2, 2)
    assert "give 1 to 200 characters" in long.output


def test_a_list_is_imported_and_its_bad_lines_are_named(service, run, tmp_path):
    path = tmp_path / "old.csv"
    path.write_text(f"phone\n{ANN}\nabc\n")

    done = run("suppressions", "import", str(path))

    assert done.exit_code == 0
    assert "line 3: Not a phone number." in done.output
    assert "1 number, 1 of them written to until now; 1 line refused." in done.output
    path.write_bytes(b"phone\n\xff")
    refused = run("suppressions", "import", str(path))
    assert refused.output.splitlines()[-1] == (
        "Error: The file cannot be read: line 2 is not in utf-8: save the file as CSV in "
        "UTF-8, or name its encoding"
    )


def _suppress_as_written(people, phone, **more):
    with people.db.write() as tx:
        details = {"cause": Cause.STOP, "actor": "phone", "at": people.now()}
        suppress(tx, people, phone, **details | more)


def test_an_upgrade_makes_an_old_spelling_of_a_suppressed_number_hold(service, sandbox, run):
    people = people_of(service)
    for spelling, more in (("+460701234567", {}), ("+4600707654321", {"scope": Scope.MARKETING})):
        _suppress_as_written(people, spelling, **more)
    assert suppressed(service) == set()

    upgraded = [run("db", "upgrade").output for _ in range(2)]

    assert upgraded == [
        "2 numbers suppressed in another spelling, too.\nThe database is up to date.\n",
        "The database is up to date.\n",
    ]
    assert suppressed(service) == {ANN}  # the other was suppressed for marketing alone
    sent = service.test_client().post("/api/broadcast", headers=AUTH, json=broadcast_to(ANN, BOB))
    assert sent.status_code == 202
    assert sandbox.recipients() == [BOB]
    with people.db.read() as tx:
        assert [event["kind"] for event in read_events(tx, ANN)] == [ConsentKind.OPT_OUT]


def test_a_number_released_after_its_old_spelling_stays_released(service, run):
    people = people_of(service)
    _suppress_as_written(people, "+460701234567")
    run("suppressions", "add", ANN, "--note", "called us")
    run("suppressions", "release", ANN, "--note", "called again")

    run("db", "upgrade")

    assert suppressed(service) == set()


def test_opt_outs_and_erasures_survive_a_restore(make_service, sandbox, database_url, tmp_path):
    service = make_service()
    people, run = people_of(service), runner_of(service)
    with people.db.write() as tx:
        now = people.now()
        row = {"public_id": "ann", "phone": ANN, "subscribed_at": now, "updated_at": now}
        tx.execute(insert(Subscriber).values(**row))
        entry = ConsentEntry(ConsentKind.OPT_IN, BOB, now, "api", "shop", "form", "yes")
        append_consent_entries(tx, [entry])
        suppress(tx, people, ANN, cause=Cause.STOP, actor="phone", at=now)
    backup = tmp_path / "backup.db"
    with sqlite3.connect(tmp_path / "clarion.db") as live, sqlite3.connect(backup) as copy:
        live.backup(copy)
    live.close()
    copy.close()
    assert run("suppressions", "erase", ANN, "--yes").stdout == "Erased.\n"
    with people.db.write() as tx:
        suppress(tx, people, BOB, cause=Cause.STOP, actor="phone", at=people.now())
    digests = tmp_path / "hashes.csv"
    digests.write_bytes(run("suppressions", "export", "--hashes").stdout_bytes)
    assert "+467" not in digests.read_text()

    restored = make_service(DATABASE_URL=f"sqlite:///{backup}")
    assert suppressed(restored) == {ANN}
    done = runner_of(restored)("suppressions", "import", "--hashes", str(digests))

    assert done.stdout.splitlines()[-1] == (
        "2 hashes, 1 of them written to until now; 1 person erased again, 1 found by number."
    )
    assert suppressed(restored) == {ANN, BOB}
    assert ANN.encode() not in people_text(restored)
    again = runner_of(restored)("suppressions", "import", "--hashes", str(digests))
    assert "2 hashes, 0 of them" in again.output
    other = make_service(SUPPRESSION_KEY="another key")
    refused = runner_of(other)("suppressions", "import", "--hashes", str(digests))
    assert "another SUPPRESSION_KEY" in refused.output


def people_text(service):
    with people_of(service).db.read() as tx:
        rows = [
            str(row)
            for table in ("subscribers", "suppressions", "consent_events", "erasures")
            for row in tx.execute(text(f"SELECT * FROM {table}"))
        ]
    return "\n".join(rows).encode()


def test_the_ledger_is_verified_and_a_broken_one_named(service, run):
    run("suppressions", "add", ANN, BOB)

    whole = run("consent", "verify")

    assert whole.exit_code == 0
    first, second = whole.output.splitlines()
    assert first == "2 links hold, 0 of them of erased people."
    head = second.removeprefix("head ")
    assert run("consent", "verify", "--head", head.upper()).exit_code == 0
    wrong = run("consent", "verify", "--head", "ab" * 32)
    assert wrong.exit_code == 1
    with people_of(service).db.write() as tx:
        tx.execute(text("DROP TRIGGER consent_events_kept"))
        tx.execute(text("UPDATE consent_events SET kind = 'opt_in' WHERE id = 2"))
    broken = run("consent", "verify")
    assert broken.exit_code == 1
    assert broken.output.startswith("Error: link 2 does not follow")


def test_evidence_goes_into_a_new_file(service, run, tmp_path):
    run("suppressions", "add", ANN, "--note", "på begäran")
    path = tmp_path / "ann.json"

    assert run("consent", "evidence", ANN, "--to", str(path)).output == "1 event.\n"

    evidence = json.loads(path.read_text())
    assert evidence["events"][0]["wording"] == "på begäran"
    assert run("consent", "evidence", ANN, "--to", str(path)).exit_code == 1
