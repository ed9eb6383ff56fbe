"""GET /metrics, and the counting of requests.

With METRICS_TOKEN the route answers to `Authorization: Bearer TOKEN`.  Without it, only a peer on
this machine is answered, and only if its request did not come through a proxy.
"""

import hmac
import ipaddress
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.registry import Collector

from app.auth import public
from app.config import CALLBACK_PATH
from app.errors import KeyMissing, KeyRefused
from app.metrics.database import DatabaseMetrics
from app.metrics.process import collect_process, count_request
from app.sms.context import Context

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

METRICS_PATH = "/metrics"
_ROUTE, _PEER = "clarion.route", "clarion.peer"
_BEARER = "bearer"
_UNKNOWN_ROUTE = "unknown"
# Headers by which a proxy says for whom it asks.
_FORWARDING = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_TRUE_CLIENT_IP")
_FORWARDING_PREFIXES = ("HTTP_X_FORWARDED", "HTTP_X_CLIENT", "HTTP_X_ORIGINAL", "HTTP_CF_")
_HINT = "Set METRICS_TOKEN, and send it as Authorization: Bearer TOKEN."

# Prometheus's format is no JSON, so this route is not in our API document.
blueprint = Blueprint("metrics", __name__)


def register_metrics(app: Flask, ctx: Context, token: str | None) -> None:
    """Register GET /metrics, and count all requests from outside of every other middleware."""
    app.extensions["metrics_token"] = token
    app.extensions["database_metrics"] = DatabaseMetrics(ctx)
    app.wsgi_app = RequestMeter(app.wsgi_app)  # type: ignore[method-assign]
    app.before_request(_note_route)
    app.register_blueprint(blueprint)


def _note_route() -> None:
    rule = request.url_rule
    request.environ[_ROUTE] = rule.rule if rule else _UNKNOWN_ROUTE


class RequestMeter:
    """WSGI middleware that counts requests and remembers the peer, which a proxy cannot set."""

    def __init__(self, around: "WSGIApplication") -> None:
        self._around = around

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        started = time.perf_counter()
        status = "500"

        def keep_status(line: str, *more: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *more)

        environ[_PEER] = environ.get("REMOTE_ADDR", "")
        try:
            return self._around(environ, keep_status)
        finally:
            # Only callbacks are answered without Flask: webhooks/incoming/routes.py.
            route = environ.get(_ROUTE, CALLBACK_PATH)
            duration_s = time.perf_counter() - started
            count_request(environ["REQUEST_METHOD"], route, status, duration_s)


class _Scrape(Collector):
    """All that one scrape answers."""

    def __init__(self, database: DatabaseMetrics) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        yield from self._database.collect()
        yield from collect_process()


@blueprint.get(METRICS_PATH)
@public
def show_metrics() -> Response:
    """Answer with all metrics in Prometheus's text format."""
    _require_access(current_app.extensions["metrics_token"])
    scrape = _Scrape(current_app.extensions["database_metrics"])
    return Response(generate_latest(scrape), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@blueprint.after_request
def _name_scheme(response: Response) -> Response:
    if response.status_code == KeyMissing.status:
        response.headers["WWW-Authenticate"] = 'Bearer realm="clarion"'
    return response


def _require_access(token: str | None) -> None:
    """Raise KeyMissing or KeyRefused unless this request may see metrics."""
    if token is None:
        if not _is_from_this_machine(request.environ):
            raise KeyRefused("Without METRICS_TOKEN only this machine gets metrics", hint=_HINT)
        return
    authorization = request.headers.get("Authorization", "")
    if authorization.partition(" ")[0].lower() != _BEARER:
        raise KeyMissing("A bearer token is required", hint="Send METRICS_TOKEN as it.")
    if not is_bearer(authorization, token):
        raise KeyRefused("Wrong metrics token")


def is_bearer(authorization: str, token: str) -> bool:
    """Return True if a header has a token as its bearer token, compared in constant time."""
    scheme, _, presented = authorization.partition(" ")
    is_equal = hmac.compare_digest(_digest(presented.strip()), _digest(token))
    return is_equal and scheme.lower() == _BEARER


def _digest(token: str) -> bytes:
    # WSGI decodes header bytes as Latin-1; with backslashreplace no input raises.
    return sha256(token.encode("latin-1", "backslashreplace")).digest()


def _is_from_this_machine(environ: "WSGIEnvironment") -> bool:
    """Return True for a peer on loopback whose request no proxy has passed on."""
    if any(name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES) for name in environ):
        return False
    try:
        peer = ipaddress.ip_address(environ[_PEER])
    except ValueError:
        return False
    return (getattr(peer, "ipv4_mapped", None) or peer).is_loopback
