"""Suppressions of an earlier version, which kept each number as it was written."""

from typing import Any

from sqlalchemy import Row, select

from app.db.base import table_of
from app.phone.e164 import respell
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Suppression
from app.subscribers.suppressions.manage import CLI, record_objections
from app.subscribers.suppressions.store import SuppressionRequest, suppress_many

_SUPPRESSIONS = table_of(Suppression)
_PAGE_SIZE = 10_000
_SOURCE = "another spelling of the number"


def respell_suppressions(ctx: SubscriberContext) -> int:
    """Suppress the one spelling of each number that is suppressed in another spelling.

    Safe to repeat.  The rows in the other spelling stay, with their cause, scope and time.  Rows of
    erased people have only the hash of their spelling and are left out.  Returns how many numbers
    were not suppressed before.  Raises WrongKey.
    """
    added, after = 0, 0
    while rows := _read_page(ctx, after):
        added += sum(_respell(ctx, row) for row in rows if respell(row.phone) != row.phone)
        after = rows[-1].id
    return added


def _read_page(ctx: SubscriberContext, after: int) -> list[Row[Any]]:
    query = (
        select(_SUPPRESSIONS)
        .where(_SUPPRESSIONS.c.id > after)
        .where(_SUPPRESSIONS.c.phone.is_not(None), _SUPPRESSIONS.c.released_at.is_(None))
        .order_by(_SUPPRESSIONS.c.id)
        .limit(_PAGE_SIZE)
    )
    with ctx.db.read() as tx:
        return list(tx.execute(query))


def _respell(ctx: SubscriberContext, row: Row[Any]) -> int:
    request = SuppressionRequest(
        cause=row.cause,
        actor=row.actor,
        at=row.suppressed_at,
        scope=row.scope,
        note=row.note,
        inbound=row.inbound,
        needs_review=row.needs_review,
    )
    with ctx.db.write() as tx:
        added = suppress_many(tx, ctx, [respell(row.phone)], request)
        record_objections(tx, added, request, channel=CLI, source=_SOURCE)
    return len(added)
