"""Clarion as a stranger runs it: real processes on loopback."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests import fork_server
from tests.callers import PATIENT
from tests.databases import migrate
from tests.environ import clean_environ
from tests.factories import AUTH, settings
from tests.fork_server import ForkedProcess
from tests.wire import unused_port

GUNICORN = [sys.executable, "-m", "gunicorn", "wsgi:app"]


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


@dataclass
class Service:
    """A running process, its address, and the file its output goes to."""

    process: ForkedProcess
    url: str
    output: Path

    def post(self, body: Any, **more: Any) -> requests.Response:
        return requests.post(
            f"{self.url}/api/broadcast", **{"headers": AUTH, "json": body, "timeout": 30} | more
        )

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}{path}", headers=AUTH, timeout=30)

    def workers(self) -> list[int]:
        """The processes that answer, under their master."""
        return children_of(self.process.pid)

    def stop(self, number: int = signal.SIGTERM, *, within_s: float = 90.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)


@contextlib.contextmanager
def running(
    output: Path, *, command: list[str] = GUNICORN, host: str = "127.0.0.1", **overrides: str
) -> Iterator[Service]:
    """A service under its own process, ready to answer; its group is killed afterwards.

    Its database is a new one beside its output unless DATABASE_URL names another.
    """
    port = int(overrides.get("PORT", 0)) or unused_port()
    if "DATABASE_URL" not in overrides:
        overrides["DATABASE_URL"] = f"sqlite:///{output.parent / 'clarion.db'}"
        migrate(overrides["DATABASE_URL"])
    metrics = str(output.parent / "metrics")
    ours = {"PORT": str(port), "METRICS_DIR": metrics, **PATIENT}
    environ = settings(**ours | overrides)
    arguments = [argument.format(port=port) for argument in command]
    process = fork_server.start(arguments, clean_environ(environ), output)
    service = Service(process, f"http://{f'[{host}]' if ':' in host else host}:{port}", output)
    try:
        wait_until_healthy(service)
        yield service
    finally:
        process.kill_group()


def wait_until_healthy(service: Service, *, within_s: float = 90.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        assert service.process.poll() is None, service.output.read_text()
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{service.url}/health", timeout=30).ok:
                return
        time.sleep(0.05)
    raise AssertionError(f"not healthy in {within_s} s: {service.output.read_text()}")
