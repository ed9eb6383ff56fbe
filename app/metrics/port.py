"""GET /metrics of a worker of Celery, on a port of its own, for a machine without a web process.

It has the counts of the machine's processes alone: the gauges of the database are those of the web.
"""

import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

from loguru import logger
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from app.metrics.process import collect_process
from app.metrics.routes import is_bearer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_LOOPBACK, _EVERYWHERE = "127.0.0.1", ""


class _QuietHandler(WSGIRequestHandler):
    """A handler that logs nothing, and ends a connection that is silent for `timeout` seconds."""

    timeout = 10

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Process(Collector):
    def collect(self) -> Iterable[Metric]:
        return collect_process()


def serve_metrics(port: int, token: str | None) -> None:
    """Serve the counts in a thread.  Without a token only this machine is answered.

    A port that cannot be opened is logged: another worker of this machine may have it.
    """

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if token is not None and not is_bearer(environ.get("HTTP_AUTHORIZATION", ""), token):
            status, body = HTTPStatus.UNAUTHORIZED, b"Send METRICS_TOKEN as a bearer token.\n"
        else:
            status, body = HTTPStatus.OK, generate_latest(_Process())
        headers = [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    host = _LOOPBACK if token is None else _EVERYWHERE
    try:
        server = make_server(host, port, answer, ThreadingWSGIServer, _QuietHandler)
    except OSError as e:
        bound = logger.bind(port=port, reason=e.strerror)
        bound.error("the port for metrics cannot be opened: look at WORKER_METRICS_PORT")
        return
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
