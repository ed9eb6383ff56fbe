"""Duplicate broadcasts: an equal text to mostly equal recipients, by a slip or a blind retry.

Only broadcasts of the client with an equal text within a day are compared, number by number.
Usually there is none, and the check costs one index lookup.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.errors import BroadcastDuplicated
from app.sms.audience.chunks import list_recipient_indexes
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import FINAL, BatchState

# Compare with at most this many recipients of recent broadcasts.
_MAX_COMPARED = 5_000_000
_MAX_CANDIDATES = 1_000

_S = BatchState
_NOT_SENT = (_S.REJECTED, _S.SUPPRESSED, _S.EXPIRED, _S.CANCELLED, _S.SPLIT)


@dataclass(frozen=True, slots=True)
class DuplicateCheck:
    """A request to be compared with recent broadcasts.

    For recipients that are not known yet, only the audience is compared.
    """

    client: str
    text_hash: bytes
    recipients: list[str]
    audience: dict[str, Any] | None


def find_duplicate(ctx: Context, check: DuplicateCheck) -> frozenset[int]:
    """Return the ids of broadcasts that differ enough.  Raises BroadcastDuplicated."""
    with ctx.db.read() as tx:
        return _compare(tx, ctx, check, frozenset())


def reject_duplicate(
    tx: Connection, ctx: Context, check: DuplicateCheck, cleared: frozenset[int]
) -> None:
    """Compare again, in the transaction that stores the request.  Raises BroadcastDuplicated."""
    if tx.dialect.name != "sqlite":
        # Requests with an equal text are stored one after the other.
        lock = int.from_bytes(check.text_hash[:8], "big", signed=True)
        tx.execute(select(func.pg_advisory_xact_lock(lock)))
    _compare(tx, ctx, check, cleared)


def _compare(
    tx: Connection, ctx: Context, check: DuplicateCheck, cleared: frozenset[int]
) -> frozenset[int]:
    candidates = _find_candidates(tx, ctx, check)
    if all(candidate.id in cleared for candidate in candidates):
        return cleared
    recipients = set(check.recipients)
    repeated, compared = set[str](), 0
    for candidate in candidates:
        if check.audience and candidate.audience == check.audience:
            raise _duplicated(candidate, candidate.recipients, candidate.recipients)
        for phones in _read_recipients(tx, candidate):
            repeated.update(recipients.intersection(phones))
        if repeated and len(repeated) >= ctx.rules.repeat_share * len(recipients):
            raise _duplicated(candidate, len(repeated), len(recipients))
        compared += candidate.recipients
        if compared > _MAX_COMPARED:
            break
    return frozenset(candidate.id for candidate in candidates)


def _find_candidates(tx: Connection, ctx: Context, check: DuplicateCheck) -> list[Row[Any]]:
    since: datetime = ctx.seconds_from_now(-ctx.rules.repeat_window_s)
    query = (
        select(Broadcast.__table__)
        .where(Broadcast.client == check.client, Broadcast.text_hash == check.text_hash)
        .where(Broadcast.created_at > since)
        .order_by(Broadcast.created_at.desc())
        .limit(_MAX_CANDIDATES)
    )
    return list(tx.execute(query))


def _read_recipients(tx: Connection, broadcast: Row[Any]) -> Iterator[list[str]]:
    """Yield the recipients who got this broadcast, may have got it or will get it."""
    query = select(Chunk.number, Chunk.recipients).where(Chunk.broadcast_id == broadcast.id)
    if broadcast.status not in FINAL:
        yield from (recipients.split("\n") for _, recipients in tx.execute(query))
        return
    sent = select(Batch.chunk, Batch.start, Batch.size, Batch.recipient_indexes).where(
        Batch.broadcast_id == broadcast.id, Batch.state.not_in(_NOT_SENT)
    )
    batches = tx.execute(sent).all()
    if not batches:
        return
    numbers = {batch.chunk for batch in batches}
    phones = {number: text.split("\n") for number, text in tx.execute(query) if number in numbers}
    for batch in batches:
        yield [phones[batch.chunk][index] for index in list_recipient_indexes(batch)]


def _duplicated(candidate: Row[Any], repeated: int, total: int) -> BroadcastDuplicated:
    return BroadcastDuplicated(
        f"An equal text went or goes to {repeated} of these {total} recipients with a broadcast at "
        f"{candidate.created_at:%Y-%m-%d %H:%M} UTC. To send it again, set allow_duplicate to "
        "true; to retry a request safely, send an Idempotency-Key.",
        duplicate_of=candidate.public_id,
        duplicate_recipients=repeated,
    )
