"""Which broadcasts one number is in, the newest first, without an index on every message.

Such an index made a broadcast to a thousand people four times as dear: its rows go to a thousand
places.  Most broadcasts are to one person, and those are found by their audience; in each of the
others the number is looked up.
"""

from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from app.db.base import table_of
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk

# An id that no broadcast has.
BEYOND_ALL = 2**63 - 1

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)


def _make_queries(*, handed_over: bool) -> tuple[Select[Any], ...]:
    message = (
        select(_BATCHES.c.id)
        .join(_MESSAGES, _MESSAGES.c.batch_id == _BATCHES.c.id)
        .where(_MESSAGES.c.broadcast_id == _BROADCASTS.c.id)
        .where(_MESSAGES.c.recipient == bindparam("who"))
    )
    if handed_over:
        message = message.where(_BATCHES.c.attempt > 0)
    # A subquery for one value is never made into a join, which would read every message.
    found = (
        select(_BROADCASTS.c.id)
        .where(_BROADCASTS.c.id < bindparam("before"))
        .where(message.correlate(_BROADCASTS).scalar_subquery().is_not(None))
        .order_by(_BROADCASTS.c.id.desc())
        .limit(bindparam("most"))
    )
    alone = (
        found.join(_CHUNKS, _CHUNKS.c.broadcast_id == _BROADCASTS.c.id)
        .where(_CHUNKS.c.size == 1, _CHUNKS.c.recipients == bindparam("who"))
        .where(_BROADCASTS.c.recipients == 1)
    )
    return alone, found.where(_BROADCASTS.c.recipients > 1)


# Made once: to make a statement costs several times what it takes to run one.
_QUERIES = {each: _make_queries(handed_over=each) for each in (False, True)}


def find_broadcasts_to(
    tx: Connection, number: str, *, before: int, most: int, handed_over: bool = False
) -> list[int]:
    """The ids, below `before`, of those in which this number is in a batch.

    With `handed_over`, in a batch that was handed to Sinch or may have been.
    """
    values = {"who": number, "before": before, "most": most}
    found = [id_ for query in _QUERIES[handed_over] for id_ in tx.execute(query, values).scalars()]
    return sorted(found, reverse=True)[:most]
