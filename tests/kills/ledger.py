"""A sandbox in a process of its own, and the ledger that it writes before it answers."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests import fork_server
from tests.commands import FLASK
from tests.environ import clean_environ
from tests.factories import settings
from tests.fork_server import ForkedProcess
from tests.sandbox_control import SandboxControl
from tests.wire import unused_port


@dataclass
class LedgeredSandbox:
    """Sinch as a witness: what it has accepted stands in a file, whatever became of the answer."""

    url: str
    file: Path
    _from: int = 0

    @property
    def control(self) -> SandboxControl:
        return SandboxControl(self.url)

    def begin(self) -> None:
        """As just started; what was accepted before counts no more."""
        self.control.reset()
        self._from = self.file.stat().st_size

    def copies(self) -> Counter[str]:
        """How often each number was accepted."""
        return Counter(number for batch in self.accepted() for number in batch["to"])

    def references(self) -> Counter[str]:
        """How often each client_reference was accepted."""
        return Counter(batch["client_reference"] for batch in self.accepted())

    def accepted(self) -> list[dict[str, Any]]:
        """Every accepted batch: its id, client_reference and the numbers in `to`."""
        with self.file.open("rb") as lines:
            lines.seek(self._from)
            whole, _, _ = lines.read().rpartition(b"\n")  # the last one may just be written
        events = [json.loads(line) for line in whole.splitlines()]
        return [event for event in events if event["event"] == "accepted"]


@contextlib.contextmanager
def running_sandbox(folder: Path) -> Iterator[LedgeredSandbox]:
    """The sandbox as `flask sandbox --ledger` starts it, ready to answer."""
    port, file = unused_port(), folder / "ledger"
    process = fork_server.start(
        [*FLASK, "sandbox", "--port", str(port), "--ledger", str(file)],
        clean_environ(settings(DATABASE_URL=f"sqlite:///{folder / 'unused.db'}")),
        folder / "output",
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_serving(url, process, folder / "output")
        yield LedgeredSandbox(url, file)
    finally:
        process.kill_group()


def _wait_until_serving(url: str, process: ForkedProcess, output: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{url}/control/health", timeout=30).ok:
                return
        time.sleep(0.05)
    raise AssertionError(output.read_text())
