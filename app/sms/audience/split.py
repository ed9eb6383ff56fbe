"""Splitting: recipients of a batch move to a batch of their own over the same chunk."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.db.base import table_of
from app.db.prepared import Prepared, PreparedInsert
from app.sms.audience.chunks import (
    MAX_BATCH_RECIPIENTS,
    load_batch_recipients,
    make_reference,
    move_messages,
)
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Chunk

_BATCHES, _CHUNKS = table_of(Batch), table_of(Chunk)

_LOCK_CHUNK = Prepared(
    select(_CHUNKS.c.number)
    .where(
        _CHUNKS.c.broadcast_id == bindparam("broadcast_id"), _CHUNKS.c.number == bindparam("chunk")
    )
    .with_for_update()
)
_COUNT_SET_ASIDE = Prepared(
    select(func.count().label("batches")).where(
        _BATCHES.c.broadcast_id == bindparam("broadcast_id"),
        _BATCHES.c.chunk == bindparam("chunk"),
        _BATCHES.c.start >= MAX_BATCH_RECIPIENTS,
        _BATCHES.c.level == 0,
    )
)
_INSERT_BATCH = PreparedInsert(_BATCHES, *_BATCHES.c.keys())


def find_free_start(tx: Connection, batch: Row[Any]) -> int:
    """Lock the batch's chunk.  Returns the `start` of the next batch beside its ranges.

    Halves are numbered from the start of their batch: each batch has a range to itself.
    """
    chunk = {"broadcast_id": batch.broadcast_id, "chunk": batch.chunk}
    _LOCK_CHUNK.fetch(tx, chunk)
    count: int = _COUNT_SET_ASIDE.first(tx, chunk).batches
    return (count + 1) * MAX_BATCH_RECIPIENTS


def split_off(
    tx: Connection,
    batch: Row[Any],
    public_id: str,
    *,
    start: int,
    size: int,
    level: int = 0,
    recipient_indexes: Sequence[int] | None,
    recipients: Sequence[str] | None = None,
    **values: Any,
) -> Row[Any]:
    """Insert a batch over the chunk of `batch`, and move the messages of its recipients there.

    `values` are further columns.  Returns the new row.
    """
    row = {
        "broadcast_id": batch.broadcast_id,
        "chunk": batch.chunk,
        "start": start,
        "size": size,
        "level": level,
        "recipient_indexes": None if recipient_indexes is None else list(recipient_indexes),
        "client_reference": make_reference(public_id, batch.chunk, start, level),
    }
    created: Row[Any] = _INSERT_BATCH.run(tx, [row | values])[0]
    move_messages(tx, created, recipients or load_batch_recipients(tx, created).recipients)
    return created
