"""Suppressions of an earlier version, which kept each number as it was written."""

from typing import Any

from sqlalchemy import Row, select

from app.db.base import table_of
from app.pagination import read_pages
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

    The rows in the other spelling stay, with their cause, scope and time, so that a repetition does
    this again for those that were not released since.  Rows of erased people have only the hash of
    their spelling and are left out.  Returns how many numbers were not suppressed before.  Raises
    WrongKey.
    """
    query = select(_SUPPRESSIONS).where(
        _SUPPRESSIONS.c.phone.is_not(None), _SUPPRESSIONS.c.released_at.is_(None)
    )
    return sum(
        _respell(ctx, row)
        for rows in read_pages(ctx.db, query, _SUPPRESSIONS.c.id, size=_PAGE_SIZE)
        for row in rows
        if respell(row.phone) != row.phone
    )


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
