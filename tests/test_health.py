import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import update

from app.health import Readiness
from app.sms.models.broadcast import Broadcast
from app.sms.operations.restore import mark_restored
from app.worker.jobs import run_maintenance, sweep
from tests.databases import migrate
from tests.factories import broadcast_to

READY = {
    "status": "ready",
    "sinch": "ok",
    "database": "ok",
    "background": "ok",
    "broker": "none",
    "sending": "ok",
    "consistency": "ok",
    "suppression_key": "ok",
    "attention": 0,
}


@pytest.fixture
def ctx(service):
    """The Context of a service whose background worker has just run."""
    sweep(service.extensions["clarion"])
    return service.extensions["clarion"]


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


def test_alive_does_not_depend_on_the_database(make_service, tmp_path):
    client = make_service(DATABASE_URL=f"sqlite:///{tmp_path}/no/folder.db").test_client()

    assert client.get("/health").status_code == 200


def test_ready_when_all_it_takes_to_send_is_there(client, ctx):
    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.get_json() == READY


@pytest.mark.parametrize(("status", "verdict"), [(401, "misconfigured"), (503, "unreachable")])
def test_not_ready_when_sinch_does_not(client, ctx, sandbox, status, verdict):
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=status, times=None)

    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json() == READY | {"status": "not ready", "sinch": verdict}


def test_not_ready_with_a_wrong_token(make_service, sandbox):
    client = make_service(SINCH_API_TOKEN="wrong").test_client()

    assert client.get("/ready").get_json()["sinch"] == "misconfigured"


def test_not_ready_while_nobody_works_in_the_background(client):
    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json() == READY | {"status": "not ready", "background": "stale"}


def test_not_ready_once_the_background_has_missed_four_sweeps(make_service, sandbox):
    service = make_service(SWEEP_EVERY_S="15")
    ctx = service.extensions["clarion"]
    answers = []

    for age_s in (50, 61):
        with time_machine.travel(datetime.now(UTC) - timedelta(seconds=age_s), tick=False):
            sweep(ctx)
        answers.append(service.test_client().get("/ready").get_json()["background"])

    assert answers == ["ok", "stale"]


def test_not_ready_without_its_database(make_service, sandbox, tmp_path):
    client = make_service(DATABASE_URL=f"sqlite:///{tmp_path}/no/folder.db").test_client()

    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json() == {
        "status": "not ready",
        "sinch": "ok",
        "database": "unreachable",
        "background": "unknown",
        "broker": "none",
        "sending": "unknown",
        "consistency": "unknown",
        "suppression_key": "unknown",
        "attention": None,
    }


def test_not_ready_with_another_instances_database(make_service, sandbox):
    client = make_service(INSTANCE_ID="another").test_client()

    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json()["database"] == "not ours"


def test_not_ready_with_a_database_that_is_not_migrated(make_service, sandbox, tmp_path):
    client = make_service(DATABASE_URL=f"sqlite:///{tmp_path}/empty.db").test_client()

    assert client.get("/ready").get_json()["database"] == "not ours"


def test_ready_again_when_the_tables_have_come(make_service, sandbox, tmp_path):
    url = f"sqlite:///{tmp_path}/empty.db"
    service = make_service(DATABASE_URL=url)
    assert service.test_client().get("/ready").status_code == 503

    migrate(url)
    sweep(service.extensions["clarion"])

    assert service.test_client().get("/ready").status_code == 200


def test_not_ready_while_sinch_refuses_everything(client, auth, ctx, sandbox):
    sandbox.order_fault(on="POST /batches", when="before", do="answer", status=401)
    client.post("/api/broadcast", headers=auth, json=broadcast_to("+46701234567"))

    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json() == READY | {"status": "not ready", "sending": "stopped"}


def test_not_ready_while_a_restored_database_is_looked_through(service, client, ctx):
    mark_restored(ctx, actor="test")

    answer = client.get("/ready")

    assert answer.status_code == 503
    assert answer.get_json() == READY | {"status": "not ready", "sending": "restoring"}


def test_not_ready_under_another_key_than_erased_people_were_hashed_with(
    make_service, sandbox, client, auth, ctx
):
    client.post("/api/suppressions/erase", headers=auth, json={"phone": "+46701234567"})
    assert client.get("/ready").status_code == 200

    other = make_service(SUPPRESSION_KEY="another key").test_client()

    answer = other.get("/ready")
    assert answer.status_code == 503
    assert answer.get_json() == READY | {"status": "not ready", "suppression_key": "mismatch"}
    refused = other.post("/api/broadcast", headers=auth, json=broadcast_to("+46701234567"))
    assert refused.status_code == 503
    assert sandbox.recipients() == []


def test_not_ready_when_the_books_do_not_balance(client, auth, ctx):
    client.post("/api/broadcast", headers=auth, json=broadcast_to("+46701234567"))
    with ctx.db.write() as tx:
        tx.execute(update(Broadcast).values(recipients=2))
    run_maintenance(ctx)

    answer = client.get("/ready")
    with ctx.db.write() as tx:
        tx.execute(update(Broadcast).values(recipients=1))
    run_maintenance(ctx)

    assert answer.status_code == 503
    assert answer.get_json() == READY | {"status": "not ready", "consistency": "failed"}
    assert client.get("/ready").status_code == 200


def test_batches_that_wait_for_an_operator_are_counted_and_do_not_stop_it(
    make_service, auth, sandbox
):
    service = make_service(UNREADABLE_AFTER_S="0.1")
    client = service.test_client()
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=20)
    client.post("/api/broadcast", headers=auth, json=broadcast_to("+46701234567"))
    sandbox.clear_faults()
    sweep(service.extensions["clarion"])

    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.get_json() == READY | {"attention": 1}


def test_whoever_asks_sinch_is_asked_once(client, ctx, sandbox):
    for _ in range(20):
        assert client.get("/ready").status_code == 200

    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize(
    ("status", "verdict", "kept_s"), [(None, "ok", 10.0), (503, "unreachable", 1.0)]
)
def test_a_verdict_is_kept_ten_seconds_and_a_bad_one_for_one(ctx, sandbox, status, verdict, kept_s):
    if status:
        fault = {"do": "answer", "status": status}
        sandbox.order_fault(on="GET /batches", when="before", times=None, **fault)
    now = [100.0]
    readiness = Readiness(ctx.sinch, clock=lambda: now[0])

    asked = []
    for later_s in (0, kept_s - 0.1, kept_s):
        now[0] = 100.0 + later_s
        assert readiness.check_sinch() == verdict
        asked.append(len(sandbox.requests()))

    assert asked[0] == asked[1] < asked[2]


def test_many_who_ask_at_once_ask_sinch_once(ctx, sandbox):
    sandbox.order_fault(on="GET /batches", when="after", do="drip", delay_s=0.2)
    readiness = Readiness(ctx.sinch)

    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda _: readiness.check_sinch(), range(8)))

    assert verdicts == ["ok"] * 8
    assert len(sandbox.requests()) == 1


def test_each_fault_is_an_error_in_the_log_when_it_begins_and_an_info_when_it_ends(
    make_service, sandbox, capsys
):
    service = make_service(LOG_LEVEL="info")
    sweep(service.extensions["clarion"])
    client, now = service.test_client(), [0.0]
    ctx = service.extensions["clarion"]
    service.extensions["readiness"] = Readiness(ctx.sinch, clock=lambda: now[0])
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=503, times=None)
    for now[0] in (0, 1, 2):
        client.get("/ready")
    sandbox.clear_faults()
    for now[0] in (3, 4, 5):
        client.get("/ready")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    changes = [(line["level"], line["check"], line["state"]) for line in lines if "check" in line]
    assert changes == [("error", "sinch", "unreachable"), ("info", "sinch", "ok")]


def test_an_outage_of_the_database_is_one_line_with_its_reason(make_service, auth, capsys):
    """Not one a request, and no stack; the password is in none."""
    url = "postgresql://ann:secret-word@127.0.0.1:9/clarion"
    client = make_service(DATABASE_URL=url, LOG_LEVEL="warning").test_client()

    for number in range(5):
        body = broadcast_to("+46701234567", message=str(number))
        assert client.post("/api/broadcast", headers=auth, json=body).status_code == 503
        assert client.get("/ready").get_json()["database"] == "unreachable"

    output = capsys.readouterr().err
    lines = [json.loads(line) for line in output.splitlines()]
    (line,) = [line for line in lines if line["message"] == "the database is unavailable"]
    assert line["reason"] == "PostgreSQL 127.0.0.1:9/clarion: Connection refused"
    assert "exception" not in line
    assert "secret-word" not in output
    assert [line["check"] for line in lines if "check" in line] == ["database"]
