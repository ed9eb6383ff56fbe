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
from functools import cache, partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    column,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
)

from app.db.base import table_of
from app.errors import Conflict, NotFound
from app.sms.books import COUNTED_AS, stands_unplanned
from app.sms.context import Context
from app.sms.models import Batch, Broadcast, Chunk, Message
from app.sms.planning import CHUNKS_AT_ONCE
from app.sms.reading import Page, refuse_cursor
from app.sms.states import FINAL
from app.sms.statuses import MessageStatus

# Ends the cursor into an audience as the client gave it, which is not in order yet.
_UNORDERED = "u"
# Recipients looked at in one statement where few of them may be wanted.
_AT_ONCE = 20_000
# Messages a page when all of them are read; each page is a look of its own at the database.
_PAGE = 5_000
_ORDERING_S = 2

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)

_BY_PUBLIC_ID = select(_BROADCASTS).where(_BROADCASTS.c.public_id == bindparam("this"))
_LINES = select(_CHUNKS.c.recipients).where(
    _CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number == bindparam("this")
)
_SHOWN = (
    _MESSAGES.c.status,
    _MESSAGES.c.code,
    func.coalesce(_MESSAGES.c.status_at, _MESSAGES.c.noted_at, _BATCHES.c.accepted_at).label("at"),
    _BATCHES.c.state,
    _BATCHES.c.client_reference,
    _BATCHES.c.sinch_id,
)


@dataclass(frozen=True, slots=True)
class MessageView:
    """One recipient's copy: where it stands, since when, and under which names its batch is known.

    `at` is Sinch's time where it gave one.
    """

    recipient: str
    status: MessageStatus
    code: int | None
    at: datetime | None
    client_reference: str | None
    batch_id: str | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which messages; None is any."""

    statuses: frozenset[MessageStatus] | None
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
    statuses: frozenset[MessageStatus] | None = None,
    code: int | None = None,
) -> Page:
    """The messages with one of these statuses and this code, in the order they are sent to.

    Raises NotFound.  The cursor is a place in the audience, never a number: it stands in URLs.
    """
    wanted = _Wanted(statuses, code)
    place, mark = _read_place(cursor)
    with ctx.db.read() as tx:
        broadcast = tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first()
        if broadcast is None:
            raise NotFound("There is no such broadcast.")
        unordered = _is_large(broadcast) and broadcast.planned == 0
        # Its places will be others once it is put in order.
        if mark and not unordered:
            raise refuse_cursor("the recipients were put in order since, begin again")
        found, place = _walk(tx, broadcast, place, limit, wanted)
    here = f"{place.chunk}-{place.offset}{_UNORDERED if unordered else ''}"
    return Page(found, here if place.chunk < broadcast.chunks else None)


def read_messages(
    ctx: Context,
    public_id: str,
    *,
    statuses: frozenset[MessageStatus] | None = None,
    code: int | None = None,
) -> Iterator[list[MessageView]]:
    """All of them, a few thousand at a time; the first of them are read at once.

    Between two pages nothing is held: each message is as it stood when its page was read.  Raises
    NotFound, and Conflict while a large audience is about to be put in order.
    """
    _refuse_unordered(ctx, public_id)
    read_page = partial(list_messages, ctx, public_id, limit=_PAGE, statuses=statuses, code=code)
    return _go_on(read_page, read_page())


def _go_on(read_page: Callable[..., Page], page: Page) -> Iterator[list[MessageView]]:
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
    return bool(broadcast.chunks > CHUNKS_AT_ONCE)


def _walk(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> tuple[list[MessageView], _Place]:
    found: list[MessageView] = []
    unplanned = stands_unplanned(broadcast.status)
    while len(found) < limit and place.chunk < broadcast.chunks:
        left = limit - len(found)
        ordered = _is_large(broadcast) and place.chunk < broadcast.planned
        step = _follow_index if ordered else _follow_chunks
        rows, place = step(tx, broadcast, place, left, wanted)
        found += [_view(row, unplanned) for row in rows]
    return found, place


def _follow_index(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> tuple[list[Row[Any]], _Place]:
    """The next messages of a large audience by their key."""
    numbers = _read_lines(tx, broadcast, place.chunk)
    if place.offset >= len(numbers):
        return [], _Place(place.chunk + 1, 0)
    values = {"of": broadcast.id, "first": numbers[place.offset], "most": limit}
    statement = _make_index_walk(wanted.statuses, wanted.code is not None)
    rows = list(tx.execute(statement, values | {"code": wanted.code}))
    if len(rows) < limit:
        return rows, _Place(broadcast.planned, 0)
    last = rows[-1]
    numbers = _read_lines(tx, broadcast, last.chunk)
    return rows, _step_behind(last.chunk, numbers.index(last.recipient), len(numbers))


def _follow_chunks(
    tx: Connection, broadcast: Row[Any], place: _Place, limit: int, wanted: _Wanted
) -> tuple[list[Row[Any]], _Place]:
    """The next messages of as many chunks as it probably takes."""
    everybody = wanted.statuses is None and wanted.code is None
    looked_at = limit if everybody else max(limit, _AT_ONCE)
    end = place.chunk + looked_at * broadcast.chunks // broadcast.recipients + 1
    values = {"of": broadcast.id, "chunk": place.chunk, "offset": place.offset, "end": end}
    statement = _make_chunk_walk(
        tx.dialect.name,
        wanted.statuses,
        wanted.code is not None,
        stands_unplanned(broadcast.status),
    )
    rows = list(tx.execute(statement, values | {"code": wanted.code, "most": limit}))
    if len(rows) < limit:
        return rows, _Place(min(end, broadcast.chunks), 0)
    last = rows[-1]
    return rows, _step_behind(last.chunk, last.offset, last.size)


def _step_behind(chunk: int, offset: int, size: int) -> _Place:
    return _Place(chunk, offset + 1) if offset + 1 < size else _Place(chunk + 1, 0)


def _read_lines(tx: Connection, broadcast: Row[Any], chunk: int) -> list[str]:
    lines: str = tx.execute(_LINES, {"of": broadcast.id, "this": chunk}).scalar_one()
    return lines.split("\n")


# Made once for each kind of question: to make a statement costs several times what it takes to
# run one.
@cache
def _make_index_walk(statuses: frozenset[MessageStatus] | None, by_code: bool) -> Select[Any]:
    return (
        select(_MESSAGES.c.recipient, _BATCHES.c.chunk, *_SHOWN)
        .select_from(_MESSAGES.join(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id))
        .where(_MESSAGES.c.broadcast_id == bindparam("of"))
        .where(_MESSAGES.c.recipient >= bindparam("first"))
        .where(*_choose(statuses, by_code, unplanned=None))
        .order_by(_MESSAGES.c.recipient)
        .limit(bindparam("most"))
    )


@cache
def _make_chunk_walk(
    dialect: str,
    statuses: frozenset[MessageStatus] | None,
    by_code: bool,
    unplanned: MessageStatus,
) -> Select[Any]:
    line, offset = _take_apart(dialect)
    whose = and_(
        _MESSAGES.c.broadcast_id == _CHUNKS.c.broadcast_id, _MESSAGES.c.recipient == line.c.value
    )
    everybody = (
        _CHUNKS.join(line, true())
        .outerjoin(_MESSAGES, whose)
        .outerjoin(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id)
    )
    here = _CHUNKS.c.number == bindparam("chunk")
    return (
        select(
            line.c.value.label("recipient"),
            _CHUNKS.c.number.label("chunk"),
            offset.label("offset"),
            _CHUNKS.c.size,
            *_SHOWN,
        )
        .select_from(everybody)
        .where(_CHUNKS.c.broadcast_id == bindparam("of"))
        .where(_CHUNKS.c.number >= bindparam("chunk"), _CHUNKS.c.number < bindparam("end"))
        .where(or_(~here, offset >= bindparam("offset")))
        .where(*_choose(statuses, by_code, unplanned=unplanned))
        .order_by(_CHUNKS.c.number, offset)
        .limit(bindparam("most"))
    )


def _take_apart(dialect: str) -> tuple[FromClause, ColumnElement[int]]:
    """The lines of a chunk as rows, and the place of each, from 0."""
    value: ColumnElement[str] = column("value", Text)
    if dialect == "sqlite":
        array = '["' + func.replace(_CHUNKS.c.recipients, "\n", '","') + '"]'
        line: FromClause = func.json_each(array).table_valued(value, "key", name="line")
        return line, type_coerce(line.c.key, Integer)
    lines = func.unnest(func.string_to_array(_CHUNKS.c.recipients, "\n"))
    line = lines.table_valued(value, with_ordinality="key", name="line").render_derived()
    return line, type_coerce(line.c.key, Integer) - 1


def _choose(
    statuses: frozenset[MessageStatus] | None,
    by_code: bool,
    *,
    unplanned: MessageStatus | None,
) -> list[ColumnElement[bool]]:
    """What holds of a wanted message; `unplanned` is where those without a batch stand."""
    wanted: list[ColumnElement[bool]] = []
    if by_code:
        wanted.append(_MESSAGES.c.code == bindparam("code"))
    if statuses is not None:
        states = [state for state, status in COUNTED_AS.items() if status in statuses]
        unreported = and_(_MESSAGES.c.status.is_(None), _BATCHES.c.state.in_(states))
        waiting = _BATCHES.c.id.is_(None) if unplanned in statuses else false()
        # Nothing of the batch is looked at where its state does not matter.
        wanted.append(
            or_(
                _MESSAGES.c.status.in_(sorted(statuses)),
                *([unreported] if states and not by_code else []),
                waiting,
            )
        )
    return wanted


def _view(row: Row[Any], unplanned: MessageStatus) -> MessageView:
    if row.state is None:
        return MessageView(row.recipient, unplanned, None, None, None, None)
    status = row.status or COUNTED_AS[row.state]
    return MessageView(row.recipient, status, row.code, row.at, row.client_reference, row.sinch_id)


def _read_place(cursor: str | None) -> tuple[_Place, bool]:
    if cursor is None:
        return _Place(0, 0), False
    place = re.fullmatch(rf"([0-9]{{1,7}})-([0-9]{{1,4}})({_UNORDERED})?", cursor)
    if not place:
        raise refuse_cursor("not one that we gave")
    return _Place(int(place[1]), int(place[2])), place[3] is not None
