"""Lists of inbounds, the newest first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, ScalarSelect, and_, func, select

from app.db.base import table_of
from app.pagination import Page, read_newest
from app.sms.context import Context
from app.sms.lifecycle.find import find_broadcast
from app.sms.models.broadcast import Broadcast
from app.sms.models.reports import Inbound

_INBOUNDS, _BROADCASTS = table_of(Inbound), table_of(Broadcast)
# More inbounds than processes can number out of the order of their times.
_SAME_MOMENT = 1_000


def list_inbounds(
    ctx: Context,
    *,
    cursor: int | None = None,
    limit: int = 50,
    kind: str | None = None,
    since: datetime | None = None,
    broadcast_id: str | None = None,
) -> Page[Row[Any]]:
    """Return a page of the inbounds that match every filter; `since` is our time of recording.

    Texts are for all clients; the broadcast that one answers is shown to the viewer that sees it.
    Raises NotFound for an unknown broadcast.
    """
    is_answered = _BROADCASTS.c.id == _INBOUNDS.c.broadcast_id
    query = select(_INBOUNDS, _BROADCASTS.c.public_id).outerjoin(
        _BROADCASTS, and_(is_answered, ctx.viewer.sees(_BROADCASTS.c.client))
    )
    if kind is not None:
        query = query.where(_INBOUNDS.c.kind == kind)
    if since is not None:
        query = query.where(_INBOUNDS.c.recorded_at >= since, _INBOUNDS.c.id >= _find_first(since))
    with ctx.db.read() as tx:
        if broadcast_id is not None:
            broadcast = find_broadcast(tx, ctx, broadcast_id)
            query = query.where(_INBOUNDS.c.broadcast_id == broadcast.id)
        return read_newest(tx, query, _INBOUNDS.c.id, cursor=cursor, limit=limit)


def list_texts_from(
    ctx: Context, phone: str, *, cursor: int | None = None, limit: int = 50
) -> Page[Row[Any]]:
    """Return a page of the inbounds from one number, the newest first."""
    query = select(_INBOUNDS).where(_INBOUNDS.c.sender == phone)
    with ctx.db.read() as tx:
        return read_newest(tx, query, _INBOUNDS.c.id, cursor=cursor, limit=limit)


def find_inbounds(ctx: Context, sinch_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return the stored inbounds among these, by Sinch's id."""
    query = select(_INBOUNDS).where(_INBOUNDS.c.sinch_id.in_(sinch_ids))
    with ctx.db.read() as tx:
        return {row.sinch_id: row for row in tx.execute(query)}


def _find_first(since: datetime) -> ScalarSelect[int]:
    """Return the lowest id since then, so that the query reads no older rows.

    Ids follow the times of recording, except among processes at the same moment.
    """
    soonest = (
        select(_INBOUNDS.c.id)
        .where(_INBOUNDS.c.recorded_at >= since)
        .order_by(_INBOUNDS.c.recorded_at)
        .limit(_SAME_MOMENT)
        .subquery()
    )
    return select(func.min(soonest.c.id)).scalar_subquery()
