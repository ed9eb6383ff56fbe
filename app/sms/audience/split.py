"""Splitting: recipients of a batch move to a batch of their own over the same chunk."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.db.base import table_of
from app.db.prepared import PreparedInsert
from app.sms.audience.chunks import (
    MAX_BATCH_RECIPIENTS,
    load_batch_recipients,
    make_reference,
    move_messages,
)
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Chunk

_BATCHES, _CHUNKS = table_of(Batch), table_of(Chunk)

_INSERT_BATCH = PreparedInsert(_BATCHES, *_BATCHES.c.keys())


def find_free_start(tx: Connection, batch: Row[Any]) -> int:
    """Lock the batch's chunk.  Returns the `start` of the next batch beside its ranges.

    Halves are numbered from the start of their batch: each batch has a range to itself.
    """
    chunk = select(_CHUNKS.c.number).where(
        _CHUNKS.c.broadcast_id == batch.broadcast_id, _CHUNKS.c.number == batch.chunk
    )
    tx.execute(chunk.with_for_update())
    set_aside = select(func.count()).where(
        _BATCHES.c.broadcast_id == batch.broadcast_id,
        _BATCHES.c.chunk == batch.chunk,
        _BATCHES.c.start >= MAX_BATCH_RECIPIENTS,
        _BATCHES.c.level == 0,
    )
    return (tx.execute(set_aside).scalar_one() + 1) * MAX_BATCH_RECIPIENTS


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
