"""HTTP client for webhooks, which trusts no receiver: one POST to an address checked before.

A name is resolved once and only its checked addresses are connected to, so that a name that
resolves to another address a moment later (DNS rebinding) has no effect.  The client follows no
redirect, takes nothing from the environment (proxies, .netrc), reads at most 64 KB of an answer,
and ends within 10 seconds, however slowly the receiver sends.
"""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from app.deadline import Addresses, connect_in_turn, read_retry_after, resolve, watchdog
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
_READ_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class PostResult:
    """The result of a POST.

    `problem` is None for a 2xx, else a sentence that quotes nothing from the receiver;
    `http_status` is None without an answer.
    """

    duration_s: float
    problem: str | None = None
    http_status: int | None = None
    retry_after_s: float | None = None

    @property
    def gone(self) -> bool:
        """True if the receiver asked never to be called again."""
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
        """Close the connection and stop the watchdog."""
        watchdog.release()
        if self._twin is not None:
            self._twin.close()
            self._twin = None
        super().close()


class _PinnedTlsConnection(_PinnedConnection, HTTPSConnection):
    """Connects over TLS; the certificate is checked against the name."""


class WebhookHttpClient:
    """Posts to receivers.  Safe to share between threads."""

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
        """Created when first needed, because it reads all certificate authorities."""
        return ssl.create_default_context(cafile=self._ca_file or certifi.where())

    def check(self, url: str) -> None:
        """Raise TargetRefused unless this URL can be posted to."""
        try:
            self._resolve_url(url, within_s=_RESOLVE_S)
        except _Unreachable as e:
            raise TargetRefused(str(e)) from e

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostResult:
        """Post once.  Raises nothing, whatever the receiver does."""
        started = time.monotonic()
        deadline = started + self._within_s
        try:
            status, retry_after = self._exchange(url, body, headers, deadline)
        except (_Unreachable, TargetRefused) as e:
            return PostResult(time.monotonic() - started, problem=str(e))
        except Exception as e:  # every attempt must be recorded, whatever a library raises
            late = time.monotonic() >= deadline
            problem = f"No answer within {self._within_s:g} s." if late else _describe(e)
            return PostResult(time.monotonic() - started, problem=problem)
        return PostResult(
            time.monotonic() - started,
            problem=describe_status(status),
            http_status=status,
            retry_after_s=read_retry_after(retry_after, now=datetime.now(UTC)),
        )

    def _resolve_url(self, url: str, *, within_s: float) -> tuple[Target, Addresses]:
        """Resolve a URL.  Returns the target and the addresses to connect to.

        Raises TargetRefused, and _Unreachable when the name does not resolve.
        """
        target = read_target(url, production=self._production)
        try:
            addresses = self._resolve(target.host, target.port, within_s=within_s)
        except (OSError, UnicodeError) as e:
            raise _Unreachable("Its name does not resolve.") from e
        hosts = [str(address[0]) for *_, address in addresses]
        require_public_addresses(target, hosts, production=self._production)
        return target, addresses

    def _exchange(
        self, url: str, body: bytes, headers: Mapping[str, str], deadline: float
    ) -> tuple[int, str | None]:
        """Post.  Returns the status of the answer and its Retry-After."""
        target, addresses = self._resolve_url(url, within_s=_RESOLVE_S)
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
            # A head that the watchdog cut off parses as if it were complete.
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
    """Read the body within bounds, so that the receiver can finish its answer."""
    remaining = MAX_ANSWER_BYTES
    with contextlib.suppress(HTTPError, http.client.HTTPException, OSError, ValueError):
        while remaining > 0 and time.monotonic() < deadline:
            data = answer.read1(min(remaining, _READ_BYTES))
            if not data:
                return
            remaining -= len(data)


def describe_status(status: int) -> str | None:
    """Return the problem of a status; None for a 2xx.

    >>> describe_status(204), describe_status(302)
    (None, 'HTTP 302: redirects are not followed.')
    """
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed."
    return f"HTTP {status}."


def _describe(error: Exception) -> str:
    """Return a sentence on an error, without its text, which may quote the receiver."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "Its certificate does not prove its name."
    if isinstance(error, ssl.SSLError):
        return "TLS failed."
    return "No usable answer."
