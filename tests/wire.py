"""A server of raw bytes on loopback: it counts what arrives and answers what a test says."""

import contextlib
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Answer = Callable[[socket.socket], None]
# The newest sockets that hold a port; no file of tests needs as many at a time.
_MOST_HELD = 200
_holding: deque[int] = deque()


@dataclass
class RawServer:
    """Accepts connections, reads one request from each after another, and lets `answer` act."""

    answer: Answer
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["RawServer"]:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join(5)
            for connection in self._open:
                connection.close()

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            while request := _read_request(connection):
                self.requests.append(request)
                self.answer(connection)


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65_536)
        if not chunk:
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if b"content-length" in line
        ),
        0,
    )
    while len(body) < length:
        chunk = connection.recv(65_536)
        if not chunk:
            return b""
        body += chunk
    return head + b"\r\n\r\n" + body


def respond(status: str, body: bytes = b"", headers: str = "") -> Answer:
    """An answer of these bytes, the connection kept open."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()

    def answer(connection: socket.socket) -> None:
        connection.sendall(head + body)

    return answer


def send_raw(data: bytes) -> Answer:
    """These bytes, then the end of the connection."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def unused_port() -> int:
    """Choose a port that refuses connections, for a server that binds it, or for none.

    A socket stays bound to it without listening: the kernel gives the port to no other process that
    asks for any, at once or while the server is down.  A server binds it with SO_REUSEADDR.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = int(held.getsockname()[1])
    _holding.append(held.detach())
    if len(_holding) > _MOST_HELD:
        os.close(_holding.popleft())
    return port


def has_ipv6() -> bool:
    """Return True where the machine has IPv6's loopback; some containers do not."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        return True
    return False
