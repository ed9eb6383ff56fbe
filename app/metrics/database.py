"""Gauges from the database, read when Prometheus asks and kept for some seconds.

No query sums over all messages or batches: daily counters of two days, batches and broadcasts that
are open, and the oldest of what waits.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from loguru import logger
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from app.db.schema import WrongDatabase
from app.metrics import queries
from app.sms.caps.budget import find_key, read_limits
from app.sms.context import Context
from app.sms.lifecycle.gates import BUSY, CIRCUIT, RESTORE, read_gates
from app.sms.models.cap import ALL
from app.sms.models.states import BatchState
from app.sms.models.statuses import REPORTED
from app.sms.operations.heartbeat import read_marks
from app.webhooks.outgoing.models import EndpointStatus

KEPT_S = 5.0


class DatabaseMetrics(Collector):
    """The gauges of one process's database, at most KEPT_S old."""

    def __init__(self, ctx: Context, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ctx, self._clock = ctx, clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._metrics: Sequence[Metric] = ()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges.  Callers at the same time share one reading."""
        with self._lock:
            if self._read_at is None or self._clock() - self._read_at >= KEPT_S:
                self._metrics = list(_read(self._ctx))
                self._read_at = self._clock()
            return self._metrics


def _read(ctx: Context) -> Sequence[Metric]:
    """Read all gauges in one snapshot; one that says so if the database cannot be read."""
    try:
        ctx.require_own_database()
        now = ctx.now()
        with ctx.db.read() as tx:
            pending = tx.execute(queries.PENDING, {"now": now}).one()
            gauges = [
                *_read_backlog(tx, ctx, pending, now),
                *_read_batches(tx, pending, now),
                *_read_caps(tx, pending, now),
                *_read_lags(tx, now),
                *_read_marks(tx),
                *_read_days(tx, now.date()),
            ]
    except (SQLAlchemyError, OSError, WrongDatabase) as e:
        logger.opt(exception=e).error("the metrics of the database cannot be read")
        return [_describe_database(is_up=False)]
    return [_describe_database(is_up=True), *gauges]


def _describe_database(*, is_up: bool) -> Metric:
    return _gauge("clarion_database_up", "1 if the database can be read and is ours.", is_up)


def _read_backlog(
    tx: Connection, ctx: Context, pending: Row[Any], now: datetime
) -> Iterator[Metric]:
    """Yield what waits to be handed to Sinch, and how fast it may go."""
    unplanned = tx.execute(queries.UNPLANNED).one()
    gates = read_gates(tx, ctx.rules, now)
    booked_s = _seconds(now, gates.free_at)
    yield _gauge(
        "clarion_backlog_messages",
        "Messages that are due and not handed to Sinch yet.",
        pending.messages + unplanned.messages,
    )
    yield _gauge(
        "clarion_oldest_pending_seconds",
        "Time since the oldest batch that is due could have been sent.",
        _seconds(pending.since, now),
    )
    if rate := ctx.rules.messages_per_second:
        parts = pending.parts + unplanned.parts
        yield _gauge("clarion_pace_parts_per_second", "SINCH_MESSAGES_PER_SECOND.", rate)
        yield _gauge(
            "clarion_backlog_finish_seconds",
            "Time until the backlog has left Sinch, at SINCH_MESSAGES_PER_SECOND.",
            booked_s + parts / rate,
        )
    yield _gauge(
        "clarion_pace_booked_seconds", "Time that Sinch's queue lasts at the pace.", booked_s
    )
    closed = {
        BUSY: gates.busy_until is not None and now < gates.busy_until,
        CIRCUIT: gates.circuit is not None,
        RESTORE: gates.restoring,
    }
    yield _gauges(
        "clarion_gate_closed", "1 while a gate pauses all sending.", "gate", closed.items()
    )


def _read_batches(tx: Connection, pending: Row[Any], now: datetime) -> Iterator[Metric]:
    """Yield batches and broadcasts that are open or need a decision."""
    troubled = tx.execute(queries.TROUBLED).all()
    counts = {state: count for state, count, _ in troubled}
    counts[BatchState.PENDING] = pending.batches
    counts[BatchState.SENDING] = tx.execute(queries.COUNT_SENDING).scalar_one()
    unknown_at = {state: since for state, _, since in troubled}.get(BatchState.UNKNOWN)
    yield _gauges(
        "clarion_batches",
        "Batches by state, without final states other than duplicate, and without scheduled "
        "broadcasts.",
        "state",
        ((state, counts.get(state, 0)) for state in queries.STATES),
    )
    yield _gauge(
        "clarion_oldest_unknown_seconds",
        "Age of the oldest batch of unknown outcome.",
        _seconds(unknown_at, now),
    )
    statuses = {row.status: row.broadcasts for row in tx.execute(queries.COUNT_BROADCASTS)}
    yield _gauges(
        "clarion_broadcasts",
        "Broadcasts that are not complete, by status.",
        "status",
        ((status, statuses.get(status, 0)) for status in queries.OPEN_STATUSES),
    )


def _read_caps(tx: Connection, pending: Row[Any], now: datetime) -> Iterator[Metric]:
    """Yield how much of the caps is used, of those that have used most, and what waits.

    A cap of 0 has no part that is used.
    """
    used: dict[tuple[str, ...], float] = {}
    for limit in read_limits(tx, now):
        if limit.cap.amount:
            of_one = "key" if find_key(limit.cap.client) else "client"
            scope = "all" if limit.cap.client == ALL else of_one
            key = (scope, limit.cap.period.value, limit.cap.unit.value)
            used[key] = max(limit.used / limit.cap.amount, used.get(key, 0.0))
    yield _gauges(
        "clarion_cap_used_ratio",
        "Part of a cap that is used in its hour or day: of all clients, or of the client or key "
        "that has used most of its own.",
        ("scope", "period", "unit"),
        used.items(),
    )
    yield _gauge(
        "clarion_cap_waiting_messages",
        "Messages that wait until a cap begins anew, or is raised.",
        pending.capped,
    )


def _read_lags(tx: Connection, now: datetime) -> Iterator[Metric]:
    """Yield how late callbacks of Sinch, and webhooks to clients, are."""
    callback_at = tx.execute(queries.OLDEST_CALLBACK, {"now": now}).scalar()
    yield _gauge(
        "clarion_callback_lag_seconds",
        "Age of the oldest callback of Sinch that waits to be applied.",
        _seconds(callback_at, now),
    )
    waiting = [tx.execute(queries.OLDEST_EVENT).scalar()]
    waiting += tx.execute(queries.OLDEST_DELIVERIES, {"now": now}).scalars()
    yield _gauge(
        "clarion_webhook_lag_seconds",
        "How late the oldest event for a client is; endpoints that fail wait for their next try.",
        max(_seconds(at, now) for at in waiting),
    )
    endpoints = tx.execute(queries.COUNT_ENDPOINTS).all()
    counts = {status: count for status, count, _ in endpoints}
    failing = {status: count for status, _, count in endpoints}
    yield _gauges(
        "clarion_webhook_endpoints",
        "Webhook endpoints of clients, by status.",
        "status",
        ((status, counts.get(status, 0)) for status in EndpointStatus),
    )
    yield _gauge(
        "clarion_webhook_endpoints_failing",
        "Active webhook endpoints whose last try failed.",
        failing.get(EndpointStatus.ACTIVE, 0),
    )


def _read_marks(tx: Connection) -> Iterator[Metric]:
    """Yield what the background has noted: its last runs, and the last consistency check."""
    marks = read_marks(tx)
    for name, what, at in (
        ("sweep", "sweep of the background", marks.swept_at),
        ("backup", "backup by `flask backup create`", marks.backed_up_at),
        ("purge", "purge in which nothing failed", marks.purged_at),
    ):
        yield _gauge(
            f"clarion_last_{name}_timestamp_seconds",
            f"Time of the last {what}, 0 if there was none.",
            at.timestamp() if at else 0,
        )
    yield _gauge(
        "clarion_consistency_violations",
        "Violations that the last consistency check found, 20 at most.",
        len(marks.violations),
    )


def _read_days(tx: Connection, today: date) -> Iterator[Metric]:
    """Yield messages by status, inbounds and opt-outs of today and of yesterday, by UTC."""
    names = {today: "today", today - timedelta(days=1): "yesterday"}
    since = {"since": min(names)}
    messages = {
        (names[day], status): float(count)
        for day, status, count in tx.execute(queries.COUNT_MESSAGES, since)
        if day in names
    }
    yield _gauges(
        "clarion_messages",
        "Messages that Sinch accepted today and yesterday (UTC), by their status now.",
        ("day", "status"),
        (
            ((name, status), messages.get((name, status), 0))
            for name in names.values()
            for status in sorted(REPORTED)
        ),
    )
    inbounds = {
        names.get(day): counts for day, *counts in tx.execute(queries.COUNT_INBOUNDS, since)
    }
    for index, (name, documentation) in enumerate(
        (
            ("clarion_inbound_texts", "Texts from phones, today and yesterday (UTC)."),
            ("clarion_opt_outs", "Texts from phones that opt out, today and yesterday (UTC)."),
        )
    ):
        samples = ((day, float(inbounds.get(day, (0, 0))[index])) for day in names.values())
        yield _gauges(name, documentation, "day", samples)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))


def _gauges(
    name: str,
    documentation: str,
    labels: str | Sequence[str],
    samples: Iterable[tuple[str | Sequence[str], float]],
) -> Metric:
    """Return a gauge with labels; each sample has the values of its labels and its own."""
    family = GaugeMetricFamily(name, documentation, labels=_list(labels))
    for label_values, value in samples:
        family.add_metric([str(label) for label in _list(label_values)], float(value))
    return family


def _list(values: str | Sequence[str]) -> Sequence[str]:
    return [values] if isinstance(values, str) else values


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """Return the seconds between two times; 0 if one is missing or the clock was set back."""
    return max((end - start).total_seconds(), 0.0) if start and end else 0.0
