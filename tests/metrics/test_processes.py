"""Several processes count together, one is killed, and the sums are what Sinch has seen."""

import os
import shutil
import signal
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from app.config import read_config
from app.metrics.files import FolderRefused, join_folder, list_files
from app.sms.context import make_context
from app.worker.jobs import roll_up
from tests.factories import broadcast_to, many_numbers, settings
from tests.kills.mortal import wait_until
from tests.metrics.scrape import Scrape
from tests.processes import running


def read_metrics(service) -> Scrape:
    return Scrape(service.get("/metrics").text)


def roll_up_at_once(database_url):
    """Bring the daily counters up to date as if the pause between two roll-ups were over."""
    ctx = make_context(read_config(settings(DATABASE_URL=database_url)))
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61)):
        roll_up(ctx)
    ctx.sinch.close()
    ctx.db.close()


def test_two_workers_of_which_one_is_killed_agree_with_the_ledger(
    sandbox_server, sandbox, tmp_path
):
    numbers = many_numbers(40)
    url = sandbox_server.url
    with running(tmp_path / "output", SINCH_REGION_URL=url, WEB_CONCURRENCY="2") as service:
        wait_until(lambda: len(service.workers()) == 2, within_s=90, why="two workers run")
        victim = service.workers()[0]
        for number in numbers[:20]:
            assert service.post(broadcast_to(number, message=number)).status_code == 202
        os.kill(victim, signal.SIGKILL)
        for number in numbers[20:]:
            assert service.post(broadcast_to(number, message=number)).status_code == 202
        wait_until(
            lambda: read_metrics(service).sum("clarion_processes", kind="web") == 2,
            within_s=60,
            why="the dead worker is forgotten and its successor counted",
        )
        roll_up_at_once(f"sqlite:///{tmp_path / 'clarion.db'}")
        wait_until(
            lambda: read_metrics(service).sum("clarion_messages") == 40,
            within_s=90,
            why="what was kept of the database is read anew by both workers",
        )
        scrapes = [read_metrics(service) for _ in range(8)]

    assert len(sandbox.batches()) == 40
    for scrape in scrapes:
        sent = {"method": "POST", "route": "/api/broadcast", "status": "202"}
        assert scrape.sum("clarion_http_requests_total", **sent) == 40
        posted = {"call": "POST /batches", "outcome": "ok"}
        assert scrape.sum("clarion_sinch_calls_total", **posted) == 40
        name = "clarion_http_request_duration_seconds_count"
        assert scrape.sum(name, route="/api/broadcast") == 40
        assert scrape.sum("clarion_batches") == 0
    assert victim not in service_pids(tmp_path / "metrics", "gauge_livesum_{}.db")
    assert victim in service_pids(tmp_path / "metrics", "counter_{}.db")


def test_a_folder_that_is_removed_costs_counts_and_makes_no_answer_an_error(
    sandbox_server, sandbox, tmp_path
):
    """A cleaner of temporary files does that.  An error for a text that is out is sent again."""
    url, folder = sandbox_server.url, tmp_path / "metrics"
    with running(tmp_path / "output", SINCH_REGION_URL=url, WEB_CONCURRENCY="2") as service:
        wait_until(lambda: len(service.workers()) == 2, within_s=90, why="two workers run")
        victim, other = service.workers()
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: service_pids(folder, "gauge_livesum_{}.db") - {victim, other},
            within_s=90,
            why="a worker that has counted no request runs",
        )
        os.kill(other, signal.SIGSTOP)
        shutil.rmtree(folder)
        sent = [service.post(broadcast_to(number, message=number)) for number in many_numbers(3)]
        scraped = service.get("/metrics")

    assert [(each.status_code, each.json().get("status")) for each in sent] == [
        (202, "complete")
    ] * 3
    assert (scraped.status_code, sandbox.posts()) == (200, 3)


def service_pids(folder, pattern):
    """Return the process ids in the names of these files."""
    head, tail = pattern.split("{}")
    names = [path.name for path in folder.glob(pattern.format("*"))]
    return {int(name.removeprefix(head).removesuffix(tail)) for name in names}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "metrics"


def test_the_first_process_cleans_the_folder_and_the_others_do_not(folder):
    left = folder / "counter_1.db"
    first = join_folder(folder)
    left.write_bytes(b"of a process that runs")
    second = join_folder(folder)
    kept = left.exists()
    os.close(first)
    os.close(second)

    os.close(join_folder(folder))

    assert kept
    assert not left.exists()


def test_gauges_of_the_dead_and_empty_files_are_not_added_up(folder):
    os.close(join_folder(folder))
    mine = folder / f"gauge_livesum_{os.getpid()}.db"
    for name in (mine.name, "gauge_livesum_4194305.db", "counter_4194305.db"):
        (folder / name).write_bytes(b"x")
    (folder / "histogram_1.db").touch()

    listed = set(list_files(folder))

    assert listed == {str(mine), str(folder / "counter_4194305.db")}
    assert not (folder / "gauge_livesum_4194305.db").exists()


def test_a_folder_that_others_can_write_to_or_a_link_is_refused(folder, tmp_path):
    folder.mkdir()
    folder.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    (tmp_path / "file").touch()

    for refused in (folder, link, tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FolderRefused):
            join_folder(refused)
