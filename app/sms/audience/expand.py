"""An order's people in pieces of a batch's worth, before it is stored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from app.db.base import table_of
from app.db.lists import THESE, pack
from app.sms.audience.chunks import AudienceChunk, choose_chunk_size, chunked
from app.sms.audience.lookup import LookupPlan, read_page
from app.sms.content.placeholders import choose_language
from app.sms.context import Context
from app.sms.request.model import MAX_INLINE_RECIPIENTS, BroadcastRequest, collect_defaults
from app.subscribers.models import Subscriber
from app.text.segments import Encoding, TextSize

_PEOPLE = table_of(Subscriber)
# Made once: to make a statement costs several times what it takes to run one.
_LANGUAGES = {
    dialect: select(_PEOPLE.c.phone, _PEOPLE.c.language).where(_PEOPLE.c.phone.in_(these))
    for dialect, these in THESE.items()
}
_AT_ONCE = 1_000


def expand_request(
    ctx: Context, request: BroadcastRequest
) -> tuple[BroadcastRequest, list[AudienceChunk] | None]:
    """The pieces of an order; None where its people are looked up when the send starts.

    A few people of an audience that is to be sent to now are looked up at once, and the order's
    size is then that of the largest text of theirs.
    """
    size = choose_size(ctx, request)
    if request.audience is None:
        return request, list(_cut(ctx, request, size))
    if request.send_at is not None:
        return request, None
    with ctx.db.read() as tx:
        page = read_page(tx, plan_of(request), most=MAX_INLINE_RECIPIENTS + 1, size=size)
    if page.recipients > MAX_INLINE_RECIPIENTS:
        return request, None
    encoding = Encoding.UCS_2 if page.ucs2 else request.size.encoding
    largest = TextSize(encoding, max(request.size.parts, page.parts))
    return replace(request, size=largest), page.pieces


def iterate_chunks(ctx: Context, request: BroadcastRequest) -> Iterator[AudienceChunk]:
    """All the pieces of an order as it would be sent now; each page is a look at the database."""
    size = choose_size(ctx, request)
    if request.audience is None:
        yield from _cut(ctx, request, size)
        return
    after: str | None = ""
    while after is not None:
        with ctx.db.read() as tx:
            page = read_page(tx, plan_of(request), after=after, size=size)
        yield from page.pieces
        after = page.last


def choose_size(ctx: Context, request: BroadcastRequest) -> int:
    """How many recipients of an order go in one batch."""
    return choose_chunk_size(
        parts=request.size.parts,
        messages_per_second=ctx.rules.messages_per_second,
        ahead_s=ctx.rules.pace_ahead_s,
    )


def plan_of(request: BroadcastRequest) -> LookupPlan:
    """How the audience of an order is looked up."""
    assert request.audience is not None
    return LookupPlan(
        audience=request.audience,
        category=request.category,
        text=request.text,
        texts=request.texts,
        language=request.language,
        fields=request.fields,
        defaults=collect_defaults(request),
    )


def _cut(ctx: Context, request: BroadcastRequest, size: int) -> Iterator[AudienceChunk]:
    if not request.texts:
        for part in chunked(request.recipients, size):
            yield AudienceChunk(part, _select_own(request.parameters, part))
        return
    by_language: dict[str | None, list[str]] = {}
    with ctx.db.read() as tx:
        for number, language in _read_languages(tx, request.recipients):
            chosen = choose_language(language, request.texts, request.language)
            by_language.setdefault(chosen, []).append(number)
    for language, numbers in by_language.items():
        for part in chunked(numbers, size):
            yield AudienceChunk(part, _select_own(request.parameters, part), language)


def _read_languages(tx: Connection, numbers: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each number with the language its subscriber has; None where there is none."""
    for part in chunked(numbers, _AT_ONCE):
        found = tx.execute(_LANGUAGES[tx.dialect.name], {"these": pack(tx, part)})
        known: dict[str, str | None] = {row.phone: row.language for row in found}
        yield from ((number, known.get(number)) for number in part)


def _select_own(
    parameters: Mapping[str, Mapping[str, str]], recipients: Sequence[str]
) -> dict[str, dict[str, str]] | None:
    """The values that belong to these recipients alone, by name; None without any."""
    if not parameters:
        return None
    return {
        name: {number: values[number] for number in recipients if number in values}
        for name, values in parameters.items()
    }
