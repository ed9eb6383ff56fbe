"""gunicorn's threaded worker, in which silent and slow connections hold no thread.

gthread gives a thread to each new connection, which then waits for its bytes: a few dozen slow
clients stop the service.  Here the worker's event loop collects the head and a small body of a
request, and only a request that has arrived gets a thread.  A body that is large or has no length
is read by a thread, within a deadline that grows with the bytes.  A lane has few of the threads:
bodies that are still open, and reading requests, which would all share one core.

    new or kept alive ──> collecting ──> thread ──> sending ──> kept alive, or lingering and closed
                              └──> waiting for a thread of its lane

The rest of an answer to a client that reads slowly is sent by the loop, too.
"""

import contextlib
import json
import re
import selectors
import socket
import time
import uuid
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker
from loguru import logger
from werkzeug.exceptions import RequestTimeout

from app.deadline import Watchdog
from app.http.security import list_security_headers

# A body of at most this size is collected before a thread gets the request.
COLLECTED_BYTES = 64 * 1024
_HEAD_BYTES = 64 * 1024
# All requests that are being collected may hold this together.
_COLLECTED_BYTES_IN_ALL = 32_000_000
# Slowest connection on which a body may come in.
_BYTES_PER_S = 32 * 1024
# A lane has one of this many threads, and at least one.
_THREADS_PER_PLACE = 4
_LANE_WAIT_S = 20.0
# Bytes of one answer, and of all answers, that may wait for clients to read them.
_UNSENT_BYTES = 2_000_000
_UNSENT_BYTES_IN_ALL = 64_000_000
_LINGER_S = 2.0
_LINGER_BYTES = 1_000_000
_RECEIVE_BYTES = 64 * 1024

_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r?$", re.I | re.M)
_OPEN = re.compile(rb"^(?:transfer-encoding|expect)[ \t]*:", re.I | re.M)
# A file leaves its thread idle while its client reads; app.http.files limits their number.
_READING = re.compile(rb"(?:\r\n)?(?:GET|HEAD) (?!/(?:health|ready|metrics)\b|[^ ?]*\.csv[ ?])")
# The name of a header with an underscore: gunicorn leaves such a header out.
_UNDERSCORED = re.compile(rb"^[^:\s_]*+_[^:\s]*+", re.M)

_STATUSES = {
    errors.LimitRequestLine: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "The URL is too long: send long values in the body",
    ),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too large or too many: send only those that are documented",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "The Transfer-Encoding is not supported: send the body plain or chunked",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "The Expect header is not supported: leave it out",
    ),
}
_UNREADABLE = (HTTPStatus.BAD_REQUEST, "The request is not valid HTTP: check its line and headers")
_MISSPELT_KEY = (
    HTTPStatus.BAD_REQUEST,
    "A header for an idempotency key has an underscore and is not read: call it Idempotency-Key",
)
_FAILED = (HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error")
_BUSY = (
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Too many requests of this kind are running; nothing was done. Repeat this one in 2 seconds.",
)

_body_watchdog = Watchdog(how=socket.SHUT_RD)


class _Collected:
    """The bytes of a request so far, and the time at which the rest must have come."""

    def __init__(self, buffer: bytes, deadline: float) -> None:
        self.buffer, self.deadline = bytearray(buffer), deadline
        self.ended = self.is_open = self.is_reading = self.is_polled = self.has_misspelt_key = False
        self._head_bytes = self._searched = 0
        self._needed = 0

    def has_head(self) -> bool:
        """Return True once the head is there, and then know how much more there must be."""
        if self._head_bytes:
            return True
        # One empty line may come before a request.
        start = 2 if self.buffer.startswith(b"\r\n") else 0
        end = self.buffer.find(b"\r\n\r\n", max(start, self._searched - 3))
        self._searched = len(self.buffer)
        if end < 0:
            return False
        self._head_bytes = end + 4
        head = bytes(self.buffer[: self._head_bytes])
        lengths = _LENGTH.findall(head)
        # gunicorn refuses several lengths, for which there is nothing to wait.
        body_bytes = int(lengths[0]) if len(lengths) == 1 else 0
        self.is_open = body_bytes > COLLECTED_BYTES or _OPEN.search(head) is not None
        self.is_reading = _READING.match(head) is not None
        # Without its key a retry would send twice.
        self.has_misspelt_key = any(
            b"dempot" in name.lower() for name in _UNDERSCORED.findall(head)
        )
        self._needed = self._head_bytes + (0 if self.is_open else body_bytes)
        return True

    def is_complete(self) -> bool:
        return self.ended or (self.has_head() and len(self.buffer) >= self._needed)


class _Lane:
    """Requests of which few have a thread at a time; the others wait in order."""

    def __init__(self, threads: int) -> None:
        self._places = max(1, threads // _THREADS_PER_PLACE)
        self.running: set[Any] = set()
        self.waiting: dict[Any, _Collected] = {}

    def has_room(self) -> bool:
        return len(self.running) < self._places


class _TimedReader:
    """gunicorn's reader of an open body; raises RequestTimeout if the body comes too slowly.

    An answer before the body was read to its end says that the connection is closed after it.
    """

    def __init__(self, req: Any, sock: socket.socket, grace_s: float) -> None:
        self._req, self._reader, self._sock = req, req.body.reader, sock
        self._time_left_s = grace_s
        self._must_close = req.must_close
        req.force_close()

    def read(self, size: int) -> bytes:
        """Read; the time that the application takes between two reads does not count."""
        started = time.monotonic()
        deadline = started + self._time_left_s + size / _BYTES_PER_S
        _body_watchdog.watch(self._sock, deadline)
        try:
            data: bytes = self._reader.read(size)
        finally:
            _body_watchdog.release()
            ended = time.monotonic()
            if ended >= deadline:
                raise RequestTimeout
        self._time_left_s += len(data) / _BYTES_PER_S - (ended - started)
        # A body without a length has ended where nothing more comes.
        if not data or getattr(self._reader, "length", None) == 0:
            self._req.must_close = self._must_close
        return data


class _PatientSocket:
    """A socket that keeps in memory what its client does not read yet, and does not wait for it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self.unsent = sock, bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send at once what the client takes; wait for the client only above a limit."""
        sent = 0 if self.unsent else send_now(self._sock, data)
        self.unsent += memoryview(data)[sent:]
        if len(self.unsent) > _UNSENT_BYTES:
            self._sock.sendall(self.unsent)
            self.unsent.clear()


def send_now(sock: socket.socket, data: bytes | bytearray) -> int:
    """Send as much as the socket takes without waiting.  Returns the number of bytes."""
    sent = 0
    with contextlib.suppress(BlockingIOError, InterruptedError), memoryview(data) as view:
        while sent < len(view):
            sent += sock.send(view[sent:], socket.MSG_DONTWAIT)
    return sent


class _Unsent:
    """The rest of an answer, the end of its request, and the time until which it is sent."""

    def __init__(self, data: bytearray, future: Any, deadline: float) -> None:
        self.data, self.future, self.deadline = data, future, deadline


def _find_overdue(pending: dict[Any, _Collected], now: float) -> Any:
    """Return the first connection if its time is over; those behind it have more time."""
    conn, collected = next(iter(pending.items()), (None, None))
    return conn if collected is not None and collected.deadline <= now else None


class CollectingWorker(ThreadWorker):
    """gthread with requests collected by its event loop."""

    def init_process(self) -> None:
        """Begin without connections; gunicorn's method then serves until the end."""
        self._timeout_s = 0.0
        self._collecting: dict[Any, _Collected] = {}
        self._collected_bytes = 0
        self._open_bodies, self._reading = _Lane(self.cfg.threads), _Lane(self.cfg.threads)
        self._lanes = (self._open_bodies, self._reading)
        self._sending: dict[Any, _Unsent] = {}
        self._lingering: dict[Any, tuple[float, int]] = {}
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, and learn how long a client may take."""
        super().load_wsgi()
        self._timeout_s = self.wsgi.config["CLIENT_TIMEOUT_S"]

    def enqueue_req(self, conn: Any) -> None:
        """Collect the request of a connection that is new, kept alive, or has sent two at once."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        buffered = conn.parser.unreader.take_buffered() if conn.parser else b""
        # The time that a client may be silent is given to the whole request.
        deadline = time.monotonic() + self._timeout_s
        self._collecting[conn] = _Collected(buffered, deadline)
        self._collected_bytes += len(buffered)
        conn.sock.setblocking(False)
        self._receive(conn, None)
        # Most requests have arrived by now.
        if collected := self._collecting.get(conn):
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._receive, conn))
            collected.is_polled = True
        self._make_room()

    def finish_request(self, conn: Any, future: Any) -> None:
        """Send the rest of the answer; then keep the connection, or close it without waiting."""
        self._leave_lane(conn)
        if unsent := conn.__dict__.pop("unsent", None):
            self._send_later(conn, unsent, future)
        elif future.cancelled() or future.exception() or not future.result():
            self._linger(conn)
        else:
            super().finish_request(conn, future)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Read an open body within a deadline, and leave the end of the answer to the loop."""
        sock = conn.sock
        if conn in self._open_bodies.running:
            req.body.reader = _TimedReader(req, sock, self._timeout_s)
        conn.sock = patient = _PatientSocket(sock)
        try:
            return super().handle_request(req, conn)
        finally:
            conn.sock, conn.unsent = sock, patient.unsent

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what gunicorn cannot read, in the format of our errors."""
        if isinstance(exc, errors.ParseException):
            answer = _STATUSES.get(type(exc), _UNREADABLE)
        else:
            logger.opt(exception=exc).error("request failed in the server")
            answer = _FAILED
        with contextlib.suppress(OSError):
            self._answer(client, addr, *answer)

    def murder_pending(self) -> None:
        """Close connections whose request has not come in time; called by the loop."""
        super().murder_pending()
        now = time.monotonic()
        if not self.alive:
            self._hasten_end(now)
        # The first of each has the earliest deadline; at the end one may wait for those before it.
        while (conn := _find_overdue(self._collecting, now)) is not None:
            self._drop(conn)
        for lane in self._lanes:
            while (conn := _find_overdue(lane.waiting, now)) is not None:
                del lane.waiting[conn]
                self._refuse(conn, *_BUSY, headers={"Retry-After": "2"})
        for conn, unsent in list(self._sending.items()):
            if unsent.deadline <= now:
                self._close(conn)
        while self._lingering and next(iter(self._lingering.values()))[0] <= now:
            self._close(next(iter(self._lingering)))

    def _hasten_end(self, now: float) -> None:
        """Wait only shortly for what is still coming or going."""
        pending = (self._collecting, *(lane.waiting for lane in self._lanes))
        for collected in chain.from_iterable(waiting.values() for waiting in pending):
            collected.deadline = min(collected.deadline, now + _LINGER_S)
        for unsent in self._sending.values():
            unsent.deadline = min(unsent.deadline, now + _LINGER_S)

    def _receive(self, conn: Any, _: Any) -> None:
        collected = self._collecting[conn]
        try:
            data = conn.sock.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            data = None
        except OSError:
            self._drop(conn)
            return
        if data:
            collected.buffer += data
            self._collected_bytes += len(data)
        elif data is not None:
            collected.ended = True
        if collected.is_complete():
            self._pass_on(conn)
        elif not collected.has_head() and len(collected.buffer) > _HEAD_BYTES:
            self._forget(conn)
            self._refuse(conn, *_STATUSES[errors.LimitRequestHeaders])

    def _pass_on(self, conn: Any) -> None:
        """Give the request to a thread, or let it wait for one of its lane."""
        collected = self._forget(conn)
        if not collected.buffer:
            self._close(conn)
            return
        if collected.has_misspelt_key:
            self._refuse(conn, *_MISSPELT_KEY)
            return
        lane = self._find_lane(collected)
        if lane is None:
            self._start(conn, collected)
        elif lane.has_room():
            self._start_in(lane, conn, collected)
        else:
            collected.deadline = time.monotonic() + _LANE_WAIT_S
            lane.waiting[conn] = collected

    def _find_lane(self, collected: _Collected) -> _Lane | None:
        if collected.is_open:
            return self._open_bodies
        return self._reading if collected.is_reading else None

    def _leave_lane(self, conn: Any) -> None:
        """Give the place of a connection to the next one, if it has a place."""
        for lane in self._lanes:
            if conn in lane.running:
                lane.running.discard(conn)
                if lane.waiting:
                    waiting = next(iter(lane.waiting))
                    self._start_in(lane, waiting, lane.waiting.pop(waiting))

    def _start_in(self, lane: _Lane, conn: Any, collected: _Collected) -> None:
        lane.running.add(conn)
        self._start(conn, collected)

    def _start(self, conn: Any, collected: _Collected) -> None:
        conn.init()
        conn.parser.unreader.unread(bytes(collected.buffer))
        conn.data_ready = True
        super().enqueue_req(conn)

    def _make_room(self) -> None:
        """Close the oldest connections that only wait, so that new ones can be accepted."""
        while self.nr_conns >= self.worker_connections:
            if len(self._collecting) > 1:
                self._drop(next(iter(self._collecting)))
            elif self.keepalived_conns:
                conn = self.keepalived_conns.popleft()
                self.poller.unregister(conn.sock)
                self._close(conn)
            else:
                return
        while self._collected_bytes > _COLLECTED_BYTES_IN_ALL and len(self._collecting) > 1:
            self._drop(next(iter(self._collecting)))

    def _forget(self, conn: Any) -> _Collected:
        """Stop collecting from a connection.  Returns what there was."""
        collected = self._collecting.pop(conn)
        if collected.is_polled:
            self.poller.unregister(conn.sock)
        self._collected_bytes -= len(collected.buffer)
        return collected

    def _drop(self, conn: Any) -> None:
        self._forget(conn)
        self._close(conn)

    def _refuse(self, conn: Any, *answer: Any, **more: Any) -> None:
        self._answer(conn.sock, conn.client, *answer, **more)
        self._linger(conn)

    def _send_later(self, conn: Any, unsent: bytearray, future: Any) -> None:
        deadline = time.monotonic() + self._timeout_s + len(unsent) / _BYTES_PER_S
        self._sending[conn] = _Unsent(unsent, future, deadline)
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._send, conn))
        while sum(len(waiting.data) for waiting in self._sending.values()) > _UNSENT_BYTES_IN_ALL:
            self._close(next(iter(self._sending)))

    def _send(self, conn: Any, _: Any) -> None:
        unsent = self._sending[conn]
        try:
            del unsent.data[: send_now(conn.sock, unsent.data)]
        except OSError:
            self._close(conn)
            return
        if not unsent.data:
            self._stop_sending(conn)
            self.finish_request(conn, unsent.future)

    def _stop_sending(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        del self._sending[conn]

    def _linger(self, conn: Any) -> None:
        """Send the end of the answer, and read on for a moment, so that the answer is not lost."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):
            self._close(conn)
            return
        self._lingering[conn] = (time.monotonic() + _LINGER_S, 0)

    def _drain(self, conn: Any, _: Any) -> None:
        until, drained = self._lingering[conn]
        with contextlib.suppress(BlockingIOError, InterruptedError):
            try:
                data = conn.sock.recv(_RECEIVE_BYTES)
            except ConnectionError:
                data = b""
            if data and drained < _LINGER_BYTES:
                self._lingering[conn] = (until, drained + len(data))
            else:
                self._close(conn)

    def _close(self, conn: Any) -> None:
        if self._lingering.pop(conn, None):
            self.poller.unregister(conn.sock)
        if conn in self._sending:
            self._stop_sending(conn)
        self.nr_conns -= 1
        conn.close()

    def _answer(
        self,
        sock: socket.socket,
        address: Any,
        status: HTTPStatus,
        sentence: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Write an error that the application does not see, as far as the socket takes it."""
        request_id = uuid.uuid4().hex
        body = json.dumps({"error": sentence, "request_id": request_id}).encode()
        lines = {
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
            **list_security_headers(production=self.wsgi.config["PRODUCTION"]),
            **(headers or {}),
        }
        head = [f"HTTP/1.1 {status.value} {status.phrase}"]
        head += [f"{name}: {value}" for name, value in lines.items()]
        host = address[0] if isinstance(address, tuple) else "-"
        bound = logger.bind(status=status.value, address=host, request_id=request_id)
        bound.warning("request refused before it reached a route")
        with contextlib.suppress(OSError):
            sock.send("\r\n".join([*head, "", ""]).encode() + body)
