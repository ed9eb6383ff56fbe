"""Broadcasts that contain a phone number, newest first, without an index on every message.

Such an index made a broadcast to a thousand recipients four times as expensive: its rows go to a
thousand pages.  Most broadcasts have one recipient and are found by their chunk; the others are
searched one by one for the number.
"""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, literal, select

from app.db.base import table_of
from app.db.prepared import Prepared
from app.db.viewer import NO_WALL, Viewer
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk

# Above every broadcast's id.
BEYOND_ALL = 2**63 - 1


def find_broadcasts_to(
    tx: Connection,
    phone: str,
    *,
    before: int,
    limit: int,
    handed_over: bool = False,
    viewer: Viewer = NO_WALL,
) -> list[int]:
    """Return the ids below `before` of the viewer's broadcasts with this number in a batch.

    The newest is first.  With `handed_over`, only of batches that were submitted to Sinch or may
    have been.
    """
    values = {"phone": phone, "before": before, "limit": limit}
    rows: list[Any] = []
    if viewer.sees_all:
        for prepared in _prepare_queries(handed_over=handed_over):
            rows += prepared.fetch(tx, values)
    else:
        is_seen = viewer.sees(table_of(Broadcast).c.client)
        for query in _make_queries(handed_over=handed_over):
            rows += tx.execute(query.where(is_seen), values)
    return sorted((row.id for row in rows), reverse=True)[:limit]


@cache
def _prepare_queries(*, handed_over: bool) -> list[Prepared]:
    return [Prepared(query) for query in _make_queries(handed_over=handed_over)]


@cache
def _make_queries(*, handed_over: bool) -> list[Select[Any]]:
    """Make the queries over broadcasts to one recipient and over all others, once: each inbound
    text runs them."""
    broadcasts, chunks = table_of(Broadcast), table_of(Chunk)
    batches, messages = table_of(Batch), table_of(Message)
    message = (
        select(batches.c.id)
        .join(messages, messages.c.batch_id == batches.c.id)
        .where(messages.c.broadcast_id == broadcasts.c.id)
        .where(messages.c.recipient == bindparam("phone"))
    )
    if handed_over:
        message = message.where(batches.c.attempt > 0)
    # A scalar subquery is never made into a join, which would read every message.
    query = (
        select(broadcasts.c.id)
        .where(broadcasts.c.id < bindparam("before"))
        .where(message.correlate(broadcasts).scalar_subquery().is_not(None))
        .order_by(broadcasts.c.id.desc())
        .limit(bindparam("limit"))
    )
    to_one = (
        query.join(chunks, chunks.c.broadcast_id == broadcasts.c.id)
        .where(chunks.c.size == 1, chunks.c.recipients == bindparam("phone"))
        .where(broadcasts.c.recipients == 1)
    )
    return [to_one, query.where(broadcasts.c.recipients > 1)]


def is_unplanned_to(phone: str) -> ColumnElement[bool]:
    """Match chunks with this number that have no batch yet, joined to their broadcast."""
    lines = literal("\n") + Chunk.recipients + literal("\n")
    return and_(
        Broadcast.planned < Broadcast.chunks,
        Chunk.number >= Broadcast.planned,
        lines.contains(f"\n{phone}\n"),
    )
