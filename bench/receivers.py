"""Receivers of webhooks to measure with: a good one, and bad ones of each kind."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Answer = Callable[[socket.socket], None]


class Good:
    """Accepts every event, and remembers when each arrived."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.posts = 0

    def answer(self, connection: socket.socket, body: bytes) -> None:
        connection.sendall(_TAKEN)
        self.posts += 1
        event = json.loads(body)
        self.arrived.setdefault(event["data"].get("broadcast_id", event["id"]), time.perf_counter())


@contextlib.contextmanager
def good() -> Iterator[tuple[Good, str]]:
    """Run a good receiver.  Yields it and its URL."""
    receiver = Good()
    with _listening(lambda connection: receiver.answer(connection, _read_body(connection))) as url:
        yield receiver, url


@contextlib.contextmanager
def bad_company() -> Iterator[list[str]]:
    """Run ten bad receivers: dead, slow and lying.  Yields their URLs."""
    with contextlib.ExitStack() as stack:
        holes = [stack.enter_context(_black_hole()) for _ in range(2)]
        answers = [_drip_head, _drip_head, _drip_body, _say_nothing, _say_nothing, _pour, _redirect]
        others = [stack.enter_context(_listening(answer)) for answer in answers]
        yield ["http://127.0.0.1:1025/", *holes, *others]


def _drip_head(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 200 OK\r\n"[:1])
        time.sleep(0.2)


def _drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    _drip_head(connection)


def _say_nothing(connection: socket.socket) -> None:
    time.sleep(60)


def _pour(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 10_000)


def _redirect(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1025/\r\n\r\n")


@contextlib.contextmanager
def _listening(answer: Answer) -> Iterator[str]:
    """Run a server that gives every connection this answer.  Yields its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=_accept, args=(listener, answer), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, answer: Answer) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, answer), daemon=True).start()


def _serve(connection: socket.socket, answer: Answer) -> None:
    with connection, contextlib.suppress(OSError):
        answer(connection)


def _read_body(connection: socket.socket) -> bytes:
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(body) >= length:
                return body
        chunk = connection.recv(262_144)
        if not chunk:
            raise ConnectionResetError
        received += chunk


@contextlib.contextmanager
def _black_hole() -> Iterator[str]:
    """Keep a port whose queue of connections is full, so that none is answered.  Yields its URL."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
