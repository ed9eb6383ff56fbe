"""Clients are told by the processes of Celery's workers, beside their tasks."""

import threading
import time

import pytest
import requests

from tests.factories import AUTH, broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.queue.crew import UNHURRIED
from tests.webhooks.outgoing.receivers import Receiver, wait


@pytest.fixture
def listen():
    """A function that makes a webhook of a running crew."""

    def make(crew, url):
        body = {"url": url, "event_types": ["broadcast.completed"]}
        answer = requests.post(f"{crew.web.url}/api/webhooks", json=body, headers=AUTH, timeout=30)
        assert answer.status_code == 201, answer.text

    return make


def test_a_client_is_told_and_a_slow_one_keeps_no_task_waiting(
    make_crew, either_database, sinch, listen
):
    """One process, which has a post in hand that takes longer than all the sending."""
    crew = make_crew(either_database, **UNHURRIED | {"SENDER_THREADS": "1"}).start_web()
    crew.start_worker()
    crew.start_beat()
    with Receiver().running() as good, Receiver(wait(30)).running() as slow:
        listen(crew, slow.url)
        first = crew.post(broadcast_to(*many_numbers(1001)))
        wait_until(lambda: slow.in_hand == 1, within_s=90, why="the slow one is being told")
        started = time.monotonic()
        listen(crew, good.url)

        second = crew.post(broadcast_to(*many_numbers(5_000), message="And more"))

        crew.wait_until_complete(first, second)
        sent_s = time.monotonic() - started
        wait_until(lambda: len(good.told) == 1, within_s=90, why="the good one is told")
        assert sent_s < 25  # the slow one takes half a minute
        assert slow.in_hand == 1
        assert [each["data"]["status"] for each in good.events()] == ["complete"]


@pytest.mark.parametrize("group", [False, True], ids=["parent", "whole group"])
def test_on_sigterm_a_worker_finishes_the_post_in_hand(
    make_crew, database_url, sinch, listen, group
):
    crew = make_crew(database_url, **UNHURRIED | {"SENDER_THREADS": "1"}).start_web()
    worker = crew.start_worker()
    arrived = threading.Event()

    def be_slow(connection):
        arrived.set()
        wait(2)(connection)

    with Receiver(be_slow).running() as receiver:
        listen(crew, receiver.url)
        for number in range(3):
            crew.post(broadcast_to(many_numbers(3)[number], message=f"Text {number}"))
        assert arrived.wait(90)
        started = time.monotonic()

        code = worker.stop(group=group)

        assert code == 0
        assert time.monotonic() - started < 30
        assert len(receiver.told) == 1
        receiver.then = wait(0)
        crew.start_worker()
        wait_until(lambda: len(receiver.told) >= 3, within_s=90, why="the rest is told")
        assert len(receiver.ids()) == len(set(receiver.ids())) == 3


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_without_processes_tells_as_well(make_crew, database_url, sinch, listen, pool):
    crew = make_crew(database_url, **UNHURRIED).start_web()
    worker = crew._start("worker", ["--pool", pool], "worker", {})
    with Receiver().running() as receiver:
        listen(crew, receiver.url)

        crew.post(broadcast_to(*many_numbers(1001)))

        wait_until(lambda: receiver.told, within_s=90, why="the client is told")
    assert worker.stop() == 0
