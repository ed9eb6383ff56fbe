"""Listing, reading and cancelling batches; dry run."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.test_send import refusal

DAY_S = 24 * 3600


def in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@pytest.fixture
def busy_interpreter():
    """Threads change places as often as they can, so that a race is met."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def ids(listed):
    return [batch["id"] for batch in listed["batches"]]


def test_pages_start_at_zero_and_say_how_many_they_hold(sinch):
    sent = [sinch.send(client_reference=str(n))["id"] for n in range(5)]

    first, last, beyond = (sinch.get("/batches", page=n, page_size=2) for n in (0, 2, 3))

    assert ids(first) == [sent[4], sent[3]]
    assert (first["page"], first["page_size"], first["count"]) == (0, 2, 5)
    assert (ids(last), last["page_size"], last["count"]) == ([sent[0]], 1, 5)
    assert (beyond["batches"], beyond["page_size"], beyond["count"]) == ([], 0, 5)


def test_a_page_holds_thirty_unless_asked(sinch):
    for _ in range(31):
        sinch.send()

    assert sinch.get("/batches")["page_size"] == 30


@pytest.mark.parametrize("query", [
    {"page_size": 0}, {"page_size": 101}, {"page": -1}, {"page": "x"}, {"start_date": "x"},
])  # fmt: skip
def test_a_bad_query_is_400(sinch, query):
    assert sinch.ask("GET", "/batches", params=query).status_code == 400


def test_a_list_reaches_back_a_day_unless_told_and_never_beyond_fourteen(sinch, control):
    batch = sinch.send(client_reference="r")

    control.advance(DAY_S + 1)
    assert ids(sinch.get("/batches", client_reference="r")) == []
    assert ids(sinch.get("/batches", start_date="2020-01-01T00:00:00Z")) == [batch["id"]]
    assert sinch.get(f"/batches/{batch['id']}")["id"] == batch["id"]

    control.advance(13 * DAY_S)
    assert ids(sinch.get("/batches", start_date="2020-01-01T00:00:00Z")) == []
    assert sinch.ask("GET", f"/batches/{batch['id']}").status_code == 404


def test_the_start_is_inclusive_and_the_end_exclusive(sinch, control):
    batch = sinch.send()
    control.advance(1)
    at = batch["created_at"]

    before_it = datetime.fromisoformat(at) - timedelta(milliseconds=1)
    after_it = datetime.fromisoformat(at) + timedelta(milliseconds=1)
    assert ids(sinch.get("/batches", start_date=before_it.isoformat())) == [batch["id"]]
    assert ids(sinch.get("/batches", end_date=after_it.isoformat())) == [batch["id"]]
    assert ids(sinch.get("/batches", end_date=before_it.isoformat())) == []
    assert ids(sinch.get("/batches", start_date=after_it.isoformat())) == []


def test_a_batch_cancelled_before_its_start_has_an_empty_report(sinch, control):
    batch = sinch.send(send_at=in_an_hour())

    cancelled = sinch.ask("DELETE", f"/batches/{batch['id']}").json()

    control.advance(2 * 3600)
    assert cancelled["canceled"] is True
    assert sinch.get(f"/batches/{batch['id']}/delivery_report")["statuses"] == []


def test_cancelling_stops_only_what_still_waits(sinch, control):
    control.set(messages_per_second=1)
    batch = sinch.send(*[f"4670000000{n}" for n in range(4)])
    control.advance(2.1)

    sinch.ask("DELETE", f"/batches/{batch['id']}").raise_for_status()

    control.advance(60)
    assert sinch.statuses(batch["id"]) == {"Delivered 0": 2, "Cancelled 407": 2}


@pytest.mark.parametrize(("method", "tail"), [
    ("GET", ""), ("DELETE", ""), ("GET", "/delivery_report"),
])  # fmt: skip
def test_an_unknown_batch_is_404(sinch, method, tail):
    answer = sinch.ask(method, f"/batches/01JX0000000000000000000001{tail}", json={})

    assert refusal(answer) == (404, "not_found")


def test_a_dry_run_counts_parts_and_sends_nothing(sinch, control):
    order = {
        "to": ["46700000001", "46700000002"], "from": "1", "body": "${n}" + "a" * 100,
        "parameters": {"n": {"46700000002": "✓", "default": "Ann"}},
    } | {"from": "46700000900"}  # fmt: skip

    answer = sinch.ask("POST", "/batches/dry_run", json=order).json()

    assert answer == {"number_of_recipients": 2, "number_of_messages": 3}
    assert control.batches() == []


def test_the_time_printed_on_a_batch_finds_it_and_ends_before_it(sinch):
    for number in range(20):
        batch = sinch.send(client_reference=f"r{number}")

        since = sinch.get("/batches", client_reference=f"r{number}", start_date=batch["created_at"])
        until = sinch.get("/batches", client_reference=f"r{number}", end_date=batch["created_at"])

        assert (ids(since), ids(until)) == ([batch["id"]], [])


def test_batches_sent_at_once_are_listed_by_age(sinch, busy_interpreter):
    with ThreadPoolExecutor(32) as clients:
        list(clients.map(lambda _: sinch.post_batch(client_reference="r"), range(100)))

    listed = sinch.get("/batches", client_reference="r", page_size=100)["batches"]

    ages = [batch["created_at"] for batch in listed]
    assert len(ages) == 100
    assert ages == sorted(ages, reverse=True)


def test_a_list_is_filtered_by_reference(sinch):
    batch = sinch.send(client_reference="a")
    sinch.send(client_reference="b")

    assert ids(sinch.get("/batches", client_reference="a")) == [batch["id"]]
    assert ids(sinch.get("/batches", client_reference="A")) == []


def test_the_list_may_lag(sinch, control):
    control.set(list_delay_s=60)
    batch = sinch.send()["id"]

    assert ids(sinch.get("/batches")) == []
    assert sinch.get(f"/batches/{batch}")["id"] == batch
    control.advance(61)
    assert ids(sinch.get("/batches")) == [batch]


def test_cancelling_twice_or_too_late_is_409(sinch, control):
    sent, waiting = sinch.send()["id"], sinch.send(send_at=in_an_hour())["id"]
    control.advance(1)

    assert refusal(sinch.ask("DELETE", f"/batches/{sent}")) == (409, "conflict_send_at")
    assert sinch.ask("DELETE", f"/batches/{waiting}").status_code == 200
    assert refusal(sinch.ask("DELETE", f"/batches/{waiting}")) == (409, "conflict_send_at")
    assert sinch.statuses(sent) == {"Delivered 0": 1}
