"""Many requests over a few kept connections, one at a time on each, as a busy sender does it."""

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_LONGEST_SILENCE_S = 60.0


@dataclass
class Outcome:
    """What came back: how often which status, how long each and all took, and what was cut."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    cut: int = 0


@dataclass(slots=True)
class _Line:
    """A connection, what was sent on it last, and what has come back of the answer."""

    connection: socket.socket
    request: bytes
    sent_at: float
    received: bytes = b""


def make_post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def post_all(port: int, requests: Iterable[bytes], *, connections: int = 32) -> Outcome:
    """Send every request and wait for every answer; one whose connection is cut is sent again."""
    outcome, left = Outcome(), iter(requests)
    started = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            _begin(selector, port, left, None)
        while selector.get_map():
            ready = selector.select(_LONGEST_SILENCE_S)
            if not ready:
                raise TimeoutError("no answer")
            for key, _ in ready:
                _read(selector, port, left, key.data, outcome)
    outcome.seconds = time.perf_counter() - started
    return outcome


def _begin(
    selector: selectors.BaseSelector, port: int, left: Iterator[bytes], again: bytes | None
) -> None:
    request = again or next(left, None)
    if request is None:
        return
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line = _Line(connection, request, time.perf_counter())
    connection.sendall(request)
    selector.register(connection, selectors.EVENT_READ, line)


def _read(
    selector: selectors.BaseSelector,
    port: int,
    left: Iterator[bytes],
    line: _Line,
    outcome: Outcome,
) -> None:
    try:
        chunk = line.connection.recv(65_536)
    except ConnectionError:
        chunk = b""
    if not chunk:
        outcome.cut += 1
        _end(selector, line)
        _begin(selector, port, left, line.request)
        return
    line.received += chunk
    head, end, body = line.received.partition(b"\r\n\r\n")
    if not end or len(body) < _find_length(head):
        return
    outcome.statuses[int(head[9:12])] += 1
    now = time.perf_counter()
    outcome.waits_s.append(now - line.sent_at)
    request = next(left, None)
    closes = b"connection: close" in head.lower()
    if request is None or closes:
        _end(selector, line)
        if request is not None:
            _begin(selector, port, left, request)
        return
    line.request, line.received, line.sent_at = request, b"", now
    line.connection.sendall(request)


def _end(selector: selectors.BaseSelector, line: _Line) -> None:
    selector.unregister(line.connection)
    line.connection.close()


def _find_length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
