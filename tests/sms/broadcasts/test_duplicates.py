"""The same text again to mostly the same people, without an Idempotency-Key."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.sms.dispatch.burst import submit_next
from app.worker.jobs import sweep
from tests.background import context_of, plan_all, work_off
from tests.callers import OTHER_KEY, PATIENT, TWO_CLIENTS, Caller, id_of
from tests.factories import in_hours, many_numbers, settings
from tests.people import add_people
from tests.shifting import shift_clock

DEFAULT = settings()["SINCH_NUMBER"]
HOUR_S = 3600.0
TWENTY = many_numbers(20)
NEW = many_numbers(100, start=5000)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(API_KEYS=TWO_CLIENTS, **PATIENT)


def test_the_same_again_is_refused_names_the_first_and_sends_nothing(either_service, sandbox):
    caller = Caller(either_service)
    first = caller.send(*TWENTY)

    again = caller.send(*reversed(TWENTY))

    assert again.status_code == 409
    assert again.get_json()["duplicate_of"] == id_of(first)
    assert again.get_json()["duplicate_recipients"] == 20
    assert "allow_duplicate" in again.get_json()["error"]
    assert "Idempotency-Key" in again.get_json()["error"]
    assert sandbox.recipients() == TWENTY
    assert caller.ids() == [id_of(first)]


@pytest.mark.parametrize(("repeated", "status"), [(9, 202), (10, 409), (11, 409)])
def test_half_of_the_recipients_make_a_repetition(either_service, sandbox, repeated, status):
    caller = Caller(either_service)
    caller.send(*TWENTY)

    assert caller.send(*TWENTY[:repeated], *NEW[: 20 - repeated]).status_code == status


def test_the_share_is_a_setting(make_service, sandbox):
    caller = Caller(make_service(REPEAT_PERCENT="100", **PATIENT))
    caller.send(*TWENTY)

    assert caller.send(*TWENTY[:19], *NEW[:1]).status_code == 202
    assert caller.send(*TWENTY).status_code == 409


def test_several_broadcasts_may_be_repeated_together(caller, sandbox):
    caller.send(*TWENTY[:10])
    caller.send(*TWENTY[10:])

    assert caller.send(*TWENTY[:5], *TWENTY[10:14], *NEW[:11]).status_code == 202
    answer = caller.send(*TWENTY[5:10], *TWENTY[14:19], *NEW[50:60])
    assert (answer.status_code, answer.get_json()["duplicate_recipients"]) == (409, 10)


def test_the_same_person_told_twice_before_counts_once(caller, sandbox):
    caller.send(*TWENTY[:9])
    caller.send(*TWENTY[:9])

    assert caller.send(*TWENTY[:9], *NEW[:11]).status_code == 202


@pytest.mark.parametrize(
    "difference",
    [
        {"message": "Pickup moved to 08:31"},
        {"sender": "Acme"},
        {"message": "Hello ${name}", "parameters": {"name": {"default": "you"}}},
    ],
)
def test_another_text_or_sender_is_no_repetition(caller, sandbox, difference):
    caller.send(*TWENTY)

    assert caller.send(*TWENTY, **difference).status_code == 202


@pytest.mark.parametrize("names", [(None, DEFAULT), (DEFAULT, None)])
def test_the_default_sender_is_the_same_named_or_left_out(caller, sandbox, names):
    first, again = ({"sender": name} if name else {} for name in names)
    caller.send(*TWENTY, **first)

    assert caller.send(*TWENTY, **again).status_code == 409
    assert sandbox.recipients() == TWENTY


def test_other_values_are_another_text_and_the_same_values_are_not(caller, sandbox):
    def send(name):
        values = {"name": {**dict.fromkeys(TWENTY, name), "default": "x"}}
        return caller.send(*TWENTY, message="Hello ${name}", parameters=values).status_code

    assert [send("Ann"), send("Bob"), send("Ann")] == [202, 202, 409]


def test_another_client_may_say_the_same(service, caller, sandbox):
    caller.send(*TWENTY)

    assert Caller(service, OTHER_KEY).send(*TWENTY).status_code == 202


@pytest.mark.parametrize(("hours", "status"), [(23.9, 409), (24.1, 202)])
def test_after_a_day_the_same_may_be_said_again(service, caller, sandbox, hours, status):
    caller.send(*TWENTY)

    shift_clock(service, hours * HOUR_S)
    sandbox.advance(hours * HOUR_S)

    assert caller.send(*TWENTY).status_code == status


def test_the_day_is_a_setting(make_service, sandbox):
    service = make_service(REPEAT_WINDOW_S="60", **PATIENT)
    Caller(service).send(*TWENTY)

    shift_clock(service, 61)

    assert Caller(service).send(*TWENTY).status_code == 202


def test_who_says_so_may_repeat(caller, sandbox):
    caller.send(*TWENTY)

    assert caller.send(*TWENTY, allow_duplicate=True).status_code == 202
    assert len(sandbox.recipients()) == 40


@pytest.mark.parametrize(
    ("count", "category", "status"),
    [
        (9, "transactional", 202),
        (10, "transactional", 409),
        (9, "marketing", 409),
        (1, "marketing", 409),
    ],
)
def test_only_a_few_transactional_texts_are_free_to_repeat(
    service, caller, sandbox, count, category, status
):
    add_people(service.extensions["clarion"], TWENTY[:count])
    caller.send(*TWENTY[:count], category=category)

    assert caller.send(*TWENTY[:count], category=category).status_code == status


def test_few_that_were_told_before_count_against_many(caller, sandbox):
    caller.send(*TWENTY[:9])

    assert caller.send(*TWENTY[:11]).status_code == 409


def test_one_that_waits_for_its_time_counts(caller, sandbox):
    caller.send(*TWENTY, send_at=in_hours(hours=5))

    assert caller.send(*TWENTY).status_code == 409


def test_one_that_was_cancelled_in_time_does_not_count(caller, sandbox):
    caller.act("cancel", caller.send(*TWENTY, send_at=in_hours(hours=5)))

    assert caller.send(*TWENTY).status_code == 202


def test_one_that_was_cancelled_before_it_was_cut_does_not_count(caller, sandbox):
    numbers = many_numbers(1001)
    caller.act("cancel", caller.send(*numbers))

    assert caller.send(*numbers).status_code == 202


def test_one_that_sinch_refused_does_not_count(caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_constraint_violation")
    assert caller.send(*TWENTY).status_code == 502

    assert caller.send(*TWENTY).status_code == 202


def test_one_that_is_held_counts_since_it_goes_out_later(caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=401, code="unauthorized")
    assert caller.send(*TWENTY).get_json()["status"] == "held"

    assert caller.send(*TWENTY).status_code == 409


def test_one_that_may_have_been_sent_counts(caller, sandbox):
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    assert caller.send(*TWENTY).get_json()["status"] == "unknown"

    assert caller.send(*TWENTY).status_code == 409


def test_one_that_expired_does_not_count(service, caller, sandbox):
    first = caller.send(*TWENTY, send_at=in_hours(hours=1), expire_at=in_hours(hours=2))
    work_off(service)
    shift_clock(service, 3 * HOUR_S)
    sweep(context_of(service))

    assert caller.show(first)["status"] == "expired"
    assert caller.send(*TWENTY).status_code == 202


@pytest.mark.parametrize("end", ["cancelled", "complete"])
def test_of_one_that_ended_half_way_only_who_got_it_counts(
    make_service, either_database, sandbox, end
):
    service = make_service(DATABASE_URL=either_database, **PATIENT)
    caller, numbers = Caller(service), many_numbers(1500)
    first = caller.send(*numbers, expire_at=in_hours(hours=1))
    _submit_one(service)
    if end == "cancelled":
        caller.act("cancel", first)
    else:
        shift_clock(service, 2 * HOUR_S)
        sweep(context_of(service))
    assert caller.show(first)["status"] == end

    assert caller.send(*numbers[500:1500]).status_code == 409
    assert caller.send(*numbers[1000:]).status_code == 202


def test_of_several_at_once_one_goes_out(either_service, sandbox):
    start = threading.Barrier(4)

    def send():
        caller = Caller(either_service)
        start.wait()
        return caller.send(*TWENTY).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = [each.result() for each in [pool.submit(send) for _ in range(4)]]

    assert sorted(statuses) == [202, 409, 409, 409]
    assert sandbox.recipients() == TWENTY


def _submit_one(service):
    """Plan all of it, and hand over the first batch."""
    plan_all(service)
    assert submit_next(context_of(service)) is True
