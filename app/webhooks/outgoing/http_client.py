"""HTTP to clients, whom we trust with nothing: one POST each, to an address looked at before.

A name is resolved once and the connection made to just that address, so that a name which stands
for another one a moment later (DNS rebinding) leads nowhere.  No redirect is followed, nothing is
taken from the environment (proxies, .netrc), an answer is read to 64 KB, and all of it ends within
10 seconds however slowly a peer drips.
"""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from app.deadline import Addresses, connect_in_turn, resolve, watchdog
from app.webhooks.outgoing.url_policy import (
    Target,
    TargetRefused,
    read_target,
    require_public_addresses,
)

WITHIN_S = 10.0
MAX_ANSWER_BYTES = 65_536
_CONNECT_S = 3.0
_RESOLVE_S = 3.0
_PIECE_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class PostResult:
    """What came of a POST.

    `problem` is None when it was taken, else a sentence without anything that the receiver said;
    `http_status` None where no answer came.
    """

    duration_s: float
    problem: str | None = None
    http_status: int | None = None
    retry_after_s: float | None = None

    @property
    def gone(self) -> bool:
        """Whether the receiver asked never to be called again."""
        return self.http_status == http.client.GONE


class _Unreachable(Exception):
    """No usable answer came; the message says why."""


class _PinnedConnection(HTTPConnection):
    """Connects to the addresses it is given, and to no other."""

    addresses: Addresses = []  # noqa: RUF012 (set before it is used)
    deadline = 0.0
    _twin: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        until = min(time.monotonic() + _CONNECT_S, self.deadline)
        try:
            sock = connect_in_turn(self.addresses, until=until)
        except OSError as e:
            raise _Unreachable("No connection.") from e
        sock.settimeout(WITHIN_S)
        # TLS takes the socket's descriptor away before the handshake begins.
        self._twin = sock.dup()
        watchdog.watch(self._twin, self.deadline)
        return sock

    def close(self) -> None:
        """As urllib3's; whatever was watched is over."""
        watchdog.release()
        if self._twin is not None:
            self._twin.close()
            self._twin = None
        super().close()


class _PinnedTlsConnection(_PinnedConnection, HTTPSConnection):
    """The same over TLS; the certificate is checked against the name."""


class WebhookHttpClient:
    """Posts to clients' receivers.  Safe to share between threads."""

    def __init__(
        self,
        *,
        production: bool,
        resolve: Callable[..., Addresses] = resolve,
        ca_file: Path | None = None,
        within_s: float = WITHIN_S,
    ) -> None:
        self._production = production
        self._resolve = resolve
        self._within_s = within_s
        self._ca_file = ca_file

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when first needed: it reads all authorities that there are."""
        return ssl.create_default_context(cafile=self._ca_file or certifi.where())

    def check(self, url: str) -> None:
        """Raise TargetRefused unless we would post there now."""
        try:
            self._find(url, within_s=_RESOLVE_S)
        except _Unreachable as e:
            raise TargetRefused(str(e)) from e

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostResult:
        """Post once; raises nothing for whatever the receiver does."""
        started = time.monotonic()
        deadline = started + self._within_s
        try:
            status, retry_after = self._exchange(url, body, headers, deadline)
        except (_Unreachable, TargetRefused) as e:
            return PostResult(time.monotonic() - started, problem=str(e))
        except Exception as e:  # whatever a library makes of it: a try must be recorded, to end
            late = time.monotonic() >= deadline
            problem = f"No answer within {self._within_s:g} s." if late else _describe(e)
            return PostResult(time.monotonic() - started, problem=problem)
        return PostResult(
            time.monotonic() - started,
            problem=describe_status(status),
            http_status=status,
            retry_after_s=read_retry_after(retry_after, now=datetime.now(UTC)),
        )

    def _find(self, url: str, *, within_s: float) -> tuple[Target, Addresses]:
        """Where a URL leads, and the addresses to connect to.

        Raises TargetRefused, and _Unreachable when its name does not resolve.
        """
        target = read_target(url, production=self._production)
        try:
            addresses = self._resolve(target.host, target.port, within_s=within_s)
        except (OSError, UnicodeError) as e:
            raise _Unreachable("Its name does not resolve.") from e
        found = [str(address[0]) for *_, address in addresses]
        require_public_addresses(target, found, production=self._production)
        return target, addresses

    def _exchange(
        self, url: str, body: bytes, headers: Mapping[str, str], deadline: float
    ) -> tuple[int, str | None]:
        """The status of the answer, and its Retry-After."""
        target, addresses = self._find(url, within_s=_RESOLVE_S)
        connection = self._connect(target, addresses, deadline)
        try:
            connection.request(
                "POST",
                target.path,
                body=body,
                headers={"User-Agent": "clarion", "Connection": "close", **headers},
                preload_content=False,
                decode_content=False,
            )
            answer = connection.getresponse()
            # A head that was cut by us reads as if it were whole.
            if time.monotonic() >= deadline:
                raise TimeoutError
            _read_through(answer, deadline)
            return answer.status, answer.headers.get("Retry-After")
        finally:
            connection.close()

    def _connect(self, target: Target, addresses: Addresses, deadline: float) -> _PinnedConnection:
        connection: _PinnedConnection
        if target.scheme == "https":
            connection = _PinnedTlsConnection(
                target.host, target.port, timeout=self._within_s, ssl_context=self._tls
            )
        else:
            connection = _PinnedConnection(target.host, target.port, timeout=self._within_s)
        connection.addresses, connection.deadline = addresses, deadline
        return connection


def _read_through(answer: BaseHTTPResponse, deadline: float) -> None:
    """Let a receiver say what it has to, within bounds; its status has come already."""
    left = MAX_ANSWER_BYTES
    with contextlib.suppress(HTTPError, http.client.HTTPException, OSError, ValueError):
        while left > 0 and time.monotonic() < deadline:
            piece = answer.read1(min(left, _PIECE_BYTES))
            if not piece:
                return
            left -= len(piece)


def describe_status(status: int) -> str | None:
    """Why a status is not the one of an event that was taken; None when it is.

    >>> describe_status(204), describe_status(302)
    (None, 'HTTP 302: redirects are not followed.')
    """
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed."
    return f"HTTP {status}."


def read_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Seconds from now that a Retry-After asks to wait; None for one that asks nothing.

    >>> read_retry_after("120", now=datetime(2026, 3, 1, tzinfo=UTC))
    120.0
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((aware - now).total_seconds(), 0.0)


def _describe(error: Exception) -> str:
    """A sentence on an error, without its text, which may quote the receiver."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "Its certificate does not prove its name."
    if isinstance(error, ssl.SSLError):
        return "TLS failed."
    return "No usable answer."
