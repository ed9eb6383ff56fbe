"""Leases of endpoints: one worker posts a few due deliveries of an endpoint at a time.

A hanging endpoint blocks only its own lease.  Endpoints that are new, or were slow or failed
lately, are served by a pool of workers of their own (`Pool.SLOW`), so the others never wait for
them.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, case, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.prepared import Prepared
from app.db.types import UtcTime, has_come
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.models import Delivery, Endpoint, EndpointStatus

# The longest pause of an endpoint after a failure or by its Retry-After.
MAX_PAUSE = timedelta(hours=6)
# This many quick answers in a row move an endpoint to the fast pool.
QUICK_TIMES = 3
# Deliveries in one lease.
MAX_DELIVERIES = 20
# Longer than posting takes; after it the worker is taken for dead.
LEASE = timedelta(seconds=60)

_ENDPOINTS, _DELIVERIES, _OUTBOX = table_of(Endpoint), table_of(Delivery), table_of(OutboxEvent)
_NOW = bindparam("now", type_=UtcTime())


class Pool(StrEnum):
    """The pool of workers that serves an endpoint."""

    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLease:
    """An endpoint that this worker posts to until the attempts are recorded.

    `keys` sign.  `deliveries` are rows with the number of earlier tries and the event.
    """

    endpoint_id: int
    public_id: str
    url: str
    keys: Sequence[bytes]
    lease: str
    deliveries: Sequence[Row[Any]]


def has_due_endpoint(ctx: Context, pool: Pool) -> bool:
    """Return True if an endpoint of this pool can be leased now."""
    with ctx.db.read() as tx:
        return _READY[pool].first(tx, _list_times(ctx.now())) is not None


def lease_endpoint(ctx: Context, pool: Pool) -> EndpointLease | None:
    """Lease the endpoint of this pool that was served the longest ago; None if none is due."""
    if not has_due_endpoint(ctx, pool):
        return None
    with ctx.db.write() as tx:
        now, lease = ctx.now(), secrets.token_hex(16)
        endpoint = _LOCK_READY[pool].first(tx, _list_times(now))
        if endpoint is None:
            return None
        values = {"lease": lease, "leased_until": now + LEASE, "served_at": now}
        tx.execute(update(_ENDPOINTS).where(_ENDPOINTS.c.id == endpoint.id).values(values))
        deliveries = tx.execute(_select_due(endpoint, now)).all()
    keys = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_secret_until > now:
        keys.append(endpoint.old_secret)
    return EndpointLease(
        endpoint_id=endpoint.id,
        public_id=endpoint.public_id,
        url=endpoint.url,
        keys=keys,
        lease=lease,
        deliveries=deliveries,
    )


def _list_times(now: datetime) -> dict[str, datetime]:
    """Return the times that make an endpoint ready: now, and the latest that we set ahead.

    Clocks of other processes differ by at most CLOCK_SLACK_S.
    """
    furthest = now + timedelta(seconds=CLOCK_SLACK_S)
    return {"now": now, "last_lease": furthest + LEASE, "last_pause": furthest + MAX_PAUSE}


def _select_ready(pool: Pool) -> Select[Any]:
    """Select the next endpoint of a pool: active, not leased, not paused, with a due delivery."""
    has_due = (
        select(_DELIVERIES.c.event_id)
        .where(_DELIVERIES.c.endpoint_id == _ENDPOINTS.c.id, _DELIVERIES.c.due_at <= _NOW)
        .exists()
    )
    query = (
        select(_ENDPOINTS)
        .where(_ENDPOINTS.c.status == EndpointStatus.ACTIVE, has_due)
        .where(_is_over(_ENDPOINTS.c.leased_until, "last_lease"))
        .where(_is_over(_ENDPOINTS.c.not_before, "last_pause"))
        .limit(1)
    )
    if pool is Pool.FAST:
        return query.where(_ENDPOINTS.c.quick >= QUICK_TIMES).order_by(_ENDPOINTS.c.served_at)
    # Endpoints that are becoming quick go first, then new ones: neither stays in this pool long.
    is_new = _ENDPOINTS.c.delivered_at.is_(None) & (_ENDPOINTS.c.failures == 0)
    return query.where(_ENDPOINTS.c.quick < QUICK_TIMES).order_by(
        _ENDPOINTS.c.quick.desc(), case((is_new, 0), else_=1), _ENDPOINTS.c.served_at
    )


def _is_over(until: ColumnElement[Any], latest: str) -> ColumnElement[bool]:
    """Return the SQL test whether a time of ours is not set, or has come."""
    return or_(until.is_(None), has_come(until, _NOW, bindparam(latest)))


# Each worker asks several times a second.
_READY = {pool: Prepared(_select_ready(pool)) for pool in Pool}
_LOCK_READY = {
    pool: Prepared(_select_ready(pool).with_for_update(skip_locked=True)) for pool in Pool
}


def _select_due(endpoint: Row[Any], now: datetime) -> Select[Any]:
    return (
        select(
            _DELIVERIES.c.event_id,
            _DELIVERIES.c.tries,
            _OUTBOX.c.public_id,
            _OUTBOX.c.event_type,
            _OUTBOX.c.at,
            _OUTBOX.c.facts,
        )
        .join(_OUTBOX, _OUTBOX.c.id == _DELIVERIES.c.event_id)
        .where(_DELIVERIES.c.endpoint_id == endpoint.id, _DELIVERIES.c.due_at <= now)
        .order_by(_DELIVERIES.c.due_at, _DELIVERIES.c.event_id)
        .limit(MAX_DELIVERIES)
    )
