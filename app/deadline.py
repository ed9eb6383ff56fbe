"""An end to every exchange: a socket whose time is up is shut, whatever it is waiting for.

Socket timeouts bound each wait, not their sum: a peer that sends one byte now and then is never
too late for them.
"""

import contextlib
import queue
import socket
import threading
import time
from typing import Any

_TICK_S = 0.05

Addresses = list[tuple[Any, ...]]


class Watchdog:
    """Shuts sockets down at their deadlines; one for the process, one exchange a thread."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[float, socket.socket]] = {}
        self._some = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, sock: socket.socket, deadline: float) -> None:
        """Shut `sock` down at `deadline` (monotonic) unless released before."""
        with self._lock:
            self._watched[threading.get_ident()] = (deadline, sock)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
        self._some.set()

    def release(self) -> None:
        """This thread's exchange is over."""
        with self._lock:
            self._watched.pop(threading.get_ident(), None)

    def _run(self) -> None:
        while True:
            self._some.wait()
            with self._lock:
                if not self._watched:
                    self._some.clear()
                now = time.monotonic()
                late = [each for each in self._watched.items() if each[1][0] <= now]
                for thread_id, (_, sock) in late:
                    del self._watched[thread_id]
                    _shut(sock)
            time.sleep(_TICK_S)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket's own shutdown, which would pull TLS away from under the waiting thread.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def resolve(host: str, port: int, *, within_s: float) -> Addresses:
    """The addresses of a host.  Raises OSError, TimeoutError when it takes longer.

    getaddrinfo knows no timeout, so it is asked in a thread that is left behind when it is late.
    """
    answers: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as e:
            answers.put(e)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(within_s, 0.0))
    except queue.Empty as e:
        raise TimeoutError("name resolution took too long") from e
    if isinstance(answer, OSError):
        raise answer
    return answer
