"""Chunks become batches and messages: a recipient is then in exactly one batch.

Done in the database itself, a few chunks a transaction, so that a million numbers neither pass
through Python one by one nor keep other writers waiting.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    text,
    update,
)

from app.db.base import table_of
from app.sms.audience.chunks import CHUNKS_AT_ONCE, chunked, is_from_lookup, make_reference
from app.sms.audience.lookup import CLOCK_DOUBT, resolve_next
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_in, lock_broadcast
from app.sms.lifecycle.gates import read_gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import ACTIVE, FINAL, BatchState

_COPY = {
    # json_each and unnest take the lines apart inside the database.
    "sqlite": text(
        "INSERT INTO messages (broadcast_id, recipient, batch_id) "
        "SELECT b.broadcast_id, line.value, b.id FROM batches b "
        "JOIN chunks c ON c.broadcast_id = b.broadcast_id AND c.number = b.chunk, "
        """json_each('["' || replace(c.recipients, char(10), '","') || '"]') line """
        "WHERE b.broadcast_id = :broadcast AND b.chunk >= :first AND b.chunk < :end"
    ),
    "postgresql": text(
        "INSERT INTO messages (broadcast_id, recipient, batch_id) "
        "SELECT b.broadcast_id, line, b.id FROM batches b "
        "JOIN chunks c ON c.broadcast_id = b.broadcast_id AND c.number = b.chunk "
        "CROSS JOIN LATERAL unnest(string_to_array(c.recipients, chr(10))) line "
        "WHERE b.broadcast_id = :broadcast AND b.chunk >= :first AND b.chunk < :end"
    ),
}
_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
# Made once: to make a statement costs several times what it takes to run one.
_SIZES = (
    select(_CHUNKS.c.number, _CHUNKS.c.size, _CHUNKS.c.exclusion_reason)
    .where(_CHUNKS.c.broadcast_id == bindparam("broadcast"))
    .where(_CHUNKS.c.number >= bindparam("first"), _CHUNKS.c.number < bindparam("end"))
    .order_by(_CHUNKS.c.number)
)
_ADD_BATCHES = insert(table_of(Batch))
_NOTE_PLANNED = (
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("this"))
    .values(planned=bindparam("so_many"))
)


def plan_broadcast(ctx: Context, broadcast_id: int) -> bool:
    """Look up the next of its people, or cut its next chunks into batches; whether more is left."""
    if resolve_next(ctx, broadcast_id):
        return True
    with ctx.db.write() as tx:
        left = plan_chunks(tx, ctx, broadcast_id, most=CHUNKS_AT_ONCE)
        if not left:
            finalize_in(tx, ctx, broadcast_id)
        return left


def plan_chunks(tx: Connection, ctx: Context, broadcast_id: int, *, most: int = 1_000) -> bool:
    """The same within a transaction, for at most so many chunks."""
    broadcast = lock_broadcast(tx, broadcast_id)
    cut = broadcast.planned >= broadcast.chunks
    if cut or broadcast.resolving or broadcast.status in FINAL:
        return False
    # One that was looked up is in order as far as its languages and those left out allow.
    if (
        broadcast.planned == 0
        and broadcast.chunks > CHUNKS_AT_ONCE
        and not is_from_lookup(broadcast)
    ):
        _sort_audience(tx, broadcast)
    first, end = broadcast.planned, min(broadcast.planned + most, broadcast.chunks)
    places = {"broadcast": broadcast_id, "first": first, "end": end}
    chunks = tx.execute(_SIZES, places).all()
    tx.execute(_ADD_BATCHES, list(_make_batches(tx, ctx, broadcast, chunks)))
    tx.execute(_COPY[tx.dialect.name], places)
    tx.execute(_NOTE_PLANNED, {"this": broadcast_id, "so_many": end})
    return bool(end < broadcast.chunks)


def _make_batches(
    tx: Connection, ctx: Context, broadcast: Row[Any], chunks: Any
) -> Iterator[dict[str, Any]]:
    now = ctx.now()
    # Of a database from a backup these may have been cut and sent before.
    in_doubt = broadcast.id <= read_gates(tx, ctx.rules, now).restored_broadcast_id
    for chunk in chunks:
        yield {
            "broadcast_id": broadcast.id,
            "chunk": chunk.number,
            "start": 0,
            "size": chunk.size,
            "client_reference": make_reference(broadcast.public_id, chunk.number, 0, 0),
            "exclusion_reason": chunk.exclusion_reason,
            **_choose_state(chunk, now if in_doubt else None),
        }


def _choose_state(chunk: Row[Any], in_doubt_at: datetime | None) -> dict[str, Any]:
    if chunk.exclusion_reason is not None:
        state = BatchState.SUPPRESSED
        in_doubt_at = None
    else:
        state = BatchState.UNKNOWN if in_doubt_at else BatchState.PENDING
    return {"state": state, "unknown_at": in_doubt_at, "next_reconcile_at": in_doubt_at}


def _sort_audience(tx: Connection, broadcast: Row[Any]) -> None:
    """Put a large audience in order of its numbers: rows then go in where the last one did.

    In random order a million of them take ten times as long.
    """
    rows = tx.execute(
        select(Chunk.recipients, Chunk.parameters, Chunk.size)
        .where(Chunk.broadcast_id == broadcast.id)
        .order_by(Chunk.number)
    ).all()
    numbers = "\n".join(row.recipients for row in rows).split("\n")
    ordered = sorted(numbers)
    if ordered == numbers:
        return
    own: dict[str, dict[str, str]] = {}
    for row in rows:
        for name, values in (row.parameters or {}).items():
            own.setdefault(name, {}).update(values)
    tx.execute(delete(Chunk).where(Chunk.broadcast_id == broadcast.id))
    tx.execute(insert(Chunk), list(_recut(broadcast.id, ordered, own, rows[0].size)))


def _recut(
    broadcast_id: int, ordered: list[str], own: dict[str, dict[str, str]], size: int
) -> Iterator[dict[str, Any]]:
    for number, recipients in enumerate(chunked(ordered, size)):
        yield {
            "broadcast_id": broadcast_id,
            "number": number,
            "size": len(recipients),
            "recipients": "\n".join(recipients),
            "parameters": {
                name: {each: values[each] for each in recipients if each in values}
                for name, values in own.items()
            }
            or None,
        }


def _is_uncut() -> ColumnElement[bool]:
    return and_(Broadcast.planned < Broadcast.chunks, Broadcast.resolving.is_(False))


def _is_to_resolve(ctx: Context, restored_broadcast_id: int) -> ColumnElement[bool]:
    """Who bears a tag is looked up when the send starts, not before.

    As in `may_have_been_sent`, where the database is from a backup.
    """
    started: ColumnElement[bool] = Broadcast.status.in_(ACTIVE)
    if restored_broadcast_id:
        latest = ctx.now() + CLOCK_DOUBT
        past = or_(Broadcast.send_at.is_(None), Broadcast.send_at <= latest)
        started = or_(started, and_(Broadcast.id <= restored_broadcast_id, past))
    return and_(Broadcast.resolving.is_(True), started)


def find_unplanned(ctx: Context) -> list[int]:
    """Broadcasts whose audience is not all cut yet, the most urgent first."""
    with ctx.db.read() as tx:
        restored_id = read_gates(tx, ctx.rules, ctx.now()).restored_broadcast_id
        query = (
            select(Broadcast.id)
            .where(
                Broadcast.completed_at.is_(None), or_(_is_uncut(), _is_to_resolve(ctx, restored_id))
            )
            .where(Broadcast.status.not_in(FINAL))
            .order_by(Broadcast.priority.desc(), Broadcast.id)
        )
        return list(tx.execute(query).scalars())
