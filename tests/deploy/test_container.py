"""The Containerfile without a container: its files alone, its user, settings and commands.

What a build installs is not installed again: the packages are those of this Python.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.databases import migrate
from tests.environ import ROOT
from tests.factories import AUTH, broadcast_to, settings
from tests.kills.mortal import wait_until
from tests.processes import children_of
from tests.wire import unused_port

ANN, BO = "+46701234567", "+46707654321"
_STRANGER = "10001"  # the user of the Containerfile
# PostgreSQL's client in each release of Debian.
PG_DUMP = {"bookworm": 15, "trixie": 17}


@dataclass(frozen=True)
class Containerfile:
    """The instructions of the file's last stage, in order."""

    steps: list[tuple[str, str]]

    @classmethod
    def read(cls):
        text = (ROOT / "deploy/container/Containerfile").read_text().replace("\\\n", "")
        lines = [line.strip() for line in text.splitlines()]
        steps = [line.split(maxsplit=1) for line in lines if line and line[0] != "#"]
        begins = max(place for place, (word, _) in enumerate(steps) if word == "FROM")
        return cls([(word, rest) for word, rest in steps[begins:]])

    def all(self, word):
        return [rest for each, rest in self.steps if each == word]

    def environ(self):
        """Return what ENV sets, with the folder of this Python in place of the container's."""
        pairs = [pair.split("=", 1) for rest in self.all("ENV") for pair in shlex.split(rest)]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return dict(pairs) | {"PATH": path}

    def command(self, word="CMD"):
        (rest,) = self.all(word)
        command: list[str] = json.loads(rest[rest.index("[") :])
        return command

    def copy_files(self, folder):
        for rest in self.all("COPY"):
            *sources, target = rest.split()
            if sources[0].startswith("--from"):
                continue
            for source in sources:
                place = folder / target / source if target.endswith("/") else folder / target
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, place)


def read_as_stranger():
    """Return the words before a command that make it another user's, without any capability.

    Empty where that cannot be done: not as root, or with a Python that others may not run.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    words = ["setpriv", f"--reuid={_STRANGER}", f"--regid={_STRANGER}", "--clear-groups"]
    words += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    tried = subprocess.run([*words, sys.executable, "-c", "import gunicorn"], check=False)
    return words if tried.returncode == 0 else []


@dataclass
class Container:
    """A running service of the file's own files, and its folders."""

    tree: Path
    data: Path
    url: str
    environ: dict[str, str]
    process: subprocess.Popen
    output: Path

    def is_up(self):
        assert self.process.poll() is None, self.output.read_text()
        return requests.get(f"{self.url}/health", timeout=30).ok

    def workers(self):
        return children_of(self.process.pid)

    def send_to(self, number):
        body = broadcast_to(number, message=f"to {number}")
        return requests.post(f"{self.url}/api/broadcast", headers=AUTH, json=body, timeout=30)


@pytest.fixture(scope="module")
def container(sandbox_server):
    folder, port = Path(tempfile.mkdtemp(prefix="clarion-container-")), unused_port()
    tree, data, file = folder / "tree", folder / "data", Containerfile.read()
    folder.chmod(0o755)
    for each in (tree, data):
        each.mkdir(mode=0o755)
    file.copy_files(tree)
    own = settings(
        SINCH_REGION_URL=sandbox_server.url,
        DATABASE_URL=f"sqlite:///{data / 'clarion.db'}",
        METRICS_DIR=str(data / "metrics"),
        TMPDIR=str(data),
        PYTHONDONTWRITEBYTECODE="1",
    )
    environ = file.environ() | own | {"PORT": str(port), "HOST": "127.0.0.1"}
    stranger = read_as_stranger()
    migrate(own["DATABASE_URL"])
    if stranger:
        for path in (data, data / "clarion.db"):
            os.chown(path, int(_STRANGER), int(_STRANGER))
    _lock(tree, 0o555)
    output = folder / "output"
    with (
        output.open("wb") as log,
        subprocess.Popen(
            [*stranger, *file.command()],
            cwd=tree,
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        found = Container(tree, data, f"http://127.0.0.1:{port}", environ, process, output)
        try:
            wait_until(found.is_up, within_s=90, why="it answers")
            yield found
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    _lock(tree, 0o755)
    shutil.rmtree(folder)


def _lock(tree, mode):
    """Let no one, or their owner, write to files and folders."""
    for path in (tree, *tree.rglob("*")):
        path.chmod(mode)


def test_a_text_goes_out_of_the_files_that_are_copied(container, sandbox):
    answer = container.send_to(ANN)

    assert (answer.status_code, sandbox.recipients()) == (202, [ANN])


def test_the_health_check_passes_and_fails(container):
    *words, code = Containerfile.read().command("HEALTHCHECK")
    for port, passes in ((container.environ["PORT"], True), (str(unused_port()), False)):
        ended = subprocess.run(
            [*words, code.replace("3000", port)],
            # Docker gives its own proxy to every container.
            env=container.environ | {"http_proxy": f"http://127.0.0.1:{unused_port()}"},
            capture_output=True,
            check=False,
        )
        assert (ended.returncode == 0) == passes, ended.stderr


def test_pg_dump_is_as_new_as_the_server_of_the_compose_file():
    """An older one refuses, and no migration would find its backup."""
    (image,) = Containerfile.read().all("FROM")
    compose = (ROOT / "deploy/container/compose.yaml").read_text()
    (server,) = re.findall(r"library/postgres:(\d+)", compose)

    assert PG_DUMP[image.rpartition("-")[2]] >= int(server)


def test_what_it_writes_only_its_owner_reads(container):
    container.send_to(BO)

    # The test has copied the database itself.
    written = [path for path in container.data.rglob("*") if path.name != "clarion.db"]
    assert container.data / "clarion.db-wal" in written
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def test_a_reload_serves_a_new_version_and_not_a_mixture_of_both(container, sandbox):
    """The master has imported the old module, and the new one of another needs the new."""
    _lock(container.tree, 0o755)
    for path, line in {
        "app/sms/caps/budget.py": "OF_THE_NEW_VERSION = 1",
        "app/factory.py": "from app.sms.caps.budget import OF_THE_NEW_VERSION  # noqa",
    }.items():
        with (container.tree / path).open("a") as file:
            file.write(f"\n\n{line}\n")
    before = set(container.workers())

    container.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: container.is_up() and not before & set(container.workers()),
        within_s=90,
        why="others serve",
    )
    answer = container.send_to("+46703333333")

    assert answer.status_code == 202
    assert "Worker failed to boot" not in container.output.read_text()
