"""Every row of the failure model's outcome table, over a real socket: who is told what, and how
many POSTs reached Sinch.  More than one only where the first is proven not to have been taken.
"""

import json
import threading
import time

import pytest

from app.logs import configure_logging
from tests.factories import broadcast_to, many_numbers

NUMBER = "+46701234567"


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
    assert answer.get_json()["batch_ids"] == [sandbox.batches()[0]["id"]]
    assert sandbox.posts() == 1
    assert sandbox.recipients() == [NUMBER]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"do": "cut"}, id="cut"),
        pytest.param({"do": "reset"}, id="reset"),
        pytest.param({"do": "hang", "delay_s": 1.2}, id="silence"),
        pytest.param({"do": "answer", "status": 201, "shape": "no_id"}, id="201 without id"),
        *(
            pytest.param({"do": "answer", "status": status, "shape": "sinch"}, id=str(status))
            for status in (408, 409, 500, 502, 503, 504)
        ),
    ],
)
def test_not_confirmed_and_not_found_is_told_as_unknown_and_not_sent_again(send, sandbox, fault):
    _fault(sandbox, "before", **fault)

    answer = send()

    told = answer.get_json()
    assert answer.status_code == 504
    assert "may have been sent" in told["error"]
    assert "Do not send them again blindly" in told["error"]
    (reference,) = told["client_references"]
    assert reference in told["error"]
    assert [batch["status"] for batch in told["batches"]] == ["unknown"]
    assert told["batches"][0]["numbers"] == [NUMBER]
    assert "Retry-After" not in answer.headers
    assert sandbox.posts() == 1


def test_the_reference_told_is_the_one_sinch_was_given(send, sandbox):
    _fault(sandbox, "after", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)

    answer = send()

    assert answer.status_code == 504
    assert answer.get_json()["client_references"] == [sandbox.batches()[0]["client_reference"]]


def test_a_list_that_lags_is_asked_again(send, sandbox):
    sandbox.set(list_delay_s=0.1)
    _fault(sandbox, "after", do="cut")

    assert send().status_code == 202
    assert sandbox.posts() == 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_payload_refused_is_told_with_sinchs_words(send, sandbox, status):
    code, text = "syntax_constraint_violation", "something is too long"
    _fault(sandbox, "before", do="answer", status=status, shape="sinch", code=code, text=text)

    answer = send()

    told = answer.get_json()
    assert answer.status_code == 502
    assert told["error"] == "Failed to send SMS batch."
    assert told["details"] == {"status": status, "code": code, "text": text}
    assert told["batches"][0]["status"] == "rejected"
    assert sandbox.posts() == 1
    assert sandbox.recipients() == []


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 301, 302, 307, 308])
def test_a_refusal_of_everything_says_that_the_configuration_is_wrong(send, sandbox, status):
    _fault(sandbox, "before", do="answer", status=status, headers={"Location": "/elsewhere"})

    answer = send()

    assert answer.status_code == 502
    assert answer.get_json()["error"].startswith("Failed to send SMS batch.")
    assert "configuration" in answer.get_json()["error"]
    assert answer.get_json()["details"]["status"] == status
    assert sandbox.posts() == 1


def test_in_production_the_words_on_our_account_stay_inside(make_service, sandbox, auth):
    service = make_service()
    service.config["PRODUCTION"] = True
    client = service.test_client()
    for status in (401, 400):
        _fault(sandbox, "before", do="answer", status=status, code="secret_code", text="secret")

    refused = [
        client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER)).get_json()
        for _ in range(2)
    ]

    assert "details" not in refused[0]
    assert "secret" not in str(refused[0])
    assert refused[1]["details"]["code"] == "secret_code"


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {"Retry-After": "1"}, {}])
def test_too_busy_for_a_moment_is_tried_again(send, sandbox, headers):
    _fault(sandbox, "before", do="answer", status=429, headers=headers)

    answer = send()

    assert answer.status_code == 202
    assert sandbox.posts() == 2
    assert sandbox.recipients() == [NUMBER]


def test_too_busy_for_long_is_told_with_the_time_to_come_back(send, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)

    started = time.monotonic()
    answer = send()

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "77"
    assert "safe to send the same request again" in answer.get_json()["error"]
    assert answer.get_json()["batches"][0]["status"] == "busy"
    assert sandbox.posts() == 1
    assert time.monotonic() - started < 1.0


def test_too_busy_without_end_is_no_busy_loop(send, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "0"}, times=None)

    answer = send()

    assert answer.status_code == 503
    assert 2 <= sandbox.posts() <= 15
    assert sandbox.recipients() == []


@pytest.mark.parametrize("on", ["POST /batches", "*"])
def test_the_answer_comes_in_time_however_slow_sinch_is(make_service, sandbox, auth, on):
    budget_s, lookups_s = 2.0, 0.3 + 1.0
    client = make_service(
        SINCH_READ_TIMEOUT_S="20", SEND_BUDGET_S=str(budget_s), LOOKUP_WAITS_S="0.1,0.2"
    ).test_client()
    sandbox.order_fault(on=on, when="before", do="hang", delay_s=20, times=None)

    started = time.monotonic()
    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 504
    assert time.monotonic() - started < budget_s + lookups_s + 0.3


def test_never_connected_is_tried_again_until_it_is(make_service, sandbox, auth):
    client = make_service(SEND_BUDGET_S="8").test_client()
    sandbox.refuse(for_s=0.7)

    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 202
    assert sandbox.posts() == 1


def test_never_connected_in_time_is_told_as_safe_to_send_again(make_service, sandbox, auth):
    client = make_service(SINCH_REGION_URL="http://127.0.0.1:1").test_client()

    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "cannot be reached" in answer.get_json()["error"]
    assert answer.get_json()["batches"][0]["status"] == "unreachable"


def test_a_connection_kept_from_before_and_closed_since_does_not_send_twice(send, sandbox):
    send()
    sandbox.refuse(for_s=0.05)
    time.sleep(0.2)

    answers = [send() for _ in range(3)]

    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len(sandbox.recipients()) == 1 + len(accepted)
    assert sandbox.posts() == 4


def test_of_several_batches_each_is_told_when_a_later_one_is_unknown(send, sandbox):
    numbers = many_numbers(3500)
    sandbox.order_fault(on="POST /batches", when="before", do="cut", skip=1)

    answer = send(*numbers)

    told = answer.get_json()
    assert answer.status_code == 504
    assert [batch["status"] for batch in told["batches"]] == [
        "accepted",
        "unknown",
        "not_tried",
        "not_tried",
    ]
    assert [batch["recipients"] for batch in told["batches"]] == [1000, 1000, 1000, 500]
    assert "numbers" not in told["batches"][0]
    assert told["batches"][1]["numbers"] == numbers[1000:2000]
    assert told["batches"][3]["numbers"] == numbers[3000:]
    assert told["batch_ids"] == [sandbox.batches()[0]["id"]]
    assert told["recipients_accepted"] == 1000
    assert sandbox.recipients() == numbers[:1000]


def test_of_several_batches_one_refused_does_not_keep_the_others_back(send, sandbox):
    numbers = many_numbers(2500)
    sandbox.order_fault(on="POST /batches", when="before", do="answer", status=400, skip=1)

    answer = send(*numbers)

    told = answer.get_json()
    assert answer.status_code == 502
    assert [batch["status"] for batch in told["batches"]] == ["accepted", "rejected", "accepted"]
    assert "Only a part was sent: 1500 recipients accepted, 1000 not sent" in told["error"]
    assert "Do not send the whole again" in told["error"]
    assert told["batches"][1]["numbers"] == numbers[1000:2000]
    assert "Retry-After" not in answer.headers
    assert sandbox.recipients() == numbers[:1000] + numbers[2000:]


def test_after_a_refusal_of_our_configuration_nothing_more_is_tried(send, sandbox):
    _fault(sandbox, "before", do="answer", status=401)

    answer = send(*many_numbers(3000))

    assert [batch["status"] for batch in answer.get_json()["batches"]] == [
        "misconfigured",
        "not_tried",
        "not_tried",
    ]
    assert sandbox.posts() == 1


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


def test_silence_is_waited_for_no_longer_than_the_budget(make_service, sandbox, auth):
    client = make_service(SINCH_READ_TIMEOUT_S="20", SEND_BUDGET_S="2").test_client()
    _fault(sandbox, "before", do="hang", delay_s=5)

    started = time.monotonic()
    answer = client.post("/api/broadcast", headers=auth, json=broadcast_to(NUMBER))

    assert answer.status_code == 504
    assert time.monotonic() - started < 3.0


def test_a_list_that_hangs_does_not_hold_the_answer_back(send, sandbox):
    _fault(sandbox, "before", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="hang", delay_s=4, times=None)

    started = time.monotonic()
    answer = send()

    assert answer.status_code == 504
    assert time.monotonic() - started < 3.0


def test_of_several_batches_none_goes_out_when_the_first_is_too_busy(send, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)

    answer = send(*many_numbers(2000))

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "77"
    assert [batch["status"] for batch in answer.get_json()["batches"]] == ["busy", "not_tried"]
    assert answer.get_json()["details"]["status"] == 429
    assert sandbox.posts() == 1


def test_of_several_batches_none_goes_out_with_a_wrong_configuration(send, sandbox):
    _fault(sandbox, "before", do="answer", status=401)

    answer = send(*many_numbers(2000))

    assert answer.status_code == 502
    assert "configuration" in answer.get_json()["error"]
    assert "Retry-After" not in answer.headers


def test_a_refused_batch_before_a_busy_one_is_not_safe_to_send_again(send, sandbox):
    _fault(sandbox, "before", do="answer", status=400)
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "77"}, times=None)

    answer = send(*many_numbers(2000))

    told = answer.get_json()
    assert answer.status_code == 502
    assert [batch["status"] for batch in told["batches"]] == ["rejected", "busy"]
    assert "safe to send" not in told["error"]
    assert "Retry-After" not in answer.headers


def test_nobody_is_told_to_come_back_at_once(send, sandbox):
    _fault(sandbox, "before", do="answer", status=429, headers={"Retry-After": "0"}, times=None)

    assert int(send().headers["Retry-After"]) >= 1


@pytest.mark.parametrize("status", [300, 304])
def test_any_3xx_is_a_refusal(send, sandbox, status):
    _fault(sandbox, "before", do="answer", status=status)

    assert send().status_code == 502
    assert sandbox.posts() == 1


def test_what_the_log_says_of_a_call_without_an_answer(send, sandbox, capsys):
    configure_logging("INFO")
    _fault(sandbox, "before", do="cut")

    reference = send().get_json()["client_references"][0]

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["message"], line["level"], line.get("outcome")) for line in lines]
    assert ("sinch called", "info", "unknown") in told
    assert ("batch outcome unknown: it may have been sent", "error", None) in told
    assert {line["client_reference"] for line in lines if line["level"] == "error"} == {reference}


def test_a_wrong_configuration_is_an_error_in_the_log(send, sandbox, capsys):
    configure_logging("INFO")
    _fault(sandbox, "before", do="answer", status=401, code="unauthorized")

    send()

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (error,) = [line for line in lines if line["level"] == "error"]
    assert (error["message"], error["status"]) == ("sinch refuses our configuration", 401)
