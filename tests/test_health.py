from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from app.health import Readiness


def test_alive_says_so_with_the_time(client):
    answer = client.get("/health")

    assert answer.status_code == 200
    assert answer.get_json()["status"] == "ok"
    told = datetime.fromisoformat(answer.get_json()["timestamp"])
    assert abs(datetime.now(UTC) - told) < timedelta(seconds=5)


def test_alive_does_not_depend_on_sinch(client, sandbox):
    sandbox.order_fault(on="*", when="before", do="answer", status=500, times=None)

    assert client.get("/health").status_code == 200
    assert sandbox.requests() == []


def test_ready_when_sinch_takes_our_calls(client):
    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.get_json() == {"status": "ready", "sinch": "ok"}


@pytest.mark.parametrize(("status", "verdict"), [(401, "misconfigured"), (503, "unreachable")])
def test_not_ready_when_sinch_does_not(client, sandbox, status, verdict):
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=status, times=None)

    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json() == {"status": "not ready", "sinch": verdict}


def test_not_ready_with_a_wrong_token(make_service, sandbox):
    client = make_service(SINCH_API_TOKEN="wrong").test_client()

    assert client.get("/ready").get_json()["sinch"] == "misconfigured"


def test_whoever_asks_sinch_is_asked_once(client, sandbox):
    for _ in range(20):
        assert client.get("/ready").status_code == 200

    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize(
    ("status", "verdict", "kept_s"), [(None, "ok", 10.0), (503, "unreachable", 1.0)]
)
def test_a_verdict_is_kept_ten_seconds_and_a_bad_one_for_one(
    service, sandbox, status, verdict, kept_s
):
    if status:
        fault = {"do": "answer", "status": status}
        sandbox.order_fault(on="GET /batches", when="before", times=None, **fault)
    now = [100.0]
    readiness = Readiness(service.extensions["sinch"], clock=lambda: now[0])

    asked = []
    for later_s in (0, kept_s - 0.1, kept_s):
        now[0] = 100.0 + later_s
        assert readiness.check_sinch() == verdict
        asked.append(len(sandbox.requests()))

    assert asked[0] == asked[1] < asked[2]


def test_many_who_ask_at_once_ask_sinch_once(service, sandbox):
    sandbox.order_fault(on="GET /batches", when="after", do="drip", delay_s=0.2)
    readiness = Readiness(service.extensions["sinch"])

    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda _: readiness.check_sinch(), range(8)))

    assert verdicts == ["ok"] * 8
    assert len(sandbox.requests()) == 1
