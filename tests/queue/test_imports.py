"""A file of subscribers is worked off by Celery's workers, at once and while they send."""

import time

import pytest
import requests

from tests.factories import AUTH, broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.queue.crew import UNHURRIED, WORK
from tests.subscribers.imports.imports import write_csv


@pytest.mark.parametrize("when", ["workers are idle", "the queue is full"])
def test_a_file_is_imported_beside_a_broadcast_without_a_sweep(
    make_crew, database_url, sinch, broker, when
):
    crew = make_crew(database_url, **UNHURRIED | {"SENDER_THREADS": "2"}).start_web()
    if when == "workers are idle":
        crew.start_worker()
    file = write_csv(["phone"], *([number] for number in many_numbers(2_000)))

    def call(method, path, **more):
        headers = AUTH | more.pop("headers", {})
        answer = requests.request(method, crew.web.url + path, headers=headers, timeout=30, **more)
        return answer.json()

    sent = crew.post(broadcast_to(*many_numbers(5_000)))
    if when == "the queue is full":
        wait_until(lambda: len(broker.waiting(WORK)) == 4, within_s=90, why="wake-ups are queued")
    made = call("POST", "/api/subscribers/imports", json={})
    csv = {"Content-Type": "text/csv"}
    call("PUT", f"{made['url']}/file", data=file, headers=csv)
    if when == "the queue is full":
        time.sleep(0.5)  # for a wake-up that finds no room
        crew.start_worker()

    wait_until(
        lambda: call("GET", made["url"])["status"] == "complete", within_s=90, why="it is imported"
    )
    assert call("GET", made["url"])["created"] == 2_000
    crew.wait_until_complete(sent)
