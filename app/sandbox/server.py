"""Sandbox server, inside a test or as a process of its own."""

import signal
import socket
import sys
import threading
from pathlib import Path

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from app.sandbox.api import access
from app.sandbox.api import routes as sinch_routes
from app.sandbox.api.wire import Listener
from app.sandbox.clock import Clock
from app.sandbox.control import routes as control_routes
from app.sandbox.control.faults import Faults
from app.sandbox.control.ledger import Ledger
from app.sandbox.control.request_log import RequestLog
from app.sandbox.control.settings import Settings
from app.sandbox.engine.service_plan import ServicePlan
from app.sandbox.numbers import is_loopback


class NotLoopback(ValueError):
    """The host is not loopback; the sandbox's control URLs have no password."""


class SandboxServer:
    """A sandbox on a loopback port, served by threads of this process.

    The constructor binds the port, or raises OSError.  Use it as a context manager, or call
    `start` and `stop`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        ledger_path: str | Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        _require_loopback(host)
        self._host = host
        self.request_log = RequestLog()
        ledger = Ledger(Path(ledger_path) if ledger_path else None)
        self.plan = ServicePlan(settings=settings or Settings(), clock=Clock(), ledger=ledger)
        self.faults = Faults(lambda: self.plan.settings)
        self.app = _create_app(self)
        self._lock = threading.RLock()
        self._reopening: threading.Timer | None = None
        self._idle_socket: socket.socket | None = None
        self._listener = Listener(_bind(host, port), self)

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._listener.port}"

    def start(self) -> "SandboxServer":
        self.plan.start()
        self._listener.start()
        return self

    def stop(self) -> None:
        """End all connections and threads."""
        with self._lock:
            if self._reopening is not None:
                self._reopening.cancel()
            self._listener.stop()
            if self._idle_socket is not None:
                self._idle_socket.close()
        self.plan.stop()

    def refuse(self, for_s: float) -> None:
        """Refuse connections for `for_s` seconds.

        The port stays bound, so that no other process takes it, but nothing listens on it.
        """
        with self._lock:
            if self._reopening is not None:
                self._reopening.cancel()
            if self._idle_socket is None:
                self._listener.stop()
                self._idle_socket = _bind(self._host, self._listener.port)
            self._reopening = threading.Timer(for_s, self._reopen)
            self._reopening.daemon = True
            self._reopening.start()

    def __enter__(self) -> "SandboxServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _reopen(self) -> None:
        with self._lock:
            if self._idle_socket is not None and self._idle_socket.fileno() != -1:
                idle, self._idle_socket = self._idle_socket, None
                self._listener = Listener(idle, self)
                self._listener.start()


def serve(
    *, port: int, ledger_path: str | Path | None = None, settings: Settings | None = None
) -> None:
    """Run a sandbox until SIGTERM or Ctrl-C."""
    ended = threading.Event()
    ends = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in ends}
    try:
        with SandboxServer(port, ledger_path=ledger_path, settings=settings) as server:
            plan_id = server.plan.settings.plan_id
            sys.stdout.write(f"Sinch sandbox on {server.url}, plan {plan_id}. Nothing is sent.\n")
            sys.stdout.flush()
            ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _create_app(server: SandboxServer) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.json = _CompactJson(app)
    app.extensions["sandbox_server"] = server
    app.extensions["sandbox_plan"] = server.plan
    app.register_blueprint(sinch_routes.blueprint)
    app.register_blueprint(control_routes.blueprint)
    access.register_errors(app)
    return app


class _CompactJson(DefaultJSONProvider):
    ensure_ascii = False
    sort_keys = False
    compact = True


def _require_loopback(host: str) -> None:
    if not is_loopback(host):
        raise NotLoopback(f"the sandbox listens on loopback only, not on {host}")


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
