"""Erasure of a number outside of broadcasts: drafts, users' own numbers, inbound texts, callbacks,
client events, the cap."""

from collections.abc import Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)

from app.accounts.users import forget_phone
from app.db.base import table_of
from app.pagination import read_pages
from app.phone.pseudonym import make_pseudonym, replace_number
from app.sms.analytics.inbound_rollup import read_counted
from app.sms.context import Context
from app.sms.drafts.store import forget_in_drafts
from app.sms.models.batch import MarketingSend
from app.sms.models.reports import Event, Inbound, OutboxEvent

INBOUNDS, CALLBACKS = "inbounds", "callbacks"
# Rows in one transaction.
_PAGE_SIZE = 200

_EVENTS = table_of(Event)


def remove_traces(ctx: Context, phone: str) -> list[str]:
    """Remove a number from everything but broadcasts.  Returns where it still is."""
    pseudonym = make_pseudonym(phone)
    with ctx.db.write() as tx:
        tx.execute(delete(MarketingSend).where(MarketingSend.phone == phone))
        forget_phone(tx, phone)
        forget_in_drafts(tx, phone)
        remaining = [INBOUNDS] if _clear_inbounds(tx, phone, pseudonym) else []
        if _delete_events(tx, phone):
            remaining.append(CALLBACKS)
    _clear_outbox(ctx, phone, pseudonym)
    return remaining


def _clear_inbounds(tx: Connection, phone: str, pseudonym: str) -> bool:
    """Clear the texts from a phone that analytics has counted.  Returns True if others remain."""
    from_phone = Inbound.sender.in_(_spellings(phone))
    counted = update(Inbound).where(from_phone, Inbound.id <= read_counted(tx))
    tx.execute(counted.values(sender=pseudonym, body="", client_reference=None))
    return tx.execute(select(Inbound.id).where(from_phone).limit(1)).first() is not None


def _spellings(phone: str) -> tuple[str, str]:
    """Return a number with and without its plus: Sinch sends both."""
    return phone, phone[1:]


def _delete_events(tx: Connection, phone: str) -> bool:
    """Delete dead letters that contain a number.  Returns True if a pending callback does."""
    contains: ColumnElement[bool] = _contains_bytes(tx.dialect.name, phone[1:].encode())
    tx.execute(delete(_EVENTS).where(_EVENTS.c.dead_letter_reason.is_not(None), contains))
    pending = select(_EVENTS.c.id).where(_EVENTS.c.dead_letter_reason.is_(None), contains).limit(1)
    return tx.execute(pending).first() is not None


def _contains_bytes(dialect: str, digits: bytes) -> ColumnElement[bool]:
    searched = literal(digits, LargeBinary)
    if dialect == "sqlite":
        return func.instr(_EVENTS.c.raw, searched) > 0
    return func.position(searched.op("IN")(_EVENTS.c.raw)) > 0


def _clear_outbox(ctx: Context, phone: str, pseudonym: str) -> None:
    """Remove the number and the message text from queued client events."""
    for event_ids in _find_queued(ctx, phone):
        with ctx.db.write() as tx:
            for event_id in event_ids:
                query = select(OutboxEvent.facts).where(OutboxEvent.id == event_id)
                facts = tx.execute(query.with_for_update()).scalar()
                if facts is None:
                    continue  # delivered and deleted since
                if facts.get("sender") in _spellings(phone):
                    facts = {**facts, "body": ""}
                cleared = replace_number(facts, phone, pseudonym)
                tx.execute(
                    update(OutboxEvent).where(OutboxEvent.id == event_id).values(facts=cleared)
                )


def _find_queued(ctx: Context, phone: str) -> Iterator[Sequence[int]]:
    """Yield the ids of queued events that contain a number, a page at a time."""
    events = table_of(OutboxEvent)
    query = select(events.c.id).where(cast(events.c.facts, Text).contains(phone[1:]))
    for rows in read_pages(ctx.db, query, events.c.id, size=_PAGE_SIZE):
        yield [row.id for row in rows]
