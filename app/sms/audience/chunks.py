"""Who is in a batch: lines of its chunk, and the messages that belong to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.sms.models.batch import Message
from app.sms.models.broadcast import Chunk
from app.sms.models.states import ExclusionReason

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
class BatchRecipients:
    """The recipients of a batch, the lines they stand on in its chunk, and what the chunk knows.

    `own` are values by name and recipient, of others of the chunk too; `language` chooses among
    the broadcast's texts.
    """

    recipients: list[str]
    lines: Sequence[int]
    own: Mapping[str, Mapping[str, str]]
    language: str | None


def load_batch_recipients(tx: Connection, batch: Row[Any]) -> BatchRecipients:
    """Who is in a batch, from its row: broadcast_id, chunk, start, size and picked."""
    chunk = tx.execute(_CHUNK, {"of": batch.broadcast_id, "this": batch.chunk}).one()
    everybody = chunk.recipients.split("\n")
    if batch.recipient_indexes is None:
        lines: Sequence[int] = range(batch.start, batch.start + batch.size)
        recipients = everybody[batch.start : batch.start + batch.size]
    else:
        lines = batch.recipient_indexes
        recipients = [everybody[line] for line in lines]
    return BatchRecipients(recipients, lines, chunk.parameters or {}, chunk.language)


def move_messages(tx: Connection, batch: Row[Any], recipients: Sequence[str]) -> None:
    """Let the messages of these recipients belong to this batch."""
    place = {"of": batch.broadcast_id, "home": batch.id}
    tx.execute(_MOVE, [place | {"whom": recipient} for recipient in recipients])


def is_from_lookup(broadcast: Row[Any]) -> bool:
    """Whether its chunks are not simply its recipients, in the order given or of their numbers."""
    return broadcast.audience is not None or broadcast.texts is not None


# Sinch takes 1 to 1,000 recipients in one batch.
MAX_BATCH_RECIPIENTS = 1_000


# Cut in one transaction, about 20 ms; an audience of more is put in order first.
CHUNKS_AT_ONCE = 20


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AudienceChunk:
    """Some recipients of a broadcast, a batch's worth at most, who are alike.

    `own` are their values by placeholder and recipient; `language` chooses among translations;
    `withheld` is why none of them is sent to.
    """

    recipients: Sequence[str]
    own: Mapping[str, Mapping[str, str]] | None = None
    language: str | None = None
    exclusion_reason: ExclusionReason | None = None


def chunked(recipients: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Recipients in groups of at most `size`, order kept.

    >>> [len(chunk) for chunk in chunked(["+4670"] * 2001, 1000)]
    [1000, 1000, 1]
    """
    for start in range(0, len(recipients), size):
        yield recipients[start : start + size]


def choose_chunk_size(*, parts: int, messages_per_second: float | None, ahead_s: float) -> int:
    """How many recipients a batch may have: Sinch's limit, and no more than a few seconds' worth.

    >>> choose_chunk_size(parts=1, messages_per_second=None, ahead_s=2)
    1000
    >>> choose_chunk_size(parts=3, messages_per_second=30, ahead_s=2)
    20
    """
    if messages_per_second is None:
        return MAX_BATCH_RECIPIENTS
    return max(1, min(MAX_BATCH_RECIPIENTS, int(messages_per_second * ahead_s / parts)))


def halve(start: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two halves of a slice, each as its start and size.

    >>> halve(10, 5)
    ((10, 2), (12, 3))
    """
    half = size // 2
    return (start, half), (start + half, size - half)


def make_reference(broadcast: str, chunk: int, start: int, level: int) -> str:
    """A batch's client_reference: opaque, without personal data, the same whenever it is made.

    A database restored from a backup cuts the same batches again, and Sinch's list then still
    knows them by these references.

    >>> make_reference("06eadcew01ykq3f2yhftk7dbp0", 0, 0, 0)
    'cl-9123ff358e303f205c144d3e'
    """
    place = f"{broadcast}/{chunk}/{start}/{level}".encode()
    return f"cl-{sha256(place).hexdigest()[:24]}"
