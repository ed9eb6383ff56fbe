"""The file of a broadcast's messages: whole, harmless, masked where it must be, and light."""

import csv
import io
import tracemalloc

import pytest

from app.config.scopes import KeyScope
from app.sms.messages.export import export_messages
from app.sms.models.batch import Batch
from app.worker.jobs import plan_next
from bench.sample_broadcast import add_broadcast
from tests.background import context_of, work_off
from tests.callers import PATIENT, Caller, id_of, limit_scopes
from tests.endings import end_messages
from tests.factories import many_numbers

NUMBERS = many_numbers(10)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _export(caller, made, **query):
    answer = caller.get(f"/api/broadcasts/{id_of(made)}/messages.csv", **query)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))


def test_it_holds_what_the_list_holds(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*NUMBERS)
    ends = [("Delivered", 0), ("Failed", 153), ("Rejected", 98_765)]
    end_messages(context_of(either_service), made, dict(zip(NUMBERS, ends, strict=False)))

    rows = _export(caller, made)

    listed = caller.get(f"/api/broadcasts/{id_of(made)}/messages").get_json()["messages"]
    assert [*rows[0]] == [
        "recipient", "status", "code", "reason", "retry", "at", "batch_id", "client_reference",
    ]  # fmt: skip
    assert rows == [{name: _as_text(each[name]) for name in rows[0]} for each in listed]


def _as_text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def test_it_is_a_file_to_be_kept(service, sandbox):
    caller = Caller(service)
    made = caller.send(NUMBERS[0])

    answer = caller.get(f"/api/broadcasts/{id_of(made)}/messages.csv")

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f"attachment; filename={id_of(made)}.csv"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("scopes", [(KeyScope.READ,), (KeyScope.READ, KeyScope.READ_NUMBERS)])
def test_without_the_scope_for_it_numbers_are_masked(make_service, service, sandbox, scopes):
    made = Caller(service).send("+46701234567")
    limited = make_service(**PATIENT)
    limit_scopes(limited, *scopes)

    (row,) = _export(Caller(limited), made)

    assert row["recipient"] == (
        "+46701234567" if KeyScope.READ_NUMBERS in scopes else "'+46*******67"
    )


def test_it_can_hold_some_only(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*NUMBERS)
    end_messages(context_of(either_service), made, dict.fromkeys(NUMBERS[3:5], ("Failed", 150)))
    end_messages(context_of(either_service), made, {NUMBERS[7]: ("Failed", 153)})

    failed = _export(caller, made, status="failed")
    unknown = _export(caller, made, status="failed", code=150)

    assert [each["recipient"] for each in failed] == [*NUMBERS[3:5], NUMBERS[7]]
    assert [each["recipient"] for each in unknown] == NUMBERS[3:5]
    assert _export(caller, made, status="delivered") == []


def test_what_sinch_says_cannot_become_a_formula(machine, service, sandbox):
    broadcast = machine.store([NUMBERS[0]])
    machine.submit()
    machine.corrupt(Batch, sinch_id="=cmd|' /C calc'!A0")

    text = "".join(
        export_messages(machine.ctx, machine.broadcast(broadcast).public_id, masked=False)
    )

    assert ",'=cmd" in text
    assert ",=" not in text


@pytest.mark.slow
def test_large_ones_are_whole_and_in_order(either_service, sandbox):
    caller, numbers = Caller(either_service), many_numbers(20_500)[::-1]
    made = caller.send(*numbers)
    path = f"/api/broadcasts/{id_of(made)}/messages.csv"

    early = caller.get(path)
    plan_next(context_of(either_service))
    half = _export(caller, made)
    work_off(either_service)
    rows = _export(caller, made)

    assert (early.status_code, early.headers["Retry-After"]) == (409, "2")
    assert "being sorted" in early.get_json()["error"]
    assert early.get_json()["status"] == "queued"
    assert [each["recipient"] for each in half] == sorted(numbers)
    assert {each["status"] for each in half} == {"pending"}
    assert [each["recipient"] for each in rows] == sorted(numbers)
    assert {each["status"] for each in rows} == {"submitted"}


def test_one_that_was_cancelled_before_it_was_cut_needs_no_order(service, sandbox):
    caller, numbers = Caller(service), many_numbers(20_500)[::-1]
    made = caller.send(*numbers)
    caller.act("cancel", made)

    rows = _export(caller, made)

    assert [each["recipient"] for each in rows] == numbers
    assert {each["status"] for each in rows} == {"cancelled"}


@pytest.mark.parametrize("broadcast", ["x", "0" * 26])
def test_there_is_none_of_an_unknown_broadcast(service, sandbox, broadcast):
    answer = Caller(service).get(f"/api/broadcasts/{broadcast}/messages.csv")

    assert (answer.status_code, answer.get_json()["error"]) == (
        404,
        "There is no such broadcast.",
    )


def test_while_a_piece_is_on_its_way_nothing_is_held(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*many_numbers(12_000))
    work_off(either_service)
    pool = context_of(either_service).db.engine.pool
    kept = pool.checkedout()  # the one that SQLite writes on

    lines = export_messages(context_of(either_service), id_of(made), masked=False)
    held = [pool.checkedout()]
    for _ in range(2):
        next(lines)
        held.append(pool.checkedout())
    with context_of(either_service).db.write():
        next(lines)
    lines.close()

    assert kept <= 1
    assert held == [kept, kept, kept]
    assert pool.checkedout() == kept


@pytest.mark.slow
def test_three_times_as_many_take_the_same_memory(service):
    ctx = context_of(service)
    ctx.require_own_database()
    few, many = (add_broadcast(ctx.db, count) for count in (10_000, 30_000))
    for _ in export_messages(ctx, few, masked=False):
        pass

    peaks, sizes = [], []
    for broadcast in (few, many):
        tracemalloc.start()
        sizes.append(sum(len(piece) for piece in export_messages(ctx, broadcast, masked=False)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert sizes[1] > 2.5 * sizes[0]
    assert peaks[1] < 1.2 * peaks[0] < 20_000_000
