"""People as tests need them, put straight into the database."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, literal, select

from app.db.base import table_of
from app.ids import make_id
from app.sms.context import Context
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Subscriber, SubscriberTag, Tag
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    lock_suppressions_exclusive,
    suppress_many,
)

_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def add_people(
    ctx: Context,
    phones: Iterable[str],
    *,
    tags: Sequence[str] = (),
    consented: bool = True,
    **details: Any,
) -> None:
    """Subscribers with these numbers, who bear these tags and agreed to marketing."""
    rows = [
        {
            "public_id": make_id(_LONG_AGO),
            "phone": phone,
            "active": True,
            "consented_at": _LONG_AGO if consented else None,
            "subscribed_at": _LONG_AGO,
            "updated_at": _LONG_AGO,
            **details,
        }
        for phone in phones
    ]
    subscribers, borne = table_of(Subscriber), table_of(SubscriberTag)
    with ctx.db.write() as tx:
        last = select(func.coalesce(func.max(subscribers.c.id), 0))
        before = tx.execute(last).scalar_one()
        tx.execute(insert(subscribers), rows)
        for tag in tags:
            new = select(literal(_find_tag(tx, tag)), subscribers.c.id, literal(True))
            columns = ("tag_id", "subscriber_id", "confirmed")
            tx.execute(insert(borne).from_select(columns, new.where(subscribers.c.id > before)))


def _find_tag(tx: Any, name: str) -> int:
    tags = table_of(Tag)
    found = tx.execute(select(tags.c.id).where(tags.c.name == name)).scalar()
    if found is not None:
        return int(found)
    row = {"name": name, "double_opt_in": False, "created_at": _LONG_AGO}
    return int(tx.execute(insert(tags).returning(tags.c.id), row).scalar_one())


def suppress(tx: Connection, ctx: SubscriberContext, phone: str, **details: Any) -> bool:
    """Suppress a number.  Returns True if it was not suppressed before."""
    return bool(suppress_many(tx, ctx, [phone], SuppressionRequest(**details)))


def stop(ctx: Context, *phones: str) -> None:
    """These opt out, as by a text of theirs."""
    with ctx.db.write() as tx:
        lock_suppressions_exclusive(tx)
        for phone in phones:
            suppress(
                tx, ctx.subscriber_context, phone, cause=Cause.STOP, actor="phone", at=ctx.now()
            )
