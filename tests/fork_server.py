"""Processes that begin with their imports done, forked from a server that has nothing else to do.

`python -m gunicorn` takes a second of processor time for its imports.  A forked process runs the
module with its arguments and environment in a session of its own, and ends by any signal.

All processes of a test run share the server.  It ends when the last of them has gone.

    test ─── order, output ───> server ── fork ──> guardian ── fork ──> the process
         <─────────── its exit code ──────────────────┘                     │
         <─────────────── its pid ──────────────────────────────────────────┘
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.config import read_config
from app.factory import create_app
from app.worker.jobs import plan_next, roll_up, sweep
from tests.compiled import share_compiled
from tests.databases import migrated_file
from tests.environ import ROOT, clean_environ
from tests.factories import settings
from tests.shared import lock, name_folder

_IMPORTS = ("gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "psycopg")
# Before the first process that needs them: most servers start none.
_IMPORTS_OF_CELERY = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "kombu.transport.redis",
)
_MOST_BYTES = 65_536
_GREETING = b"ready"


class ForkedProcess:
    """A process of the fork server, with the interface of Popen."""

    def __init__(self, guardian: socket.socket) -> None:
        self._guardian = guardian
        self.pid = int(guardian.recv(_MOST_BYTES))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, None while it lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; subprocess.TimeoutExpired when that takes too long."""
        if self.returncode is None:
            self._guardian.settimeout(timeout)
            try:
                self.returncode = int(self._guardian.recv(_MOST_BYTES))
            except (TimeoutError, BlockingIOError) as e:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0) from e
            self._guardian.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def kill_group(self) -> None:
        """End it and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(60)


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    output: Path,
    errors: Path | None = None,
) -> ForkedProcess:
    """Start `[python, "-m", module, …]` in the root of the project.

    `output` gets what it prints, also its errors unless they have a file of their own.
    """
    assert command[1] == "-m"
    ours, guardians = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    order = json.dumps({"command": command[2:], "environ": dict(environ)}).encode()
    with contextlib.ExitStack() as stack:
        stack.enter_context(guardians)
        printed = stack.enter_context(output.open("wb"))
        complained = stack.enter_context(errors.open("wb")) if errors else printed
        files = [guardians.fileno(), printed.fileno(), complained.fileno()]
        socket.send_fds(_connect_to_server(), [order], files)
    return ForkedProcess(ours)


@functools.cache
def _connect_to_server() -> socket.socket:
    """Connect to the server of this run.  Where there is none, or it is about to end, start one."""
    with lock("fork_server") as path:
        server = _connect(path)
        if server is None:
            path.unlink(missing_ok=True)
            _start_server(path)
            server = _connect(path)
    assert server is not None
    atexit.register(server.close)
    return server


def _connect(path: Path) -> socket.socket | None:
    """Connect to a server that listens there.  Returns None if none takes the connection."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(FileNotFoundError, ConnectionError):
        server.connect(str(path))
        if server.recv(_MOST_BYTES) == _GREETING:
            return server
    server.close()
    return None


def _start_server(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [sys.executable, "-m", __name__, str(migrated_file())]
        environ = clean_environ(name_folder())
        server = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=listener.fileno())
    server.returncode = 0  # it may outlive this process: Popen would warn


# In the server


def _serve() -> None:
    _import(_IMPORTS)
    share_compiled()
    _sweep_once(Path(sys.argv[1]))
    assert threading.active_count() == 1  # a fork has no other
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guardians are not waited for
    listener = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sockets = [listener]
    while True:
        ready, _, _ = select.select(sockets, [], [])
        for each in ready:
            if each is listener:
                sockets.append(_greet(listener))
                continue
            order, files, _, _ = socket.recv_fds(each, _MOST_BYTES, 3)
            if order and _fork(json.loads(order), files, sockets):
                return
            if not order:
                each.close()
                sockets.remove(each)
        if sockets == [listener]:
            return


def _sweep_once(database: Path) -> None:
    """Compile the rules and statements that each service needs at its start: a quarter of that."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{shutil.copy(database, folder)}"
        service = create_app(read_config(settings(LOG_LEVEL="critical", DATABASE_URL=url)))
        ctx = service.extensions["clarion"]
        sweep(ctx)
        plan_next(ctx)
        roll_up(ctx)
        ctx.db.close()


def _greet(listener: socket.socket) -> socket.socket:
    """Take a test process, and tell it that its orders will be obeyed."""
    tester, _ = listener.accept()
    with contextlib.suppress(ConnectionError):
        tester.send(_GREETING)
    return tester


def _fork(order: dict[str, Any], files: list[int], sockets: Sequence[socket.socket]) -> bool:
    """Start what was ordered.  Returns True in the new process alone, once it has ended."""
    if order["command"][0] == "celery":
        _import(_IMPORTS_OF_CELERY)
        gc.freeze()
    if os.fork() == 0:
        for each in sockets:  # so that the end of the server is seen
            each.close()
        _guard(*files, **order)
        return True
    for file in files:
        os.close(file)
    return False


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _guard(customer: int, output: int, errors: int, **order: Any) -> None:
    """Returns in the new process alone, once what it runs has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        _live(customer, output, errors, **order)
        return
    os.close(output)
    os.close(errors)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(customer, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _live(
    customer: int, output: int, errors: int, command: list[str], environ: dict[str, str]
) -> None:
    os.setsid()
    os.write(customer, str(os.getpid()).encode())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, errors + 10)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
