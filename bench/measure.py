"""Timing of two sides in turn, and of servers."""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
Round = Callable[[], float]


def time_in_turn(sides: Mapping[str, Round], *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each side's rounds; the sides take turns after a warm-up each."""
    for run in sides.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            taken[name].append(run())
    return taken


def show_time(name: str, seconds: list[float], *, each_of: int) -> None:
    """Print a side's median: milliseconds per operation, and operations per second."""
    each_s = statistics.median(seconds) / each_of
    print(f"  {name:<44} {each_s * 1e3:9.3f} ms {1 / each_s:9.1f}/s")


def show_ratio(name: str, ours: list[float], limit: list[float], *, goal: float | None) -> None:
    """Print ours / limit, round by round: median, lowest, highest, and the goal if there is one."""
    ratios = sorted(a / b for a, b in zip(ours, limit, strict=True))
    shown = f"{statistics.median(ratios):6.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"  {name:<44} {shown}" + (f"  goal: at most {goal}" if goal else ""))


@contextlib.contextmanager
def serving(
    command: list[str], port: int, *, cwd: str = str(ROOT), **environ: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server process that listens on `port`, and discard its output."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "ENV_FILE": "", **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the server to measure did not start")


def find_workers(master: int, count: int = 1) -> list[int]:
    """Wait for the workers of a gunicorn master.  Returns their process ids."""
    children = Path(f"/proc/{master}/task/{master}/children")
    while len(workers := children.read_text().split()) < count:
        time.sleep(0.05)
    return [int(worker) for worker in workers]


def free_port() -> int:
    """Return an unused port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def make_request(path: str, body: bytes, **headers: str) -> bytes:
    """Return the bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def time_requests(port: int, request: bytes, *, count: int, status: bytes) -> list[float]:
    """Return the seconds of each of `count` requests, one after another on one connection."""
    taken = []
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = time.perf_counter()
            connection.sendall(request)
            answer = _read_answer(connection)
            taken.append(time.perf_counter() - started)
            if not answer.startswith(b"HTTP/1.1 " + status):
                raise RuntimeError(f"not {status!r}: {answer[:300]!r}")
    return taken


def _read_answer(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return received
