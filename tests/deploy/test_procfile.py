"""The Procfile on a host like Heroku: its lines, and what such a host cannot keep."""

import pytest

from tests.commands import run_command
from tests.factories import production
from tests.queue.crew import read_procfile


@pytest.mark.parametrize("line", ["release", "web", "worker", "beat"])
def test_no_process_starts_on_sqlite_where_the_disk_is_lost(line, tmp_path):
    database = tmp_path / "clarion.db"
    host = {"DYNO": f"{line}.1", "DATABASE_URL": f"sqlite:///{database}"}

    ended = run_command(read_procfile(line), production(**host))

    assert ended.returncode == 78
    said = (ended.stdout + ended.stderr).strip().splitlines()
    assert len(said) == 1
    assert "no disk that stays (DYNO is set)" in said[0]
    assert "Set DATABASE_URL to a PostgreSQL" in said[0]
    assert not database.exists()
