"""Telling clients: the way of an event from the outbox to every endpoint that listens.

    outbox ── spreading ──> deliveries ── turns ──> posting ──> results

Each step may be done in any number of processes at once; the database says whose turn it is.
"""

import json
import time
from collections.abc import Callable
from datetime import timedelta

from loguru import logger
from sqlalchemy import bindparam, delete, select

from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.http_client import PostResult, WebhookHttpClient
from app.webhooks.outgoing.lease import Due, EndpointLease, Pool, lease_endpoint
from app.webhooks.outgoing.models import Delivery
from app.webhooks.outgoing.retry import Tried, abandon_stale, record_attempts
from app.webhooks.outgoing.signing import sign

# Nothing is begun in a turn that has lasted longer: it is the next one's.
_TURN_S = 1.0
# Events and deliveries are kept for so long.
KEPT = timedelta(days=30)
# In one transaction, lest others wait.
_FORGOTTEN_AT_ONCE = 2_000

_OUTBOX, _DELIVERIES = table_of(OutboxEvent), table_of(Delivery)
_OLD = (
    select(_OUTBOX.c.id)
    .where(_OUTBOX.c.at <= bindparam("too_old"))
    .order_by(_OUTBOX.c.at)
    .limit(_FORGOTTEN_AT_ONCE)
)


def deliver_next(
    ctx: Context,
    webhook_client: WebhookHttpClient,
    lane: Pool,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Post what waits for one endpoint, for a moment; whether there was one."""
    ctx.require_own_database()
    turn = lease_endpoint(ctx, lane)
    if turn is None:
        return False
    tried: list[Tried] = []
    begun = time.monotonic()
    for due in turn.deliveries:
        if tried and (stop() or time.monotonic() - begun > _TURN_S):
            break
        tried.append(post_delivery(ctx, webhook_client, turn, due))
        if tried[-1].outcome.problem:
            break
    record_attempts(ctx, turn, tried)
    return True


def post_delivery(
    ctx: Context, webhook_client: WebhookHttpClient, turn: EndpointLease, due: Due
) -> Tried:
    """Post one delivery of a turn, signed."""
    at = ctx.now()
    body = write_event(due)
    headers = sign(body, event_id=due.public_id, timestamp=int(at.timestamp()), keys=turn.keys)
    outcome = webhook_client.post(turn.url, body, {"Content-Type": "application/json", **headers})
    _log(turn, due, outcome)
    return Tried(due, at, outcome)


def _log(turn: EndpointLease, due: Due, outcome: PostResult) -> None:
    bound = logger.bind(
        webhook=turn.public_id,
        event=due.public_id,
        event_type=due.event_type,
        tries=due.tries + 1,
        http_status=outcome.http_status,
        problem=outcome.problem,
        duration_ms=round(outcome.duration_s * 1000),
    )
    bound.info("a client was told" if outcome.problem is None else "a client could not be told")


def write_event(event: Due) -> bytes:
    """An event as its receiver gets it."""
    told = {
        "id": event.public_id,
        "type": event.event_type,
        "created_at": event.at.isoformat(),
        "data": event.facts,
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def run_maintenance(ctx: Context) -> None:
    """What is done each minute: give up what nobody takes, forget what is old."""
    ctx.require_own_database()
    abandon_stale(ctx)
    while purge_old_events(ctx) == _FORGOTTEN_AT_ONCE:
        pass


def purge_old_events(ctx: Context) -> int:
    """Events and their deliveries are kept for 30 days; how many events went now."""
    with ctx.db.write() as tx:
        old = list(tx.execute(_OLD, {"too_old": ctx.now() - KEPT}).scalars())
        if old:
            tx.execute(delete(_DELIVERIES).where(_DELIVERIES.c.event_id.in_(old)))
            tx.execute(delete(_OUTBOX).where(_OUTBOX.c.id.in_(old)))
    return len(old)
