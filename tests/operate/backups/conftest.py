"""Commands over a database of either kind, and the programs of its PostgreSQL."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from app.cli import make_command_app
from app.config import read_config
from tests.factories import settings


@pytest.fixture(autouse=True)
def _programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore of the server that the test uses."""
    if "postgres" in request.node.name:
        binaries = request.getfixturevalue("postgres").binaries
        monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for backups, which does not exist yet."""
    return tmp_path / "copies" / "backups"


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[..., Result]]:
    """A function that runs `flask` on a database, with backups in `folder`."""
    apps = []

    def run(url: str, *arguments: str, **overrides: str) -> Result:
        environ = settings(**{"DATABASE_URL": url, "BACKUP_DIR": str(folder)} | overrides)
        apps.append(make_command_app(read_config(environ)))
        return apps[-1].test_cli_runner().invoke(args=arguments)

    yield run
    for app in apps:
        if "clarion" in app.extensions:
            app.extensions["clarion"].db.close()
