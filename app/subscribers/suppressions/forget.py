"""Erasure of a person: only a suppression with the number's hash remains."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from app.db.base import table_of
from app.subscribers.consent.ledger import forget_person
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Subscriber, SubscriberTag, Suppression
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    change_row,
    lock_suppressions_exclusive,
    make_row,
    read_rows,
    settle_key,
)

_SUPPRESSIONS = table_of(Suppression)
_SUBSCRIBERS, _ASSIGNMENTS = table_of(Subscriber), table_of(SubscriberTag)


def forget_number(
    tx: Connection, ctx: SubscriberContext, phone: str, *, at: datetime, actor: str
) -> str:
    """Delete a number's subscriber and consent contents, and suppress its hash.

    Returns the id of that suppression, which no text releases.  Raises WrongKey.
    """
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    suppression_id = _suppress_hash(tx, ctx, phone, at=at, actor=actor)
    ids = select(_SUBSCRIBERS.c.id).where(_SUBSCRIBERS.c.phone == phone)
    tx.execute(delete(_ASSIGNMENTS).where(_ASSIGNMENTS.c.subscriber_id.in_(ids)))
    tx.execute(delete(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone == phone))
    forget_person(tx, phone)
    return suppression_id


def _suppress_hash(
    tx: Connection, ctx: SubscriberContext, phone: str, *, at: datetime, actor: str
) -> str:
    phone_hash = ctx.hash_phone(phone)
    values = make_row(
        ctx, phone_hash, None, SuppressionRequest(cause=Cause.ERASED, actor=actor, at=at)
    )
    known = read_rows(tx, [phone_hash]).get(phone_hash)
    if known is None:
        tx.execute(insert(_SUPPRESSIONS), values)
        return str(values["public_id"])
    change_row(tx, known, values | {"public_id": known.public_id})
    return str(known.public_id)
