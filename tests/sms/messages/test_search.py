"""What one person was sent: all of it, the newest first, and why they did not get it."""

from datetime import datetime

import pytest

from app.sms.dispatch.circuit_breaker import close_circuit_by_hand
from app.worker.jobs import plan_next
from tests.background import context_of, work_off
from tests.callers import PATIENT, Caller, id_of, limit_scopes
from tests.endings import end_messages
from tests.factories import in_hours, many_numbers

ANN, BOB = "+46701234567", "+46707654321"
PATH = "/api/messages/search"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def _search(caller, recipient=ANN, **more):
    answer = caller.post(PATH, {"recipient": recipient, **more})
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_everything_is_told_of_a_message(either_service, sandbox):
    caller = Caller(either_service)
    caller.send(BOB)
    made = caller.send(
        ANN,
        BOB,
        message="Hello ${name}, at ${time}",
        parameters={"name": {ANN: "Ann", BOB: "Bob"}, "time": {"default": "8:30"}},
        reference="r-1",
        sender="Acme",
    )
    end_messages(context_of(either_service), made, {ANN: ("Failed", 153)})

    found = _search(caller, f"  {ANN} ")

    (message,) = found.pop("messages")
    (_, batch), shown = sandbox.batches(), caller.show(made)
    day = datetime.fromisoformat(shown["created_at"]).strftime("%Y-%m-%d %H:%M")
    assert found == {
        "recipient": ANN,
        "explanation": f"The newest, of {day} UTC, is failed: The phone was off or out of reach.",
        "cursor": None,
    }
    assert message == {
        "recipient": ANN,
        "status": "failed",
        "code": 153,
        "reason": "The phone was off or out of reach.",
        "retry": True,
        "at": "2026-03-01T12:00:05.250000+00:00",
        "batch_id": batch["id"],
        "client_reference": batch["client_reference"],
        "broadcast_id": id_of(made),
        "broadcast_status": "complete",
        "url": shown["url"],
        "client": "tests",
        "reference": "r-1",
        "sender": "Acme",
        "text": "Hello Ann, at 8:30",
        "created_at": shown["created_at"],
    }


def test_the_newest_come_first_each_once_page_by_page(either_service, sandbox):
    caller = Caller(either_service)
    made = [id_of(caller.send(ANN, BOB)) for _ in range(5)]
    made.append(id_of(caller.send(*many_numbers(1_500), ANN)))  # in no batch yet
    made.append(id_of(caller.send(ANN)))
    caller.send(BOB)

    found, cursor, explained = [], {}, []
    while cursor is not None:
        page = _search(caller, limit=2, **cursor)
        assert len(page["messages"]) <= 2
        found += [each["broadcast_id"] for each in page["messages"]]
        explained.append(page["explanation"] is not None)
        cursor = page["cursor"] and {"cursor": page["cursor"]}

    assert found == made[::-1]
    assert explained == [True, False, False, False]


def _delivered(service, caller, sandbox):
    made = caller.send(ANN)
    end_messages(context_of(service), made, {ANN: ("Delivered", 0)})
    return "delivered", "was delivered"


def _uncertain(service, caller, sandbox):
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    caller.send(ANN)
    return "unconfirmed", "may have been sent"


def _rejected(service, caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_constraint_violation")
    caller.send(ANN)
    return "rejected", "Refused"


def _held(service, caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=401, code="unauthorized")
    caller.send(ANN)
    return "held", "refuses our account or this sender"


def _paused(service, caller, sandbox):
    made = caller.send(*many_numbers(1_500), ANN)
    caller.act("pause", made)
    return "pending", "its broadcast is paused"


def _scheduled(service, caller, sandbox):
    caller.send(ANN, send_at=in_hours(24))
    while plan_next(context_of(service)):
        pass
    return "pending", "its broadcast is scheduled"


def _cancelled(service, caller, sandbox):
    made = caller.send(*many_numbers(1_500), ANN)
    caller.act("cancel", made)
    return "cancelled", "Cancelled before it was handed on"


def _submitted(service, caller, sandbox):
    caller.send(ANN)
    return "submitted", "no final status is reported yet"


def _unknown(service, caller, sandbox):
    made = caller.send(ANN)
    end_messages(context_of(service), made, {ANN: ("Unknown", 0)})
    return "unknown", "may have arrived"


def _opted_out(service, caller, sandbox):
    made = caller.send(ANN)
    end_messages(context_of(service), made, {ANN: ("Failed", 257)})
    return "failed", "opted out with the carrier"


STORIES = [
    _delivered, _uncertain, _rejected, _held, _paused, _scheduled, _cancelled, _submitted,
    _unknown, _opted_out,
]  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_why_somebody_did_not_get_it_is_said_in_a_sentence(service, caller, sandbox, story):
    status, why = story(service, caller, sandbox)

    found = _search(caller)

    assert [each["status"] for each in found["messages"]] == [status]
    assert why in found["explanation"]
    close_circuit_by_hand(context_of(service), actor="tests")
    work_off(service)


def test_of_a_number_that_is_in_none_it_is_said_that_it_is_in_none(either_service, sandbox):
    caller = Caller(either_service)
    caller.send(BOB, "0701234567", skip_invalid=True)
    caller.send(*[each.replace("+4670", "+467") for each in many_numbers(1_500)])

    known, improbable = _search(caller, ANN), _search(caller, "+46123")

    assert known["messages"] == improbable["messages"] == []
    assert known["explanation"].startswith("No stored broadcast sent anything to this number")
    assert "typing error" not in known["explanation"]
    assert "typing error" in improbable["explanation"]


def test_a_number_is_not_found_inside_of_a_longer_one(either_service, sandbox):
    caller = Caller(either_service)
    waiting = caller.send(*many_numbers(1_500), "+467012345678")
    caller.send("+4670123456789")

    assert _search(caller, "+46701234567")["messages"] == []
    (found,) = _search(caller, "+467012345678")["messages"]
    assert found["broadcast_id"] == id_of(waiting)


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "recipient"),
        ({"recipient": None}, "recipient"),
        ({"recipient": ""}, "recipient"),
        ({"recipient": "0701234567"}, "recipient"),
        ({"recipient": "46701234567"}, "recipient"),
        ({"recipient": 46701234567}, "recipient"),
        ({"recipient": ANN + "\0"}, "recipient"),
        ({"recipient": "%"}, "recipient"),
        ({"recipient": [ANN]}, "recipient"),
        ({"recipient": ANN, "limit": 0}, "limit"),
        ({"recipient": ANN, "limit": 201}, "limit"),
        ({"recipient": ANN, "limit": "5"}, "limit"),
        ({"recipient": ANN, "cursor": "x"}, "cursor"),
        ({"recipient": ANN, "cursor": "9" * 19}, "cursor"),
        ({"recipient": ANN, "cursor": ANN}, "cursor"),
        ({"recipient": ANN, "status": "failed"}, "status"),
    ],
)
def test_a_wrong_question_names_the_field(caller, sandbox, question, field):
    answer = caller.post(PATH, question)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]


def test_a_number_that_is_none_is_told_to_get_nothing(caller):
    answer = caller.post(PATH, {"recipient": "0701234567"})

    assert "nothing is ever sent to such an entry" in answer.get_json()["error"]


def test_only_who_may_see_numbers_may_search_them(make_service, sandbox):
    service = make_service()
    limit_scopes(service, "broadcasts:read", "broadcasts:send")

    answer = Caller(service).post(PATH, {"recipient": ANN})

    assert answer.status_code == 403
    assert "messages:read" in answer.get_json()["error"]


def test_no_number_and_no_text_gets_into_a_log(caller, sandbox, capfd):
    caller.send(ANN, message="a secret text")
    capfd.readouterr()

    _search(caller)

    logged = capfd.readouterr().err
    assert PATH in logged
    assert ANN[3:] not in logged
    assert "secret" not in logged
