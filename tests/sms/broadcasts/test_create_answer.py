"""What a client is told at the end of its request: the status, the sentence and the facts."""

import contextlib
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import requests
from requests.adapters import HTTPAdapter
from sqlalchemy import text
from urllib3.util import Retry
from werkzeug.serving import make_server

from app.sms.dispatch.circuit_breaker import close_circuit_by_hand
from app.sms.operations.restore import mark_restored
from tests.background import context_of, work_off
from tests.callers import PATIENT, Caller, id_of
from tests.clocks import ManualClock
from tests.factories import AUTH, broadcast_to, many_numbers

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


@pytest.fixture
def caller(service):
    return Caller(service)


def test_taken(caller, sandbox):
    answer = caller.send(ANN)

    assert (answer.status_code, answer.get_json()["status"]) == (202, "complete")
    assert answer.get_json()["message"] == "SMS batch submitted successfully to Sinch."
    assert answer.get_json()["batch_ids"] == [sandbox.batches()[0]["id"]]


def test_a_large_audience(caller, sandbox):
    answer = caller.send(*many_numbers(1001))

    assert (answer.status_code, answer.get_json()["status"]) == (202, "queued")
    assert "in the background" in answer.get_json()["message"]
    assert answer.get_json()["batch_id"] is None
    assert sandbox.posts() == 0


def test_one_for_later(caller, sandbox):
    seconds_from_now = datetime.now(UTC) + timedelta(hours=1)

    answer = caller.send(ANN, send_at=seconds_from_now.isoformat())

    assert (answer.status_code, answer.get_json()["status"]) == (202, "scheduled")
    assert "at its time" in answer.get_json()["message"]


@pytest.mark.parametrize("fault", [{"status": 429, "headers": {"Retry-After": "60"}}])
def test_sinch_has_too_much_to_do(caller, sandbox, fault):
    sandbox.order_fault(on="POST /batches", **fault)

    answer = caller.send(ANN)

    assert (answer.status_code, answer.get_json()["batch_id"]) == (202, None)
    assert "in the background" in answer.get_json()["message"]
    assert caller.show(answer)["counts"]["pending"] == 1


def test_nobody_knows(caller, sandbox):
    sandbox.order_fault(on="POST /batches", when="before", do="cut")

    answer = caller.send(ANN)

    assert (answer.status_code, answer.get_json()["status"]) == (202, "unknown")
    assert "Do not send it again" in answer.get_json()["message"]
    assert answer.get_json()["batch_id"] is None


def test_all_of_it_refused(caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_x", text="no good")

    answer = caller.send(ANN, reference="r")

    told = answer.get_json()
    assert (answer.status_code, told["status"], told["reference"]) == (502, "refused", "r")
    assert told["error"] == "Failed to send SMS batch."
    assert told["details"] == {"status": 400, "code": "syntax_x", "text": "no good"}
    assert told["url"] == f"/api/broadcasts/{id_of(answer)}"
    assert caller.show(answer)["counts"]["rejected"] == 1


def test_a_part_of_it_refused_is_not_told_as_though_all_went_well(caller, sandbox):
    code = "syntax_invalid_parameter_format"
    sandbox.order_fault(on="POST /batches", status=400, code=code)
    sandbox.order_fault(on="POST /batches", status=400, code=code)

    answer = caller.send(ANN, BOB)

    told = answer.get_json()
    assert (answer.status_code, told["status"]) == (202, "complete")
    assert "rejected" in told["message"]
    assert len(told["batch_ids"]) == 1
    counts = caller.show(answer)["counts"]
    assert (counts["submitted"], counts["rejected"]) == (1, 1)


def test_a_part_of_it_taken_before_our_account_was_refused_is_no_failure(service, caller, sandbox):
    code = "syntax_invalid_parameter_format"
    sandbox.order_fault(on="POST /batches", status=400, code=code)
    sandbox.order_fault(on="POST /batches", skip=1, status=401, code="unauthorized")

    answer = caller.send(ANN, BOB)

    told = answer.get_json()
    assert (answer.status_code, told["status"]) == (202, "held")
    assert len(told["batch_ids"]) == 1
    counts = caller.show(answer)["counts"]
    assert (counts["submitted"], counts["held"]) == (1, 1)


@pytest.mark.parametrize("production", [False, True])
def test_our_own_account_refused(service, caller, sandbox, production):
    service.config["PRODUCTION"] = production
    sandbox.order_fault(on="POST /batches", status=402, code="no_money", text="pay your bill")

    answer = caller.send(ANN, idempotency_key="k")
    again = caller.send(ANN, idempotency_key="k")

    told = answer.get_json()
    assert (answer.status_code, told["status"]) == (202, "held")
    assert "do not send it again" in told["message"]
    assert "pay your bill" not in answer.text
    assert (caller.show(answer)["refusal"] is None) is production
    assert _facts(again) == _facts(answer)


def test_while_our_account_is_refused_others_are_kept_and_go_out_when_it_is_mended(
    service, caller, sandbox
):
    sandbox.order_fault(on="POST /batches", status=401, code="unauthorized")
    held = caller.send(ANN)

    waiting = caller.send(BOB)
    posts = sandbox.posts()
    close_circuit_by_hand(service.extensions["clarion"], actor="tests")
    work_off(service)

    assert (held.status_code, waiting.status_code) == (202, 202)
    assert waiting.get_json()["status"] == "queued"
    assert "sending is stopped" in waiting.get_json()["message"]
    assert "do not send it again" in waiting.get_json()["message"]
    assert posts == 1
    assert sorted(sandbox.recipients()) == [ANN, BOB]


def test_no_time_left(service, caller, sandbox):
    clock = ManualClock()
    service.extensions["clarion"] = replace(context_of(service), clock=clock)
    soon = clock.now() + timedelta(seconds=0.9)

    answer = caller.send(ANN, expire_at=soon.isoformat())

    assert (answer.status_code, answer.get_json()["status"]) == (202, "expired")
    assert "expired" in answer.get_json()["message"]
    assert caller.show(answer)["counts"]["expired"] == 1
    assert sandbox.posts() == 0


def test_where_it_can_be_looked_at(caller, sandbox):
    answer = caller.send(ANN)

    shown = caller.get(answer.get_json()["url"])

    assert shown.status_code == 200
    assert shown.get_json()["broadcast_id"] == id_of(answer)


@pytest.fixture
def bare_databases(postgres, tmp_path):
    """The URLs of databases without tables, one of each kind."""
    with psycopg.connect(
        postgres.url("postgres").replace("+psycopg", ""), autocommit=True
    ) as server:
        server.execute("CREATE DATABASE bare")
        yield [f"sqlite:///{tmp_path / 'bare.db'}", postgres.url("bare")]
        server.execute("DROP DATABASE bare WITH (FORCE)")


def test_a_database_that_is_not_migrated_is_told_and_is_no_error_of_ours(
    make_service, bare_databases, sandbox
):
    for url in bare_databases:
        caller = Caller(make_service(DATABASE_URL=url))
        answers = [
            caller.send(ANN),
            caller.send(ANN, idempotency_key="k"),
            caller.get("/api/broadcasts"),
            caller.get("/api/broadcasts/x"),
            caller.get("/api/broadcasts/x/messages"),
            caller.get("/api/broadcasts/x/messages.csv"),
            caller.post("/api/broadcasts/x/resend-undelivered"),
            caller.post("/api/messages/search", {"recipient": ANN}),
            caller.get("/api/inbounds"),
            caller.act("cancel", "x"),
            caller.get("/api/batches/attention"),
            caller.post("/api/batches/x/resolve", {"decision": "resend", "note": "n"}),
        ]

        assert [each.status_code for each in answers] == [503] * len(answers)
        assert all("operator" in each.get_json()["error"] for each in answers)
    assert sandbox.posts() == 0


@pytest.mark.parametrize("what", ["pause", "resume", "cancel"])
def test_a_copy_of_the_database_changes_nothing_at_sinch(make_service, caller, sandbox, what):
    sandbox.set(dispatch_after_s=600)
    made = caller.send(ANN)
    copy = Caller(make_service(INSTANCE_ID="another", **PATIENT))

    answer = copy.act(what, made)

    assert answer.status_code == 503
    assert [batch["canceled"] for batch in sandbox.batches()] == [False]
    assert caller.show(made)["status"] == "complete"


def _facts(answer):
    told = json.loads(answer.data)
    told.pop("request_id", None)
    return told


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 301])
def test_a_client_that_repeats_what_was_answered_5xx_sends_a_held_text_once(
    service, sandbox, status
):
    """As `requests` does with a retry adapter that also repeats POSTs."""
    sandbox.order_fault(on="POST /batches", status=status)
    retry = Retry(
        3, status_forcelist=[502, 503], allowed_methods=None, respect_retry_after_header=False
    )
    with serving(service) as url, requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        answer = session.post(f"{url}/api/broadcast", json=broadcast_to(ANN), headers=AUTH)

    assert (answer.status_code, answer.json()["status"]) == (202, "held")
    close_circuit_by_hand(service.extensions["clarion"], actor="tests")
    work_off(service)
    assert sandbox.recipients() == [ANN]


@contextlib.contextmanager
def serving(service):
    server = make_server("127.0.0.1", 0, service, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_broadcast_for_the_background_says_that_sending_is_stopped(service, caller, sandbox):
    sandbox.order_fault(on="POST /batches", status=401, code="unauthorized")
    caller.send(ANN)

    for size in (1, 1_001):
        answer = caller.send(*many_numbers(size))

        assert (answer.status_code, answer.get_json()["status"]) == (202, "queued")
        assert "sending is stopped" in answer.get_json()["message"]

    later = caller.send(ANN, send_at=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    assert "stopped" not in later.get_json()["message"]


def test_a_broadcast_after_a_restore_says_that_sending_is_paused(service, caller, sandbox):
    mark_restored(service.extensions["clarion"], actor="tests")

    for size in (1, 1_001):
        answer = caller.send(*many_numbers(size))

        assert (answer.status_code, answer.get_json()["status"]) == (202, "queued")
        assert "sending is paused" in answer.get_json()["message"]


def test_a_database_that_fails_after_the_hand_over_does_not_make_the_client_send_again(
    make_service, sandbox
):
    service = make_service(**PATIENT, LOG_LEVEL="critical")
    caller, ctx = Caller(service), context_of(service)
    with ctx.db.write() as tx:
        fail = "BEFORE UPDATE ON idempotency_keys BEGIN SELECT RAISE(ABORT, 'no'); END"
        tx.execute(text(f"CREATE TRIGGER fail {fail}"))

    answer = caller.send(ANN, idempotency_key="once")

    with ctx.db.write() as tx:
        tx.execute(text("DROP TRIGGER fail"))
    assert answer.status_code == 202
    assert answer.get_json()["status"] == "unknown"
    work_off(service)
    assert caller.show(answer)["status"] == "complete"
    assert sandbox.posts() == 1
