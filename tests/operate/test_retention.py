"""What is kept for a time only: it is deleted, the counts stay, and nothing of it is left."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from app.accounts.roles import Role
from app.logs import configure_logging
from app.operate.retention import RETAINED, count_due, purge_all, purge_due
from app.sms.analytics.inbound_rollup import roll_up_inbounds
from app.sms.analytics.rollup import roll_up_batches
from app.sms.broadcasts.views import view_by_id
from app.sms.lifecycle.finalize import finalize_broadcast
from app.sms.models.batch import Batch
from app.webhooks.incoming.apply import apply_events
from tests.callers import Caller
from tests.factories import many_numbers
from tests.machine import Machine
from tests.reporting import batch_report, inbound, report, tell
from tests.web.visitor import read_text, visit

ANN, BOB, CLO = "+46701234567", "+46707654321", "+46707654322"
TEXT = "Your parcel 7741 is at Harbour Street"
DAY_S = 86_400
# What has personal data for good, or until a person is erased.
KEPT = {"consent_events", "suppressions", "subscribers", "audit"}


def finish(machine, numbers, **more):
    """Send a broadcast, and have all of it reported and counted.  Returns its id."""
    broadcast_id = machine.store(numbers, text=TEXT, **more)
    machine.submit_all()
    tell(machine.ctx, *report_all(machine, broadcast_id))
    while apply_events(machine.ctx):
        pass
    roll_up(machine)
    assert machine.broadcast(broadcast_id).all_reported_at
    return broadcast_id


def report_all(machine, broadcast_id):
    """What Sinch reports of all that it has."""
    names = {batch.id: batch.sinch_id for batch in machine.batches(broadcast_id)}
    for phone, batch_id in machine.homes(broadcast_id).items():
        if names[batch_id]:
            yield report(phone, "Delivered", batch=names[batch_id])


def roll_up(machine):
    machine.clock.advance(60)
    roll_up_batches(machine.ctx)
    roll_up_inbounds(machine.ctx)


def read_all(machine, *, but=()):
    """Every value of every table as text."""
    with machine.ctx.db.read() as tx:
        names = set(inspect(tx).get_table_names()) - set(but)
        return "\n".join(
            repr(tuple(row)) for name in names for row in tx.execute(text(f"SELECT * FROM {name}"))
        )


def deleted(machine):
    return {name: count for name, count in purge_all(machine.ctx, actor="cli:ann") if count}


def test_texts_and_numbers_go_when_their_time_is_over_and_counts_stay(either_machine, sandbox):
    machine = either_machine
    broadcast_id = finish(machine, [ANN, BOB, CLO], size=2)
    before = view_by_id(machine.ctx, broadcast_id)
    machine.clock.advance(29 * DAY_S)
    early = deleted(machine)
    assert TEXT in read_all(machine)
    machine.clock.advance(DAY_S)

    due = dict(count_due(machine.ctx))
    gone = deleted(machine)

    assert "messages, with the texts of their broadcasts" not in early
    assert due["messages, with the texts of their broadcasts"] == 3
    assert gone["messages, with the texts of their broadcasts"] == 3
    left = read_all(machine, but=KEPT)
    assert not [word for word in (TEXT, ANN[1:], BOB[1:], CLO[1:]) if word in left]
    after = view_by_id(machine.ctx, broadcast_id)
    assert (after.counts, after.batches) == (before.counts, before.batches)
    assert before.kept_until - before.row.all_reported_at == timedelta(days=30)
    assert (after.kept_until, after.row.purged_at) == (None, machine.ctx.now())
    assert machine.violations() == []


def test_what_is_not_reported_or_not_counted_stays(either_machine, sandbox):
    machine = either_machine
    machine.store([ANN], text=TEXT)
    machine.submit_all()
    machine.clock.advance(60 * DAY_S)

    assert "messages, with the texts of their broadcasts" not in deleted(machine)
    tell(machine.ctx, report(ANN, "Delivered", batch=machine.batch().sinch_id))
    machine.clock.advance(60 * DAY_S)

    # The daily counters do not have it yet.
    assert "messages, with the texts of their broadcasts" not in deleted(machine)
    roll_up(machine)
    assert "messages, with the texts of their broadcasts" in deleted(machine)


def test_what_an_operator_may_still_send_again_stays(either_machine, sandbox):
    machine = either_machine
    broadcast_id = machine.store(many_numbers(4), size=2, text=TEXT)
    machine.submit()
    lost = machine.claim()
    attention = {"state": "needs_attention", "attention": "absent", "lease_until": None}
    machine.corrupt(Batch, Batch.id == lost.batch_id, **attention)
    tell(machine.ctx, *report_all(machine, broadcast_id))
    finalize_broadcast(machine.ctx, broadcast_id)
    roll_up(machine)
    machine.clock.advance(60 * DAY_S)

    deleted(machine)

    assert sorted(machine.homes(broadcast_id)) == many_numbers(4)


def test_a_report_that_comes_later_changes_nothing(either_machine, sandbox):
    machine = either_machine
    broadcast_id = finish(machine, [ANN, BOB])
    (batch,) = machine.batches(broadcast_id)
    machine.clock.advance(31 * DAY_S)
    deleted(machine)
    before = read_all(machine, but=("events", "metadata"))

    tell(machine.ctx, report(ANN, "Failed", 401, batch=batch.sinch_id))
    summary = [{"status": "Failed", "code": 401, "count": 2}]
    tell(machine.ctx, batch_report(summary, batch=batch.sinch_id))
    roll_up(machine)

    assert read_all(machine, but=("events", "metadata")) == before
    assert machine.violations() == []


@pytest.mark.slow
def test_a_purge_that_is_interrupted_goes_on(machine, sandbox):
    broadcast_id = finish(machine, many_numbers(2_500), size=500)
    machine.clock.advance(31 * DAY_S)
    (messages, *_) = RETAINED
    stops = iter([False, False, True])

    first = messages.purge(machine.ctx, lambda: next(stops, True))

    assert 0 < first < 2_500
    assert machine.violations() == []
    assert machine.broadcast(broadcast_id).purged_at
    for _ in range(20):
        purge_due(machine.ctx)
    assert machine.broadcast(broadcast_id).is_purged
    assert machine.violations() == []


def test_nothing_is_left_in_the_file(machine, sandbox, database_url):
    """Of SQLite, after what overwrites its free pages."""
    finish(machine, [ANN, BOB, *many_numbers(1_500, start=10)], size=400)
    tell(machine.ctx, inbound(ANN, "Is Harbour Street open?"))
    roll_up(machine)
    machine.clock.advance(31 * DAY_S)
    deleted(machine)
    machine.ctx.db.close()
    path = database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    raw = b"".join(file.read_bytes() for file in Path(path).parent.glob("clarion.db*"))

    for word in (ANN[1:], BOB[1:], "7741", "Harbour Street", many_numbers(1, start=500)[0][1:]):
        assert word.encode() not in raw, word


def test_texts_from_phones_go_but_for_those_that_a_person_has_to_review(either_machine, sandbox):
    machine = either_machine
    tell(machine.ctx, inbound(ANN, "Thank you", name="01A"))
    tell(machine.ctx, inbound(BOB, "do not stop by today, please", name="01B"))
    with machine.ctx.db.write() as tx:
        tx.execute(text("UPDATE suppressions SET needs_review = true WHERE inbound = '01B'"))
        reviewed = tx.execute(text("SELECT count(*) FROM suppressions")).scalar()
    roll_up(machine)
    machine.clock.advance(31 * DAY_S)

    deleted(machine)

    with machine.ctx.db.read() as tx:
        left = [row.sinch_id for row in tx.execute(text("SELECT sinch_id FROM inbounds"))]
    assert left == ["01B"] * reviewed


def test_the_api_says_until_when_and_afterwards_that_it_was_deleted(make_service, sandbox):
    service = make_service(MESSAGES_KEPT_DAYS="7")
    machine = Machine.over(service.extensions["clarion"])
    broadcast_id = finish(machine, [ANN])
    public_id = machine.broadcast(broadcast_id).public_id
    caller = Caller(service)
    kept = caller.show(public_id)
    machine.clock.advance(8 * DAY_S)
    deleted(machine)

    shown = caller.show(public_id)
    listed = caller.get(f"/api/broadcasts/{public_id}/messages")
    file = caller.get(f"/api/broadcasts/{public_id}/messages.csv")
    resent = caller.post(f"/api/broadcasts/{public_id}/resend-undelivered")
    found = caller.post("/api/messages/search", {"recipient": ANN})

    until, reported = (datetime.fromisoformat(kept[at]) for at in ("kept_until", "all_reported_at"))
    assert (until - reported, kept["purged_at"]) == (timedelta(days=7), None)
    purged = datetime.fromisoformat(shown["purged_at"])
    assert (shown["kept_until"], purged) == (None, machine.ctx.now())
    assert shown["counts"] == kept["counts"]
    assert {answer.status_code for answer in (listed, file, resent)} == {410}
    assert listed.get_json()["error"] == (
        f"The text and numbers of this broadcast were deleted on {purged:%Y-%m-%d}; its counts are "
        "kept."
    )
    assert "Texts and numbers are kept for 7 days" in found.get_json()["explanation"]


def test_the_pages_say_until_when_and_afterwards_that_it_was_deleted(service, sandbox):
    machine = Machine.over(service.extensions["clarion"])
    broadcast_id = finish(machine, [ANN])
    page = f"/broadcasts/{machine.broadcast(broadcast_id).public_id}"
    visitor = visit(service, Role.SENDER)
    kept = read_text(visitor.get(page))
    machine.clock.advance(31 * DAY_S)
    deleted(machine)

    shown = read_text(visitor.get(page))
    people = visitor.get(f"{page}/people")

    assert (TEXT in kept, TEXT in shown) == (True, False)
    assert "Its texts and numbers are kept until " in kept
    assert "The numbers were deleted with it; everybody stays counted." in shown
    assert "A broadcast whose text was deleted" in shown
    assert "Adds up: everybody is in exactly one line." in shown
    assert (people.status_code, "/people" in shown) == (410, False)
    assert "Texts and numbers are kept for 30 days after all is reported" in shown


def test_the_command_says_what_is_due_and_deletes_it(service):
    run = service.test_cli_runner()

    dry = run.invoke(args=["purge", "--dry-run"])
    done = run.invoke(args=["purge"])

    assert dry.output.splitlines()[0] == "DUE  WHAT"
    assert done.output.splitlines()[0] == "DELETED  WHAT"
    assert len(done.output.splitlines()) == len(RETAINED) + 1


def test_a_kind_that_fails_stops_no_other(machine, capfd):
    configure_logging("INFO")
    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE drafts RENAME TO missing")

    purge_due(machine.ctx)

    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE missing RENAME TO drafts")
    assert capfd.readouterr().err.count("a job failed; the next run tries it again") == 1


@pytest.mark.parametrize(
    ("table", "column", "value", "violation"),
    [
        ("broadcasts", "text", "left", "purged, but a text or number is left"),
        ("delivery_counts", "messages", 7, "1 messages have ended, 7 are counted"),
    ],
)
def test_a_purged_database_that_does_not_balance_is_told(
    machine, sandbox, table, column, value, violation
):
    finish(machine, [ANN])
    machine.clock.advance(31 * DAY_S)
    deleted(machine)
    change = text(f"UPDATE {table} SET {column} = :value")
    with machine.ctx.db.write() as tx:
        before = tx.execute(text(f"SELECT {column} FROM {table}")).scalar()
        tx.execute(change, {"value": value})

    violations = machine.violations()

    with machine.ctx.db.write() as tx:
        tx.execute(change, {"value": before})
    assert [said for said in violations if violation in said]
