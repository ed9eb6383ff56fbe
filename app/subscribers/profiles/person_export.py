"""Data export of one person."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from app.subscribers.consent.ledger import read_events
from app.subscribers.consent.schemas import show_link
from app.subscribers.context import SubscriberContext
from app.subscribers.profiles.queries import find_subscriber, read_person
from app.subscribers.profiles.response_schemas import show_person, show_whole_suppression
from app.subscribers.suppressions.store import read_suppressions

# Returns what another package stores of a number, as JSON by name.
Source = Callable[[Connection, str], Mapping[str, Any]]


def export_person(
    ctx: SubscriberContext, public_id: str, sources: Sequence[Source] = ()
) -> dict[str, Any]:
    """Return all stored data of a subscriber, from one database snapshot.  Raises NotFound."""
    with ctx.db.read() as tx:
        return describe_person(tx, ctx, find_subscriber(tx, public_id), sources)


def describe_person(
    tx: Connection, ctx: SubscriberContext, subscriber: Row[Any], sources: Sequence[Source] = ()
) -> dict[str, Any]:
    """Return all stored data of a subscriber's row and of its number."""
    phone = subscriber.phone
    suppressed = read_suppressions(tx, ctx, [phone]).get(phone)
    related_data: dict[str, Any] = {}
    for source in sources:
        related_data |= source(tx, phone)
    return {
        "subscriber": show_person(read_person(tx, ctx, subscriber)),
        "consent_events": [show_link(link) for link in read_events(tx, phone)],
        "suppression": suppressed and show_whole_suppression(suppressed),
        "related_data": related_data,
    }
