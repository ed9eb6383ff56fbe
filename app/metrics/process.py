"""Counts of one process: its requests by route, and its calls to Sinch by outcome.

Values of labels are from fixed lists: rules of our routes, methods of HTTP, statuses that we
answer, calls and outcomes of app/sinch/client.py.

A folder that is removed or full while the service runs costs counts, never an answer: a text may
have gone out before it is counted.
"""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec

from loguru import logger
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from app.logs import log_seldom
from app.metrics.files import FolderRefused, join_folder, list_files

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_OTHER, _UNKNOWN_ROUTE = "other", "unknown"
# A page takes milliseconds; a broadcast waits for Sinch, and is answered within 25 s.
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
# Sinch answers within a second, and is waited for SINCH_READ_TIMEOUT_S, 20 s.
_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()
_requests = Counter(
    "clarion_http_requests",
    "Requests answered, by method, rule of the route, and status.",
    ("method", "route", "status"),
    registry=_registry,
)
_request_seconds = Histogram(
    "clarion_http_request_duration_seconds",
    "Time until an answer began, by rule of the route.",
    ("route",),
    buckets=_REQUEST_BUCKETS,
    registry=_registry,
)
_calls = Counter(
    "clarion_sinch_calls",
    "Calls to Sinch, by call and outcome.",
    ("call", "outcome"),
    registry=_registry,
)
_call_seconds = Histogram(
    "clarion_sinch_call_duration_seconds",
    "Time until Sinch's answer was there, or the call was given up.",
    ("call",),
    buckets=_CALL_BUCKETS,
    registry=_registry,
)
_processes = Gauge(
    "clarion_processes",
    "Processes that run on this machine: web, or worker of Celery.",
    ("kind",),
    multiprocess_mode="livesum",
    registry=_registry,
)
_P = ParamSpec("_P")
# The folder in which this process counts, and the descriptor that holds its lock.
_joined: dict[Path, int] = {}


def _lose_only_counts(count: Callable[_P, None]) -> Callable[_P, None]:
    """Log what a count raises, once a minute."""

    @functools.wraps(count)
    def count_or_log(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            count(*args, **kwargs)
        except Exception as e:
            log_seldom("counts are lost: is METRICS_DIR still there? Restart", reason=str(e))

    return count_or_log


@_lose_only_counts
def count_request(method: str, route: str | None, status: int, duration_s: float) -> None:
    """Count a request that was answered; `route` is a rule of ours, None without one."""
    rule = route or _UNKNOWN_ROUTE
    _requests.labels(method if method in _METHODS else _OTHER, rule, str(status)).inc()
    _request_seconds.labels(rule).observe(duration_s)


@_lose_only_counts
def count_sinch_call(call: str, outcome: str, duration_s: float) -> None:
    """Count a call to Sinch; `call` is a method and path without values."""
    _calls.labels(call, outcome).inc()
    _call_seconds.labels(call).observe(duration_s)


def count_process(kind: str, folder: Path | None) -> None:
    """Count this process as running; call it once in each process, before anything else is counted.

    With a folder, it counts there together with the others of this machine.
    """
    join_processes(folder)
    _processes.labels(kind).set(1)


def join_processes(folder: Path | None) -> None:
    """Count, and collect, together with the processes of this machine that have joined the folder.

    A folder that cannot be used is logged; the process is then by itself.
    """
    if folder and folder not in _joined:
        try:
            _joined[folder] = join_folder(folder)
        except FolderRefused as e:
            bound = logger.bind(reason=str(e))
            bound.error("processes cannot count together: set METRICS_DIR to a folder of their own")
        else:
            os.environ[_FOLDER_VARIABLE] = str(folder)
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


def collect_process() -> Iterable[Metric]:
    """Return the counts of this process, or of all processes that count in its folder."""
    if not _joined:
        return _registry.collect()
    (folder,) = _joined
    merged: Iterable[Metric] = MultiProcessCollector.merge(  # type: ignore[no-untyped-call]
        list_files(folder)
    )
    return merged
