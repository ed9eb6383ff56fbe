"""HTTP session for Sinch: retry rules, deadlines, and proof whether a byte was written.

A POST is repeated only while no connection was made; a GET once more, whatever went wrong.
urllib3 would otherwise repeat a POST after a TLS error (`Retry(3)`) or on any failure
(`allowed_methods=None`), and requests would replace the bearer token by a `.netrc` entry
(`trust_env`).
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from app.deadline import connect_in_turn, resolve, watchdog

# A page of 100 batches of 1,000 numbers each is about 1.6 MB.
MAX_ANSWER_BYTES = 8_000_000
# Below what load balancers usually allow, so that we close an idle connection before they do:
# a request written into one that is closing is lost without proof.
MAX_IDLE_S = 10.0

POST_RETRY = Retry(
    total=None, connect=2, read=0, status=0, redirect=0, other=0, respect_retry_after_header=False
)
GET_RETRY = Retry(
    total=1,
    redirect=0,
    allowed_methods=frozenset(("GET",)),
    status_forcelist=frozenset((500, 502, 503, 504)),
    raise_on_status=False,
    respect_retry_after_header=False,
)


class _Exchange(threading.local):
    """State of this thread's exchange; times monotonic.

    It must end before `deadline`, and its first byte leave before `begin_by`.
    """

    touched = False  # True once a byte may have been written
    deadline = 0.0
    begin_by = 0.0
    on_written: Callable[[], None] | None = None


current_exchange = _Exchange()


class _WatchedConnection(HTTPConnection):
    """Records the first write and keeps the deadline; not reused after MAX_IDLE_S."""

    _used_at = 0.0
    # The head of a request whose body follows: b"" until it is made, None without a body.
    _head: bytes | None = None

    def _new_conn(self) -> socket.socket:
        """Connect as urllib3 does, with one timeout for resolving and all addresses together."""
        timeout_s = self.timeout if isinstance(self.timeout, (int, float)) else MAX_IDLE_S
        until = min(time.monotonic() + timeout_s, current_exchange.deadline)
        try:
            addresses = resolve(self._dns_host, self.port, within_s=until - time.monotonic())
            sock = connect_in_turn(addresses, until=until)
        except OSError as e:
            raise NewConnectionError(self, "no connection") from e
        sock.settimeout(timeout_s)
        watchdog.watch(sock, current_exchange.deadline)  # over the TLS handshake, too
        return sock

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        self._head = b"" if isinstance(body, bytes) and body else None
        super().request(method, url, body, *args, **kwargs)

    def send(self, data: Any) -> None:
        """Send head and body in one write: two of them wake Sinch's end twice."""
        if self._head == b"":
            self._head = data
            return
        if self._head is not None:
            data, self._head = self._head + data, None
        if self.sock is None and self.auto_open:
            self.connect()
        state = current_exchange
        latest = state.deadline if state.touched else min(state.deadline, state.begin_by)
        if time.monotonic() >= latest:
            raise TimeoutError("too late to send")
        if self.sock is not None:
            watchdog.watch(self.sock, current_exchange.deadline)
        current_exchange.touched = True
        self._used_at = time.monotonic()
        super().send(data)

    def getresponse(self) -> Any:
        if current_exchange.on_written is not None:
            current_exchange.on_written()
        return super().getresponse()

    @property
    def is_connected(self) -> bool:
        fresh = not self._used_at or time.monotonic() - self._used_at < MAX_IDLE_S
        return fresh and super().is_connected


class _WatchedTlsConnection(_WatchedConnection, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection


class _WatchedAdapter(HTTPAdapter):
    """Calls one host, without proxy and cookies: nothing has to be found out for each call."""

    _pool: ConnectionPool | None = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTlsPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def request_url(self, request: requests.PreparedRequest, _: Any) -> str:
        return request.path_url

    def build_response(self, request: requests.PreparedRequest, answer: Any) -> requests.Response:
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        response.status_code, response.raw = answer.status, answer
        response.headers = CaseInsensitiveDict(answer.headers)
        return response


@dataclass(frozen=True, slots=True)
class Answer:
    """Sinch's answer.  `whole` is False when the body was cut, too long or too slow."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes
    whole: bool


def make_headers(token: str) -> CaseInsensitiveDict[str]:
    """Return the headers of every request.

    They ask for uncompressed answers, whose size in memory is the size on the wire.
    """
    return CaseInsensitiveDict(
        {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "clarion",
        }
    )


def make_session(retry: Retry, *, pool_size: int, ca_file: Path | None) -> requests.Session:
    """Return a session that repeats only as `retry` says and ignores the environment."""
    session = requests.Session()
    session.verify = str(ca_file) if ca_file else True
    session.trust_env = False
    adapter = _WatchedAdapter(max_retries=retry, pool_maxsize=pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def exchange(
    session: requests.Session,
    request: requests.PreparedRequest,
    *,
    timeout: Any,
    within_s: float,
    begin_within_s: float | None = None,
    on_written: Callable[[], None] | None = None,
) -> Answer:
    """Send a prepared request and read the answer, all of it `within_s` seconds.

    The first byte leaves `begin_within_s`, or no byte does.  `on_written` is called after the
    last.  Raises requests.RequestException without a status line; `current_exchange.touched` is
    then True if a byte may have been written.  With a status, returns it however the body ends.
    """
    now = time.monotonic()
    current_exchange.touched, current_exchange.on_written = False, on_written
    current_exchange.deadline = now + within_s
    current_exchange.begin_by = now + (within_s if begin_within_s is None else begin_within_s)
    try:
        return _exchange(session, request, timeout)
    finally:
        watchdog.release()


def _exchange(session: requests.Session, request: requests.PreparedRequest, timeout: Any) -> Answer:
    # The adapter itself: Session.send would read a redirect's body to its end, however long.
    response = session.get_adapter(str(request.url)).send(
        request, stream=True, timeout=timeout, verify=session.verify or True
    )
    if response.status_code < 200:
        # http.client takes an interim answer for the last.  The real one may still come and must
        # not be read as the answer to another request.
        response.raw.close()
        return Answer(response.status_code, response.headers, b"", whole=False)
    body, whole = _read_body(response.raw)
    if not whole:
        response.close()
    return Answer(response.status_code, response.headers, body, whole)


def _read_body(raw: BaseHTTPResponse) -> tuple[bytes, bool]:
    """Return the bytes that came, and True if they are the whole body."""
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := raw.read1(65_536):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                return b"".join(chunks)[:MAX_ANSWER_BYTES], False
    except (HTTPError, OSError):
        return b"".join(chunks), False
    return b"".join(chunks), True
