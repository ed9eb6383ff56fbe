"""HTTP server at the socket level: keep-alive, and the faults that need the socket.

Werkzeug's own handler closes after each answer and cannot be cut off half way, so answers are
written here.  Werkzeug still reads the requests and builds the WSGI environment.
"""

import contextlib
import io
import os
import socket
import struct
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from app.sandbox.api.fake_responses import HttpResponse, build_response
from app.sandbox.clock import format_time
from app.sandbox.control.faults import Fault
from app.sandbox.control.request_log import LoggedRequest
from app.sandbox.operations import find_operation

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from app.sandbox.server import SandboxServer

_CLOSE_WITH_RST = struct.pack("ii", 1, 0)


class Listener(ThreadedWSGIServer):
    """Listens on a bound socket, which it takes over, and tracks its open connections."""

    daemon_threads = True

    def __init__(self, bound: socket.socket, sandbox: "SandboxServer") -> None:
        self.sandbox = sandbox
        self.stopping = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._serving = threading.Thread(
            target=self.serve_forever, args=(0.05,), name="sandbox-listener", daemon=True
        )
        bound.listen(self.request_queue_size)
        host, port = bound.getsockname()[:2]
        # Werkzeug binding a taken address itself would end the process.
        super().__init__(host, port, sandbox.app, Handler, fd=bound.fileno())
        bound.close()

    def start(self) -> None:
        self._serving.start()

    def stop(self) -> None:
        """Refuse new connections, then end all open ones except the caller's own."""
        self.shutdown()
        self._serving.join()
        self.stopping.set()
        others = {t: s for t, s in dict(self._open).items() if t is not threading.current_thread()}
        for connection in others.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in others:
            thread.join(timeout=5)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._open[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.pop(threading.current_thread(), None)


class Handler(WSGIRequestHandler):
    """One connection: reads whole requests, and writes whole answers unless a fault hits."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def run_wsgi(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ = self.make_environ()
        try:
            body = _read_body(environ)
        except (ValueError, OSError):
            self._reject_framing()
            return
        logged = self._log(environ, body)
        fault = self.server.sandbox.faults.match(logged.operation, body) if logged else None
        if logged is None:
            self._write(self._run_app(environ, body))
        elif fault is None:
            answer = self._run_app(environ, body)
            logged.status = answer.status
            self._write(answer)
        else:
            real = self._run_app(environ, body) if fault.when == "after" else None
            self._fail(fault, real, logged)

    def _reject_framing(self) -> None:
        """HttpResponse 400 and close: without the end of this request no other can follow it."""
        self.close_connection = True
        body = b'{"code":"bad_request","text":"the length of the body is unclear"}'
        headers = [("Content-Type", "application/json")]
        self._write(HttpResponse(HTTPStatus.BAD_REQUEST, headers, body))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: the request log holds the requests."""

    def _log(self, environ: "WSGIEnvironment", body: bytes) -> LoggedRequest | None:
        """Log a request on Sinch's URLs; None for another URL."""
        operation = find_operation(self.command, environ["PATH_INFO"])
        if operation is None:
            return None
        sandbox = self.server.sandbox
        now = format_time(sandbox.plan.clock.now())
        logged = LoggedRequest(self.command, environ["RAW_URI"], operation, now)
        sandbox.request_log.add(logged, body)
        return logged

    def _run_app(self, environ: "WSGIEnvironment", body: bytes) -> HttpResponse:
        """Return the real answer of the application."""
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        started: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:
            started.append((int(status.split()[0]), headers))

        begin: StartResponse = start_response
        chunks: Iterable[bytes] = self.server.app(environ, begin)
        try:
            sent = b"".join(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()
        status, headers = started[-1]
        return HttpResponse(status, [h for h in headers if h[0].lower() != "content-length"], sent)

    def _write(self, answer: HttpResponse) -> None:
        has_body = self.command != "HEAD" and answer.status not in (204, 304)
        self.connection.sendall(self._head(answer) + (answer.body if has_body else b""))

    def _head(self, answer: HttpResponse) -> bytes:
        if self.server.stopping.is_set():
            self.close_connection = True
        phrase = HTTPStatus(answer.status).phrase if answer.status in _KNOWN else "Unknown"
        lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.status not in (204, 304):
            lines.append(f"Content-Length: {len(answer.body)}")
        if self.close_connection:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    def _fail(self, fault: Fault, real: HttpResponse | None, logged: LoggedRequest) -> None:
        logged.fault = fault.id
        self.server.stopping.wait(fault.delay_s)
        if fault.do == "reset":
            self._reset()
        elif fault.do in ("cut", "hang"):
            self._cut()
        else:
            self._answer_badly(fault, real, logged)

    def _answer_badly(self, fault: Fault, real: HttpResponse | None, logged: LoggedRequest) -> None:
        answer = build_response(fault, real)
        logged.status = answer.status
        if fault.do == "half_body":
            self.connection.sendall(self._head(answer) + answer.body[: len(answer.body) // 2])
            self._cut()
        elif fault.do == "drip":
            self._drip(answer, fault.byte_delay_s)
        else:
            self._write(answer)

    def _drip(self, answer: HttpResponse, byte_delay_s: float) -> None:
        self.connection.sendall(self._head(answer))
        for start in range(len(answer.body)):
            if self.server.stopping.wait(byte_delay_s):
                self._cut()
                return
            self.connection.sendall(answer.body[start : start + 1])

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        """Close the descriptor itself: an orderly close would send FIN before RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RST)
        os.close(self.connection.detach())


_MAX_BODY_BYTES = 100 * 1024 * 1024
_KNOWN = {status.value for status in HTTPStatus}


def _read_body(environ: "WSGIEnvironment") -> bytes:
    """Read the whole request body, so that the next request starts behind it."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if environ.get("wsgi.input_terminated"):  # chunked
        length = "-1"
    elif not (length.isascii() and length.isdigit()) or int(length[:20]) > _MAX_BODY_BYTES:
        raise ValueError(f"Content-Length {length[:20]}")
    body: bytes = environ["wsgi.input"].read(int(length))
    return body
