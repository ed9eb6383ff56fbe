"""Chunks of recipients, and the recipients and messages of a batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.db.prepared import PHONES, Prepared, PreparedInsert, chunked, pack
from app.sms.content.languages import choose_language
from app.sms.content.placeholders import Parameters, collect_personal, select_own
from app.sms.context import Context
from app.sms.models.batch import Message
from app.sms.models.broadcast import Chunk
from app.sms.models.states import ExclusionReason
from app.sms.request.model import BroadcastRequest
from app.subscribers.models import Subscriber

# Sinch takes 1 to 1,000 recipients in one batch.
MAX_BATCH_RECIPIENTS = 1_000
# Planned in one transaction, about 20 ms; a larger audience is sorted first.
CHUNKS_AT_ONCE = 20

# The statement that inserts the messages of batches `b`, by dialect, up to its WHERE: json_each and
# unnest split a chunk's recipients inside the database.
INSERT_MESSAGES = {
    "sqlite": "INSERT INTO messages (broadcast_id, recipient, batch_id) "
    "SELECT b.broadcast_id, line.value, b.id FROM batches b "
    "JOIN chunks c ON c.broadcast_id = b.broadcast_id AND c.number = b.chunk, "
    """json_each('["' || replace(c.recipients, char(10), '","') || '"]') line """,
    "postgresql": "INSERT INTO messages (broadcast_id, recipient, batch_id) "
    "SELECT b.broadcast_id, line, b.id FROM batches b "
    "JOIN chunks c ON c.broadcast_id = b.broadcast_id AND c.number = b.chunk "
    "CROSS JOIN LATERAL unnest(string_to_array(c.recipients, chr(10))) line ",
}
_CHUNKS, _MESSAGES = table_of(Chunk), table_of(Message)
_SELECT_CHUNK = Prepared(
    select(_CHUNKS.c.recipients, _CHUNKS.c.parameters, _CHUNKS.c.language).where(
        _CHUNKS.c.broadcast_id == bindparam("broadcast_id"), _CHUNKS.c.number == bindparam("chunk")
    )
)
INSERT_CHUNKS = PreparedInsert(_CHUNKS)
_MOVE_MESSAGE = Prepared(
    update(_MESSAGES)
    .where(_MESSAGES.c.broadcast_id == bindparam("of_broadcast"))
    .where(_MESSAGES.c.recipient == bindparam("phone"))
    .values(batch_id=bindparam("new_batch"))
)


@dataclass(frozen=True, slots=True)
class AudienceChunk:
    """Recipients of a broadcast who are alike, enough for one batch at most.

    `parameters` are their own values by placeholder and recipient; `language` chooses among the
    translations; `exclusion_reason` is why none of them is sent to.  `zones` are their stored time
    zones by recipient, None if these were not looked up.
    """

    recipients: Sequence[str]
    parameters: Mapping[str, Mapping[str, str]] | None = None
    language: str | None = None
    exclusion_reason: ExclusionReason | None = None
    zones: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class BatchRecipients:
    """The recipients of a batch, their indexes in its chunk, and the chunk's values and language.

    `parameters` hold values by placeholder and recipient, also of others in the chunk.
    """

    recipients: list[str]
    recipient_indexes: Sequence[int]
    parameters: Mapping[str, Mapping[str, str]]
    language: str | None


def make_chunk_rows(
    broadcast_id: int, chunks: Sequence[AudienceChunk], *, first: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield the table rows of these chunks, numbered from `first` on."""
    for number, chunk in enumerate(chunks, first):
        yield {
            "broadcast_id": broadcast_id,
            "number": number,
            "size": len(chunk.recipients),
            "recipients": "\n".join(chunk.recipients),
            "parameters": chunk.parameters,
            "language": chunk.language,
            "exclusion_reason": chunk.exclusion_reason,
        }


def make_chunks(
    chunks: Iterable[Sequence[str]], parameters: Parameters, *, language: str | None = None
) -> Iterator[AudienceChunk]:
    """Make a chunk of each group of recipients, with their own values."""
    own = select_own(parameters)
    having = collect_personal(own)
    for recipients in chunks:
        personal = [phone for phone in recipients if phone in having] if having else ()
        values = {
            name: {phone: table[phone] for phone in personal if phone in table}
            for name, table in own.items()
        }
        yield AudienceChunk(recipients, values or None, language)


def choose_size(ctx: Context, request: BroadcastRequest) -> int:
    """Return how many recipients of a request go in one batch."""
    return choose_chunk_size(
        parts=request.size.parts,
        messages_per_second=ctx.rules.messages_per_second,
        ahead_s=ctx.rules.pace_ahead_s,
    )


def chunk_recipients(ctx: Context, request: BroadcastRequest) -> Iterator[AudienceChunk]:
    """Yield the chunks of a request's recipients, by language if it has translations."""
    size = choose_size(ctx, request)
    by_language: dict[str | None, Sequence[str]] = {None: request.recipients}
    if request.texts:
        by_language = _group_by_language(ctx, request)
    for language, phones in by_language.items():
        yield from make_chunks(chunked(phones, size), request.parameters, language=language)


def _group_by_language(ctx: Context, request: BroadcastRequest) -> dict[str | None, Sequence[str]]:
    groups: dict[str | None, list[str]] = {}
    with ctx.db.read() as tx:
        for phone, language in _read_languages(tx, request.recipients):
            chosen = choose_language(language, request.texts, request.language)
            groups.setdefault(chosen, []).append(phone)
    return dict(groups)


def _read_languages(tx: Connection, phones: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each phone with its subscriber's language, None without one."""
    subscribers = table_of(Subscriber)
    query = select(subscribers.c.phone, subscribers.c.language).where(
        subscribers.c.phone.in_(PHONES[tx.dialect.name])
    )
    for chunk in chunked(phones):
        languages = dict(tx.execute(query, {"phones": pack(tx, chunk)}).all())
        yield from ((phone, languages.get(phone)) for phone in chunk)


def load_batch_recipients(tx: Connection, batch: Row[Any]) -> BatchRecipients:
    """Read the recipients of a batch row: broadcast_id, chunk, start, size, recipient_indexes."""
    values = {"broadcast_id": batch.broadcast_id, "chunk": batch.chunk}
    (chunk,) = _SELECT_CHUNK.fetch(tx, values)
    indexes = list_recipient_indexes(batch)
    phones = chunk.recipients.split("\n")
    return BatchRecipients(
        [phones[index] for index in indexes], indexes, chunk.parameters or {}, chunk.language
    )


def list_recipient_indexes(batch: Any) -> Sequence[int]:
    """List where a batch's recipients are in its chunk, from 0."""
    if batch.recipient_indexes is not None:
        indexes: Sequence[int] = batch.recipient_indexes
        return indexes
    return range(batch.start, batch.start + batch.size)


def move_messages(tx: Connection, batch: Row[Any], recipients: Sequence[str]) -> None:
    """Assign the messages of these recipients to this batch."""
    values = {"of_broadcast": batch.broadcast_id, "new_batch": batch.id}
    _MOVE_MESSAGE.change_each(tx, [values | {"phone": phone} for phone in recipients])


def is_from_lookup(broadcast: Row[Any]) -> bool:
    """Return True if the chunks of a broadcast are grouped by language or reason of exclusion."""
    return broadcast.audience is not None or broadcast.texts is not None


def choose_chunk_size(*, parts: int, messages_per_second: float | None, ahead_s: float) -> int:
    """Return the largest batch: Sinch's limit, or as many as the pace sends in `ahead_s`.

    >>> choose_chunk_size(parts=1, messages_per_second=None, ahead_s=2)
    1000
    >>> choose_chunk_size(parts=3, messages_per_second=30, ahead_s=2)
    20
    """
    if messages_per_second is None:
        return MAX_BATCH_RECIPIENTS
    return max(1, min(MAX_BATCH_RECIPIENTS, int(messages_per_second * ahead_s / parts)))


def halve(start: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the two halves of a range, each as its start and size.

    >>> halve(10, 5)
    ((10, 2), (12, 3))
    """
    half = size // 2
    return (start, half), (start + half, size - half)


def make_reference(broadcast: str, chunk: int, start: int, level: int) -> str:
    """Return a batch's client_reference: opaque, without personal data, always reproducible.

    A database restored from a backup plans equal batches again, and Sinch's list then still
    contains them by these references.

    >>> make_reference("06eadcew01ykq3f2yhftk7dbp0", 0, 0, 0)
    'cl-9123ff358e303f205c144d3e'
    """
    position = f"{broadcast}/{chunk}/{start}/{level}".encode()
    return f"cl-{sha256(position).hexdigest()[:24]}"
