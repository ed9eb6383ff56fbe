"""Deliveries of an endpoint: list, test and replay."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Update, insert, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import NotFound
from app.pagination import Page, read_newest
from app.sms.context import Context
from app.sms.lifecycle.outbox import EventType, add_event
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.endpoints import find_endpoint, require_active
from app.webhooks.outgoing.models import Delivery, DeliveryStatus

_DELIVERIES, _OUTBOX = table_of(Delivery), table_of(OutboxEvent)
_VIEW = select(_DELIVERIES, _OUTBOX.c.public_id, _OUTBOX.c.event_type, _OUTBOX.c.at).join(
    _OUTBOX, _OUTBOX.c.id == _DELIVERIES.c.event_id
)


def list_deliveries(
    ctx: Context,
    endpoint_public_id: str,
    *,
    status: DeliveryStatus | None = None,
    cursor: int | None = None,
    limit: int = 50,
) -> Page[Row[Any]]:
    """Return a page of an endpoint's deliveries, the newest events first.  Raises NotFound."""
    with ctx.db.read() as tx:
        endpoint = find_endpoint(tx, ctx, endpoint_public_id)
        query = _VIEW.where(_DELIVERIES.c.endpoint_id == endpoint.id)
        if status is not None:
            query = query.where(_DELIVERIES.c.status == status)
        return read_newest(tx, query, _DELIVERIES.c.event_id, cursor=cursor, limit=limit)


def send_test(ctx: Context, endpoint_public_id: str) -> Row[Any]:
    """Create the delivery of a test event, whatever types the endpoint listens to.

    Raises NotFound, Conflict when the endpoint is switched off.
    """
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, endpoint_public_id)
        require_active(endpoint)
        facts = {"webhook_id": endpoint.public_id}
        event_id = add_event(
            tx, ctx, client=endpoint.client, event_type=EventType.TEST, facts=facts, fanned_out=True
        )
        key = {"endpoint_id": endpoint.id, "event_id": event_id}
        tx.execute(insert(_DELIVERIES).values(key | _due_now(ctx)))
        return _find(tx, endpoint, event_id)


def replay_delivery(
    ctx: Context, endpoint_public_id: str, event_public_id: str, *, actor: str
) -> Row[Any]:
    """Make one event due again, whatever its status.  Raises NotFound and Conflict."""
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, endpoint_public_id)
        event = select(_OUTBOX.c.id).where(_OUTBOX.c.public_id == event_public_id)
        event_id = tx.execute(event).scalar()
        if event_id is None:
            raise _no_delivery()
        require_active(endpoint)
        tx.execute(_replay(ctx, endpoint).where(_DELIVERIES.c.event_id == event_id))
        delivery = _find(tx, endpoint, event_id)
        _audit_replay(tx, ctx, endpoint, actor=actor, event=event_public_id)
        return delivery


def replay_since(
    ctx: Context, endpoint_public_id: str, *, since: datetime, delivered: bool = False, actor: str
) -> int:
    """Make abandoned events since a time due again, and with `delivered` delivered ones too.

    Returns how many.  Raises NotFound, Conflict when the endpoint is switched off.
    """
    ended = [DeliveryStatus.ABANDONED, *([DeliveryStatus.DELIVERED] if delivered else [])]
    with ctx.db.write() as tx:
        endpoint = find_endpoint(tx, ctx, endpoint_public_id)
        require_active(endpoint)
        later = select(_OUTBOX.c.id).where(_OUTBOX.c.at >= since)
        replay = _replay(ctx, endpoint).where(
            _DELIVERIES.c.status.in_(ended), _DELIVERIES.c.event_id.in_(later)
        )
        events = tx.execute(replay).rowcount
        _audit_replay(tx, ctx, endpoint, actor=actor, since=since.isoformat(), events=events)
        return events


def _replay(ctx: Context, endpoint: Row[Any]) -> Update:
    statement = update(_DELIVERIES).where(_DELIVERIES.c.endpoint_id == endpoint.id)
    return statement.values(_due_now(ctx))


def _audit_replay(
    tx: Connection, ctx: Context, endpoint: Row[Any], *, actor: str, **facts: Any
) -> None:
    """Note who has events posted again: they may have numbers and texts in them."""
    write_audit(tx, ctx.now(), actor, "replay webhook", endpoint.public_id, **facts)


def _due_now(ctx: Context) -> dict[str, Any]:
    now = ctx.now()
    return {"status": DeliveryStatus.WAITING, "waiting_since": now, "due_at": now, "tries": 0}


def _find(tx: Connection, endpoint: Row[Any], event_id: int) -> Row[Any]:
    query = _VIEW.where(
        _DELIVERIES.c.endpoint_id == endpoint.id, _DELIVERIES.c.event_id == event_id
    )
    row = tx.execute(query).first()
    if row is None:
        raise _no_delivery()
    return row


def _no_delivery() -> NotFound:
    return NotFound("There is no such delivery.")
