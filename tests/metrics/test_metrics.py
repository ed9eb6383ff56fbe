"""GET /metrics: who gets it, and what it says about faults."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import update

from app.metrics.database import KEPT_S, DatabaseMetrics
from app.operate.backups.create import create_backup
from app.operate.retention import purge_due
from app.sms.caps.caps import CapName, set_cap
from app.sms.models.broadcast import Broadcast
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from app.sms.operations.restore import mark_restored
from app.worker.jobs import run_maintenance, run_polls, sweep
from tests.factories import AUTH, broadcast_to, in_hours, many_numbers
from tests.metrics.scrape import Scrape, scrape
from tests.reporting import store_events
from tests.shifting import begin_hour

TOKEN = "metrics-token-5b1e"
ANN, BEN = "+46701234567", "+46707654321"


@pytest.fixture
def with_token(make_service, sandbox):
    return make_service(METRICS_TOKEN=TOKEN).test_client()


def scrape_anew(service) -> Scrape:
    """Scrape without what was kept of an earlier reading."""
    service.extensions["database_metrics"] = DatabaseMetrics(service.extensions["clarion"])
    return scrape(service.test_client())


def test_with_a_token_only_its_bearer_gets_metrics(with_token):
    def ask(**headers):
        return with_token.get("/metrics", headers=headers).status_code

    assert ask(Authorization=f"Bearer {TOKEN}") == 200
    assert ask(Authorization=f"bearer  {TOKEN} ", X_Forwarded_For="203.0.113.5") == 200
    assert ask() == 401
    assert ask(Authorization=f"Basic {TOKEN}") == 401
    assert ask(Authorization="Bearer wrong") == 403
    assert ask(Authorization="Bearer ") == 403
    assert ask(Authorization="Bearer Ключ".encode().decode("latin-1")) == 403
    assert ask(**AUTH) == 401


def test_a_refusal_says_what_is_missing(with_token, asker):
    missing = with_token.get("/metrics")
    refused = asker._http.get("/metrics", environ_base={"REMOTE_ADDR": "192.0.2.1"})

    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="clarion"'
    assert missing.get_json()["error"] == "A bearer token is required"
    assert refused.status_code == 403
    assert "METRICS_TOKEN" in refused.get_json()["hint"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_this_machine_gets_metrics(asker, peer):
    assert asker._http.get("/metrics", environ_base={"REMOTE_ADDR": peer}).status_code == 200


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:192.0.2.1", "10.0.0.1", "fe80::1", ""])
def test_without_a_token_no_other_machine_does(asker, peer):
    assert asker._http.get("/metrics", environ_base={"REMOTE_ADDR": peer}).status_code == 403


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "X-Real-IP"],
)
def test_without_a_token_a_request_through_a_proxy_on_this_machine_does_not(asker, header):
    assert asker._http.get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_a_trusted_proxy_makes_no_caller_local(make_service, sandbox):
    client = make_service(TRUSTED_PROXIES="1").test_client()

    forged = client.get(
        "/metrics",
        headers={"X-Forwarded-For": "127.0.0.1"},
        environ_base={"REMOTE_ADDR": "192.0.2.1"},
    )

    assert forged.status_code == 403


def test_the_format_is_prometheuss(asker):
    answer = asker._http.get("/metrics")

    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE clarion_backlog_messages gauge" in answer.text


def test_requests_are_counted_by_rule_and_no_label_comes_from_the_caller(asker):
    before = scrape(asker._http)
    canaries = ("46701234567", "canary", "BREW")
    asker.get(f"/api/broadcasts/{'0' * 26}")
    asker._http.get("/canary/46701234567?canary=46701234567")
    asker._http.open("/health", method="BREW")
    asker._http.open("/canary", method="canary")
    asker.get("/health", canary="46701234567")
    after = scrape(asker._http)

    def more(**labels):
        name = "clarion_http_requests_total"
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert more(route="/api/broadcasts/<broadcast_id>", status="404") == 1
    assert more(route="unknown") == 3
    assert more(route="unknown", method="other", status="405") == 1
    assert more(route="unknown", method="other", status="404") == 1
    assert more(route="/health", method="GET", status="200") == 1
    values = {value for sample in after.samples for value in sample.labels.values()}
    assert [value for value in values if any(canary in value for canary in canaries)] == []


def test_callbacks_are_counted_although_they_go_past_flask(make_service, sandbox):
    client = make_service(SINCH_WEBHOOK_BASIC="sinch:word").test_client()
    before = scrape(client)

    client.post("/webhooks/sinch", data=b"{}", auth=("sinch", "word"))
    client.post("/webhooks/sinch", data=b"{}")

    after = scrape(client)
    for status in ("200", "401"):
        labels = {"route": "/webhooks/sinch", "status": status}
        name = "clarion_http_requests_total"
        assert after.sum(name, **labels) - before.sum(name, **labels) == 1


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (None, "ok"),
        ({"do": "answer", "status": 429}, "busy"),
        ({"do": "answer", "status": 401}, "refused"),
        ({"do": "answer", "status": 500}, "failed"),
        ({"do": "cut"}, "unknown"),
    ],
)
def test_calls_to_sinch_are_counted_by_outcome(service, client, auth, sandbox, fault, outcome):
    if fault:
        sandbox.order_fault(on="POST /batches", when="before", **fault)
    before = scrape(client)
    client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN))
    after = scrape(client)

    labels = {"call": "POST /batches", "outcome": outcome}
    name = "clarion_sinch_calls_total"
    assert after.sum(name, **labels) - before.sum(name, **labels) == 1


def test_messages_are_those_of_the_daily_counters(service, client, auth, sandbox):
    client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN, BEN))
    run_polls(service.extensions["clarion"])

    messages = scrape_anew(service).values("clarion_messages", day="today")

    assert sum(messages.values()) == 2
    assert sum(scrape_anew(service).values("clarion_messages", day="yesterday").values()) == 0


def test_a_reading_is_kept_for_five_seconds(service, client, auth, sandbox):
    now = [100.0]
    metrics = DatabaseMetrics(service.extensions["clarion"], clock=lambda: now[0])
    service.extensions["database_metrics"] = metrics
    scheduled = []
    for later_s in (0, KEPT_S - 0.1, KEPT_S):
        now[0] = 100 + later_s
        scheduled.append(scrape(client).sum("clarion_broadcasts", status="scheduled"))
        body = broadcast_to(ANN, message=f"{later_s}", send_at=in_hours(1))
        assert client.post("/api/broadcast", headers=auth, json=body).status_code == 202

    assert scheduled == [0, 0, 2]


def test_a_backlog_has_what_is_due_and_not_what_is_paused_or_scheduled(make_service, auth, sandbox):
    service = make_service(SINCH_MESSAGES_PER_SECOND="10")
    client = service.test_client()
    many = many_numbers(1_500)
    for number, more in enumerate(({}, {}, {"send_at": in_hours(1)})):
        body = broadcast_to(*many, message=f"{number}", **more)
        answer = client.post("/api/broadcast", headers=auth, json=body).get_json()
        if number == 1:
            client.post(f"{answer['url']}/pause", headers=auth)

    seen = scrape_anew(service)

    assert seen["clarion_backlog_messages"] == 1_500
    assert seen["clarion_backlog_finish_seconds"] == 150
    assert seen["clarion_pace_parts_per_second"] == 10
    assert seen.sum("clarion_broadcasts", status="paused") == 1
    assert seen.sum("clarion_broadcasts", status="scheduled") == 1


def test_without_a_rate_there_is_no_time_until_the_end(asker):
    assert scrape(asker._http).values("clarion_backlog_finish_seconds") == {}


def test_an_open_circuit_is_a_closed_gate_and_its_batch_is_the_oldest_pending(
    service, client, auth, sandbox
):
    sandbox.order_fault(on="POST /batches", when="before", do="answer", status=401)
    with time_machine.travel(datetime.now(UTC) - timedelta(seconds=100), tick=False):
        client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN))

    seen = scrape_anew(service)

    assert seen.values("clarion_gate_closed") == {("busy",): 0, ("circuit",): 1, ("restore",): 0}
    assert seen.sum("clarion_batches", state="held") == 1


def test_caps_show_what_is_used_without_a_clients_name(service, client, auth, sandbox):
    begin_hour(service)
    ctx = service.extensions["clarion"]
    set_cap(ctx, CapName(ALL, CapPeriod.DAY, CapUnit.PARTS), 10, actor="test")
    set_cap(ctx, CapName("tests", CapPeriod.HOUR, CapUnit.PARTS), 4, actor="test")
    set_cap(ctx, CapName("other", CapPeriod.HOUR, CapUnit.PARTS), 4, actor="test")
    set_cap(ctx, CapName("shut", CapPeriod.HOUR, CapUnit.PARTS), 0, actor="test")
    client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN, BEN))

    seen = scrape_anew(service)
    assert seen.values("clarion_cap_used_ratio") == {
        ("day", "all", "parts"): 0.2,
        ("hour", "client", "parts"): 0.5,
    }
    assert seen["clarion_cap_waiting_messages"] == 0


def test_what_waits_for_a_cap_is_counted(service, client, auth, sandbox):
    begin_hour(service)
    cap = CapName("tests", CapPeriod.HOUR, CapUnit.PARTS)
    set_cap(service.extensions["clarion"], cap, 1, actor="test")
    client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN, BEN))

    assert scrape_anew(service)["clarion_cap_waiting_messages"] == 1


def test_a_restored_database_is_a_closed_gate(service, sandbox):
    mark_restored(service.extensions["clarion"], actor="test")

    assert scrape_anew(service).sum("clarion_gate_closed", gate="restore") == 1


def test_a_batch_without_an_answer_is_unknown_and_then_needs_attention(
    service, client, auth, sandbox
):
    sandbox.order_fault(on="POST /batches", when="before", do="cut")
    sandbox.order_fault(on="GET /batches", when="before", do="answer", status=500, times=None)
    client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN))

    unknown = scrape_anew(service)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2), tick=False):
        sweep(service.extensions["clarion"])
    escalated = scrape_anew(service)

    assert unknown.sum("clarion_batches", state="unknown") == 1
    assert unknown["clarion_oldest_unknown_seconds"] > 0
    assert escalated.sum("clarion_batches", state="needs_attention") == 1
    assert escalated["clarion_oldest_unknown_seconds"] == 0


def test_a_start_that_was_missed_is_counted(make_service, auth, sandbox):
    service = make_service(MAX_START_DELAY_S="60")
    body = broadcast_to(ANN, send_at=in_hours(1))
    service.test_client().post("/api/broadcast", headers=auth, json=body)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2), tick=False):
        sweep(service.extensions["clarion"])

    assert scrape_anew(service).sum("clarion_broadcasts", status="missed_start") == 1


def test_a_callback_that_waits_is_a_lag(service, sandbox):
    ctx = service.extensions["clarion"]
    with time_machine.travel(datetime.now(UTC) - timedelta(seconds=400), tick=False):
        store_events(ctx, b"{}")

    assert 399 < scrape_anew(service)["clarion_callback_lag_seconds"] < 500


def test_counts_that_do_not_add_up_are_violations(service, client, auth, sandbox):
    ctx = service.extensions["clarion"]
    client.post("/api/broadcast", headers=auth, json=broadcast_to(ANN))
    with ctx.db.write() as tx:
        tx.execute(update(Broadcast).values(recipients=2))
    run_maintenance(ctx)
    broken = scrape_anew(service)["clarion_consistency_violations"]
    with ctx.db.write() as tx:
        tx.execute(update(Broadcast).values(recipients=1))
    run_maintenance(ctx)

    assert broken > 0
    assert scrape_anew(service)["clarion_consistency_violations"] == 0


def test_the_last_sweep_is_a_time(service, sandbox):
    assert scrape_anew(service)["clarion_last_sweep_timestamp_seconds"] == 0
    at = datetime.now(UTC) - timedelta(seconds=90)
    with time_machine.travel(at, tick=False):
        sweep(service.extensions["clarion"])

    swept_at = scrape_anew(service)["clarion_last_sweep_timestamp_seconds"]

    assert swept_at == pytest.approx(at.timestamp(), abs=1)


def test_the_last_backup_and_the_last_purge_are_times(service, sandbox, tmp_path):
    ctx = service.extensions["clarion"]
    names = [f"clarion_last_{name}_timestamp_seconds" for name in ("backup", "purge")]
    before = [scrape_anew(service)[name] for name in names]
    now = datetime.now(UTC).timestamp()
    run_maintenance(ctx)
    create_backup(ctx, tmp_path / "backups")

    seen = scrape_anew(service)
    assert before == [0, 0]
    assert [seen[name] for name in names] == pytest.approx([now, now], abs=60)


def test_a_purge_in_which_a_kind_fails_is_none(service, sandbox):
    ctx = service.extensions["clarion"]
    with ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE cap_uses RENAME TO hidden")
    purge_due(ctx)
    failed = scrape_anew(service)["clarion_last_purge_timestamp_seconds"]
    with ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE hidden RENAME TO cap_uses")
    purge_due(ctx)

    assert failed == 0
    assert scrape_anew(service)["clarion_last_purge_timestamp_seconds"] > 0


def test_without_its_database_it_says_so_and_still_counts_requests(
    make_service, sandbox, tmp_path, capsys
):
    url = f"sqlite:///{tmp_path}/no/folder.db"
    client = make_service(DATABASE_URL=url, LOG_LEVEL="warning").test_client()

    client.get("/health")
    seen = scrape(client)

    assert seen["clarion_database_up"] == 0
    assert seen.values("clarion_backlog_messages") == {}
    assert seen.sum("clarion_http_requests_total", route="/health") >= 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["error"]


def test_another_instances_database_is_not_up(make_service, sandbox):
    assert scrape(make_service(INSTANCE_ID="another").test_client())["clarion_database_up"] == 0


@pytest.mark.slow
def test_either_database_answers_every_query(either_service, auth):
    either_service.test_client().post("/api/broadcast", headers=auth, json=broadcast_to(ANN))
    run_polls(either_service.extensions["clarion"])

    seen = scrape_anew(either_service)

    assert seen["clarion_database_up"] == 1
    assert sum(seen.values("clarion_messages", day="today").values()) == 1
