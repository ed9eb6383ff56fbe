"""The messages of a broadcast in the order they are sent to, all of them or some.

A large audience stands in the order of its numbers, which is that of the messages' key: the walk
follows the index, and what is not wanted is passed over inside the database.  A small one stands
as its client gave it, and whoever is in no batch yet stands in its chunk alone: there the walk
goes chunk by chunk.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from app.db.base import table_of
from app.errors import BadInput, Conflict, NotFound
from app.pagination import Page
from app.sms.audience.chunks import CHUNKS_AT_ONCE, is_from_lookup
from app.sms.context import Context
from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE, status_before_batching
from app.sms.messages.queries import select_by_chunk, select_by_index
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import FINAL, ExclusionReason
from app.sms.models.statuses import MessageStatus

# Ends the cursor into an audience as the client gave it, which is not in order yet.
_UNORDERED = "u"
# Recipients looked at in one statement where few of them may be wanted.  It has an end: without
# one PostgreSQL may sort all the rest of an audience for each page.
_BY_INDEX = 100_000
_BY_CHUNK = 20_000
# Messages a page when all of them are read; each page is a look of its own at the database.
_PAGE = 5_000
_ORDERING_S = 2

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BY_PUBLIC_ID = select(_BROADCASTS).where(_BROADCASTS.c.public_id == bindparam("this"))
_LINES = select(_CHUNKS.c.recipients).where(
    _CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number == bindparam("this")
)
_PSEUDONYMS = (
    select(_CHUNKS.c.number)
    .where(_CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number >= bindparam("first"))
    .where(_CHUNKS.c.number < bindparam("end"), _CHUNKS.c.recipients.contains("-"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class MessageView:
    """One recipient's copy: where it stands, since when, and under which names its batch is known.

    `at` is Sinch's time where it gave one; `withheld` why it is not sent, or not yet.
    """

    recipient: str
    status: MessageStatus
    code: int | None
    at: datetime | None
    client_reference: str | None
    batch_id: str | None
    exclusion_reason: ExclusionReason | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which messages; None is any."""

    status: MessageStatus | None
    code: int | None


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in an audience: behind everybody when `chunk` is the number of chunks."""

    chunk: int
    offset: int


def list_messages(
    ctx: Context,
    public_id: str,
    *,
    cursor: str | None = None,
    limit: int = 100,
    status: MessageStatus | None = None,
    code: int | None = None,
) -> Page[MessageView]:
    """The messages with this status and this code, in the order they are sent to.

    Raises NotFound.  The cursor is a place in the audience, never a number: it stands in URLs.
    """
    wanted = _Wanted(status, code)
    place, mark = _read_place(cursor)
    with ctx.db.read() as tx:
        broadcast = tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first()
        if broadcast is None:
            raise NotFound("There is no such broadcast.")
        unordered = _is_large(broadcast) and broadcast.planned == 0
        # Its places will be others once it is put in order.
        if mark and not unordered:
            raise _reject_cursor("the recipients were sorted since, start again")
        found, place = _walk(tx, broadcast, place, limit, wanted)
    here = f"{place.chunk}-{place.offset}{_UNORDERED if unordered else ''}"
    return Page(found, here if place.chunk < broadcast.chunks else None)


def read_messages(
    ctx: Context,
    public_id: str,
    *,
    status: MessageStatus | None = None,
    code: int | None = None,
) -> Iterator[list[MessageView]]:
    """All of them, a few thousand at a time; the first of them are read at once.

    Between two pages nothing is held: each message is as it stood when its page was read.  Raises
    NotFound, and Conflict while a large audience is about to be put in order.
    """
    _refuse_unordered(ctx, public_id)
    read_page = partial(list_messages, ctx, public_id, limit=_PAGE, status=status, code=code)
    return _go_on(read_page, read_page())


def _go_on(
    read_page: Callable[..., Page[MessageView]], page: Page[MessageView]
) -> Iterator[list[MessageView]]:
    yield page.rows
    while page.cursor is not None:
        page = read_page(cursor=page.cursor)
        yield page.rows


def _refuse_unordered(ctx: Context, public_id: str) -> None:
    with ctx.db.read() as tx:
        broadcast = tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first()
    if broadcast is None or not _is_large(broadcast) or broadcast.planned > 0:
        return
    if broadcast.status not in FINAL:
        raise Conflict(
            "Its recipients are being put in order: try again in a moment.",
            retry_after_s=_ORDERING_S,
            status=broadcast.status.value,
        )


def _is_large(broadcast: Row[Any]) -> bool:
    """Whether an audience is put in order of its numbers before it is sent to."""
    return bool(broadcast.chunks > CHUNKS_AT_ONCE) and not is_from_lookup(broadcast)


def _walk(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> tuple[list[MessageView], _Place]:
    found: list[MessageView] = []
    unplanned = status_before_batching(broadcast.status)
    while len(found) < limit and place.chunk < broadcast.chunks:
        left = limit - len(found)
        ordered = _is_large(broadcast) and place.chunk < broadcast.planned
        if ordered and _holds_pseudonyms(tx, broadcast, place, left, wanted):
            ordered = False
        step = _follow_index if ordered else _follow_chunks
        rows, place = step(tx, broadcast, place, left, wanted)
        found += [_view(row, unplanned) for row in rows]
    return found, place


def _holds_pseudonyms(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> bool:
    """Whether somebody here was erased: what stands in place of a number is not in its order."""
    end = min(_reach(broadcast, place, limit, wanted, _BY_INDEX), broadcast.planned)
    values = {"of": broadcast.id, "first": place.chunk, "end": end}
    return tx.execute(_PSEUDONYMS, values).first() is not None


def _follow_index(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> tuple[list[Row[Any]], _Place]:
    """The next messages of a large audience by their key."""
    numbers = _read_lines(tx, broadcast, place.chunk)
    if place.offset >= len(numbers):
        return [], _Place(place.chunk + 1, 0)
    end = min(_reach(broadcast, place, limit, wanted, _BY_INDEX), broadcast.planned)
    last_number = _read_lines(tx, broadcast, end - 1)[-1]
    values = {"of": broadcast.id, "first": numbers[place.offset], "last": last_number}
    statement = select_by_index(wanted.status, wanted.code is not None)
    rows = list(tx.execute(statement, values | {"code": wanted.code, "most": limit}))
    if len(rows) < limit:
        return rows, _Place(end, 0)
    last = rows[-1]
    numbers = _read_lines(tx, broadcast, last.chunk)
    return rows, _step_behind(last.chunk, numbers.index(last.recipient), len(numbers))


def _follow_chunks(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> tuple[list[Row[Any]], _Place]:
    """The next messages of as many chunks as it probably takes."""
    end = min(_reach(broadcast, place, limit, wanted, _BY_CHUNK), broadcast.chunks)
    values = {"of": broadcast.id, "chunk": place.chunk, "offset": place.offset, "end": end}
    statement = select_by_chunk(
        tx.dialect.name,
        wanted.status,
        wanted.code is not None,
        status_before_batching(broadcast.status),
    )
    rows = list(tx.execute(statement, values | {"code": wanted.code, "most": limit}))
    if len(rows) < limit:
        return rows, _Place(end, 0)
    last = rows[-1]
    return rows, _step_behind(last.chunk, last.offset, last.size)


def _reach(broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted, at_once: int) -> int:
    """Before which chunk to stop: as many are looked at as are shown, or more to find a few."""
    everybody = wanted.status is None and wanted.code is None
    looked_at = limit if everybody else max(limit, at_once)
    reach: int = place.chunk + looked_at * broadcast.chunks // max(broadcast.recipients, 1) + 1
    return reach


def _step_behind(chunk: int, offset: int, size: int) -> _Place:
    return _Place(chunk, offset + 1) if offset + 1 < size else _Place(chunk + 1, 0)


def _read_lines(tx: Connection, broadcast: Row[Any], chunk: int) -> list[str]:
    lines: str = tx.execute(_LINES, {"of": broadcast.id, "this": chunk}).scalar_one()
    return lines.split("\n")


def _view(row: Row[Any], unplanned: MessageStatus) -> MessageView:
    if row.state is None:
        return MessageView(row.recipient, unplanned, None, None, None, None)
    status = row.status or STATUS_BY_BATCH_STATE[row.state]
    named = row.client_reference, row.sinch_id
    return MessageView(row.recipient, status, row.code, row.at, *named, row.exclusion_reason)


def _read_place(cursor: str | None) -> tuple[_Place, bool]:
    if cursor is None:
        return _Place(0, 0), False
    place = re.fullmatch(rf"([0-9]{{1,7}})-([0-9]{{1,4}})({_UNORDERED})?", cursor)
    if not place:
        raise _reject_cursor("not a cursor of this list")
    return _Place(int(place[1]), int(place[2])), place[3] is not None


def _reject_cursor(reason: str) -> BadInput:
    return BadInput(f"cursor: {reason}", fields={"cursor": [f"{reason.capitalize()}."]})
