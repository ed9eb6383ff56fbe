"""GET /metrics.

With METRICS_TOKEN the route answers to `Authorization: Bearer TOKEN`.  Without it, only a peer on
this machine is answered, and only if its request did not come through a proxy.
"""

import hmac
import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.registry import Collector

from app.auth import hash_presented, public
from app.errors import KeyMissing, KeyRefused
from app.metrics.database import DatabaseMetrics
from app.metrics.process import collect_process
from app.sms.context import Context

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

METRICS_PATH = "/metrics"
_BEARER = "bearer"
# Headers by which a proxy says for whom it asks.
_FORWARDING = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", "HTTP_TRUE_CLIENT_IP")
_FORWARDING_PREFIXES = ("HTTP_X_FORWARDED", "HTTP_X_CLIENT", "HTTP_X_ORIGINAL", "HTTP_CF_")
_HINT = "Set METRICS_TOKEN, and send it as Authorization: Bearer TOKEN."

# Prometheus's format is no JSON, so this route is not in our API document.
blueprint = Blueprint("metrics", __name__)


def register_metrics(app: Flask, ctx: Context, token: str | None) -> None:
    """Register GET /metrics."""
    app.extensions["metrics_token"] = token
    app.extensions["database_metrics"] = DatabaseMetrics(ctx)
    app.register_blueprint(blueprint)


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
    is_equal = hmac.compare_digest(hash_presented(presented.strip()), hash_presented(token))
    return is_equal and scheme.lower() == _BEARER


def _is_from_this_machine(environ: "WSGIEnvironment") -> bool:
    """Return True for a peer on loopback whose request no proxy has passed on."""
    if any(name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES) for name in environ):
        return False
    try:
        # That of the peer: a trusted proxy changes it by a header only.
        peer = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    return (getattr(peer, "ipv4_mapped", None) or peer).is_loopback
