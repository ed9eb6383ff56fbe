"""Results of attempts: deliveries are delivered, due again or abandoned; endpoints pause or stop.

An endpoint pauses after failures, with all its deliveries; after an outage its first success makes
every waiting delivery due at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.sms.context import Context
from app.webhooks.outgoing.http_client import PostResult
from app.webhooks.outgoing.lease import MAX_PAUSE, QUICK_TIMES, EndpointLease
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, Endpoint, EndpointStatus

# Seconds until a delivery is tried again: nearly a day in all.
WAITS_S = (5, 30, 120, 600, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
# Seconds that an endpoint pauses after its first failure in a row, its second, …
PAUSES_S = (0, 5, 30, 120, 600, 1_800)
# A delivery that waited this long for an endpoint without any success is abandoned.
ABANDONED_AFTER = timedelta(days=1)
# An endpoint that failed for this long, and this often, is switched off.
FAILED_AFTER = timedelta(days=3)
FAILED_TIMES = 20
# An answer within this time is quick.
QUICK_S = 1.0
_JITTER = 0.2
# This many failures in a row are an outage of the endpoint, not a problem of one event.
_OUTAGE = 3

_ENDPOINTS, _DELIVERIES = table_of(Endpoint), table_of(Delivery)
_UPDATE_DELIVERY = (
    update(_DELIVERIES)
    .where(_DELIVERIES.c.endpoint_id == bindparam("of_endpoint"))
    .where(_DELIVERIES.c.event_id == bindparam("of_event"))
    .values(tries=_DELIVERIES.c.tries + 1)
)


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """A delivery that was posted, when, and the result."""

    delivery: Row[Any]
    at: datetime
    result: PostResult


def record_attempts(
    ctx: Context, lease: EndpointLease, attempts: Sequence[DeliveryAttempt]
) -> None:
    """Record the attempts of a lease, of which only the last may have failed, and end the lease.

    A success is recorded in any case, a failure only while the lease is ours: after that another
    worker has tried.
    """
    failed = attempts[-1] if attempts and attempts[-1].result.problem else None
    delivered = attempts[:-1] if failed else attempts
    with ctx.db.write() as tx:
        if delivered:
            rows = [_describe(lease, attempt) for attempt in delivered]
            ended = {"status": DeliveryStatus.DELIVERED, "due_at": None}
            tx.execute(_UPDATE_DELIVERY, [row | ended for row in rows])
        leased = select(_ENDPOINTS).where(
            _ENDPOINTS.c.id == lease.endpoint_id, _ENDPOINTS.c.lease == lease.lease
        )
        row = tx.execute(leased.with_for_update()).first()
        if row is None:
            return
        changes: dict[str, Any] = {"lease": None, "leased_until": None}
        if delivered:
            changes |= _record_success(tx, ctx, row, delivered)
        if failed:
            changes |= _record_failure(tx, ctx, lease, failed, {**row._mapping, **changes})
        tx.execute(update(_ENDPOINTS).where(_ENDPOINTS.c.id == row.id).values(changes))


def _describe(lease: EndpointLease, attempt: DeliveryAttempt) -> dict[str, Any]:
    return {
        "of_endpoint": lease.endpoint_id,
        "of_event": attempt.delivery.event_id,
        "tried_at": attempt.at,
        "duration_ms": round(attempt.result.duration_s * 1000),
        "http_status": attempt.result.http_status,
        "problem": attempt.result.problem,
    }


def _record_success(
    tx: Connection, ctx: Context, endpoint: Row[Any], delivered: Sequence[DeliveryAttempt]
) -> dict[str, Any]:
    """Make waiting deliveries due after an outage.  Returns the endpoint's changes."""
    if endpoint.failures >= _OUTAGE:
        now = ctx.now()
        waiting = (_DELIVERIES.c.endpoint_id == endpoint.id) & (_DELIVERIES.c.due_at > now)
        tx.execute(update(_DELIVERIES).where(waiting).values(due_at=now))
    slow = delivered[-1].result.duration_s > QUICK_S
    return {
        "quick": 0 if slow else min(endpoint.quick + len(delivered), QUICK_TIMES),
        "failures": 0,
        "failing_since": None,
        "problem": None,
        "not_before": None,
        "delivered_at": delivered[-1].at,
    }


def _record_failure(
    tx: Connection,
    ctx: Context,
    lease: EndpointLease,
    failed: DeliveryAttempt,
    endpoint: Mapping[str, Any],
) -> dict[str, Any]:
    """Postpone or abandon the delivery.  Returns the endpoint's changes."""
    failures = endpoint["failures"] + 1
    pause_s = _jitter(ctx, PAUSES_S[min(failures, len(PAUSES_S)) - 1])
    retry_after_s = failed.result.retry_after_s or 0.0
    not_before = ctx.seconds_from_now(min(max(pause_s, retry_after_s), MAX_PAUSE.total_seconds()))
    _postpone(tx, ctx, lease, failed, not_before=not_before)
    failing_since = endpoint["failing_since"] or failed.at
    return {
        "status": _choose_status(ctx, lease, failed, failures, failing_since),
        "quick": 0,
        "failures": failures,
        "failing_since": failing_since,
        "problem": failed.result.problem,
        "not_before": not_before,
    }


def _postpone(
    tx: Connection,
    ctx: Context,
    lease: EndpointLease,
    failed: DeliveryAttempt,
    *,
    not_before: datetime,
) -> None:
    """Set when a delivery is due again, or abandon it after its last try."""
    tries = failed.delivery.tries + 1
    values = _describe(lease, failed) | {"status": DeliveryStatus.ABANDONED, "due_at": None}
    if tries <= len(WAITS_S):
        retry_at = ctx.seconds_from_now(_jitter(ctx, WAITS_S[tries - 1]))
        values |= {"status": DeliveryStatus.WAITING, "due_at": max(retry_at, not_before)}
    still_waiting = _DELIVERIES.c.status == DeliveryStatus.WAITING
    tx.execute(_UPDATE_DELIVERY.where(still_waiting), [values])
    if tries > len(WAITS_S):
        bound = logger.bind(webhook=lease.public_id, event=failed.delivery.public_id, tries=tries)
        bound.warning("webhook delivery abandoned after its last try")


def _choose_status(
    ctx: Context,
    lease: EndpointLease,
    failed: DeliveryAttempt,
    failures: int,
    failing_since: datetime,
) -> EndpointStatus:
    bound = logger.bind(webhook=lease.public_id, problem=failed.result.problem, failures=failures)
    if failed.result.gone:
        bound.error("webhook switched off: it answered 410 Gone")
        return EndpointStatus.GONE
    if failures >= FAILED_TIMES and ctx.now() - failing_since >= FAILED_AFTER:
        bound.error("webhook switched off: every try has failed for days")
        return EndpointStatus.FAILED
    return EndpointStatus.ACTIVE


def _jitter(ctx: Context, seconds: float) -> float:
    return ctx.jitter(seconds * (1 - _JITTER), seconds * (1 + _JITTER))


def abandon_stale(ctx: Context) -> int:
    """Abandon deliveries that waited for a day for an unreachable endpoint.  Returns how many."""
    day_ago = ctx.now() - ABANDONED_AFTER
    unreachable = select(_ENDPOINTS.c.id).where(
        (_ENDPOINTS.c.status != EndpointStatus.ACTIVE) | (_ENDPOINTS.c.failing_since <= day_ago)
    )
    statement = (
        update(_DELIVERIES)
        .where(_DELIVERIES.c.endpoint_id.in_(unreachable))
        .where(_DELIVERIES.c.status == DeliveryStatus.WAITING)
        .where(_DELIVERIES.c.waiting_since <= day_ago)
        .values(status=DeliveryStatus.ABANDONED, due_at=None)
    )
    with ctx.db.write() as tx:
        abandoned = tx.execute(statement).rowcount
    if abandoned:
        logger.bind(deliveries=abandoned).warning("stale webhook deliveries abandoned")
    return abandoned
