"""The same text again to mostly the same people: a client's retry without a key, or a slip.

Looked for exactly, number by number, but only among the broadcasts of the same client with the
same text within a day: usually there is none, and it costs one look at an index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.errors import BroadcastDuplicated
from app.sms.audience.chunks import AudienceChunk
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import FINAL, BatchState, Category
from app.sms.request.model import BroadcastRequest, describe_audience

# Fewer may be told the same again: "your taxi is here".
EXEMPT_BELOW = 10
# Of the newest so many numbers are compared; beyond that nobody repeats by accident.
_MAX_COMPARED = 5_000_000
_MAX_CANDIDATES = 1_000

_S = BatchState
_GONE = (_S.REJECTED, _S.SUPPRESSED, _S.EXPIRED, _S.CANCELLED, _S.SPLIT)


@dataclass(frozen=True, slots=True)
class Suspect:
    """An order that may repeat another."""

    client: str
    text_hash: bytes
    recipients: list[str]
    audience: dict[str, Any] | None

    @classmethod
    def of(
        cls,
        request: BroadcastRequest,
        chunks: Sequence[AudienceChunk] | None,
        *,
        client: str,
        text_hash: bytes,
    ) -> "Suspect | None":
        """None for an order that is free to repeat; without chunks its people are not known yet."""
        recipients = [each for chunk in chunks or () for each in chunk.recipients]
        few = chunks is not None and len(recipients) < EXEMPT_BELOW
        if request.allow_duplicate or (few and request.category is Category.TRANSACTIONAL):
            return None
        return cls(client, text_hash, recipients, describe_audience(request))


def find_duplicate(ctx: Context, suspect: Suspect) -> frozenset[int]:
    """The broadcasts compared and found different enough.  Raises BroadcastRepeated."""
    with ctx.db.read() as tx:
        return _compare(tx, ctx, suspect, frozenset())


def reject_duplicate(
    tx: Connection, ctx: Context, suspect: Suspect, cleared: frozenset[int]
) -> None:
    """The same for what was stored since, in the transaction that stores this order."""
    if tx.dialect.name != "sqlite":
        # Two requests at once with the same text follow one another.
        lock = int.from_bytes(suspect.text_hash[:8], "big", signed=True)
        tx.execute(select(func.pg_advisory_xact_lock(lock)))
    _compare(tx, ctx, suspect, cleared)


def _compare(
    tx: Connection, ctx: Context, suspect: Suspect, cleared: frozenset[int]
) -> frozenset[int]:
    candidates = _find_candidates(tx, ctx, suspect)
    fresh = [each for each in candidates if each.id not in cleared]
    if not fresh:
        return cleared
    asked = set(suspect.recipients)
    repeated, compared = set[str](), 0
    for candidate in candidates:
        if suspect.audience and candidate.audience == suspect.audience:
            raise _refuse(candidate, candidate.recipients, candidate.recipients)
        for numbers in _read_audience(tx, candidate):
            repeated.update(asked.intersection(numbers))
        if repeated and len(repeated) >= ctx.rules.repeat_share * len(asked):
            raise _refuse(candidate, len(repeated), len(asked))
        compared += candidate.recipients
        if compared > _MAX_COMPARED:
            break
    return frozenset(each.id for each in candidates)


def _find_candidates(tx: Connection, ctx: Context, suspect: Suspect) -> list[Row[Any]]:
    since: datetime = ctx.seconds_from_now(-ctx.rules.repeat_window_s)
    query = (
        select(Broadcast.__table__)
        .where(Broadcast.client == suspect.client, Broadcast.text_hash == suspect.text_hash)
        .where(Broadcast.created_at > since)
        .order_by(Broadcast.created_at.desc())
        .limit(_MAX_CANDIDATES)
    )
    return list(tx.execute(query))


def _read_audience(tx: Connection, broadcast: Row[Any]) -> Iterator[list[str]]:
    """Who got this broadcast, may have got it or will get it, in chunks."""
    chunks = select(Chunk.number, Chunk.recipients).where(Chunk.broadcast_id == broadcast.id)
    if broadcast.status not in FINAL:
        yield from (recipients.split("\n") for _, recipients in tx.execute(chunks))
        return
    sent = select(Batch.chunk, Batch.start, Batch.size, Batch.recipient_indexes).where(
        Batch.broadcast_id == broadcast.id, Batch.state.not_in(_GONE)
    )
    slices = tx.execute(sent).all()
    wanted = {each.chunk for each in slices}
    if not wanted:
        return
    lines = {n: text.split("\n") for n, text in tx.execute(chunks) if n in wanted}
    for each in slices:
        recipient_indexes = each.recipient_indexes or range(each.start, each.start + each.size)
        yield [lines[each.chunk][line] for line in recipient_indexes]


def _refuse(candidate: Row[Any], repeated: int, asked: int) -> BroadcastDuplicated:
    return BroadcastDuplicated(
        f"The same text went to {repeated} of these {asked} recipients with a broadcast at "
        f"{candidate.created_at:%Y-%m-%d %H:%M} UTC. If they shall get it again, set "
        "allow_duplicate to true; to retry a request safely, send an Idempotency-Key.",
        duplicate_of=candidate.public_id,
        duplicate_recipients=repeated,
    )
