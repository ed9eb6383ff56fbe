"""Texts from phones to us: each once, the newest first, and of nobody where that is not allowed."""

from datetime import UTC, datetime, timedelta

import pytest

from app.config.scopes import KeyScope
from tests.background import context_of
from tests.callers import PATIENT, Caller, id_of, limit_scopes
from tests.factories import many_numbers
from tests.reporting import inbound, tell

ANN, BOB = "+46701234567", "+46707654321"
PATH = "/api/inbounds"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _names(caller, **query):
    answer = caller.get(PATH, **query)
    assert answer.status_code == 200, answer.text
    return [each["sinch_id"] for each in answer.get_json()["inbounds"]]


def test_all_that_is_known_of_one_is_told(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN)
    tell(context_of(either_service), inbound(ANN, "Thanks!", client_reference="ref-1"))

    (told,) = caller.get(PATH).get_json()["inbounds"]

    recorded_at = datetime.fromisoformat(told.pop("recorded_at"))
    assert timedelta() <= datetime.now(UTC) - recorded_at < timedelta(minutes=1)
    assert isinstance(told.pop("inbound_id"), int)
    assert told == {
        "sinch_id": "01INBOUND",
        "kind": "mo_text",
        "sender": ANN,
        "recipient": "+12015550199",
        "body": "Thanks!",
        "received_at": "2026-03-01T12:00:05.250000+00:00",
        "client_reference": "ref-1",
        "broadcast_id": id_of(made),
    }


def test_the_newest_come_first_each_once_page_by_page(either_service, sandbox):
    numbers = many_numbers(7)
    for number in numbers:
        tell(context_of(either_service), inbound(number, "x", name=f"I{number[-1]}"))
    caller = Caller(either_service)

    found, query = [], {"limit": 3}
    while True:
        page = caller.get(PATH, **query).get_json()
        found.append([each["sinch_id"] for each in page["inbounds"]])
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]

    assert found == [["I6", "I5", "I4"], ["I3", "I2", "I1"], ["I0"]]


def test_they_can_be_chosen_by_kind_time_and_broadcast(either_service, sandbox):
    caller, ctx = Caller(either_service), context_of(either_service)
    first = caller.send(ANN)
    tell(ctx, inbound(ANN, "a", name="A"), inbound(BOB, "b", name="B"))
    between = datetime.now(UTC)
    second = caller.send(ANN, BOB)
    tell(ctx, inbound(ANN, "AQID", name="C", type="mo_binary", udh="050003"))

    assert _names(caller) == ["C", "B", "A"]
    assert _names(caller, kind="mo_text") == ["B", "A"]
    assert _names(caller, kind="mo_binary") == ["C"]
    assert _names(caller, since=between.isoformat()) == ["C"]
    assert _names(caller, broadcast_id=id_of(first)) == ["A"]
    assert _names(caller, broadcast_id=id_of(second)) == ["C"]
    assert _names(caller, broadcast_id=id_of(second), kind="mo_text") == []


@pytest.mark.parametrize("scopes", [(KeyScope.READ,), (KeyScope.READ, KeyScope.READ_NUMBERS)])
def test_without_the_scope_for_it_nobodys_number_is_shown(make_service, service, sandbox, scopes):
    tell(context_of(service), inbound(ANN, "I am Ann, call +46701234567 or 46701234567"))
    limited = make_service(**PATIENT)
    limit_scopes(limited, *scopes)

    answer = Caller(limited).get(PATH)

    (told,) = answer.get_json()["inbounds"]
    seen = KeyScope.READ_NUMBERS in scopes
    assert told["sender"] == (ANN if seen else "+46•••••••67")
    assert told["body"].startswith("I am Ann, call +46")
    assert ("6701234567" in answer.text) == seen
    assert told["recipient"] == "+12015550199"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": ANN}, "cursor"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-03-01T12:00:00"}, "since"),
        ({"since": "0001-01-01T00:00:00+23:00"}, "since"),
        ({"kind": ""}, "kind"),
        ({"kind": "k" * 17}, "kind"),
        ({"kind": "\0"}, "kind"),
        ({"broadcast_id": ""}, "broadcast_id"),
        ({"broadcast_id": "\0"}, "broadcast_id"),
        ({"sender": ANN}, "sender"),
    ],
)
def test_a_wrong_question_names_the_field(caller, query, field):
    answer = caller.get(PATH, **query)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]


def test_a_broadcast_that_there_is_not_is_told_as_such(caller):
    assert caller.get(PATH, broadcast_id="x").status_code == 404
