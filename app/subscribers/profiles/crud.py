"""Subscribers one at a time: made, changed, deleted."""

from collections.abc import Mapping
from typing import Any

from loguru import logger
from sqlalchemy import bindparam, delete, update

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
    Outcome,
    find_dropped,
    read_known,
    record_consents,
    write_entries,
)
from app.subscribers.tags.assignments import add_tags, lock_tags, read_tags, remove_tags

_SUBSCRIBERS, _BORNE = table_of(Subscriber), table_of(SubscriberTag)
_CHANGE = update(_SUBSCRIBERS).where(_SUBSCRIBERS.c.id == bindparam("this"))
_DELETE = delete(_SUBSCRIBERS).where(_SUBSCRIBERS.c.id == bindparam("this"))
_DELETE_BORNE = delete(_BORNE).where(_BORNE.c.subscriber_id == bindparam("this"))


def create_subscriber(ctx: SubscriberContext, entry: SubscriberEntry, *, actor: str) -> Person:
    """A new subscriber.  Raises Conflict with the id of whoever has the number already."""
    reject_future_consent(ctx, entry.consent)
    with ctx.db.write() as tx:
        result = write_entries(
            tx, ctx, [entry], on_conflict=OnConflict.SKIP, actor=actor, channel="api"
        )
        row = read_known(tx, [entry.phone])[entry.phone]
        if result.outcomes[entry.phone] is not Outcome.CREATED:
            raise Conflict(
                "There is a subscriber with this number already.", subscriber_id=row.public_id
            )
        person = read_person(tx, ctx, row)
    _log("a subscriber was made", subscriber=row.public_id, client=actor)
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
    """Change what is given; attributes are changed by name, tags become those given.

    Raises NotFound, and BadInput for more attributes than anybody may have.
    """
    reject_future_consent(ctx, consent)
    with ctx.db.write() as tx:
        held = lock_tags(tx, ctx, tags or ())
        row = find_subscriber(tx, public_id, hold=True)
        entry = SubscriberEntry(
            phone=row.phone, details=details, attributes=attributes, tags=tags, consent=consent
        )
        borne = read_tags(tx, [row.id]).get(row.id, [])
        less = find_dropped(borne, tags)
        more = set(tags or ()).difference(each.name for each in borne)
        old = row._asdict()
        new = _merge(old, entry)
        if less or more or not is_same(old, new):
            tx.execute(_CHANGE, {"this": row.id, "updated_at": ctx.now(), **new})
        remove_tags(tx, [(each.tag_id, row.id) for each in less])
        add_tags(tx, held, {row.id: more})
        record_consents(tx, ctx, [entry], actor=actor, channel="api")
        person = read_person(tx, ctx, find_subscriber(tx, public_id))
    _log("a subscriber was changed", subscriber=public_id, client=actor)
    return person


def delete_subscriber(ctx: SubscriberContext, public_id: str, *, actor: str) -> None:
    """Forget a subscriber; what suppresses the number stays, and so does the ledger of consent.

    Raises NotFound.
    """
    with ctx.db.write() as tx:
        row = find_subscriber(tx, public_id, hold=True)
        tx.execute(_DELETE_BORNE, {"this": row.id})
        tx.execute(_DELETE, {"this": row.id})
        write_audit(tx, now=ctx.now(), actor=actor, action="delete subscriber", subject=public_id)
    _log("a subscriber was deleted", subscriber=public_id, client=actor)


def reject_future_consent(ctx: SubscriberContext, consent: GivenConsent | None) -> None:
    """Raise BadInput for a consent that is yet to be given."""
    if consent is not None and consent.at is not None and consent.at > ctx.now():
        raise BadInput("consent: In the future", fields={"consent": {"at": ["In the future."]}})


def _merge(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    try:
        return merge_details(old, entry)
    except TooManyAttributes as e:
        raise BadInput(f"attributes: {e}", fields={"attributes": [str(e)]}) from e


def _log(sentence: str, **facts: Any) -> None:
    logger.bind(**facts).info(sentence)
