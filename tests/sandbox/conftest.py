"""Fixtures: one sandbox for all of these tests, reset before each test; a recording webhook."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from app.sandbox.server import SandboxServer
from tests.sandbox_control import SandboxControl

Json = dict[str, Any]


class Sinch:
    """A plain HTTP client for the plan's URLs."""

    def __init__(self, url: str, *, token: str = "sandbox", plan_id: str = "sandbox") -> None:
        self.root = f"{url}/xms/v1/{plan_id}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.root + path, timeout=10, **options)

    def get(self, path: str, **query: Any) -> Json:
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def post_batch(self, **changes: Any) -> requests.Response:
        """A send request with these fields changed; None leaves one out."""
        sent = {"to": ["46700000001"], "from": "46700000900", "body": "hello"} | changes
        return self.ask("POST", "/batches", json={k: v for k, v in sent.items() if v is not None})

    def send(self, *to: str, **changes: Any) -> Json:
        """An accepted batch."""
        answer = self.post_batch(**({"to": list(to)} if to else {}), **changes)
        assert answer.status_code == 201, answer.text
        batch: Json = answer.json()
        return batch

    def statuses(self, batch_id: str) -> dict[str, int]:
        """Count messages by status and code, such as `Delivered 0`."""
        report = self.get(f"/batches/{batch_id}/delivery_report")
        return {f"{s['status']} {s['code']}": s["count"] for s in report["statuses"]}


class Webhook:
    """Records callbacks; answers with the next of `answers`, else 200, once `open` is set."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.received: list[tuple[dict[str, str], bytes, Json]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.take(self)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sinch"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.received.append((headers, body, json.loads(body)))
        self.open.wait(timeout=30)
        handler.send_response(self.answers.pop(0) if self.answers else 200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    @property
    def events(self) -> list[Json]:
        return [event for _, _, event in self.received]

    def stop(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def wait_until(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Return once the condition is true; AssertionError after `within_s` seconds."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def wait_until_quiet(webhook: Webhook) -> None:
    """Return once no callback has come for a second."""
    seen = -1
    while seen != len(webhook.received):
        seen = len(webhook.received)
        time.sleep(1)


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def control(sandbox_server: SandboxServer) -> SandboxControl:
    control = SandboxControl(sandbox_server.url)
    control.reset()
    return control


@pytest.fixture
def sinch(sandbox_server: SandboxServer, control: SandboxControl) -> Iterator[Sinch]:
    sinch = Sinch(sandbox_server.url)
    yield sinch
    sinch.session.close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.stop()
