"""Bisection: halve a batch rejected for one of its numbers until that number is alone."""

from typing import Any

from sqlalchemy import Connection, Row, select

from app.sinch.errors import SinchRefusal
from app.sms.audience.chunks import halve
from app.sms.audience.split import split_off
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState

# 2 ** 10 is more than a batch can hold.
MAX_LEVEL = 10

# 64 parts of a thousand recipients: if all were rejected, no single number is to blame.
_DOUBTFUL_LEVEL = 6

# Codes about one entry of `to`; other rejections would meet both halves alike.
_NUMBER_CODES = frozenset(("syntax_invalid_parameter_format", "illegal_number_type"))
_TOO_LARGE = 413
_NOT_ACCEPTED = (
    BatchState.SPLIT,
    BatchState.REJECTED,
    BatchState.PENDING,
    BatchState.SENDING,
    BatchState.HELD,
)


def can_be_split(tx: Connection, batch: Row[Any], refusal: SinchRefusal | None) -> bool:
    """Return True if Sinch may accept a half of this batch although it rejected the whole.

    Returns False once many parts of the chunk were rejected and none accepted.
    """
    if refusal is None or batch.size < 2 or batch.level >= MAX_LEVEL:
        return False
    if refusal.code not in _NUMBER_CODES and refusal.status != _TOO_LARGE:
        return False
    return batch.level < _DOUBTFUL_LEVEL or not _are_all_rejected(tx, batch)


def _are_all_rejected(tx: Connection, batch: Row[Any]) -> bool:
    """Return True if Sinch has accepted no batch of this chunk so far."""
    accepted = select(Batch.id).where(
        Batch.broadcast_id == batch.broadcast_id,
        Batch.chunk == batch.chunk,
        Batch.state.not_in(_NOT_ACCEPTED),
    )
    return tx.execute(accepted.limit(1)).first() is None


def split_batch(tx: Connection, batch: Row[Any]) -> None:
    """Insert two halves of a batch, each with its own reference, and move its messages there."""
    broadcast = select(Broadcast.public_id).where(Broadcast.id == batch.broadcast_id)
    public_id = tx.execute(broadcast).scalar_one()
    for start, size in halve(batch.start, batch.size):
        first = start - batch.start
        indexes = batch.recipient_indexes
        split_off(
            tx,
            batch,
            public_id,
            start=start,
            size=size,
            level=batch.level + 1,
            recipient_indexes=indexes[first : first + size] if indexes else None,
            state=BatchState.PENDING,
        )
