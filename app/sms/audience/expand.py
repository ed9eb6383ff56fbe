"""Audience of a broadcast request, looked up before the request is stored."""

import time
from collections.abc import Iterator
from dataclasses import replace

from app.db.engine import QueryTooSlow
from app.sms.audience.chunks import AudienceChunk, choose_size, chunk_recipients
from app.sms.audience.lookup import read_page
from app.sms.context import Context
from app.sms.request.model import MAX_INLINE_RECIPIENTS, BroadcastRequest
from app.subscribers.audiences.audience import count_audience
from app.text.segments import Encoding, TextSize

# What a request may spend on looking up an audience, or a page of a large one.
AUDIENCE_WITHIN_S = 10.0


def look_up_small(
    ctx: Context, request: BroadcastRequest
) -> tuple[BroadcastRequest, list[AudienceChunk] | None]:
    """Return a request for an audience and its chunks; None if it is looked up later.

    A small audience that is sent to now is looked up at once; the request's size is then that of
    the largest text of its recipients.
    """
    if request.send_at is not None:
        return request, None
    size = choose_size(ctx, request)
    try:
        with ctx.db.read(within_s=AUDIENCE_WITHIN_S) as tx:
            page = read_page(tx, request, limit=MAX_INLINE_RECIPIENTS + 1, size=size)
    except QueryTooSlow:
        return request, None
    if page.recipients > MAX_INLINE_RECIPIENTS:
        return request, None
    encoding = Encoding.UCS_2 if page.ucs2 else request.size.encoding
    largest = TextSize(encoding, max(request.size.parts, page.parts))
    return replace(request, size=largest), page.chunks


def iterate_chunks(
    ctx: Context, request: BroadcastRequest, *, page_size: int
) -> Iterator[AudienceChunk]:
    """Yield the chunks of a request as it would be sent now, with a transaction for each page.

    An audience is read by number in pages of that size, for a caller that stops early.  Raises
    QueryTooSlow when the next page is not full in time.
    """
    if request.audience is None:
        yield from chunk_recipients(ctx, request)
    else:
        yield from _iterate_in_order(ctx, request, choose_size(ctx, request), page_size)


def _iterate_in_order(
    ctx: Context, request: BroadcastRequest, size: int, page_size: int
) -> Iterator[AudienceChunk]:
    after: str | None = ""
    deadline = time.monotonic() + AUDIENCE_WITHIN_S
    while after is not None:
        with ctx.db.read(within_s=deadline - time.monotonic()) as tx:
            page = read_page(tx, request, after=after, limit=page_size, size=size)
        yield from page.chunks
        after = page.last
        if page.recipients >= page_size:
            deadline = time.monotonic() + AUDIENCE_WITHIN_S


def count_recipients(ctx: Context, request: BroadcastRequest) -> int:
    """Return how many recipients a request has now.  Raises BadInput for an unknown tag."""
    if request.audience is None:
        return len(request.recipients)
    with ctx.db.read(within_s=AUDIENCE_WITHIN_S) as tx:
        return count_audience(tx, request.audience)
