"""Who is in a batch: lines of its chunk, and the messages that belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.sms.models.batch import Chunk, Message

_CHUNKS, _MESSAGES = table_of(Chunk), table_of(Message)
# Made once: to make a statement costs several times what it takes to run one.
_CHUNK = select(_CHUNKS.c.recipients, _CHUNKS.c.parameters, _CHUNKS.c.language).where(
    _CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number == bindparam("this")
)
_MOVE = (
    update(_MESSAGES)
    .where(_MESSAGES.c.broadcast_id == bindparam("of"))
    .where(_MESSAGES.c.recipient == bindparam("whom"))
    .values(batch_id=bindparam("home"))
)


@dataclass(frozen=True, slots=True)
class Slice:
    """The recipients of a batch, the lines they stand on in its chunk, and what the chunk knows.

    `own` are values by name and recipient, of others of the chunk too; `language` chooses among
    the broadcast's texts.
    """

    recipients: list[str]
    lines: Sequence[int]
    own: Mapping[str, Mapping[str, str]]
    language: str | None


def read_slice(tx: Connection, batch: Row[Any]) -> Slice:
    """Who is in a batch, from its row: broadcast_id, chunk, start, size and picked."""
    chunk = tx.execute(_CHUNK, {"of": batch.broadcast_id, "this": batch.chunk}).one()
    everybody = chunk.recipients.split("\n")
    if batch.picked is None:
        lines: Sequence[int] = range(batch.start, batch.start + batch.size)
        recipients = everybody[batch.start : batch.start + batch.size]
    else:
        lines = batch.picked
        recipients = [everybody[line] for line in lines]
    return Slice(recipients, lines, chunk.parameters or {}, chunk.language)


def move_messages(tx: Connection, batch: Row[Any], recipients: Sequence[str]) -> None:
    """Let the messages of these recipients belong to this batch."""
    place = {"of": batch.broadcast_id, "home": batch.id}
    tx.execute(_MOVE, [place | {"whom": recipient} for recipient in recipients])


def is_looked_up(broadcast: Row[Any]) -> bool:
    """Whether its chunks are not simply its recipients, in the order given or of their numbers."""
    return broadcast.audience is not None or broadcast.texts is not None
