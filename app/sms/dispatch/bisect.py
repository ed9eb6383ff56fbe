"""Halving a batch that Sinch refuses for a number in it, until that number stands alone."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from app.sinch.errors import SinchRefusal
from app.sms.audience.chunks import halve, load_batch_recipients, make_reference, move_messages
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState

# 2 ** 10 is more than a batch can hold.
MAX_LEVEL = 10

# 64 pieces of a thousand: if all were refused, the halving itself is in doubt.
_DOUBTFUL_LEVEL = 6

# What Sinch says of one entry of `to`; other refusals would meet each half alike.
_OF_A_NUMBER = frozenset(("syntax_invalid_parameter_format", "illegal_number_type"))
_TOO_LARGE = 413
_NOT_TAKEN = (
    BatchState.SPLIT,
    BatchState.REJECTED,
    BatchState.PENDING,
    BatchState.SENDING,
    BatchState.HELD,
)


def can_be_split(tx: Connection, batch: Row[Any], refusal: SinchRefusal | None) -> bool:
    """Whether a half of this batch may be taken although the whole was not.

    Not any more once every one of many pieces was refused: then it is no number's fault.
    """
    if refusal is None or batch.size < 2 or batch.level >= MAX_LEVEL:
        return False
    if refusal.code not in _OF_A_NUMBER and refusal.status != _TOO_LARGE:
        return False
    return batch.level < _DOUBTFUL_LEVEL or not _is_all_refused(tx, batch)


def _is_all_refused(tx: Connection, batch: Row[Any]) -> bool:
    """Whether Sinch has taken no piece of this chunk so far."""
    taken = select(Batch.id).where(
        Batch.broadcast_id == batch.broadcast_id,
        Batch.chunk == batch.chunk,
        Batch.state.not_in(_NOT_TAKEN),
    )
    return tx.execute(taken.limit(1)).first() is None


def split_batch(tx: Connection, batch: Row[Any]) -> None:
    """Put two halves, each with a reference of its own, in the place of a batch."""
    broadcast = select(Broadcast.public_id).where(Broadcast.id == batch.broadcast_id)
    public_id = tx.execute(broadcast).scalar_one()
    for start, size in halve(batch.start, batch.size):
        level, first = batch.level + 1, start - batch.start
        created = tx.execute(
            insert(Batch)
            .values(
                broadcast_id=batch.broadcast_id,
                chunk=batch.chunk,
                start=start,
                size=size,
                level=level,
                recipient_indexes=batch.recipient_indexes[first : first + size]
                if batch.recipient_indexes
                else None,
                client_reference=make_reference(public_id, batch.chunk, start, level),
                state=BatchState.PENDING,
            )
            .returning(Batch.__table__)
        )
        half = created.one()
        move_messages(tx, half, load_batch_recipients(tx, half).recipients)
