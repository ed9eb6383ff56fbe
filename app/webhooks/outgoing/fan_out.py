"""Fan-out of events: one delivery for each endpoint that listens."""

from sqlalchemy import Connection, delete, false, insert, select, update

from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, Endpoint

# Events in one transaction.
MAX_EVENTS = 200

_OUTBOX, _ENDPOINTS = table_of(OutboxEvent), table_of(Endpoint)


def fan_out_events(ctx: Context) -> int:
    """Create the deliveries of new events.  Returns how many events were fanned out.

    Every endpoint that listens at this moment gets one, even if it is switched off or failing.
    """
    with ctx.db.read() as tx:
        new = select(_OUTBOX.c.id).where(_OUTBOX.c.fanned_out == false()).limit(1)
        if tx.execute(new).first() is None:
            return 0
    with ctx.db.write() as tx:
        return _fan_out(tx, ctx)


def _fan_out(tx: Connection, ctx: Context) -> int:
    events = tx.execute(
        select(_OUTBOX.c.id, _OUTBOX.c.client, _OUTBOX.c.event_type)
        .where(_OUTBOX.c.fanned_out == false())
        .order_by(_OUTBOX.c.id)
        .limit(MAX_EVENTS)
        .with_for_update(skip_locked=True)
    ).all()
    query = select(_ENDPOINTS.c.id, _ENDPOINTS.c.client, _ENDPOINTS.c.event_types)
    endpoints = tx.execute(query).all()
    now = ctx.now()
    deliveries = [
        {"endpoint_id": endpoint.id, "event_id": event.id, "waiting_since": now, "due_at": now}
        for event in events
        for endpoint in endpoints
        if event.client in (None, endpoint.client) and event.event_type in endpoint.event_types
    ]
    if deliveries:
        statement = insert(table_of(Delivery)).values(status=DeliveryStatus.WAITING, tries=0)
        tx.execute(statement, deliveries)
    delivered = {delivery["event_id"] for delivery in deliveries}
    without = {event.id for event in events} - delivered
    tx.execute(update(_OUTBOX).where(_OUTBOX.c.id.in_(delivered)).values(fanned_out=True))
    tx.execute(delete(_OUTBOX).where(_OUTBOX.c.id.in_(without)))
    return len(events)
