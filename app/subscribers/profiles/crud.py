"""Single subscribers: create, change, delete."""

from collections.abc import Mapping
from typing import Any

from loguru import logger
from sqlalchemy import delete, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput, Conflict
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber, SubscriberTag
from app.subscribers.profiles.entry import (
    GivenConsent,
    OnConflict,
    SubscriberEntry,
    TooManyAttributes,
    is_same,
    merge_details,
)
from app.subscribers.profiles.queries import Person, find_subscriber, read_person
from app.subscribers.profiles.upsert import (
    EntryOutcome,
    find_dropped,
    read_known,
    record_consents,
    write_entries,
)
from app.subscribers.tags.assignments import add_tags, lock_tags, read_tags, remove_tags

_SUBSCRIBERS, _ASSIGNMENTS = table_of(Subscriber), table_of(SubscriberTag)


def create_subscriber(ctx: SubscriberContext, entry: SubscriberEntry, *, actor: str) -> Person:
    """Create a subscriber.  Raises Conflict with the id of the one that has the number."""
    reject_future_consent(ctx, entry.consent)
    with ctx.db.write() as tx:
        result = write_entries(
            tx, ctx, [entry], on_conflict=OnConflict.SKIP, actor=actor, channel="api"
        )
        row = read_known(tx, [entry.phone])[entry.phone]
        if result.outcomes[entry.phone] is not EntryOutcome.CREATED:
            raise Conflict(
                "There is a subscriber with this number already.", subscriber_id=row.public_id
            )
        person = read_person(tx, ctx, row)
    logger.bind(subscriber=row.public_id, client=actor).info("subscriber created")
    return person


def change_subscriber(
    ctx: SubscriberContext,
    public_id: str,
    *,
    details: Mapping[str, Any],
    attributes: Mapping[str, Any] | None,
    tags: tuple[str, ...] | None,
    consent: GivenConsent | None,
    actor: str,
) -> Person:
    """Change what is given: attributes by name; tags become those given.

    Raises NotFound, and BadInput for too many attributes.
    """
    reject_future_consent(ctx, consent)
    with ctx.db.write() as tx:
        locked = lock_tags(tx, ctx, tags or ())
        row = find_subscriber(tx, public_id, lock=True)
        entry = SubscriberEntry(
            phone=row.phone, details=details, attributes=attributes, tags=tags, consent=consent
        )
        assigned = read_tags(tx, [row.id]).get(row.id, [])
        removed = find_dropped(assigned, tags)
        added = set(tags or ()).difference(assignment.name for assignment in assigned)
        old = row._asdict()
        new = _merge(old, entry)
        if removed or added or not is_same(old, new):
            change = update(_SUBSCRIBERS).where(_SUBSCRIBERS.c.id == row.id)
            tx.execute(change.values(updated_at=ctx.now(), **new))
        remove_tags(tx, [(assignment.tag_id, row.id) for assignment in removed])
        add_tags(tx, locked, {row.id: added})
        record_consents(tx, ctx, [entry], actor=actor, channel="api")
        person = read_person(tx, ctx, find_subscriber(tx, public_id))
    logger.bind(subscriber=public_id, client=actor).info("subscriber changed")
    return person


def delete_subscriber(ctx: SubscriberContext, public_id: str, *, actor: str) -> None:
    """Delete a subscriber; the number's suppression and consent events stay.  Raises NotFound."""
    with ctx.db.write() as tx:
        row = find_subscriber(tx, public_id, lock=True)
        tx.execute(delete(_ASSIGNMENTS).where(_ASSIGNMENTS.c.subscriber_id == row.id))
        tx.execute(delete(_SUBSCRIBERS).where(_SUBSCRIBERS.c.id == row.id))
        write_audit(tx, ctx.now(), actor, "delete subscriber", public_id)
    logger.bind(subscriber=public_id, client=actor).info("subscriber deleted")


def reject_future_consent(ctx: SubscriberContext, consent: GivenConsent | None) -> None:
    """Raise BadInput for a consent whose time is in the future."""
    if consent is not None and consent.at is not None and consent.at > ctx.now():
        raise BadInput("consent: In the future", fields={"consent": {"at": ["In the future."]}})


def _merge(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    try:
        return merge_details(old, entry)
    except TooManyAttributes as e:
        raise BadInput(f"attributes: {e}", fields={"attributes": [str(e)]}) from e
