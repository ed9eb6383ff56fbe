"""Data export of one person."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.db.viewer import Viewer
from app.subscribers.consent.ledger import read_events
from app.subscribers.context import SubscriberContext
from app.subscribers.profiles.queries import find_subscriber, read_person
from app.subscribers.suppressions.store import read_suppressions

# Returns what another package stores of a number and the viewer sees, as JSON by name.
Source = Callable[[Connection, Viewer, str], Mapping[str, Any]]


def export_person(
    ctx: SubscriberContext, public_id: str, sources: Sequence[Source] = ()
) -> dict[str, Any]:
    """Return all stored data of a subscriber, from one database snapshot.  Raises NotFound."""
    with ctx.db.read() as tx:
        subscriber = find_subscriber(tx, public_id)
        phone = subscriber.phone
        related_data: dict[str, Any] = {}
        for source in sources:
            related_data |= source(tx, ctx.viewer, phone)
        return {
            "subscriber": read_person(tx, ctx, subscriber),
            "consent_events": read_events(tx, phone),
            "suppression": read_suppressions(tx, ctx, [phone]).get(phone),
            "related_data": related_data,
        }
