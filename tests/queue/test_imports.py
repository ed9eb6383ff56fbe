"""A file of subscribers is worked off by Celery's workers, at once and while they send."""

import requests

from tests.factories import AUTH, broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.queue.crew import UNHURRIED
from tests.subscribers.imports.imports import write_csv


def test_a_file_is_worked_off_beside_a_broadcast(make_crew, database_url, sinch):
    """No beat: nothing but nudges tells anybody."""
    crew = make_crew(database_url, **UNHURRIED | {"SENDER_THREADS": "2"}).start_web()
    crew.start_worker()
    file = write_csv(["phone"], *([number] for number in many_numbers(2_000)))

    def call(method, path, **more):
        headers = AUTH | more.pop("headers", {})
        answer = requests.request(method, crew.web.url + path, headers=headers, timeout=30, **more)
        return answer.json()

    sent = crew.post(broadcast_to(*many_numbers(5_000)))
    made = call("POST", "/api/subscribers/imports", json={})
    csv = {"Content-Type": "text/csv"}
    call("PUT", f"{made['url']}/file", data=file, headers=csv)

    wait_until(
        lambda: call("GET", made["url"])["status"] == "complete", within_s=90, why="it is imported"
    )
    assert call("GET", made["url"])["created"] == 2_000
    crew.wait_until_complete(sent)
