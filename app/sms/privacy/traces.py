"""Where else a number stands: texts from a phone, callbacks, what clients are told, the cap."""

from collections.abc import Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    Text,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)

from app.db.base import table_of
from app.phone.pseudonym import make_pseudonym, replace_number
from app.sms.analytics.inbound_rollup import read_counted
from app.sms.context import Context
from app.sms.models.batch import MarketingSend
from app.sms.models.reports import Event, Inbound, OutboxEvent

INBOUNDS, CALLBACKS = "inbounds", "callbacks"
# Rows in one transaction.
_MOST = 200

_INBOUNDS, _EVENTS, _OUTBOX = table_of(Inbound), table_of(Event), table_of(OutboxEvent)
_SENDS = table_of(MarketingSend)
# A phone's number comes with its plus or without.
_FROM_PHONE = _INBOUNDS.c.sender.in_(bindparam("these", expanding=True))
_COUNTED_INBOUNDS = (
    update(_INBOUNDS)
    .where(_FROM_PHONE, _INBOUNDS.c.id <= bindparam("counted_to"))
    .values(sender=bindparam("name"), body="", client_reference=None)
)
_OTHER_INBOUNDS = select(_INBOUNDS.c.id).where(_FROM_PHONE).limit(1)
_DIGITS = {
    "sqlite": func.instr(_EVENTS.c.raw, bindparam("digits", type_=LargeBinary)) > 0,
    "postgresql": func.position(bindparam("digits", type_=LargeBinary).op("IN")(_EVENTS.c.raw)) > 0,
}
_TOLD = (
    select(_OUTBOX.c.id)
    .where(_OUTBOX.c.id > bindparam("after"))
    .where(cast(_OUTBOX.c.facts, Text).contains(bindparam("digits", type_=String)))
    .order_by(_OUTBOX.c.id)
    .limit(_MOST)
)
_FACTS = select(_OUTBOX.c.facts).where(_OUTBOX.c.id == bindparam("this")).with_for_update()


def remove_traces(ctx: Context, phone: str) -> list[str]:
    """Take a number out of all that is not a broadcast; where it still stands."""
    name = make_pseudonym(phone)
    with ctx.db.write() as tx:
        tx.execute(delete(_SENDS).where(_SENDS.c.phone == phone))
        remaining = [INBOUNDS] if _clean_inbounds(tx, phone, name) else []
        if _clean_events(tx, phone):
            remaining.append(CALLBACKS)
    _clean_outbox(ctx, phone, name)
    return remaining


def _clean_inbounds(tx: Connection, phone: str, name: str) -> bool:
    """Empty the texts from a phone that are counted; whether there are others."""
    senders = [phone, phone[1:]]
    counted_to = read_counted(tx)
    tx.execute(_COUNTED_INBOUNDS, {"these": senders, "counted_to": counted_to, "name": name})
    return tx.execute(_OTHER_INBOUNDS, {"these": senders}).first() is not None


def _clean_events(tx: Connection, phone: str) -> bool:
    """Delete leftovers that name a number; whether a callback that does still waits."""
    names_it: ColumnElement[bool] = _DIGITS[tx.dialect.name]
    digits = {"digits": phone[1:].encode()}
    tx.execute(delete(_EVENTS).where(_EVENTS.c.dead_letter_reason.is_not(None), names_it), digits)
    waiting = select(_EVENTS.c.id).where(_EVENTS.c.dead_letter_reason.is_(None), names_it).limit(1)
    return tx.execute(waiting, digits).first() is not None


def _clean_outbox(ctx: Context, phone: str, name: str) -> None:
    """What is told of somebody is told of nobody."""
    for some in _find_told(ctx, phone):
        with ctx.db.write() as tx:
            for event_id in some:
                facts = tx.execute(_FACTS, {"this": event_id}).scalar()
                if facts is None:
                    continue  # told, and forgotten
                if facts.get("sender") in (phone, phone[1:]):
                    facts = {**facts, "body": ""}
                kept = update(_OUTBOX).where(_OUTBOX.c.id == event_id)
                tx.execute(kept.values(facts=replace_number(facts, phone, name)))


def _find_told(ctx: Context, phone: str) -> Iterator[Sequence[int]]:
    after = 0
    while True:
        with ctx.db.read() as tx:
            values = {"after": after, "digits": phone[1:]}
            found: Sequence[int] = tx.execute(_TOLD, values).scalars().all()
        if not found:
            return
        yield found
        after = found[-1]
