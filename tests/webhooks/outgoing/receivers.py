"""Clients' receivers on loopback: some take what they are given, some are dead, slow or lie."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wire import Answer, RawServer, respond

CERTIFICATE = Path(__file__).parents[2] / "payloads/loopback.pem"
# Nobody listens there.
NOWHERE = "http://127.0.0.1:1025/hook"
TAKEN = respond("200 OK", b"thanks")


@dataclass
class Told:
    """One POST as it arrived, when, and its headers in lower case."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Takes POSTs and answers as it is told, `then` once what stands in `first` is used up."""

    then: Answer = TAKEN
    first: list[Answer] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    told: list[Told] = field(default_factory=list)
    # At the same time, now and at most.
    in_hand: int = 0
    most_in_hand: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._server = RawServer(self._answer, tls=self.tls)

    @contextlib.contextmanager
    def running(self) -> Iterator["Receiver"]:
        with self._server.running():
            yield self

    @property
    def url(self) -> str:
        return f"{self._server.url}/hook"

    @property
    def connections(self) -> int:
        return self._server.connections

    def events(self) -> list[Any]:
        """What it was told, as it came."""
        return [each.event for each in self.told]

    def ids(self) -> list[str]:
        return [each["id"] for each in self.events()]

    def _answer(self, connection: socket.socket) -> None:
        with self._lock:
            self.told.append(_read(self._server.requests[len(self.told)]))
            self.in_hand += 1
            self.most_in_hand = max(self.most_in_hand, self.in_hand)
            answer = self.first.pop(0) if self.first else self.then
        answering = _Answering(connection, self._let_go)
        try:
            answer(answering)  # type: ignore[arg-type]
        finally:
            answering.let_go()

    def _let_go(self) -> None:
        with self._lock:
            self.in_hand -= 1


class _Answering:
    """A connection; `let_go` is called once, before whoever posted can know of the answer."""

    def __init__(self, connection: socket.socket, let_go: Callable[[], None]) -> None:
        self._connection, self._let_go = connection, let_go
        self._is_held = True

    def let_go(self) -> None:
        if self._is_held:
            self._is_held = False
            self._let_go()

    def sendall(self, data: bytes) -> None:
        self.let_go()
        self._connection.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _read(request: bytes) -> Told:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in pairs}
    return Told(time.monotonic(), first.split(" ")[1], headers, body)


def refuse(status: str, **headers: str) -> Answer:
    """An answer that is not 2xx."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return respond(status, b"no", lines)


def wait(seconds: float, then: Answer = TAKEN) -> Answer:
    """An answer that comes late."""

    def answer(connection: socket.socket) -> None:
        time.sleep(seconds)
        then(connection)

    return answer


def drip(data: bytes, *, every_s: float = 0.05) -> Answer:
    """These bytes over and over, one now and then, without end."""

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                for byte in data:
                    connection.sendall(bytes([byte]))
                    time.sleep(every_s)

    return answer


def endless(head: bytes, piece: bytes) -> Answer:
    """A beginning, and then the same as fast as it is taken, without end."""

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(head)
            while True:
                connection.sendall(piece)

    return answer


def make_tls() -> ssl.SSLContext:
    """TLS as `127.0.0.1` and `localhost`, by a certificate that nobody knows unless told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a port where no connection is answered, as behind a firewall that drops."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    try:
        for _ in range(4):  # the queue of those not accepted takes one or two
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    finally:
        for each in (*fillers, listener):
            each.close()
