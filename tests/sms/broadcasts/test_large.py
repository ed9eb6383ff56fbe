"""Audiences above what one request hands over: stored at once, cut and sent behind it."""

import json
import threading
import time

import pytest
import requests

from app.worker.jobs import plan_next
from tests.background import work_off
from tests.callers import PATIENT, Caller
from tests.factories import AUTH, many_numbers


@pytest.fixture
def either_service(make_service, either_database, sandbox):
    return make_service(DATABASE_URL=either_database, **PATIENT)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _shuffled(count):
    """All of them, in an order that is none: 7919 is prime to every count here."""
    numbers = many_numbers(count)
    return [numbers[place * 7919 % count] for place in range(count)]


def _at_sinch(sandbox):
    answer = requests.get(
        f"{sandbox.url}/xms/v1/sandbox/batches",
        params={"page_size": 100},
        headers={"Authorization": "Bearer sandbox"},
        timeout=30,
    )
    return answer.json()["batches"]


@pytest.mark.parametrize("count", [1001, 20_000])
def test_up_to_twenty_batches_go_out_in_the_order_given(either_service, sandbox, count):
    numbers = _shuffled(count)

    made = Caller(either_service).send(*numbers)
    work_off(either_service)

    assert sandbox.recipients() == numbers
    assert Caller(either_service).show(made)["batches"] == {"accepted": -(-count // 1000)}


def test_larger_ones_go_out_in_the_order_of_their_numbers_each_once(either_service, sandbox):
    numbers = _shuffled(20_001)

    made = Caller(either_service).send(*numbers)
    work_off(either_service)

    assert sandbox.recipients() == sorted(numbers)
    assert sandbox.ledger_summary()["batches"] == 21
    assert Caller(either_service).show(made)["status"] == "complete"


@pytest.mark.parametrize("count", [1500, 20_500])
def test_everybody_gets_their_own_values_however_they_are_ordered(either_service, sandbox, count):
    numbers = _shuffled(count)
    values = {each: f"no. {each[-5:]}" for each in numbers[::2]}
    code = {numbers[1]: "A"}

    made = Caller(either_service).send(
        *numbers,
        message="Hello ${name}, ${code}",
        parameters={"name": {**values, "default": "friend"}, "code": {**code, "default": "-"}},
    )
    work_off(either_service)

    assert made.status_code == 202
    names, codes = {}, {}
    for batch in _at_sinch(sandbox):
        for own, name in ((names, "name"), (codes, "code")):
            given = batch["parameters"][name]
            assert given.pop("default") == {"name": "friend", "code": "-"}[name]
            own.update({f"+{number.lstrip('+')}": value for number, value in given.items()})
    assert names == values
    assert codes == code


def test_of_a_number_given_twice_one_is_sent(service, sandbox):
    numbers = many_numbers(1800)

    made = Caller(service).send(*numbers, *numbers[:900], f" {numbers[0]} ")
    work_off(service)

    assert made.get_json()["duplicates_removed"] == 901
    assert sandbox.recipients() == numbers


def test_several_who_cut_at_once_cut_once(make_service, either_database, sandbox):
    services = [make_service(DATABASE_URL=either_database, **PATIENT) for _ in range(3)]
    made = Caller(services[0]).send(*_shuffled(45_000))
    start = threading.Barrier(3)

    def plan(service):
        start.wait()
        while plan_next(service.extensions["clarion"]):
            pass

    workers = [threading.Thread(target=plan, args=(each,)) for each in services]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    view = Caller(services[0]).show(made)
    assert view["batches"] == {"pending": 45}
    assert view["counts"]["pending"] == 45_000  # and that each is in one, the books say afterwards


def test_cutting_goes_on_where_it_ended_after_a_restart(make_service, either_database, sandbox):
    first = make_service(DATABASE_URL=either_database, **PATIENT)
    made = Caller(first).send(*_shuffled(25_000))
    plan_next(first.extensions["clarion"])
    assert Caller(first).show(made)["batches"] == {"pending": 20}

    second = make_service(DATABASE_URL=either_database, **PATIENT)
    work_off(second)

    assert sandbox.recipients() == many_numbers(25_000)
    assert Caller(second).show(made)["status"] == "complete"


@pytest.mark.slow
def test_a_million_in_one_request_are_durable_within_seconds(service, sandbox):
    """How long and how much memory exactly, `bench/` measures; this is that it works at all."""
    body = json.dumps(
        {"recipients": [f"+4670{n:07d}" for n in range(1_000_000)], "message": "Hello"}
    )
    started = time.monotonic()

    answer = service.test_client().post(
        "/api/broadcast", data=body, content_type="application/json", headers=AUTH
    )

    assert answer.status_code == 202
    assert time.monotonic() - started < 30
    view = Caller(service).show(answer)
    assert (view["recipients"], view["counts"]["pending"]) == (1_000_000, 1_000_000)
    Caller(service).act("cancel", answer)
    assert Caller(service).show(answer)["counts"]["cancelled"] == 1_000_000


def test_one_more_than_a_million_is_refused(service, sandbox):
    answer = Caller(service).send(*["+46700000000"] * 1_000_001)

    assert answer.status_code == 400
    assert "recipients" in answer.get_json()["fields"]
