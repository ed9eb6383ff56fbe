"""Callbacks lost, doubled, late and out of order: our books end as the sandbox's ledger says."""

import time
from collections import Counter

import pytest
import requests

from tests.factories import broadcast_to, many_numbers
from tests.processes import running
from tests.wire import unused_port

SECRET = "a secret that nobody guesses, ever"
# One of each end among ordinary numbers.
MAGIC = [f"+120255501{number:02}" for number in (1, 2, 3, 5, 6, 8, 9, 10, 14)]


@pytest.fixture
def service(sandbox_server, sandbox, tmp_path):
    port = unused_port()
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SINCH_WEBHOOK_SECRET": SECRET,
        "REPORT_WAITS_S": "3,2,2",
        "SWEEP_EVERY_S": "1",
    }
    sandbox.set(hmac_secret=SECRET, callback_delay_s=1.0, callback_copies=2)
    with running(tmp_path / "output", **settings) as service:
        yield service


def _get(service, path):
    answer = service.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _wait_for_the_end(service, url, *, within_s=90):
    deadline = time.monotonic() + within_s
    while (shown := _get(service, url))["all_reported_at"] is None:
        assert time.monotonic() < deadline, shown["counts"]
        time.sleep(0.3)
    return shown


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.5, 1.0])
def test_whatever_is_lost_the_books_end_as_the_ledger(service, sandbox, lost):
    sandbox.set(callback_lost_probability=lost)
    recipients = [*MAGIC, *many_numbers(300)]

    answer = service.post(broadcast_to(*recipients)).json()
    shown = _wait_for_the_end(service, answer["url"])

    assert sum(shown["counts"].values()) == len(recipients)
    truth = Counter()
    for status in _truth(sandbox, answer["batch_ids"]):
        truth[status] += 1
    assert {word: count for word, count in shown["counts"].items() if count} == dict(truth)


def _truth(sandbox, batch_ids):
    """The end of each message as Sinch's report has it."""
    for batch_id in batch_ids:
        for each in sandbox.report(batch_id)["statuses"]:
            yield from [each["status"].lower()] * each["count"]


def test_a_text_from_a_phone_is_in_the_inbox_within_seconds(service, sandbox):
    sandbox.set(inbound_url=f"{service.url}/webhooks/sinch", callback_delay_s=0.0)
    sandbox.text_from("+46701234567", "STOP")

    deadline = time.monotonic() + 90
    while not (found := _get(service, "/api/inbounds")["inbounds"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [each["body"] for each in found] == ["STOP"]


def test_a_forged_report_changes_nothing(service, sandbox):
    answer = service.post(broadcast_to("+12025550107")).json()  # never final
    report = {
        "type": "recipient_delivery_report_sms",
        "batch_id": answer["batch_id"],
        "recipient": "12025550107",
        "status": "Delivered",
        "code": 0,
        "at": "2026-03-01T12:00:00Z",
    }
    forged = requests.post(f"{service.url}/webhooks/sinch", json=report, timeout=60)
    time.sleep(2)

    assert forged.status_code == 401
    assert _get(service, answer["url"])["counts"]["delivered"] == 0
