"""Telling clients by real processes, which end in every way."""

import os
import signal
import threading
import time

import pytest
import requests
from sqlalchemy import update

from app.db.engine import Database
from app.webhooks.outgoing.models import Endpoint
from tests.factories import AUTH, broadcast_to
from tests.processes import running
from tests.webhooks.outgoing.receivers import TAKEN, wait
from tests.wire import respond

_HEADERS = {"headers": AUTH, "timeout": 30}


def _until(done, *, within_s=60.0):
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _call(service, method, path, body=None):
    answer = requests.request(method, f"{service.url}/api/webhooks{path}", json=body, **_HEADERS)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


@pytest.fixture
def sinch_settings(sandbox_server, sandbox, database_url):
    return {"SINCH_REGION_URL": sandbox_server.url, "DATABASE_URL": database_url}


def test_a_client_is_told_of_its_broadcast(sinch_settings, receive, tmp_path):
    receiver = receive()
    with running(tmp_path / "out", **sinch_settings) as service:
        _call(service, "POST", "", {"url": receiver.url, "event_types": ["broadcast.completed"]})

        accepted = service.post(broadcast_to("+46701234567", reference="r-1"))

        _until(lambda: receiver.told)
    (event,) = receiver.events()
    assert event["type"] == "broadcast.completed"
    assert event["data"] == {
        "broadcast_id": accepted.json()["broadcast_id"],
        "reference": "r-1",
        "status": "complete",
    }
    assert "46701234567" not in (tmp_path / "out").read_text()


def test_killed_in_the_middle_of_a_post_it_is_told_again(
    sinch_settings, database_url, receive, tmp_path
):
    """At least once: nobody knows whether the first was taken, so its id is the same."""
    arrived = threading.Event()

    def hang(connection):
        arrived.set()
        wait(20)(connection)

    receiver = receive(first=[hang])
    with running(tmp_path / "first", **sinch_settings) as service:
        made = _call(service, "POST", "", {"url": receiver.url})
        _call(service, "POST", f"/{made['webhook_id']}/test")
        assert arrived.wait(60)
        os.killpg(service.process.pid, signal.SIGKILL)

    _end_leases(database_url)  # what a minute comes to
    with running(tmp_path / "second", **sinch_settings) as service:
        _until(lambda: len(receiver.told) == 2)
        _until(lambda: _statuses(service, made) == ["delivered"])

    first, second = receiver.ids()
    assert first == second


def _end_leases(database_url):
    db = Database(database_url)
    with db.write() as tx:
        tx.execute(update(Endpoint).values(leased_until=None))
    db.close()


def _statuses(service, made):
    page = _call(service, "GET", f"/{made['webhook_id']}/deliveries")
    return [each["status"] for each in page["deliveries"]]


def test_on_sigterm_the_post_in_hand_is_finished_and_recorded(sinch_settings, receive, tmp_path):
    arrived = threading.Event()

    def be_slow(connection):
        arrived.set()
        wait(2, TAKEN)(connection)

    receiver = receive(be_slow)
    with running(tmp_path / "first", **sinch_settings) as service:
        made = _call(service, "POST", "", {"url": receiver.url})
        for _ in range(5):
            _call(service, "POST", f"/{made['webhook_id']}/test")
        assert arrived.wait(60)
        started = time.monotonic()

        code = service.stop()

        assert (code, len(receiver.told)) == (0, 1)
        assert time.monotonic() - started < 25
    receiver.then = respond("204 No Content")
    with running(tmp_path / "second", **sinch_settings) as service:
        _until(lambda: _statuses(service, made) == ["delivered"] * 5)
    assert len(receiver.told) == len(set(receiver.ids())) == 5


def test_several_workers_tell_each_event_once(sinch_settings, receive, tmp_path):
    receivers = [receive() for _ in range(2)]
    settings = {**sinch_settings, "WEB_CONCURRENCY": "3"}
    with running(tmp_path / "out", **settings) as service:
        for receiver in receivers:
            _call(
                service, "POST", "", {"url": receiver.url, "event_types": ["broadcast.completed"]}
            )

        for number in range(30):
            service.post(broadcast_to(f"+4670123{number:04d}", message=f"Text {number}"))
        _until(lambda: all(len(each.told) >= 30 for each in receivers))
        time.sleep(1.5)

    for receiver in receivers:
        assert len(receiver.told) == len(set(receiver.ids())) == 30
        assert receiver.most_in_hand == 1
