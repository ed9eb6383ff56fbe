"""Messages of a broadcast in the order they are sent, all or filtered.

Pages follow the chunks: recipients without a batch are in their chunk alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.errors import BadInput, Conflict
from app.pagination import Page
from app.sms.audience.chunks import CHUNKS_AT_ONCE, is_from_lookup
from app.sms.context import Context
from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE, status_before_batching
from app.sms.lifecycle.find import find_broadcast, require_kept
from app.sms.messages.queries import ALL, MessageFilter, select_messages
from app.sms.models.states import FINAL, ExclusionReason
from app.sms.models.statuses import MessageStatus

# Ends a cursor into a large audience that is not sorted yet.
_UNSORTED = "u"
# Recipients that a page reads at most when few of them may match: a rare status takes further pages
# instead of a long one.  Without an end PostgreSQL may sort the whole rest of an audience.
_MAX_READ = 20_000
# Messages a page when all are read; each page has its own transaction.
_PAGE_SIZE = 5_000
_SORTING_S = 2


@dataclass(frozen=True, slots=True)
class MessageView:
    """One recipient's message: its status, since when, and the names of its batch.

    `at` is Sinch's time if it gave one; `exclusion_reason` is why the message is not sent, or not
    yet.
    """

    recipient: str
    status: MessageStatus
    code: int | None
    at: datetime | None
    client_reference: str | None
    batch_id: str | None
    exclusion_reason: ExclusionReason | None = None


@dataclass(frozen=True, slots=True)
class _Position:
    """Position in an audience.  `chunk` equals the number of chunks at the end."""

    chunk: int
    offset: int


def list_messages(
    ctx: Context,
    public_id: str,
    *,
    cursor: str | None = None,
    limit: int = 100,
    wanted: MessageFilter = ALL,
) -> Page[MessageView]:
    """List the wanted messages, in the order they are sent.

    Raises NotFound, and Purged for a broadcast whose numbers were deleted.
    The cursor is a position in the audience and never contains a number, since URLs are logged.  A
    page may have fewer messages than `limit`, even none, and a cursor all the same.
    """
    with ctx.db.read() as tx:
        broadcast = find_broadcast(tx, ctx, public_id)
        return list_in(tx, broadcast, cursor=cursor, limit=limit, wanted=wanted)


def list_in(
    tx: Connection,
    broadcast: Row[Any],
    *,
    cursor: str | None = None,
    limit: int = 100,
    wanted: MessageFilter = ALL,
) -> Page[MessageView]:
    """List the wanted messages of a broadcast that this transaction has read.  Raises Purged."""
    require_kept(broadcast)
    position, from_unsorted = _parse_cursor(cursor)
    unsorted = _is_large(broadcast) and broadcast.planned == 0
    # Sorting changes every position.
    if from_unsorted and not unsorted:
        raise _reject_cursor("the recipients were sorted since, start again")
    messages, position = _read_messages(tx, broadcast, position, limit, wanted)
    next_cursor = f"{position.chunk}-{position.offset}{_UNSORTED if unsorted else ''}"
    return Page(messages, next_cursor if position.chunk < broadcast.chunks else None)


def read_messages(
    ctx: Context, public_id: str, *, wanted: MessageFilter = ALL
) -> Iterator[list[MessageView]]:
    """Read all wanted messages, a few thousand at a time, the first page at once.

    No transaction is open between two pages: each page has the messages as of its reading.  Raises
    NotFound, and Conflict while a large audience is about to be sorted.
    """
    with ctx.db.read() as tx:
        broadcast = find_broadcast(tx, ctx, public_id)
    require_kept(broadcast)
    if _is_large(broadcast) and broadcast.planned == 0 and broadcast.status not in FINAL:
        raise Conflict(
            "The recipients are being sorted: try again in a moment.",
            retry_after_s=_SORTING_S,
            status=broadcast.status.value,
        )

    def read_page(cursor: str | None) -> Page[MessageView]:
        return list_messages(ctx, public_id, cursor=cursor, limit=_PAGE_SIZE, wanted=wanted)

    def continue_after(page: Page[MessageView]) -> Iterator[list[MessageView]]:
        yield page.rows
        while page.cursor is not None:
            page = read_page(page.cursor)
            yield page.rows

    return continue_after(read_page(None))


def _is_large(broadcast: Row[Any]) -> bool:
    """Return True if an audience is sorted by number before it is planned."""
    return bool(broadcast.chunks > CHUNKS_AT_ONCE) and not is_from_lookup(broadcast)


def _read_messages(
    tx: Connection, broadcast: Row[Any], position: _Position, limit: int, wanted: MessageFilter
) -> tuple[list[MessageView], _Position]:
    messages: list[MessageView] = []
    unplanned = status_before_batching(broadcast.status)
    last = position.chunk + _count_chunks(broadcast, _MAX_READ)
    while len(messages) < limit and position.chunk < min(broadcast.chunks, last):
        remaining = limit - len(messages)
        end = min(_choose_end(broadcast, position, remaining, wanted), broadcast.chunks)
        query = select_messages(
            broadcast.id,
            wanted,
            dialect=tx.dialect.name,
            first=position.chunk,
            offset=position.offset,
            end=end,
            unplanned=unplanned,
        )
        rows = list(tx.execute(query.limit(remaining)))
        messages += [_make_view(row, unplanned) for row in rows]
        if len(rows) < remaining:
            position = _Position(end, 0)
        else:
            position = _next_position(rows[-1].chunk, rows[-1].offset, rows[-1].size)
    return messages, position


def _choose_end(broadcast: Row[Any], position: _Position, limit: int, wanted: MessageFilter) -> int:
    """Return the chunk to stop before: probably `limit` recipients on, more if few may match."""
    recipients = limit if wanted.matches_all else max(limit, _MAX_READ)
    return position.chunk + _count_chunks(broadcast, recipients)


def _count_chunks(broadcast: Row[Any], recipients: int) -> int:
    """Return how many chunks have about this many recipients, at least one."""
    chunks: int = recipients * broadcast.chunks // max(broadcast.recipients, 1) + 1
    return chunks


def _next_position(chunk: int, offset: int, size: int) -> _Position:
    return _Position(chunk, offset + 1) if offset + 1 < size else _Position(chunk + 1, 0)


def _make_view(row: Row[Any], unplanned: MessageStatus) -> MessageView:
    if row.state is None:
        return MessageView(row.recipient, unplanned, None, None, None, None)
    status = row.status or STATUS_BY_BATCH_STATE[row.state]
    names = row.client_reference, row.sinch_id
    return MessageView(row.recipient, status, row.code, row.at, *names, row.exclusion_reason)


def _parse_cursor(cursor: str | None) -> tuple[_Position, bool]:
    """Return the position, and True if the audience was not sorted yet."""
    if cursor is None:
        return _Position(0, 0), False
    match = re.fullmatch(rf"([0-9]{{1,7}})-([0-9]{{1,4}})({_UNSORTED})?", cursor)
    if not match:
        raise _reject_cursor("not a cursor of this list")
    return _Position(int(match[1]), int(match[2])), match[3] is not None


def _reject_cursor(reason: str) -> BadInput:
    return BadInput(f"cursor: {reason}", fields={"cursor": [f"{reason.capitalize()}."]})
