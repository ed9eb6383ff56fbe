"""What refuses to start, with code 78 and one line that says why."""

import pytest

from tests.databases import migrate


@pytest.mark.parametrize("line", ["worker", "beat"])
def test_without_a_broker_nothing_starts(make_crew, database_url, line):
    refused = make_crew(database_url).run(line, CELERY_BROKER_URL="", BACKGROUND="")

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
