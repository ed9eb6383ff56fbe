"""Planning: chunks become batches and messages, each recipient in exactly one batch.

The database itself copies the recipients, a few chunks a transaction: a million numbers neither
pass through Python one by one nor keep other writers waiting.
"""

from collections import Counter
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
from app.db.prepared import Prepared, PreparedInsert, chunked
from app.sms.audience.chunks import (
    CHUNKS_AT_ONCE,
    INSERT_MESSAGES,
    is_from_lookup,
    make_chunk_rows,
    make_chunks,
    make_reference,
)
from app.sms.audience.lookup import CLOCK_DOUBT, resolve_next
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_in, lock_broadcast
from app.sms.lifecycle.gates import add_in_doubt, read_gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import ACTIVE, FINAL, BatchState

_INSERT_MESSAGES = {
    dialect: text(
        f"{insertion}WHERE b.broadcast_id = :broadcast_id AND b.chunk >= :first AND b.chunk < :end"
    )
    for dialect, insertion in INSERT_MESSAGES.items()
}
_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
# Every small broadcast is planned within its request.
_SELECT_CHUNKS = Prepared(
    select(_CHUNKS.c.number, _CHUNKS.c.size, _CHUNKS.c.exclusion_reason)
    .where(_CHUNKS.c.broadcast_id == bindparam("broadcast_id"))
    .where(_CHUNKS.c.number >= bindparam("first"), _CHUNKS.c.number < bindparam("end"))
    .order_by(_CHUNKS.c.number)
)
_INSERT_BATCHES = PreparedInsert(table_of(Batch))
_SET_PLANNED = Prepared(
    update(_BROADCASTS)
    .where(_BROADCASTS.c.id == bindparam("broadcast_id"))
    .values(planned=bindparam("end"))
)


def _select_unplanned(is_started: ColumnElement[bool]) -> Prepared:
    """Make the statement that finds broadcasts with something to look up or plan."""
    columns = _BROADCASTS.c
    names = ("id", "client", "priority", "resolved_to", "planned")
    is_unplanned = and_(columns.planned < columns.chunks, columns.resolving.is_(False))
    return Prepared(
        select(*(columns[name] for name in names))
        .where(columns.completed_at.is_(None), columns.status.not_in(FINAL))
        .where(or_(is_unplanned, and_(columns.resolving.is_(True), is_started)))
        .order_by(columns.priority.desc(), columns.id)
    )


_IS_ACTIVE = _BROADCASTS.c.status.in_(ACTIVE)
# In restore mode also broadcasts whose send may have started: see `lookup`.
_MAY_HAVE_STARTED = and_(
    _BROADCASTS.c.id <= bindparam("restored_id"),
    or_(_BROADCASTS.c.send_at.is_(None), _BROADCASTS.c.send_at <= bindparam("latest")),
)
_UNPLANNED = _select_unplanned(_IS_ACTIVE)
_UNPLANNED_OR_IN_DOUBT = _select_unplanned(or_(_IS_ACTIVE, _MAY_HAVE_STARTED))


def plan_broadcast(ctx: Context, broadcast_id: int) -> bool:
    """Look up the next page of an audience, or plan chunks.  Returns True if work remains."""
    if resolve_next(ctx, broadcast_id):
        return True
    with ctx.db.write() as tx:
        remaining = plan_chunks(tx, ctx, broadcast_id, limit=CHUNKS_AT_ONCE)
        if not remaining:
            finalize_in(tx, ctx, broadcast_id)
        return remaining


def plan_chunks(tx: Connection, ctx: Context, broadcast_id: int, *, limit: int = 1_000) -> bool:
    """Plan at most `limit` chunks within a transaction.  Returns True if chunks remain."""
    broadcast = lock_broadcast(tx, broadcast_id)
    planned = broadcast.planned >= broadcast.chunks
    if planned or broadcast.resolving or broadcast.status in FINAL:
        return False
    # A looked-up audience is sorted as far as its languages and exclusions allow.
    is_large = broadcast.chunks > CHUNKS_AT_ONCE
    if broadcast.planned == 0 and is_large and not is_from_lookup(broadcast):
        _sort_audience(tx, broadcast)
    end = min(broadcast.planned + limit, broadcast.chunks)
    values = {"broadcast_id": broadcast_id, "first": broadcast.planned, "end": end}
    chunks = _SELECT_CHUNKS.fetch(tx, values)
    batches = list(_make_batches(tx, ctx, broadcast, chunks))
    _INSERT_BATCHES.run_each(tx, batches)
    if in_doubt := sum(batch["state"] is BatchState.UNKNOWN for batch in batches):
        add_in_doubt(tx, in_doubt)
    tx.execute(_INSERT_MESSAGES[tx.dialect.name], values)
    _SET_PLANNED.change(tx, {"broadcast_id": broadcast_id, "end": end})
    return bool(end < broadcast.chunks)


def _make_batches(
    tx: Connection, ctx: Context, broadcast: Row[Any], chunks: Any
) -> Iterator[dict[str, Any]]:
    now = ctx.now()
    # In restore mode these batches may have been planned and sent before.
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
    """Sort a large audience by number, so that message rows are inserted in the key's order.

    In random order a million rows take ten times as long.
    """
    rows = tx.execute(
        select(Chunk.recipients, Chunk.parameters, Chunk.size)
        .where(Chunk.broadcast_id == broadcast.id)
        .order_by(Chunk.number)
    ).all()
    phones = "\n".join(row.recipients for row in rows).split("\n")
    ordered = sorted(phones)
    if ordered == phones:
        return
    parameters: dict[str, dict[str, str]] = {}
    for row in rows:
        for name, values in (row.parameters or {}).items():
            parameters.setdefault(name, {}).update(values)
    tx.execute(delete(Chunk).where(Chunk.broadcast_id == broadcast.id))
    chunks = list(make_chunks(chunked(ordered, rows[0].size), parameters))
    tx.execute(insert(Chunk), list(make_chunk_rows(broadcast.id, chunks)))


def find_unplanned(ctx: Context) -> list[int]:
    """Return the ids of the broadcasts with something to look up or plan, most urgent first.

    Of equal priority, the first broadcasts of all clients come before their second ones, and the
    one that has got least before the others: a large or slow one does not hold up the rest.
    """
    with ctx.db.read() as tx:
        restored_id = read_gates(tx, ctx.rules, ctx.now()).restored_broadcast_id
        if restored_id:
            values = {"restored_id": restored_id, "latest": ctx.now() + CLOCK_DOUBT}
            rows = _UNPLANNED_OR_IN_DOUBT.fetch(tx, values)
        else:
            rows = _UNPLANNED.fetch(tx)
    earlier = Counter[tuple[int, str]]()
    order = []
    for row in rows:
        rank = earlier[row.priority, row.client]
        order.append((-row.priority, rank, row.resolved_to or "", row.planned, row.id))
        earlier[row.priority, row.client] += 1
    return [broadcast_id for *_, broadcast_id in sorted(order)]
