"""Celery's processes count together with those of the web."""

import os
import signal

import requests

from tests.factories import broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.metrics.scrape import Scrape
from tests.queue.crew import UNHURRIED
from tests.wire import unused_port

TOKEN = "metrics-token-4f1c8a5063d1e2f3a4b5"


def test_two_web_processes_and_two_children_of_which_one_each_is_killed_agree_with_the_ledger(
    make_crew, sinch, database_url
):
    singles, numbers = many_numbers(40, start=10_000), many_numbers(8_000)
    crew = make_crew(database_url, **UNHURRIED, WEB_CONCURRENCY="2").start_web()
    hand = crew.start_worker()
    crew.start_beat()

    def read() -> Scrape:
        return Scrape(requests.get(f"{crew.web.url}/metrics", timeout=30).text)

    def wait_for_all():
        everyone = {("web",): 2, ("worker",): 2}
        wait_until(
            lambda: read().values("clarion_processes") == everyone,
            within_s=90,
            why="the dead are forgotten and their successors counted",
        )

    def send(singles, numbers):
        answers = [crew.post(broadcast_to(number)) for number in singles]
        assert [answer.status_code for answer in answers] == [202] * len(singles)
        crew.wait_until_complete(crew.post(broadcast_to(*numbers)))

    wait_for_all()
    send(singles[:20], numbers[:4_000])
    for victim in (hand.children()[-1], crew.web.workers()[-1]):
        os.kill(victim, signal.SIGKILL)
    wait_for_all()
    send(singles[20:], numbers[4_000:])

    assert sum(sinch.references().values()) == 48
    assert sinch.copies() == dict.fromkeys([*singles, *numbers], 1)
    wait_until(lambda: read().sum("clarion_messages") == 8_040, within_s=90, why="counters follow")
    for scrape in [read() for _ in range(4)]:
        sent = {"method": "POST", "route": "/api/broadcast", "status": "202"}
        assert scrape.sum("clarion_http_requests_total", **sent) == 42
        posted = scrape.values("clarion_sinch_calls_total", call="POST /batches")
        assert posted == {("ok",): 48}
        assert scrape.sum("clarion_batches") == 0


def test_a_worker_on_another_machine_is_scraped_at_its_own_port(
    make_crew, sinch, database_url, tmp_path
):
    crew = make_crew(database_url, METRICS_TOKEN=TOKEN, **UNHURRIED).start_web()
    url = f"http://127.0.0.1:{(port := unused_port())}/metrics"
    crew.start_worker(METRICS_DIR=str(tmp_path / "theirs"), WORKER_METRICS_PORT=str(port))
    crew.start_beat()
    crew.wait_until_complete(crew.post(broadcast_to(*many_numbers(4_000))))
    bearer = {"Authorization": f"Bearer {TOKEN}"}

    refused = [requests.get(url, headers=each, timeout=30) for each in ({}, {"Authorization": "x"})]
    theirs = Scrape(requests.get(url, headers=bearer, timeout=30).text)
    ours = Scrape(requests.get(f"{crew.web.url}/metrics", headers=bearer, timeout=30).text)

    assert [answer.status_code for answer in refused] == [401, 401]
    assert theirs.values("clarion_sinch_calls_total", call="POST /batches") == {("ok",): 4}
    assert theirs.values("clarion_processes") == {("worker",): 2}
    assert ours.values("clarion_sinch_calls_total", call="POST /batches") == {}
