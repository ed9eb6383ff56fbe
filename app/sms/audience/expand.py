"""Chunks of a broadcast request's audience, before it is stored."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from app.db.base import table_of
from app.db.engine import QueryTooSlow
from app.db.prepared import PHONES, chunked, pack
from app.sms.audience.chunks import AudienceChunk, choose_chunk_size, make_chunks
from app.sms.audience.lookup import read_page
from app.sms.content.languages import choose_language
from app.sms.context import Context
from app.sms.request.model import MAX_INLINE_RECIPIENTS, BroadcastRequest
from app.subscribers.audiences.audience import count_audience
from app.subscribers.models import Subscriber
from app.text.segments import Encoding, TextSize

# What a request may spend on looking up an audience, or a page of a large one.
AUDIENCE_WITHIN_S = 10.0


def expand_request(
    ctx: Context, request: BroadcastRequest
) -> tuple[BroadcastRequest, list[AudienceChunk] | None]:
    """Return the request and its chunks; None for an audience that is looked up later.

    A small audience that is sent to now is looked up at once; the request's size is then that of
    the largest text of its recipients.
    """
    size = choose_size(ctx, request)
    if request.audience is None:
        return request, list(_chunk_recipients(ctx, request, size))
    if request.send_at is not None:
        return request, None
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
    size = choose_size(ctx, request)
    if request.audience is None:
        yield from _chunk_recipients(ctx, request, size)
    else:
        yield from _iterate_in_order(ctx, request, size, page_size)


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


def choose_size(ctx: Context, request: BroadcastRequest) -> int:
    """Return how many recipients of a request go in one batch."""
    return choose_chunk_size(
        parts=request.size.parts,
        messages_per_second=ctx.rules.messages_per_second,
        ahead_s=ctx.rules.pace_ahead_s,
    )


def _chunk_recipients(
    ctx: Context, request: BroadcastRequest, size: int
) -> Iterator[AudienceChunk]:
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
