"""What anybody may ask about broadcasts: one, a page of them, a page of one's messages."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.db.base import table_of
from app.errors import BadInput, NotFound
from app.sms.books import add_up
from app.sms.context import Context
from app.sms.models import Batch, Broadcast, Chunk
from app.sms.planning import CHUNKS_AT_ONCE
from app.sms.settling import count_states
from app.sms.states import BatchState, BroadcastStatus, Wish

# Ends the cursor into an audience as the client gave it, which is not in order yet.
_UNORDERED = "u"

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)
# Made once: to make a statement costs several times what it takes to run one.
_BY_ID = select(_BROADCASTS).where(_BROADCASTS.c.id == bindparam("this"))
_BATCH_IDS = (
    select(_BATCHES.c.sinch_id)
    .where(_BATCHES.c.broadcast_id == bindparam("of"))
    .where(_BATCHES.c.state.in_((BatchState.ACCEPTED, BatchState.DUPLICATE)))
    .where(_BATCHES.c.sinch_id.is_not(None))
    .order_by(_BATCHES.c.id)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class BroadcastView:
    """A broadcast's row, and what is counted from its batches.

    `counts` are recipients by where they stand; `batches` how many batches stand in each state.
    """

    row: Row[Any]
    counts: dict[str, int]
    batches: dict[str, int]
    stopped_at_sinch: int

    @property
    def status(self) -> str:
        """Its status; `unknown` while it only waits for Sinch to say whether it has a batch."""
        sending = self.row.status in (BroadcastStatus.SENDING, BroadcastStatus.QUEUED)
        waiting = ("pending", "sending", "held")
        if sending and self.batches.get("unknown") and not any(map(self.batches.get, waiting)):
            return "unknown" if self.row.planned == self.row.chunks else str(self.row.status)
        return str(self.row.status.value)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order, and the cursor that continues behind them; None at the end."""

    rows: list[Any]
    cursor: str | None


def view_broadcast(ctx: Context, public_id: str) -> BroadcastView:
    """One broadcast.  Raises NotFound."""
    with ctx.db.read() as tx:
        query = select(Broadcast.__table__).where(Broadcast.public_id == public_id)
        row = tx.execute(query).first()
        if row is None:
            raise NotFound("There is no such broadcast.")
        return _view(tx, row)


def view_by_id(ctx: Context, broadcast_id: int) -> BroadcastView:
    """One broadcast by its row's id."""
    with ctx.db.read() as tx:
        return _view(tx, tx.execute(_BY_ID, {"this": broadcast_id}).one())


def _view(tx: Connection, row: Row[Any]) -> BroadcastView:
    states = count_states(tx, row.id)
    cancelled = row.status is BroadcastStatus.CANCELLED
    return BroadcastView(
        row=row,
        counts=add_up(row, states),
        batches={state.value: batches for state, (batches, _) in states.items()},
        stopped_at_sinch=_count_stopped(tx, row.id) if cancelled else 0,
    )


def _count_stopped(tx: Connection, broadcast_id: int) -> int:
    stopped = select(func.coalesce(func.sum(Batch.size), 0)).where(
        Batch.broadcast_id == broadcast_id, Batch.wish == Wish.CANCELLED
    )
    return int(tx.execute(stopped).scalar_one())


def list_broadcasts(
    ctx: Context,
    *,
    cursor: str | None = None,
    limit: int = 50,
    status: BroadcastStatus | None = None,
    client: str | None = None,
    reference: str | None = None,
) -> Page:
    """Broadcasts, newest first, that fit all that is given."""
    query = select(Broadcast.__table__).order_by(Broadcast.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(Broadcast.id < _read_cursor(cursor))
    if status is not None:
        query = query.where(Broadcast.status == status)
    if client is not None:
        query = query.where(Broadcast.client == client)
    if reference is not None:
        query = query.where(Broadcast.reference == reference)
    with ctx.db.read() as tx:
        rows = tx.execute(query).all()
        views = [_view(tx, row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(views, str(rows[limit - 1].id) if more else None)


@dataclass(frozen=True, slots=True)
class MessageView:
    """One recipient, the state of its batch, and under which names that is known."""

    recipient: str
    state: BatchState
    client_reference: str | None
    batch_id: str | None


def list_messages(
    ctx: Context, public_id: str, *, cursor: str | None = None, limit: int = 100
) -> Page:
    """A broadcast's recipients in the order they are sent to.  Raises NotFound.

    The cursor is a place in the audience, never a number: it stands in URLs.
    """
    chunk, offset, mark = _read_place(cursor)
    with ctx.db.read() as tx:
        query = select(Broadcast.__table__).where(Broadcast.public_id == public_id)
        broadcast = tx.execute(query).first()
        if broadcast is None:
            raise NotFound("There is no such broadcast.")
        # Its places will be others once it is put in order.
        unordered = broadcast.chunks > CHUNKS_AT_ONCE and broadcast.planned == 0
        if mark and not unordered:
            raise _refuse_cursor("the recipients were put in order since, begin again")
        found: list[MessageView] = []
        while len(found) < limit and chunk < broadcast.chunks:
            views = _view_chunk(tx, broadcast, chunk)
            taken = views[offset : offset + limit - len(found)]
            found += taken
            offset += len(taken)
            if offset >= len(views):
                chunk, offset = chunk + 1, 0
    here = f"{chunk}-{offset}{_UNORDERED if unordered else ''}"
    return Page(found, here if chunk < broadcast.chunks else None)


def _view_chunk(tx: Connection, broadcast: Row[Any], chunk: int) -> list[MessageView]:
    """Everybody of one chunk; who is in no batch yet is pending, or cancelled with the rest."""
    recipients = tx.execute(
        select(Chunk.recipients).where(Chunk.broadcast_id == broadcast.id, Chunk.number == chunk)
    ).scalar_one()
    cancelled = broadcast.status is BroadcastStatus.CANCELLED
    unplanned = BatchState.CANCELLED if cancelled else BatchState.PENDING
    views = [MessageView(each, unplanned, None, None) for each in recipients.split("\n")]
    batches = select(Batch.__table__).where(
        Batch.broadcast_id == broadcast.id, Batch.chunk == chunk, Batch.state != BatchState.SPLIT
    )
    for batch in tx.execute(batches):
        for place in range(batch.start, batch.start + batch.size):
            views[place] = MessageView(
                views[place].recipient, batch.state, batch.client_reference, batch.sinch_id
            )
    return views


def list_batch_ids(ctx: Context, broadcast_id: int, *, most: int = 1_000) -> list[str]:
    """Sinch's ids of the batches it has taken, in the order they were cut."""
    with ctx.db.read() as tx:
        rows = tx.execute(_BATCH_IDS, {"of": broadcast_id, "most": most})
        return [str(each) for each in rows.scalars()]


def _read_place(cursor: str | None) -> tuple[int, int, bool]:
    if cursor is None:
        return 0, 0, False
    place = re.fullmatch(rf"([0-9]{{1,7}})-([0-9]{{1,4}})({_UNORDERED})?", cursor)
    if not place:
        raise _refuse_cursor("not one that we gave")
    return int(place[1]), int(place[2]), place[3] is not None


def _read_cursor(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise _refuse_cursor("not one that we gave")
    return int(cursor)


def _refuse_cursor(reason: str) -> BadInput:
    return BadInput(f"cursor: {reason}", fields={"cursor": [f"{reason.capitalize()}."]})
