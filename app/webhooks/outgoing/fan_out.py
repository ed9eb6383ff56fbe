"""From the outbox to deliveries: one for each endpoint that listens."""

from sqlalchemy import Connection, bindparam, delete, false, insert, select, update

from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, Endpoint

# Events in one transaction.
MAX_EVENTS = 200

_OUTBOX, _ENDPOINTS = table_of(OutboxEvent), table_of(Endpoint)

# Made once: to make a statement costs several times what it takes to run one.
_UNSPREAD = (
    select(_OUTBOX.c.id, _OUTBOX.c.client, _OUTBOX.c.event_type)
    .where(_OUTBOX.c.fanned_out == false())
    .order_by(_OUTBOX.c.id)
    .limit(MAX_EVENTS)
)
_LOOK = _UNSPREAD.limit(1)
_TAKE = _UNSPREAD.with_for_update(skip_locked=True)
_ALL_ENDPOINTS = select(_ENDPOINTS.c.id, _ENDPOINTS.c.client, _ENDPOINTS.c.event_types)
_DELIVER = insert(table_of(Delivery)).values(status=DeliveryStatus.WAITING, tries=0)
_MARK = update(_OUTBOX).where(_OUTBOX.c.id == bindparam("this")).values(fanned_out=True)
_DROP = delete(_OUTBOX).where(_OUTBOX.c.id == bindparam("this"))


def fan_out_events(ctx: Context) -> int:
    """Make deliveries of the events that wait for it; of how many.

    Whoever listens when it is spread is told, whether or not anything is posted to it just now.
    """
    with ctx.db.read() as tx:
        if tx.execute(_LOOK).first() is None:
            return 0
    with ctx.db.write() as tx:
        return _spread(tx, ctx)


def _spread(tx: Connection, ctx: Context) -> int:
    events = tx.execute(_TAKE).all()
    endpoints = tx.execute(_ALL_ENDPOINTS).all()
    listening = {
        event.id: [
            each.id
            for each in endpoints
            if event.client in (None, each.client) and event.event_type in each.event_types
        ]
        for event in events
    }
    now = ctx.now()
    deliveries = [
        {"endpoint_id": endpoint_id, "event_id": event_id, "waiting_since": now, "due_at": now}
        for event_id, ids in listening.items()
        for endpoint_id in ids
    ]
    if deliveries:
        tx.execute(_DELIVER, deliveries)
    told = [{"this": event_id} for event_id, ids in listening.items() if ids]
    untold = [{"this": event_id} for event_id, ids in listening.items() if not ids]
    for statement, rows in ((_MARK, told), (_DROP, untold)):
        if rows:
            tx.execute(statement, rows)
    return len(events)
