"""Deadlines for whole network exchanges: name resolution, connecting, and every byte after it.

Socket timeouts limit each wait, not the sum of the waits: a peer that sends one byte now and then
never exceeds them.  So the watchdog shuts down a socket at its deadline, whatever it waits for.
"""

import contextlib
import queue
import socket
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_TICK_S = 0.05

Addresses = list[tuple[Any, ...]]


class Watchdog:
    """Shuts sockets down at their deadlines; each thread has one exchange at a time.

    `how` is the side that is shut: socket.SHUT_RD ends reading only.
    """

    def __init__(self, *, how: int = socket.SHUT_RDWR) -> None:
        self._how = how
        self._watched: dict[int, tuple[float, socket.socket]] = {}
        self._has_watched = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, sock: socket.socket, deadline: float) -> None:
        """Shut `sock` down at `deadline` (monotonic) unless released before."""
        with self._lock:
            self._watched[threading.get_ident()] = (deadline, sock)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
        self._has_watched.set()

    def release(self) -> None:
        """Stop watching this thread's socket."""
        with self._lock:
            self._watched.pop(threading.get_ident(), None)

    def _run(self) -> None:
        while True:
            self._has_watched.wait()
            with self._lock:
                if not self._watched:
                    self._has_watched.clear()
                now = time.monotonic()
                for thread_id, (deadline, sock) in list(self._watched.items()):
                    if deadline <= now:
                        del self._watched[thread_id]
                        _shut_down(sock, self._how)
            time.sleep(_TICK_S)


watchdog = Watchdog()


def resolve(host: str, port: int, *, within_s: float) -> Addresses:
    """Return the addresses of a host, as getaddrinfo does.

    Raises OSError, TimeoutError after `within_s`.  getaddrinfo has no timeout, so it runs in a
    thread that is left behind when it is late.
    """
    results: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as e:
            results.put(e)

    threading.Thread(target=look_up, name="resolver", daemon=True).start()
    try:
        result = results.get(timeout=max(within_s, 0.0))
    except queue.Empty as e:
        raise TimeoutError("name resolution took too long") from e
    if isinstance(result, OSError):
        raise result
    return result


def connect_in_turn(addresses: Addresses, *, until: float) -> socket.socket:
    """Connect to the first address that accepts, before `until` (monotonic).

    Each address gets an equal share of the time that remains.  Raises OSError when none accepts.
    """
    error = OSError("no address to connect to")
    for index, (family, socket_type, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, socket_type, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max((until - time.monotonic()) / (len(addresses) - index), 0.001))
            sock.connect(address)
            return sock
        except OSError as e:
            sock.close()
            error = e
    raise error


def read_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds to wait from now by a Retry-After; None if it is missing or invalid.

    >>> read_retry_after("120", now=datetime(2026, 3, 1, tzinfo=UTC))
    120.0
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        retry_at = parsedate_to_datetime(text)
        aware = retry_at if retry_at.tzinfo else retry_at.replace(tzinfo=UTC)
        return max((aware - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


def _shut_down(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        # SSLSocket's own shutdown would remove TLS while another thread is waiting in it.
        socket.socket.shutdown(sock, how)
