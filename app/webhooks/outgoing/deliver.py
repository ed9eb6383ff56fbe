"""Delivery of events: post the due deliveries of a leased endpoint; delete old events.

Any number of processes may run each step; the database decides which one gets an endpoint.
"""

import json
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Row, delete, select

from app.db.base import table_of
from app.db.old_rows import GROUP, OldRows, Stop, never
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.http_client import PostResult, WebhookHttpClient
from app.webhooks.outgoing.lease import EndpointLease, Pool, lease_endpoint
from app.webhooks.outgoing.models import Delivery
from app.webhooks.outgoing.retry import DeliveryAttempt, record_attempts
from app.webhooks.outgoing.signing import sign

# No delivery is begun in a lease that has lasted longer: another worker continues.
_LEASE_S = 1.0
# Events and deliveries are kept this long at most.
KEPT = timedelta(days=30)

_OUTBOX, _DELIVERIES = table_of(OutboxEvent), table_of(Delivery)


def deliver_next(
    ctx: Context, webhook_client: WebhookHttpClient, pool: Pool, *, stop: Stop = never
) -> bool:
    """Post due deliveries of one endpoint for about a second.  Returns False if none was due."""
    ctx.require_own_database()
    lease = lease_endpoint(ctx, pool)
    if lease is None:
        return False
    attempts: list[DeliveryAttempt] = []
    started = ctx.clock.monotonic()
    for delivery in lease.deliveries:
        if attempts and (stop() or ctx.clock.monotonic() - started > _LEASE_S):
            break
        attempts.append(post_delivery(ctx, webhook_client, lease, delivery))
        if attempts[-1].result.problem:
            break
    record_attempts(ctx, lease, attempts)
    return True


def post_delivery(
    ctx: Context, webhook_client: WebhookHttpClient, lease: EndpointLease, delivery: Row[Any]
) -> DeliveryAttempt:
    """Post one signed delivery."""
    at = ctx.now()
    body = write_event(delivery)
    headers = sign(
        body, event_id=delivery.public_id, timestamp=int(at.timestamp()), keys=lease.keys
    )
    result = webhook_client.post(lease.url, body, {"Content-Type": "application/json", **headers})
    _log(lease, delivery, result)
    return DeliveryAttempt(delivery, at, result)


def _log(lease: EndpointLease, delivery: Row[Any], result: PostResult) -> None:
    bound = logger.bind(
        webhook=lease.public_id,
        event=delivery.public_id,
        event_type=delivery.event_type,
        tries=delivery.tries + 1,
        http_status=result.http_status,
        problem=result.problem,
        duration_ms=round(result.duration_s * 1000),
    )
    bound.info("webhook delivered" if result.problem is None else "webhook delivery failed")


def write_event(event: Row[Any]) -> bytes:
    """Return the body that a receiver gets."""
    body = {
        "id": event.public_id,
        "type": event.event_type,
        "created_at": event.at.isoformat(),
        "data": event.facts,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def count_old_events(ctx: Context) -> int:
    """Return how many events are due to be deleted."""
    return _find_old(ctx).count(ctx.db)


def purge_old_events(ctx: Context, *, stop: Stop = never) -> int:
    """Delete old events with their deliveries, until `stop` returns True.  Returns how many."""
    old = select(_OUTBOX.c.id).where(_find_old(ctx).condition).order_by(_OUTBOX.c.at)
    deleted = 0
    while not stop():
        with ctx.db.read() as tx:
            ids = list(tx.execute(old.limit(GROUP)).scalars())
        if not ids:
            break
        with ctx.db.write() as tx:
            tx.execute(delete(_DELIVERIES).where(_DELIVERIES.c.event_id.in_(ids)))
            tx.execute(delete(_OUTBOX).where(_OUTBOX.c.id.in_(ids)))
        deleted += len(ids)
        ctx.db.give_way()
    return deleted


def _find_old(ctx: Context) -> OldRows:
    """Return the events that are older than KEPT, or than messages are kept: they have numbers."""
    kept = min(KEPT, timedelta(seconds=ctx.rules.messages_kept_s))
    return OldRows(_OUTBOX, _OUTBOX.c.at <= ctx.now() - kept)
