"""Every row of the failure model's outcome table, over a real socket: who is told what, and how
many POSTs reached Sinch.  More than one only where the first is proven not to have been taken.
"""

import json
import threading
import time

import pytest

from app.logs import configure_logging
from tests.background import look_at, messages_of, work_off, work_until
from tests.factories import broadcast_to, many_numbers
from tests.kills.mortal import wait_until

NUMBER = "+46701234567"
# Far more than an answer in time takes on a busy machine, and half of what Sinch is silent for.
LONG_S = 10.0


@pytest.fixture
def send(client, auth):
    def send(*recipients, **more):
        body = broadcast_to(*(recipients or (NUMBER,)), **more)
        return client.post("/api/broadcast", headers=auth, json=body)

    return send


def _fault(sandbox, when, **fault):
    sandbox.order_fault(on="POST /batches", when=when, **fault)


def test_taken(send, sandbox):
    answer = send()

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete"
    assert answer.get_json()["batch_id"] == sandbox.batches()[0]["id"]
    assert sandbox.posts() == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"do": "cut"}, id="cut"),
        pytest.param({"do": "reset"}, id="reset"),
        pytest.param({"do": "hang", "delay_s": 1.2}, id="silence"),
        pytest.param({"do": "half_body"}, id="half a body"),
        pytest.param({"do": "answer", "status": 201, "shape": "empty"}, id="201 empty"),
        pytest.param({"do": "answer", "status": 201, "shape": "html"}, id="201 HTML"),
        pytest.param({"do": "answer", "status": 201, "shape": "not_json"}, id="201 not JSON"),
        pytest.param({"do": "answer", "status": 201, "shape": "no_id"}, id="201 without id"),
        pytest.param({"do": "answer", "status": 200, "shape": "no_id"}, id="200 without id"),
        pytest.param({"do": "answer", "status": 201, "shape": "huge"}, id="201 endless"),
        *(
            pytest.param({"do": "answer", "status": status, "shape": shape}, id=f"{status} {shape}")
            for status, shape in [
                (408, "sinch"),
                (409, "sinch"),
                (410, "problem"),
                (500, "sinch"),
                (501, "html"),
                (502, "html"),
                (503, "nested"),
                (504, "empty"),
                (599, "framework"),
            ]
        ),
    ],
)
def test_taken_but_not_confirmed_is_found_and_not_sent_again(send, sandbox, fault):
    _fault(sandbox, "after", **fault)

    answer = send()

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete"
    assert answer.get_json()["batch_ids"] == [sandbox.batches()[0]["id"]]
    assert sandbox.posts() == 1
    assert sandbox.recipients() == [NUMBER]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"do": "cut"}, id="cut"),
        pytest.param({"do": "reset"}, id="reset"),
        pytest.param({"do": "hang", "delay_s": 1.2}, id="silence"),
        *(
            pytest.param({"do": "answer", "status": status, "shape": "sinch"}, id=str(status))
            for status in (408, 409, 500, 502, 503, 504)
        ),
    ],
)
def test_not_confirmed_and_not_found_is_told_as_unknown_and_not_sent_again(
    send, service, sandbox, fault
):
    _fault(sandbox, "before", **fault)

    answer = send()
    work_off(service)

    told = answer.get_json()
    assert answer.status_code == 202
    assert (told["status"], told["batch_id"], told["batch_ids"]) == ("unknown", None, [])
    assert "it may have been sent, and is not sent twice" in told["message"]
    assert "Do not send it again" in told["message"]
    assert "Retry-After" not in answer.headers
    assert look_at(service, answer)["counts"]["unconfirmed"] == 1
    assert sandbox.posts() == 1


def test_a_201_without_an_id_is_believed_even_when_the_list_does_not_show_the_batch(
    send, service, sandbox
):
    _fault(sandbox, "before", do="answer", status=201, shape="no_id")

    answer = send()
    work_off(service)

    told = answer.get_json()
    assert (told["status"], told["batch_id"], told["batch_ids"]) == ("complete", None, [])
    assert look_at(service, answer)["counts"]["submitted"] == 1
    assert sandbox.posts() == 1


def test_the_reference_told_is_the_one_sinch_was_given(send, service, sandbox):
    _fault(sandbox, "after", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)

    answer = send()

    assert answer.get_json()["status"] == "unknown"
    (message,) = messages_of(service, answer)
    assert message == {
        "recipient": NUMBER,
        "status": "unconfirmed",
        "code": None,
        "reason": "It may have been sent; Sinch is asked about it.",
        "retry": False,
        "at": None,
        "batch_id": None,
        "client_reference": sandbox.batches()[0]["client_reference"],
    }


def test_what_is_unknown_is_found_later_by_the_background(make_service, sandbox, auth):
    # More times than a slow machine can miss: behind the last one it is minutes until the next.
    service = make_service(RECONCILE_AFTER_S="0.1,0.2,0.3,0.4,0.5,1,2,4,8,16,32")
    _fault(sandbox, "after", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    body = broadcast_to(NUMBER)
    answer = service.test_client().post("/api/broadcast", headers=auth, json=body)
    assert answer.get_json()["status"] == "unknown"
    sandbox.clear_faults()

    work_until(service, lambda: look_at(service, answer)["status"] == "complete")

    assert messages_of(service, answer)[0]["batch_id"] == sandbox.batches()[0]["id"]
    assert sandbox.posts() == 1


def test_a_list_that_lags_is_asked_again(send, sandbox):
    sandbox.set(list_delay_s=0.1)
    _fault(sandbox, "after", do="cut")

    assert send().status_code == 202
    assert sandbox.posts() == 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_payload_refused_is_told_with_sinchs_words(send, service, sandbox, status):
    code, text = "syntax_constraint_violation", "something is too long"
    _fault(sandbox, "before", do="answer", status=status, shape="sinch", code=code, text=text)

    answer = send()
    work_off(service)

    told = answer.get_json()
    assert answer.status_code == 502
    assert told["error"] == "Failed to send SMS batch."
    assert told["details"] == {"status": status, "code": code, "text": text}
    assert (told["status"], told["batch_id"]) == ("refused", None)
    assert look_at(service, answer)["counts"]["rejected"] == 1
    assert sandbox.posts() == 1
    assert sandbox.recipients() == []


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 300, 301, 302, 304, 307, 308])
def test_a_refusal_of_everything_says_that_the_configuration_is_wrong(
    send, service, sandbox, status
):
    _fault(sandbox, "before", do="answer", status=status, headers={"Location": "/elsewhere"})

    answer = send()
    work_off(service)

    told = answer.get_json()
    assert answer.status_code == 202
    assert "not sent yet" in told["message"]
    assert "Tell the operator" in told["message"]
    assert "do not send it again" in told["message"]
    assert (told["status"], told["batch_id"]) == ("held", None)
    assert "Retry-After" not in answer.headers
    assert look_at(service, answer)["counts"]["held"] == 1
    assert look_at(service, answer)["refusal"]["status"] == status
    assert sandbox.posts() == 1


def test_in_production_the_words_on_our_account_stay_inside(make_service, sandbox, auth):
    service = make_service()
    service.config["PRODUCTION"] = True
    client = service.test_client()
    for status in (400, 401):
        _fault(sandbox, "before", do="answer", status=status, code="secret_code", text="secret")

    refused = [
        client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER)).get_json()
        for _ in range(2)
    ]

    assert refused[0]["details"]["code"] == "secret_code"
    assert refused[1]["status"] == "held"
    assert "secret" not in str(refused[1])
    shown = client.get(refused[1]["url"], headers=auth).get_json()
    assert (shown["counts"]["held"], shown["refusal"]) == (1, None)


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {"Retry-After": "1"}, {}])
def test_too_busy_for_a_moment_is_tried_again(make_service, sandbox, auth, headers):
    client = make_service(SEND_BUDGET_S="8").test_client()
    _fault(sandbox, "before", do="answer", status=429, headers=headers)

    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete"
    assert sandbox.posts() == 2
    assert sandbox.recipients() == [NUMBER]


def test_too_busy_for_long_is_kept_and_nobody_is_kept_waiting(send, service, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)

    started = time.monotonic()
    answer = send()
    took_s = time.monotonic() - started

    told = answer.get_json()
    assert answer.status_code == 202
    assert (told["status"], told["batch_id"]) == ("sending", None)
    assert told["message"] == "Broadcast accepted; it is sent in the background."
    assert "Retry-After" not in answer.headers
    assert took_s < LONG_S
    assert sandbox.posts() == 1


def test_after_one_was_told_to_wait_all_wait(send, service, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)
    send()

    next_one = send("+46707654321")
    work_off(service)

    assert next_one.status_code == 202
    assert (next_one.get_json()["status"], next_one.get_json()["batch_id"]) == ("queued", None)
    assert sandbox.posts() == 1


def test_too_busy_without_end_is_no_busy_loop(send, service, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "0"}, times=None)

    answer = send()

    assert answer.status_code == 202
    assert answer.get_json()["batch_id"] is None
    assert look_at(service, answer)["counts"]["pending"] == 1
    # Nobody comes back at once, though Sinch says so: one a second within 3 s, and none in the
    # last, in which its answer could not be waited for.
    assert 1 <= sandbox.posts() <= 3
    assert sandbox.recipients() == []


@pytest.mark.slow
@pytest.mark.parametrize("on", ["POST /batches", "*"])
def test_the_answer_comes_in_time_however_slow_sinch_is(make_service, sandbox, auth, on):
    # The budget and the look-ups take 3.3 s together; Sinch would take a minute.
    client = make_service(
        SINCH_READ_TIMEOUT_S="60", SEND_BUDGET_S="2", LOOKUP_WAITS_S="0.1,0.2"
    ).test_client()
    sandbox.order_fault(on=on, when="before", do="hang", delay_s=60, times=None)

    started = time.monotonic()
    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "unknown"
    assert time.monotonic() - started < 30.0


def test_never_connected_is_tried_again_until_it_is(make_service, sandbox, auth):
    client = make_service(SEND_BUDGET_S="8").test_client()
    sandbox.refuse(for_s=0.7)

    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete"
    assert sandbox.posts() == 1


def test_never_connected_in_time_is_kept_and_sent_once_sinch_can_be_reached(
    make_service, sandbox, auth
):
    client = make_service(
        SINCH_REGION_URL="http://127.0.0.1:1", SEND_BUDGET_S="2", RETRY_WAIT_MAX_S="1"
    ).test_client()

    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    told = answer.get_json()
    assert answer.status_code == 202
    assert (told["status"], told["batch_id"]) == ("sending", None)
    assert told["message"] == "Broadcast accepted; it is sent in the background."
    assert sandbox.posts() == 0

    seconds_from_now = make_service()
    work_until(seconds_from_now, sandbox.posts)

    assert look_at(seconds_from_now, answer)["status"] == "complete"
    assert sandbox.recipients() == [NUMBER]


def test_a_connection_kept_from_before_and_closed_since_does_not_send_twice(send, sandbox):
    send()
    sandbox.refuse(for_s=0.05)
    time.sleep(0.2)
    wait_until(sandbox.requests, within_s=60, why="the sandbox listens again")

    answers = [send() for _ in range(3)]

    told = [answer.get_json()["status"] for answer in answers]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert set(told) <= {"complete", "unknown"}
    assert len(sandbox.recipients()) == 1 + told.count("complete")
    assert sandbox.posts() == 4


def test_of_several_batches_an_unknown_one_does_not_keep_the_others_back(send, service, sandbox):
    numbers = many_numbers(3500)
    sandbox.order_fault(on="POST /batches", when="before", do="cut", skip=1)

    answer = send(*numbers)
    work_off(service)

    assert answer.status_code == 202
    shown = look_at(service, answer)
    assert shown["status"] == "unknown"
    assert shown["batches"] == {"accepted": 3, "unknown": 1}
    assert (shown["counts"]["submitted"], shown["counts"]["unconfirmed"]) == (2500, 1000)
    messages = messages_of(service, answer)
    assert [message["recipient"] for message in messages] == numbers
    assert [message["status"] for message in messages] == (
        ["submitted"] * 1000 + ["unconfirmed"] * 1000 + ["submitted"] * 1500
    )
    assert messages[0]["batch_id"] == sandbox.batches()[0]["id"]
    assert sandbox.recipients() == numbers[:1000] + numbers[2000:]
    assert sandbox.posts() == 4


def test_of_several_batches_one_refused_does_not_keep_the_others_back(send, service, sandbox):
    numbers = many_numbers(2500)
    code = "syntax_constraint_violation"
    sandbox.order_fault(
        on="POST /batches", when="before", do="answer", status=400, code=code, skip=1
    )

    answer = send(*numbers)
    work_off(service)

    shown = look_at(service, answer)
    assert shown["status"] == "complete"
    assert shown["batches"] == {"accepted": 2, "rejected": 1}
    assert (shown["counts"]["submitted"], shown["counts"]["rejected"]) == (1500, 1000)
    assert (shown["refusal"]["status"], shown["refusal"]["code"]) == (400, code)
    assert [message["status"] for message in messages_of(service, answer)] == (
        ["submitted"] * 1000 + ["rejected"] * 1000 + ["submitted"] * 500
    )
    assert sandbox.recipients() == numbers[:1000] + numbers[2000:]
    assert sandbox.posts() == 3


def test_after_a_refusal_of_our_configuration_nothing_more_is_tried(send, service, sandbox):
    _fault(sandbox, "before", do="answer", status=401)

    answer = send(*many_numbers(3000))
    work_off(service)
    next_one = send()
    work_off(service)

    shown = look_at(service, answer)
    assert shown["batches"] == {"held": 1, "pending": 2}
    assert (shown["counts"]["held"], shown["counts"]["pending"]) == (1000, 2000)
    assert shown["refusal"]["status"] == 401
    assert next_one.status_code == 202
    assert (next_one.get_json()["status"], next_one.get_json()["batch_id"]) == ("queued", None)
    assert sandbox.posts() == 1
    assert sandbox.recipients() == []


def test_ten_broadcasts_at_once_are_ten_batches(service, sandbox, auth):
    codes = []

    def send_one(number):
        with service.test_client() as client:
            answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(number))
            codes.append(answer.status_code)

    threads = [threading.Thread(target=send_one, args=(n,)) for n in many_numbers(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [202] * 10
    assert sorted(sandbox.recipients()) == many_numbers(10)


@pytest.mark.slow
def test_silence_is_waited_for_no_longer_than_the_budget(make_service, sandbox, auth):
    client = make_service(SINCH_READ_TIMEOUT_S="20", SEND_BUDGET_S="2").test_client()
    _fault(sandbox, "before", do="hang", delay_s=20)

    started = time.monotonic()
    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "unknown"
    assert time.monotonic() - started < LONG_S


def test_a_list_that_hangs_does_not_hold_the_answer_back(send, sandbox):
    _fault(sandbox, "before", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="hang", delay_s=20, times=None)

    started = time.monotonic()
    answer = send()

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "unknown"
    assert time.monotonic() - started < LONG_S


def test_of_several_batches_none_goes_out_when_the_first_is_too_busy(send, service, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)

    answer = send(*many_numbers(2000))
    work_off(service)

    assert answer.status_code == 202
    assert look_at(service, answer)["batches"] == {"pending": 2}
    assert look_at(service, answer)["counts"]["pending"] == 2000
    assert sandbox.posts() == 1


def test_a_refused_batch_before_a_busy_one_is_final_and_the_busy_one_is_kept(
    send, service, sandbox
):
    code = "syntax_constraint_violation"
    _fault(sandbox, "before", do="answer", status=400, code=code)
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)

    answer = send(*many_numbers(2000))
    work_off(service)

    shown = look_at(service, answer)
    assert shown["status"] == "sending"
    assert shown["batches"] == {"pending": 1, "rejected": 1}
    assert sandbox.posts() == 2


def test_what_the_log_says_of_a_call_without_an_answer(send, service, sandbox, capsys):
    configure_logging("INFO")
    _fault(sandbox, "before", do="cut")

    answer = send()

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["message"], line["level"], line.get("outcome")) for line in lines]
    assert ("sinch called", "info", "unknown") in told
    (warning,) = [line for line in lines if line["level"] == "warning"]
    assert warning["message"] == "batch outcome unknown: sinch will be asked"
    assert warning["client_reference"] == messages_of(service, answer)[0]["client_reference"]


def test_a_wrong_configuration_is_an_error_in_the_log(send, sandbox, capsys):
    configure_logging("INFO")
    _fault(sandbox, "before", do="answer", status=401, code="unauthorized")

    send()

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (error,) = [line for line in lines if line["level"] == "error"]
    assert error["message"] == "sinch rejects all payloads: sending stops"
    assert (error["status"], error["code"]) == (401, "unauthorized")
