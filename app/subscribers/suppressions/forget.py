"""A person goes, and only that nobody writes to them stays, as a hash of their number."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from app.db.base import table_of
from app.subscribers.consent.ledger import forget_person
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Scope, Subscriber, SubscriberTag, Suppression
from app.subscribers.suppressions.hash_key import settle_key
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    lock_suppressions_exclusive,
    make_row,
)

_SUPPRESSIONS = table_of(Suppression)
_SUBSCRIBERS, _TAGS = table_of(Subscriber), table_of(SubscriberTag)
_BY_DIGEST = select(_SUPPRESSIONS.c.id, _SUPPRESSIONS.c.public_id).where(
    _SUPPRESSIONS.c.phone_hash == bindparam("this")
)
_THIS_PERSON = select(_SUBSCRIBERS.c.id).where(_SUBSCRIBERS.c.phone == bindparam("who"))
_UNTAG = delete(_TAGS).where(_TAGS.c.subscriber_id.in_(_THIS_PERSON))
_DELETE = delete(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone == bindparam("who"))


def forget_number(
    tx: Connection, ctx: SubscriberContext, phone: str, *, at: datetime, actor: str
) -> str:
    """Nothing here is known of a number any more, but that it is not written to.

    The id of that suppression, which nobody lifts by a text.  Raises WrongKey.
    """
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    suppression_id = _suppress_nameless(tx, ctx, phone, at=at, actor=actor)
    tx.execute(_UNTAG, {"who": phone})
    tx.execute(_DELETE, {"who": phone})
    forget_person(tx, phone)
    return suppression_id


def _suppress_nameless(
    tx: Connection, ctx: SubscriberContext, phone: str, *, at: datetime, actor: str
) -> str:
    phone_hash = ctx.hash_phone(phone)
    wish = SuppressionRequest(cause=Cause.ERASED, actor=actor, at=at, scope=Scope.ALL)
    row = make_row(ctx, phone_hash, None, wish)
    known = tx.execute(_BY_DIGEST, {"this": phone_hash}).first()
    if known is None:
        tx.execute(insert(_SUPPRESSIONS), row)
        return str(row["public_id"])
    values: dict[str, Any] = {**row, "public_id": known.public_id}
    tx.execute(update(_SUPPRESSIONS).where(_SUPPRESSIONS.c.id == known.id).values(values))
    return str(known.public_id)
