"""How long and how often: the sender's waits, by a clock that moves only when somebody sleeps."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses

from app.sinch.client import SinchClient
from app.sinch.schemas import OutgoingBatch
from app.sms.sending import Sender

BATCHES = "https://eu.sms.api.sinch.com/xms/v1/plan-1/batches"
ANN, BOB = "+46701234567", "+46707654321"
TAKEN = (201, {}, json.dumps({"id": "01JX0000000000000000000001"}))
NOTHING_LISTED = (200, {}, json.dumps({"count": 0, "batches": []}))


class Clock:
    """Seconds that pass while somebody sleeps, or when a test says so."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(round(seconds, 3))
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_sender(clock):
    """A function that makes a sender of a test's own budget, whose jitter is the ceiling."""
    sinch = SinchClient(
        url="https://eu.sms.api.sinch.com", service_plan_id="plan-1", api_token="token-1"
    )

    def make(budget_s, jitter=lambda low, high: high):
        return Sender(
            sinch=sinch,
            default_sender="Acme",
            budget_s=budget_s,
            lookup_waits_s=(0.3, 0.7, 1.0),
            clock=clock,
            sleep=clock.sleep,
            jitter=jitter,
        )

    yield make
    sinch.close()


def _batches(*recipients):
    return [
        OutgoingBatch(recipients=[number], text="x", sender="Acme", client_reference=f"cl-{number}")
        for number in recipients
    ]


def _busy(wish=None):
    return (429, {} if wish is None else {"Retry-After": str(wish)}, "")


def _answer(clock, *answers, takes_s=0.0, method=responses.POST):
    """Sinch's answers in their order, the last one again and again."""
    left = list(answers)

    def answer(request):
        clock.now += takes_s
        return left.pop(0) if len(left) > 1 else left[0]

    responses.add_callback(method, BATCHES, callback=answer)


def _statuses(outcomes):
    return [outcome.status.value for outcome in outcomes]


def _count(method):
    return sum(call.request.method == method for call in responses.calls)


@responses.activate
def test_sinchs_wish_is_waited_for_when_it_fits(make_sender, clock):
    _answer(clock, _busy(5), _busy(0), TAKEN)

    outcomes = make_sender(20).submit_within_budget(_batches(ANN))

    assert _statuses(outcomes) == ["accepted"]
    assert clock.slept == [5.0, 0.2]


@responses.activate
def test_a_wait_that_leaves_no_second_for_the_call_is_not_begun(make_sender, clock):
    _answer(clock, _busy(20), TAKEN)

    (outcome,) = make_sender(20.9).submit_within_budget(_batches(ANN))

    assert (outcome.status.value, outcome.retry_after_s) == ("busy", 20.0)
    assert (clock.slept, _count("POST")) == ([], 1)


@responses.activate
def test_without_a_wish_the_waits_double_up_to_eight_seconds(make_sender, clock):
    _answer(clock, _busy())

    outcomes = make_sender(32).submit_within_budget(_batches(ANN))

    assert _statuses(outcomes) == ["busy"]
    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@responses.activate
def test_however_the_jitter_falls_there_is_no_busy_loop(make_sender, clock):
    _answer(clock, _busy())

    make_sender(3, jitter=lambda low, high: low).submit_within_budget(_batches(ANN))

    assert set(clock.slept) == {0.2}


@responses.activate
def test_a_batch_is_not_begun_in_the_last_second_of_the_budget(make_sender, clock):
    _answer(clock, TAKEN, takes_s=9.1)

    outcomes = make_sender(10).submit_within_budget(_batches(ANN, BOB))

    assert _statuses(outcomes) == ["accepted", "not_tried"]
    assert _count("POST") == 1


@responses.activate
def test_patiently_each_batch_has_a_budget_of_its_own(make_sender, clock):
    _answer(clock, TAKEN, takes_s=9.1)

    outcomes = make_sender(10).submit_patiently(_batches(ANN, BOB), stop=lambda: False)

    assert _statuses(outcomes) == ["accepted", "accepted"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (_busy(60), "busy"),
        (requests.ConnectionError(), "unreachable"),
        ((403, {}, ""), "misconfigured"),
        ((500, {}, ""), "unknown"),
    ],
)
@responses.activate
def test_patiently_too_nothing_follows_what_would_fail_alike(make_sender, clock, answer, status):
    _answer(clock, answer)
    _answer(clock, NOTHING_LISTED, method=responses.GET)

    outcomes = make_sender(10).submit_patiently(_batches(ANN, BOB), stop=lambda: False)

    assert _statuses(outcomes) == [status, "not_tried"]


@responses.activate
def test_a_refused_payload_does_not_keep_the_next_batch_back(make_sender, clock):
    _answer(clock, (400, {}, ""), TAKEN)

    outcomes = make_sender(10).submit_patiently(_batches(ANN, BOB), stop=lambda: False)

    assert _statuses(outcomes) == ["rejected", "accepted"]


@responses.activate
def test_nothing_follows_a_batch_that_sinch_has_twice(make_sender, clock):
    twice = [{"id": f"01JX{n}", "to": [ANN], "client_reference": f"cl-{ANN}"} for n in (2, 1)]
    _answer(clock, (500, {}, ""))
    _answer(clock, (200, {}, json.dumps({"count": 2, "batches": twice})), method=responses.GET)
    responses.delete(f"{BATCHES}/01JX2", json={**twice[0], "canceled": True})

    outcomes = make_sender(10).submit_within_budget(_batches(ANN, BOB))

    assert _statuses(outcomes) == ["duplicated", "not_tried"]
    assert (_count("POST"), _count("DELETE")) == (1, 1)


@responses.activate
def test_the_list_is_asked_after_each_wait_from_an_hour_ago_on(make_sender, clock):
    _answer(clock, (500, {}, ""))
    _answer(clock, NOTHING_LISTED, method=responses.GET)

    outcomes = make_sender(10).submit_within_budget(_batches(ANN))

    assert _statuses(outcomes) == ["unknown"]
    assert (clock.slept, _count("GET"), _count("POST")) == ([0.3, 0.7, 1.0], 3, 1)
    query = parse_qs(urlsplit(responses.calls[-1].request.url).query)
    asked_from = datetime.fromisoformat(query["start_date"][0])
    assert asked_from < datetime.now(UTC) - timedelta(minutes=59)


@responses.activate
def test_a_slow_list_is_not_asked_beyond_its_time(make_sender, clock):
    _answer(clock, (500, {}, ""))
    _answer(clock, NOTHING_LISTED, method=responses.GET, takes_s=2.5)

    outcomes = make_sender(10).submit_within_budget(_batches(ANN))

    assert _statuses(outcomes) == ["unknown"]
    assert _count("GET") == 1


@responses.activate
def test_the_last_wait_is_shortened_to_what_is_left(make_sender, clock):
    _answer(clock, _busy())

    make_sender(5).submit_within_budget(_batches(ANN))

    assert clock.slept == [1.0, 2.0, 1.0]
