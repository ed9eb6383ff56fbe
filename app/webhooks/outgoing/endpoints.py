"""Webhook endpoints of clients: list, create, change, delete; rotate the secret.

A client sees and changes only its own endpoints.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput, Conflict, KeyRefused, NotFound
from app.ids import make_id
from app.sms.context import Context
from app.sms.lifecycle.outbox import EventType
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.models import Delivery, Endpoint, EndpointStatus
from app.webhooks.outgoing.signing import make_secret
from app.webhooks.outgoing.url_policy import TargetRefused, normalise_url

MAX_ENDPOINTS = 20
# A replaced secret still signs this long.
OLD_SECRET_KEPT = timedelta(hours=24)
# Event types that reveal numbers.
PERSONAL = frozenset((EventType.MESSAGES_UPDATED, EventType.INBOUND_RECEIVED))

_ENDPOINTS, _DELIVERIES = table_of(Endpoint), table_of(Delivery)
# Values of an endpoint that has no history.
_NO_HISTORY = {
    "quick": 0,
    "failures": 0,
    "failing_since": None,
    "problem": None,
    "not_before": None,
    "lease": None,
    "leased_until": None,
}


def list_endpoints(ctx: Context, *, client: str | None = None) -> list[Row[Any]]:
    """Return the endpoints that the viewer sees, of one client with `client`, oldest first."""
    query = select(_ENDPOINTS).where(ctx.viewer.sees(_ENDPOINTS.c.client))
    if client is not None:
        query = query.where(_ENDPOINTS.c.client == client)
    with ctx.db.read() as tx:
        return list(tx.execute(query.order_by(_ENDPOINTS.c.id)))


def view_endpoint(ctx: Context, public_id: str) -> Row[Any]:
    """Return one endpoint.  Raises NotFound."""
    with ctx.db.read() as tx:
        return find_endpoint(tx, ctx, public_id)


def find_endpoint(tx: Connection, ctx: Context, public_id: str, *, lock: bool = False) -> Row[Any]:
    """Return an endpoint that the viewer sees; `lock` locks it.  Raises NotFound."""
    endpoint = ctx.viewer.find(tx, _ENDPOINTS, public_id, lock=lock)
    if endpoint is None:
        raise NotFound("There is no such webhook.")
    return endpoint


def create_endpoint(
    ctx: Context,
    webhook_client: WebhookHttpClient,
    *,
    client: str,
    url: str,
    event_types: Collection[str],
    sees_numbers: bool,
) -> Row[Any]:
    """Create an endpoint with a new secret.

    Raises BadInput for a URL that we do not post to, KeyRefused when the events reveal numbers that
    the client may not see, Conflict when it has too many endpoints.
    """
    _require_scope(event_types, sees_numbers=sees_numbers)
    url = _require_target(webhook_client, url)
    now = ctx.now()
    row: dict[str, Any] = {
        "public_id": make_id(now),
        "client": client,
        "created_at": now,
        "url": url,
        "event_types": _sort(event_types),
        "secret": make_secret(),
        "status": EndpointStatus.ACTIVE,
        "served_at": now,
    }
    with ctx.db.write() as tx:
        made = select(func.count()).where(_ENDPOINTS.c.client == client)
        if tx.execute(made).scalar_one() >= MAX_ENDPOINTS:
            raise Conflict(f"There are {MAX_ENDPOINTS} webhooks already: delete one first.")
        tx.execute(insert(_ENDPOINTS).values(row | _NO_HISTORY))
        _audit(tx, ctx, row["public_id"], actor=client, action="create webhook")
        return find_endpoint(tx, ctx, row["public_id"])


def change_endpoint(
    ctx: Context,
    webhook_client: WebhookHttpClient,
    public_id: str,
    *,
    actor: str,
    sees_numbers: bool,
    url: str | None = None,
    event_types: Collection[str] | None = None,
    enabled: bool | None = None,
) -> Row[Any]:
    """Change what is given.  Raises as create_endpoint, and NotFound.

    Events of the last day that wait while it is off are posted when it is on again.
    """
    if url is not None:
        url = _require_target(webhook_client, url)
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, public_id, lock=True)
        listens_to = endpoint.event_types if event_types is None else event_types
        _require_scope(listens_to, sees_numbers=sees_numbers)
        values: dict[str, Any] = {"event_types": _sort(listens_to)}
        if url is not None and url != endpoint.url:
            values |= {**_NO_HISTORY, "url": url}
        if enabled is not None:
            values |= _switch(endpoint, enabled=enabled)
        _update(tx, endpoint, values)
        _audit(tx, ctx, public_id, actor=actor, action="change webhook")
        return find_endpoint(tx, ctx, public_id)


def switch_endpoint(ctx: Context, public_id: str, *, enabled: bool, actor: str) -> None:
    """Switch an endpoint on or off, for an operator.  Raises NotFound."""
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, public_id, lock=True)
        _update(tx, endpoint, _switch(endpoint, enabled=enabled))
        _audit(tx, ctx, public_id, actor=actor, action="change webhook")


def rotate_secret(ctx: Context, public_id: str, *, actor: str) -> Row[Any]:
    """Replace an endpoint's secret; the old one signs too for 24 hours.  Raises NotFound."""
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, public_id, lock=True)
        values = {
            "secret": make_secret(),
            "old_secret": endpoint.secret,
            "old_secret_until": ctx.now() + OLD_SECRET_KEPT,
        }
        _update(tx, endpoint, values)
        _audit(tx, ctx, public_id, actor=actor, action="rotate webhook secret")
        return find_endpoint(tx, ctx, public_id)


def delete_endpoint(ctx: Context, public_id: str, *, actor: str) -> None:
    """Delete an endpoint and its deliveries.  Raises NotFound."""
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, public_id, lock=True)
        tx.execute(delete(_DELIVERIES).where(_DELIVERIES.c.endpoint_id == endpoint.id))
        tx.execute(delete(_ENDPOINTS).where(_ENDPOINTS.c.id == endpoint.id))
        _audit(tx, ctx, public_id, actor=actor, action="delete webhook")


def require_active(endpoint: Row[Any]) -> None:
    """Raise Conflict if an endpoint is switched off."""
    if endpoint.status is not EndpointStatus.ACTIVE:
        raise Conflict(
            f"This webhook is {endpoint.status.value}: switch it on first.",
            status=endpoint.status.value,
        )


def _require_target(webhook_client: WebhookHttpClient, url: str) -> str:
    """Return the URL as it is kept.  Raises BadInput unless it can be posted to."""
    try:
        webhook_client.check(url)
    except TargetRefused as e:
        raise BadInput(f"url: {str(e).rstrip('.')}", fields={"url": [str(e)]}) from e
    return normalise_url(url)


def _require_scope(event_types: Collection[str], *, sees_numbers: bool) -> None:
    personal = PERSONAL.intersection(event_types)
    if personal and not sees_numbers:
        raise KeyRefused(f"This API key lacks the scope messages:read, which {min(personal)} needs")


def _switch(endpoint: Row[Any], *, enabled: bool) -> dict[str, Any]:
    """Return the changes; switched on, an endpoint starts without history."""
    if not enabled:
        stays_off = endpoint.status is not EndpointStatus.ACTIVE
        return {} if stays_off else {"status": EndpointStatus.OFF}
    if endpoint.status is EndpointStatus.ACTIVE:
        return {}
    return {**_NO_HISTORY, "status": EndpointStatus.ACTIVE}


def _update(tx: Connection, endpoint: Row[Any], values: dict[str, Any]) -> None:
    if values:
        tx.execute(update(_ENDPOINTS).where(_ENDPOINTS.c.id == endpoint.id).values(values))


def _sort(event_types: Collection[str]) -> list[str]:
    """Return distinct event types in the order of EventType."""
    return [event_type.value for event_type in EventType if event_type in event_types]


def _audit(tx: Connection, ctx: Context, public_id: str, *, actor: str, action: str) -> None:
    write_audit(tx, ctx.now(), actor, action, public_id)
    logger.bind(webhook=public_id, actor=actor, action=action).info("webhook changed")
