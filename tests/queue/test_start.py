"""What refuses to start, with code 78 and one line that says why."""

import json

import pytest

from tests.databases import migrate
from tests.kills.mortal import wait_until


@pytest.mark.parametrize("line", ["worker", "beat"])
def test_without_a_broker_nothing_starts(make_crew, database_url, line):
    refused = make_crew(database_url).run(line, REDIS_URL="", BACKGROUND="")

    assert refused.returncode == 78
    assert refused.stderr == "clarion: set REDIS_URL or CELERY_BROKER_URL for Celery\n"


@pytest.mark.parametrize("line", ["worker", "beat"])
def test_nothing_starts_on_a_copy_of_a_database(make_crew, database_url, line):
    refused = make_crew(database_url).run(line, INSTANCE_ID="another")

    assert refused.returncode == 78
    assert refused.stderr.startswith("clarion: the database belongs to another instance")
    assert refused.stderr.count("\n") == 1


def test_a_worker_does_not_start_before_the_database_is_migrated(make_crew, tmp_path):
    crew = make_crew(f"sqlite:///{tmp_path / 'empty.db'}")

    refused = crew.run("worker")

    assert refused.returncode == 78
    assert "db upgrade" in refused.stderr
    migrate(f"sqlite:///{tmp_path / 'empty.db'}")  # its books are looked at in the end


def test_the_service_is_ready_as_soon_as_beat_and_a_worker_run(make_crew, postgres):
    """Not only after the first SWEEP_EVERY_S, which is longer than this test waits.

    Whatever another program has left to its own Celery in the environment.
    """
    others = {
        "CELERY_BROKER_READ_URL": "amqp://127.0.0.1:1//",
        "CELERY_BROKER_WRITE_URL": "amqp://127.0.0.1:1//",
        "CELERY_BROKER_URL": " ",
        "CELERY_CONFIG_MODULE": "others",
        "CELERY_RESULT_BACKEND": "others",
        "CELERY_WORKER_QUEUES": "others",
    }
    crew = make_crew(postgres.create_database(), SWEEP_EVERY_S="300", **others).start_web()
    assert crew.get("/ready")["background"] == "stale"

    crew.start_beat()
    crew.start_worker()

    wait_until(lambda: crew.get("/ready")["background"] == "ok", within_s=90, why="beat beats")


def test_a_broker_that_is_away_is_shown_by_ready_and_logged_once_with_its_reason(
    make_crew, database_url, broker
):
    crew = make_crew(database_url).start_web()
    crew.start_worker()
    crew.start_beat()
    wait_until(lambda: crew.get("/ready")["status"] == "ready", within_s=90, why="it is ready")
    assert crew.get("/ready")["broker"] == "ok"

    broker.kill()

    wait_until(lambda: crew.get("/ready")["broker"] == "unreachable", within_s=90, why="it is seen")
    lines = [json.loads(line) for line in crew.web.output.read_text().splitlines()]
    reasons = [line["reason"] for line in lines if line["message"] == "the broker is unreachable"]
    assert len(reasons) == 1
    assert reasons[0].startswith(f"redis://:**@127.0.0.1:{broker.port}/0: Error 111 ")
    faults = [line["state"] for line in lines if line.get("check") == "broker"]
    assert faults == ["unreachable"]
    assert [line for line in lines if "exception" in line] == []
    broker.start()


def test_workers_and_beat_write_json_lines_and_no_banner(make_crew, database_url):
    crew = make_crew(database_url)
    hands = [crew.start_beat(), crew.start_worker()]
    wait_until(lambda: "beat: Starting" in hands[0].output.read_text(), within_s=90, why="beat")

    lines = crew.output().splitlines()

    assert len(lines) >= 2
    assert [line for line in lines if not isinstance(json.loads(line), dict)] == []
