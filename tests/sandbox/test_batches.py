"""Listing, reading, altering and cancelling batches; dry run and feedback."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.test_send import CONSTRAINT, refusal

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


def test_a_list_is_filtered_by_reference_and_sender(sinch):
    one = sinch.send(client_reference="a", **{"from": "46700000901"})
    two = sinch.send(client_reference="b", **{"from": "Clarion"})
    sinch.send(client_reference="c")

    assert ids(sinch.get("/batches", client_reference="a")) == [one["id"]]
    assert ids(sinch.get("/batches", **{"from": "+46700000901,Clarion"})) == [two["id"], one["id"]]
    assert ids(sinch.get("/batches", client_reference="A")) == []


def test_the_list_may_lag_and_be_ordered_otherwise(sinch, control):
    control.set(list_delay_s=60)
    one, two = sinch.send()["id"], sinch.send()["id"]

    assert ids(sinch.get("/batches")) == []
    control.advance(61)
    assert ids(sinch.get("/batches")) == [two, one]
    control.set(list_order="oldest_first")
    assert ids(sinch.get("/batches")) == [one, two]


def test_a_batch_may_take_a_while_to_load(sinch, control):
    control.set(not_loaded_s=30)
    path = f"/batches/{sinch.send()['id']}"

    assert refusal(sinch.ask("GET", path)) == (404, "not_found")
    control.advance(31)
    assert sinch.ask("GET", path).status_code == 200


def test_a_scheduled_batch_can_be_updated(sinch, control):
    batch = sinch.send("46700000001", "46700000002", send_at=in_an_hour(), client_reference="a")

    changed = sinch.ask("POST", f"/batches/{batch['id']}", json={
        "to_add": ["+46700000003"], "to_remove": ["46700000001"], "body": "later",
    }).json()  # fmt: skip

    assert changed["to"] == ["46700000002", "46700000003"]
    assert (changed["body"], changed["client_reference"]) == ("later", "a")
    assert changed["id"] == batch["id"]
    assert changed["modified_at"] > batch["modified_at"]
    assert control.recipients() == ["+46700000002", "+46700000003"]


def test_replacing_returns_what_is_not_given_to_its_default(sinch, control):
    control.set(callback_url="http://127.0.0.1:9/")
    batch = sinch.send(send_at=in_an_hour(), delivery_report="full", client_reference="a")

    sent = {"to": ["46700000009"], "from": "46700000900", "body": "new", "send_at": in_an_hour()}
    changed = sinch.ask("PUT", f"/batches/{batch['id']}", json=sent).json()

    assert (changed["id"], changed["to"]) == (batch["id"], ["46700000009"])
    assert changed["delivery_report"] == "none"
    assert "client_reference" not in changed
    assert sinch.get("/batches", client_reference="a")["count"] == 0


def test_a_dispatched_batch_can_no_longer_be_altered(sinch, control):
    batch = sinch.send()
    control.advance(1)

    answer = sinch.ask("POST", f"/batches/{batch['id']}", json={"body": "x"})

    assert refusal(answer) == (403, "batch_already_dispatched")


def test_emptying_or_overfilling_a_batch_is_refused(sinch):
    batch = sinch.send(send_at=in_an_hour())
    path = f"/batches/{batch['id']}"

    assert refusal(sinch.ask("POST", path, json={"to_remove": batch["to"]})) == CONSTRAINT
    many = {"to_add": [f"467{n:08d}" for n in range(101)]}
    assert refusal(sinch.ask("POST", path, json=many)) == CONSTRAINT


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


@pytest.mark.parametrize(("conflict", "too_late", "again"), [
    ("both", 409, 409), ("too_late", 409, 200), ("already_cancelled", 200, 409),
    ("never", 200, 200),
])  # fmt: skip
def test_what_cancelling_conflicts_with_is_switchable(sinch, control, conflict, too_late, again):
    control.set(cancel_conflict=conflict)
    gone, waiting = sinch.send()["id"], sinch.send(send_at=in_an_hour())["id"]
    control.advance(1)

    assert sinch.ask("DELETE", f"/batches/{gone}").status_code == too_late
    assert sinch.ask("DELETE", f"/batches/{waiting}").status_code == 200
    assert sinch.ask("DELETE", f"/batches/{waiting}").status_code == again
    assert sinch.statuses(gone) == {"Delivered 0": 1}


@pytest.mark.parametrize(("method", "tail"), [
    ("GET", ""), ("POST", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/delivery_feedback"),
    ("GET", "/delivery_report"), ("GET", "/delivery_report/46700000001"),
])  # fmt: skip
def test_an_unknown_batch_is_404(sinch, method, tail):
    answer = sinch.ask(method, f"/batches/01JX0000000000000000000001{tail}", json={})

    assert refusal(answer) == (404, "not_found")


def test_a_dry_run_counts_parts_and_sends_nothing(sinch, control):
    order = {
        "to": ["46700000001", "46700000002"], "from": "1", "body": "${n}" + "a" * 100,
        "parameters": {"n": {"46700000002": "✓", "default": "Ann"}},
    } | {"from": "46700000900"}  # fmt: skip

    bare = sinch.ask("POST", "/batches/dry_run", json=order).json()
    one = sinch.ask("POST", "/batches/dry_run?per_recipient=true&number_of_recipients=1",
                    json=order).json()  # fmt: skip

    assert bare == {"number_of_recipients": 2, "number_of_messages": 3}
    assert one["per_recipient"] == [{"recipient": "46700000001", "body": "Ann" + "a" * 100,
                                     "number_of_parts": 1, "encoding": "text"}]  # fmt: skip
    assert control.batches() == []


def test_a_dry_run_can_name_encodings_as_the_reports_do(sinch, control):
    control.set(dry_run_encodings="gsm_unicode", auto_encoding=True)
    order = {"to": ["46700000001"], "from": "46700000900", "body": "\u2019" * 71}

    answer = sinch.ask("POST", "/batches/dry_run?per_recipient=true", json=order).json()

    assert answer["per_recipient"][0]["encoding"] == "GSM"
    assert answer["per_recipient"][0]["body"] == "'" * 71


def test_feedback_is_taken_with_202_and_no_body(sinch):
    path = f"/batches/{sinch.send(feedback_enabled=True)['id']}/delivery_feedback"

    answer = sinch.ask("POST", path, json={"recipients": []})

    assert (answer.status_code, answer.content) == (202, b"")
    assert refusal(sinch.ask("POST", path, json={})) == CONSTRAINT
    plain = f"/batches/{sinch.send()['id']}/delivery_feedback"
    assert sinch.ask("POST", plain, json={"recipients": []}).status_code == 400


def test_the_time_printed_on_a_batch_finds_it_and_ends_before_it(sinch):
    for number in range(20):
        batch = sinch.send(client_reference=f"r{number}")

        since = sinch.get("/batches", client_reference=f"r{number}", start_date=batch["created_at"])
        until = sinch.get("/batches", client_reference=f"r{number}", end_date=batch["created_at"])

        assert (ids(since), ids(until)) == ([batch["id"]], [])


def test_an_older_batch_renamed_does_not_hide_a_newer_one_of_that_reference(sinch, control):
    older = sinch.send(client_reference="a", send_at=in_an_hour())["id"]
    control.advance(1)
    newer = sinch.send(client_reference="b")
    sinch.ask("POST", f"/batches/{older}", json={"client_reference": "b"})

    listed = sinch.get("/batches", client_reference="b")
    since = sinch.get("/batches", client_reference="b", start_date=newer["created_at"])

    assert ids(listed) == [newer["id"], older]
    assert ids(since) == [newer["id"]]


def test_batches_sent_at_once_are_listed_by_age(sinch, busy_interpreter):
    with ThreadPoolExecutor(32) as clients:
        list(clients.map(lambda _: sinch.post_batch(client_reference="r"), range(100)))

    listed = sinch.get("/batches", client_reference="r", page_size=100)["batches"]

    ages = [batch["created_at"] for batch in listed]
    assert len(ages) == 100
    assert ages == sorted(ages, reverse=True)


def test_updates_made_at_once_all_count(sinch, control, busy_interpreter):
    batch = sinch.send(send_at=in_an_hour())

    def add(number):
        changes = {"to_add": [str(46700001000 + number)]}
        return sinch.ask("POST", f"/batches/{batch['id']}", json=changes).status_code

    with ThreadPoolExecutor(16) as clients:
        assert set(clients.map(add, range(150))) == {200}

    assert len(sinch.get(f"/batches/{batch['id']}")["to"]) == 151


def test_a_batch_dispatched_and_expired_is_said_to_be_dispatched(sinch, control):
    batch = sinch.send(expire_at=in_an_hour())
    control.advance(2 * 3600)

    answer = sinch.ask("POST", f"/batches/{batch['id']}", json={"body": "late"})

    assert (answer.status_code, answer.json()["code"]) == (403, "batch_already_dispatched")


def test_feedback_on_a_batch_to_a_group_names_its_recipients(sinch):
    group = sinch.ask("POST", "/groups", json={"members": ["46700000001"]}).json()["id"]
    batch = sinch.send(group, feedback_enabled=True)
    path = f"/batches/{batch['id']}/delivery_feedback"

    everybody = sinch.ask("POST", path, json={"recipients": []})
    somebody = sinch.ask("POST", path, json={"recipients": ["46700000001"]})

    assert (everybody.status_code, somebody.status_code) == (400, 202)


def test_a_list_is_filtered_by_a_sender_in_any_accepted_form(sinch):
    batch = sinch.send(**{"from": "+46 700 000 900"})

    for written in ("46700000900", "+46700000900", "0046700000900"):
        assert ids(sinch.get("/batches", **{"from": written})) == [batch["id"]]


def _dry_line(sinch, **fields):
    sent = {"to": ["46700000001"], "from": "46700000900"} | fields
    answer = sinch.ask("POST", "/batches/dry_run?per_recipient=true", json=sent)
    line = answer.json()["per_recipient"][0]
    return line["body"], line["number_of_parts"], line["encoding"]


def test_auto_encoding_comes_before_cutting_to_one_part(sinch, control):
    control.set(auto_encoding=True)

    fits = _dry_line(sinch, body="\u2019" + "a" * 99, truncate_concat=True)
    cut = _dry_line(sinch, body="\u2019" + "a" * 199, truncate_concat=True)

    assert fits == ("'" + "a" * 99, 1, "text")
    assert cut == ("'" + "a" * 159, 1, "text")


def test_auto_encoding_leaves_a_text_alone_that_would_take_no_fewer_parts(sinch, control):
    control.set(auto_encoding=True)
    text = "\u4e2d" + "\u2026" * 71

    assert _dry_line(sinch, body=text) == (text, 2, "unicode")


def test_a_dry_run_of_a_media_message_shows_its_text(sinch):
    body = {"url": "https://example.com/a.png", "message": "Hi ${name}"}

    assert _dry_line(sinch, type="mt_media", body=body)[0] == "Hi ${name}"
