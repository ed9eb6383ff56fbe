"""Upgrade and rollback as docs/deployment.md has them, with the program of two migrations ago."""

import contextlib
import io
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from app.db.schema import MIGRATIONS, list_revisions
from tests import fork_server
from tests.commands import FLASK, run_command
from tests.environ import ROOT, clean_environ
from tests.factories import AUTH, broadcast_to, many_numbers, settings
from tests.kills.mortal import HASTE, PATIENT, wait_until
from tests.processes import GUNICORN, Service, wait_until_healthy
from tests.wire import unused_port

BEFORE, MEANWHILE, OPTED_OUT, STOPPED, AFTER, AT_LAST = many_numbers(6)
WAITING = many_numbers(3, start=10)
SOON_S = 60.0


@dataclass
class Program:
    """A version of Clarion, its settings, and the file that its processes write to."""

    environ: dict[str, str]
    output: Path

    def run(self, *arguments):
        """Run a command; it must succeed.  Returns what it printed."""
        ended = self.try_to_run(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def try_to_run(self, *arguments):
        return run_command([*FLASK, *arguments], self.environ)

    @contextlib.contextmanager
    def serving(self):
        """Serve until the end of the block, and end as a host ends it."""
        port = unused_port()
        process = self.start(GUNICORN, self.environ | {"PORT": str(port)})
        service = Service(process, f"http://127.0.0.1:{port}", self.output)
        try:
            wait_until_healthy(service)
            yield service
            assert service.stop() == 0, self.output.read_text()
        finally:
            process.kill()
            process.wait(30)

    def start(self, command, environ):
        return fork_server.start(command, environ, self.output)


@dataclass
class OldProgram(Program):
    """The version of another tree: its processes import all that they run."""

    tree: Path

    def try_to_run(self, *arguments):
        return subprocess.run(
            [*FLASK, *arguments],
            cwd=self.tree,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, command, environ):
        with self.output.open("ab") as output:
            return subprocess.Popen(
                command, cwd=self.tree, env=environ, stdout=output, stderr=output
            )


def _git(*arguments):
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)
    return ended.stdout if ended.returncode == 0 else b""


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory):
    """The files of the last commit without the two newest migrations."""
    (added,) = MIGRATIONS.glob(f"versions/{list_revisions()[-2]}_*.py")
    commit = _git("log", "-1", "--diff-filter=AR", "--format=%H", "--", str(added)).decode().strip()
    packed = _git("archive", f"{commit}^", "app", "wsgi.py", "gunicorn.conf.py") if commit else b""
    if not packed:
        pytest.skip("needs the history of two migrations: this is no clone, or a shallow one")
    tree = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    return tree


@pytest.fixture(params=["sqlite", "postgres"])
def urls(request, tmp_path, monkeypatch):
    """The database in use, and the one that a backup is restored to."""
    if request.param == "sqlite":
        return [f"sqlite:///{tmp_path / 'clarion.db'}"] * 2
    server = request.getfixturevalue("postgres")
    monkeypatch.setenv("PATH", f"{server.binaries}:/usr/bin:/bin")
    return [server.create_empty_database() for _ in range(2)]


@pytest.fixture
def programs(urls, old_tree, tmp_path, sandbox_server):
    """The old program, the new one, and the old one on the database that is restored."""

    def make(url, *tree):
        environ = settings(
            **HASTE
            | PATIENT
            | {
                "SINCH_REGION_URL": sandbox_server.url,
                "DATABASE_URL": url,
                "BACKUP_DIR": str(tmp_path / "backups"),
                "METRICS_DIR": str(tmp_path / "metrics"),
            }
        )
        make_program = OldProgram if tree else Program
        return make_program(clean_environ(environ), tmp_path / "output", *tree)

    return make(urls[0], old_tree), make(urls[0]), make(urls[1], old_tree)


def send(service, *numbers):
    answer = service.post(broadcast_to(*numbers, message=f"For {numbers[0]}"))
    assert answer.status_code == 202, answer.text
    return answer.json()["url"]


def suppress(service, number):
    url, body = f"{service.url}/api/suppressions", {"phones": [number]}
    assert requests.post(url, headers=AUTH, json=body, timeout=30).ok


def is_complete(service, broadcast):
    return service.get(broadcast).json()["status"] == "complete"


@pytest.mark.slow
def test_the_old_version_serves_while_it_is_migrated_and_after_a_rollback(
    programs, urls, sandbox, tmp_path
):
    old, new, restored = programs
    old.run("db", "upgrade")
    with old.serving() as service:
        send(service, BEFORE)
        sandbox.order_fault(on="POST /batches", status=401, times=1_000)
        waiting = send(service, *WAITING)

        said = new.run("db", "upgrade")

        # The old version goes on, with what waited, what is new, and a STOP.
        sandbox.clear_faults()
        wait_until(lambda: is_complete(service, waiting), within_s=SOON_S, why="Sinch is back")
        suppress(service, OPTED_OUT)
        send(service, MEANWHILE, OPTED_OUT)
        assert service.get("/ready").json()["consistency"] == "ok"
        # Its commands, and processes that start now, refuse.
        refused = old.try_to_run("broadcasts", "list")
        assert "the database is newer than this program" in refused.stderr
    with new.serving() as service:
        assert is_complete(service, waiting)
        send(service, AFTER)
        sandbox.text_from(STOPPED, "STOP")
    everyone = sorted([BEFORE, *WAITING, MEANWHILE, AFTER])
    assert sorted(sandbox.recipients()) == everyone

    # Back: the steps of docs/backup.md with the old version.
    backup = said.splitlines()[0].removeprefix("Backup before the migration: ")
    if urls[0] == urls[1]:
        (tmp_path / "old").mkdir()
        for path in tmp_path.glob("clarion.db*"):
            shutil.move(path, tmp_path / "old")
    restored.run("backup", "verify", backup)
    assert restored.run("backup", "restore", backup).startswith(
        "Restored, in restore mode: 1 batch may have been sent since"
    )
    with restored.serving() as service:
        wait_until(lambda: is_complete(service, waiting), within_s=SOON_S, why="Sinch was asked")
        # The STOP came after the backup: it is in Sinch's list of texts.
        again = send(service, STOPPED, AT_LAST)
        wait_until(lambda: is_complete(service, again), within_s=SOON_S, why="sending goes on")
        assert service.get(again).json()["counts"]["suppressed"] == 1

    assert sorted(sandbox.recipients()) == sorted([*everyone, AT_LAST])
