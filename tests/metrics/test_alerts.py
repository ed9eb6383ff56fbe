"""Each alert fires on its fault and on no other; promtool, of Debian's prometheus, evaluates it."""

import json
import shutil
import subprocess
import sys
from itertools import starmap
from pathlib import Path

import pytest

from tests.metrics.scrape import ALERTS, DASHBOARD, read_rules

# Where `make tools` puts it.
FETCHED = Path(sys.prefix) / "tools" / "usr" / "bin"
RULES = {rule["alert"]: rule for rule in read_rules()}
# A service in which all is well, a sample a minute.  The time begins at 0.
MINUTES = 30
HEALTHY = {
    'up{job="clarion",instance="one"}': "1x30",
    "clarion_database_up": "1x30",
    "clarion_last_sweep_timestamp_seconds": "0+60x30",
    "clarion_consistency_violations": "0x30",
    'clarion_gate_closed{gate="circuit"}': "0x30",
    'clarion_gate_closed{gate="busy"}': "1x30",
    'clarion_sinch_calls_total{call="POST /batches",outcome="ok"}': "0+100x30",
    'clarion_sinch_calls_total{call="POST /batches",outcome="unknown"}': "0+10x30",
    "clarion_backlog_messages": "9000-100x30",
    'clarion_batches{state="needs_attention"}': "0x30",
    'clarion_batches{state="held"}': "0 4x7 0 4x7 0 4x7 0 4x2",
    'clarion_broadcasts{status="halted"}': "0x30",
    'clarion_broadcasts{status="missed_start"}': "0x30",
    'clarion_broadcasts{status="paused"}': "3x30",
    "clarion_callback_lag_seconds": "200x30",
    "clarion_webhook_lag_seconds": "200x30",
    'clarion_http_requests_total{method="POST",route="/api/broadcast",status="202"}': "0+100x30",
    'clarion_http_requests_total{method="POST",route="/api/broadcast",status="503"}': "0+2x30",
    "clarion_last_backup_timestamp_seconds": "60x30",
    "clarion_last_purge_timestamp_seconds": "0+60x30",
    'clarion_cap_used_ratio{scope="all",period="day",unit="parts"}': "0+0.025x30",
    'clarion_cap_used_ratio{scope="client",period="hour",unit="cost"}': "0.79x30",
    "clarion_cap_waiting_messages": "0x30",
    # A service that is not ready is no request that failed.
    'clarion_http_requests_total{method="GET",route="/ready",status="503"}': "0+90x30",
}
# By alert: the samples of its fault, the labels that it has then, and the minute at which it fires.
FAULTS = {
    "ClarionDown": ({'up{job="clarion",instance="one"}': "0x30"}, {"instance": "one"}, 2),
    "ClarionDatabaseUnreachable": ({"clarion_database_up": "0x30"}, {}, 1),
    "ClarionBackgroundStopped": ({"clarion_last_sweep_timestamp_seconds": "0x30"}, {}, 4),
    "ClarionCountsWrong": ({"clarion_consistency_violations": "1x30"}, {}, 2),
    "ClarionCircuitOpen": (
        {'clarion_gate_closed{gate="circuit"}': "1x30", 'clarion_batches{state="held"}': "4x30"},
        {},
        2,
    ),
    "ClarionSinchUnreachable": (
        {'clarion_sinch_calls_total{call="POST /batches",outcome="unknown"}': "0+40x30"},
        {},
        6,
    ),
    "ClarionSendingStalled": ({"clarion_backlog_messages": "9000-100x5 8500x25"}, {}, 20),
    "ClarionDecisionNeeded": ({'clarion_batches{state="needs_attention"}': "1x30"}, {}, 1),
    "ClarionReportsLate": ({"clarion_callback_lag_seconds": "301x30"}, {}, 5),
    "ClarionWebhooksLate": ({"clarion_webhook_lag_seconds": "301x30"}, {}, 5),
    "ClarionErrors": (
        {
            'clarion_http_requests_total{method="POST",route="/api/broadcast",status="503"}': (
                "0+10x30"
            )
        },
        {},
        6,
    ),
    "ClarionPurgeOld": ({"clarion_last_purge_timestamp_seconds": "0x30"}, {}, 21),
    "ClarionCapUsed": (
        {'clarion_cap_used_ratio{scope="client",period="hour",unit="cost"}': "0.8x30"},
        {},
        1,
    ),
}


def make_case(name, faults, labels, fires_at):
    """A case of promtool: nothing fires a minute before, and this alert alone at its minute."""
    rule = RULES.get(name, {"labels": {}, "annotations": {}})
    job = {"job": "clarion"} if name == "ClarionDown" else {}
    firing = {
        "exp_labels": rule["labels"] | labels | job,
        "exp_annotations": rule["annotations"],
    }
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in faults.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{minute}m",
                "alertname": alert,
                "exp_alerts": [firing] if alert == name and minute >= fires_at else [],
            }
            for alert in RULES
            for minute in (fires_at - 1, fires_at, MINUTES - 1)
        ],
    }


def run_cases(folder, cases, *, rules=ALERTS):
    path = folder / "cases.yml"
    path.write_text(json.dumps({"rule_files": [str(rules)], "tests": cases}))
    run_promtool("test", "rules", str(path))


def run_promtool(*arguments, given=None):
    path = shutil.which("promtool") or shutil.which("promtool", path=FETCHED)
    if path is None:
        pytest.skip("promtool is missing, `make tools` fetches it: the alerts are not tried")
    result = subprocess.run(
        [path, *arguments], capture_output=True, text=True, check=False, input=given
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_of_the_fourteen_alerts_has_a_fault_here():
    assert set(RULES) == {*FAULTS, "ClarionBackupOld"}
    assert len(RULES) == 14


def test_no_alert_fires_while_all_is_well(tmp_path):
    run_cases(tmp_path, [make_case("none", HEALTHY, {}, 1)])


def test_each_alert_fires_on_its_fault_and_no_other_does(tmp_path):
    def make(name, fault):
        series, labels, fires_at = fault
        return make_case(name, HEALTHY | series, labels, fires_at)

    run_cases(tmp_path, list(starmap(make, FAULTS.items())))


def test_a_service_that_is_no_longer_scraped_is_down(tmp_path):
    without = {name: values for name, values in HEALTHY.items() if not name.startswith("up")}

    run_cases(tmp_path, [make_case("ClarionDown", without, {}, 2)])


@pytest.mark.parametrize("status", ["missed_start", "halted"])
def test_a_broadcast_that_waits_for_a_person_needs_a_decision(tmp_path, status):
    series = HEALTHY | {f'clarion_broadcasts{{status="{status}"}}': "1x30"}

    run_cases(tmp_path, [make_case("ClarionDecisionNeeded", series, {}, 1)])


def test_a_broadcast_that_sinch_refuses_for_ten_minutes_needs_a_decision(tmp_path):
    series = HEALTHY | {'clarion_batches{state="held"}': "0 4x29"}

    run_cases(tmp_path, [make_case("ClarionDecisionNeeded", series, {}, 12)])


def test_messages_that_wait_for_a_cap_are_told_although_the_next_would_have_been_too_large(
    tmp_path,
):
    series = HEALTHY | {"clarion_cap_waiting_messages": "0x5 3x25"}

    run_cases(tmp_path, [make_case("ClarionCapUsed", series, {}, 7)])


@pytest.mark.parametrize(("made_at", "fires"), [(60, True), (0, False)])
def test_a_backup_is_old_after_26_hours_unless_there_never_was_one(tmp_path, made_at, fires):
    rule = RULES["ClarionBackupOld"]
    firing = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
    # It is 26 hours old after minute 1561, and the alert waits five more.
    expected = {1_566: [], 1_567: [firing] if fires else []}
    case = {
        "interval": "1m",
        "input_series": [
            {"series": "clarion_last_backup_timestamp_seconds", "values": f"{made_at}x1600"}
        ],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": "ClarionBackupOld", "exp_alerts": alerts}
            for minute, alerts in expected.items()
        ],
    }

    # By itself: fourteen rules in each minute of 26 hours take seconds.
    alone = tmp_path / "rules.yml"
    alone.write_text(json.dumps({"groups": [{"name": "alone", "rules": [rule]}]}))
    run_cases(tmp_path, [case], rules=alone)


def test_an_empty_backlog_is_not_stalled(tmp_path):
    run_cases(tmp_path, [make_case("none", HEALTHY | {"clarion_backlog_messages": "0x30"}, {}, 1)])


def test_every_expression_of_the_dashboard_can_be_read(tmp_path):
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": "tried", "expr": expression} for expression in expressions]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "tried", "rules": rules}]}))

    run_promtool("check", "rules", "--lint=none", str(path))


def test_prometheus_finds_no_fault_with_the_answer(asker):
    asker.get("/api/broadcasts")

    run_promtool("check", "metrics", given=asker._http.get("/metrics").text)
