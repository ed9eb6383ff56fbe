"""The sandbox as a running server, inside a test or on its own."""

import ipaddress
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType, TracebackType

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from app.sandbox.api import access, batches, groups
from app.sandbox.api.wire import Listener
from app.sandbox.clock import Clock
from app.sandbox.control import routes
from app.sandbox.control.arrivals import Arrivals
from app.sandbox.control.faults import Faults
from app.sandbox.control.ledger import Ledger
from app.sandbox.control.settings import Settings
from app.sandbox.engine.plan import Plan


class NotLoopback(ValueError):
    """The sandbox has no password on its control URLs: it listens on this machine only."""


class SandboxServer:
    """A sandbox on a loopback port, served by threads of this process.

    The port is taken, but not served, once the object exists; OSError is raised when it cannot
    be.  Use it as a context manager, or call ``start`` and ``stop``.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        ledger_path: str | Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        _refuse_public_host(host)
        self._host = host
        self.arrivals = Arrivals()
        ledger = Ledger(Path(ledger_path) if ledger_path else None)
        self.plan = Plan(settings=settings or Settings(), clock=Clock(), ledger=ledger)
        self.faults = Faults(lambda: self.plan.settings)
        self._app = _create_app(self)
        self._changing = threading.RLock()
        self._reopening: threading.Timer | None = None
        self._held: socket.socket | None = None
        self._listener = self._listen(_bind(host, port))

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._listener.port}"

    def start(self) -> "SandboxServer":
        self.plan.start()
        self._listener.start()
        return self

    def stop(self) -> None:
        """End every connection and thread."""
        with self._changing:
            self._stopped = True
            if self._reopening is not None:
                self._reopening.cancel()
            self._listener.stop()
            if self._held is not None:
                self._held.close()
        self.plan.stop()

    def refuse(self, for_s: float) -> None:
        """Refuse connections for a while.

        The port stays bound, so that nobody else takes it, but nothing listens on it.
        """
        with self._changing:
            if self._reopening is not None:
                self._reopening.cancel()
            if self._held is None:
                self._listener.stop()
                self._held = _bind(self._host, self._listener.port)
            self._reopening = threading.Timer(for_s, self._reopen)
            self._reopening.daemon = True
            self._reopening.start()

    def __enter__(self) -> "SandboxServer":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _reopen(self) -> None:
        with self._changing:
            if self._held is not None and self._held.fileno() != -1:
                held, self._held = self._held, None
                self._listener = self._listen(held)
                self._listener.start()

    def _listen(self, bound: socket.socket) -> Listener:
        return Listener(
            bound, self._app, plan=self.plan, faults=self.faults, arrivals=self.arrivals
        )


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8089,
    ledger_path: str | Path | None = None,
    settings: Settings | None = None,
) -> None:
    """Run a sandbox until SIGTERM or Ctrl-C."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with SandboxServer(port, host=host, ledger_path=ledger_path, settings=settings) as server:
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
    for blueprint in (batches.blueprint, groups.blueprint, routes.blueprint):
        app.register_blueprint(blueprint)
    access.register_errors(app)
    return app


class _CompactJson(DefaultJSONProvider):
    ensure_ascii = False
    sort_keys = False
    compact = True


def _refuse_public_host(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
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
