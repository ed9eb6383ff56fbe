"""Audience lookup: the subscribers of an audience become chunks, a page at a time.

The lookup runs when the send starts.  Subscribers with equal language and exclusion reason share
chunks; the excluded ones are stored, too, so that the counts add up.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, compress
from operator import not_
from typing import Any

from sqlalchemy import (
    Connection,
    Dialect,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    null,
    select,
    true,
    update,
)

from app.db.base import table_of
from app.db.prepared import chunked
from app.sms.audience.chunks import INSERT_CHUNKS, AudienceChunk, choose_chunk_size, make_chunk_rows
from app.sms.audience.grown import pause_if_grown
from app.sms.content.languages import choose_language
from app.sms.content.measure import TextPattern
from app.sms.content.placeholders import DEFAULT, find_placeholders, name_field, read_value
from app.sms.context import Context
from app.sms.lifecycle.finalize import lock_broadcast
from app.sms.lifecycle.gates import read_gates
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, FINAL, Category, ExclusionReason
from app.sms.request.model import BroadcastRequest, collect_defaults
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.audiences.audience import Audience, find_people, has_at_most
from app.subscribers.models import Scope, Subscriber, Suppression
from app.text.segments import Encoding, TextSize

# In restore mode our clock may be wrong by this much: a broadcast that is still scheduled by it may
# have been sent before.
CLOCK_DOUBT = timedelta(hours=1)

# Subscribers a page; each page is one query and one short write transaction.
PAGE_SIZE = 20_000
# With more of them, a page is read by number: to find and sort all for each page takes longer.
_SORTED_AT_ONCE = 100_000
# Ids of which the subscribers are counted in one query.  Other threads wait 1 ms while these are
# sorted or split, as they wait for any thread; with 20,000 ids they wait 6 ms.
_IDS_AT_ONCE = 5_000
# Look-ups of a page: a million take about a second.
_LOOKUPS_AT_ONCE = 500_000
_FEW_LOOKUPS = 4

_BROADCASTS = table_of(Broadcast)
_SUBSCRIBERS, _SUPPRESSIONS = table_of(Subscriber), table_of(Suppression)
# The ids that one query looks at.
IS_NEXT = and_(_SUBSCRIBERS.c.id > bindparam("after"), _SUBSCRIBERS.c.id <= bindparam("end"))
_IS_SUPPRESSED = and_(
    _SUPPRESSIONS.c.phone == _SUBSCRIBERS.c.phone, _SUPPRESSIONS.c.released_at.is_(None)
)
# The database answers with an index of this tuple: enums would cost as much as the query itself.
EXCLUSION_REASONS = (None, ExclusionReason.OPTED_OUT, ExclusionReason.NO_CONSENT)
EXCLUSION_INDEX = {
    Category.TRANSACTIONAL: case((_SUPPRESSIONS.c.scope == Scope.ALL, 1), else_=0),
    Category.MARKETING: case(
        (_SUPPRESSIONS.c.scope.is_not(None), 1), (_SUBSCRIBERS.c.consented_at.is_(None), 2), else_=0
    ),
}


@dataclass(slots=True)
class LookupPage:
    """Chunks of an audience's next subscribers, and the size of their largest text.

    `last` is the number to continue after; None at the end.
    """

    chunks: list[AudienceChunk]
    parts: int = 1
    ucs2: bool = False
    last: str | None = None

    @property
    def recipients(self) -> int:
        return sum(len(chunk.recipients) for chunk in self.chunks)

    def note_sizes(self, sizes: Collection[TextSize | None]) -> None:
        """Note the sizes of more texts; None is one that cannot be filled."""
        known = [size for size in sizes if size]
        self.parts = max((self.parts, *(size.parts for size in known)))
        self.ucs2 = self.ucs2 or any(size.encoding is Encoding.UCS_2 for size in known)


def read_page(
    tx: Connection,
    request: BroadcastRequest,
    *,
    after: str = "",
    limit: int | None = None,
    size: int,
) -> LookupPage:
    """Look up the next subscribers by number, in chunks of up to `size`.

    Without `limit` and without personal values, one page has them all: reading a million rows
    unsorted and sorting them here is quicker than reading them by the index.  An audience of many
    conditions is looked up among some subscribers at a time, since others wait meanwhile.
    """
    assert request.audience is not None
    lookups = request.audience.lookups
    is_costly = lookups > _FEW_LOOKUPS and limit is None
    if request.texts or find_placeholders(request.text) or limit is not None or is_costly:
        end = _find_end(tx, after, _LOOKUPS_AT_ONCE // lookups) if is_costly else None
        rows = _read_rows(tx, request, after, limit or PAGE_SIZE, end)
        page = _make_personal_page(request, rows, size)
        page.last = rows[-1].phone if len(rows) == (limit or PAGE_SIZE) else end
        return page
    return LookupPage(
        [
            AudienceChunk(chunk, exclusion_reason=reason)
            for reason, phones in zip(EXCLUSION_REASONS, _read_all_phones(tx, request), strict=True)
            for chunk in chunked(phones, size)
        ]
    )


def _read_all_phones(tx: Connection, request: BroadcastRequest) -> Iterator[list[str]]:
    """Yield the sorted numbers for each exclusion reason.

    The database joins them to one text each: a million rows would cost a second by themselves.
    """
    index = EXCLUSION_INDEX[request.category]
    columns = [
        func.aggregate_strings(_SUBSCRIBERS.c.phone, "\n").filter(index == number)
        for number in range(len(EXCLUSION_REASONS))
    ]
    for phones in tx.execute(select_audience(request, tx.dialect, *columns)).one():
        yield sorted(phones.split("\n")) if phones else []


def _find_end(tx: Connection, after: str, subscribers: int) -> str | None:
    """Return the number at which that many next subscribers end; None if there are no more."""
    phones = select(_SUBSCRIBERS.c.phone).where(_SUBSCRIBERS.c.phone > after)
    query = phones.order_by(_SUBSCRIBERS.c.phone).offset(subscribers - 1).limit(1)
    return tx.execute(query).scalar()


def _read_rows(
    tx: Connection, request: BroadcastRequest, after: str, limit: int, end: str | None
) -> Sequence[Row[Any]]:
    assert request.audience is not None
    is_large = not has_at_most(tx, request.audience, _SORTED_AT_ONCE)
    phone = _SUBSCRIBERS.c.phone
    query = (
        _select_people(request, tx.dialect, in_order=is_large)
        .where(phone > after, true() if end is None else phone <= end)
        .order_by(phone)
        .limit(limit)
    )
    return tx.execute(query).all()


def count_ids(tx: Connection) -> int:
    """Return the largest id of a subscriber, 0 without any."""
    return tx.execute(select(func.max(_SUBSCRIBERS.c.id))).scalar_one() or 0


def choose_ids_at_once(request: BroadcastRequest) -> int:
    """Return how many ids one query looks at."""
    assert request.audience is not None
    return min(_IDS_AT_ONCE, _LOOKUPS_AT_ONCE // max(1, request.audience.lookups))


def _select_people(
    request: BroadcastRequest, dialect: Dialect, *, in_order: bool = False
) -> Select[Any]:
    """Select what decides about each subscriber's text."""
    columns = _SUBSCRIBERS.c
    has_attributes = any(field.startswith(ATTRIBUTE) for field in list_fields(request).values())
    return select_audience(
        request,
        dialect,
        columns.phone,
        EXCLUSION_INDEX[request.category].label("exclusion_index"),
        columns.first_name,
        columns.last_name,
        columns.language,
        columns.time_zone,
        # To decode them takes as long as all else.
        columns.attributes if has_attributes else null().label("attributes"),
        in_order=in_order,
    )


def select_audience(
    request: BroadcastRequest, dialect: Dialect, *columns: Any, in_order: bool = False
) -> Select[Any]:
    assert request.audience is not None
    source, condition = find_people(request.audience, dialect, in_order=in_order)
    joined = source.outerjoin(_SUPPRESSIONS, _IS_SUPPRESSED)
    return select(*columns).select_from(joined).where(condition)


def _make_personal_page(
    request: BroadcastRequest, rows: Sequence[Row[Any]], size: int
) -> LookupPage:
    """Group rows by exclusion reason and language, with the values that their texts use."""
    groups: dict[tuple[ExclusionReason | None, str | None], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        language = None
        if request.texts:
            language = choose_language(row.language, request.texts, request.language)
        groups[EXCLUSION_REASONS[row.exclusion_index], language].append(row)
    page = LookupPage([])
    for (reason, language), members in groups.items():
        if reason is None:
            page.chunks += _make_personal_chunks(page, request, language, members, size)
        else:
            page.chunks += _make_excluded_chunks(reason, language, members, size)
    return page


def _make_personal_chunks(
    page: LookupPage,
    request: BroadcastRequest,
    language: str | None,
    rows: Sequence[Row[Any]],
    size: int,
) -> Iterator[AudienceChunk]:
    """Yield chunks of those whose text can be filled, then of the others.  Notes the sizes."""
    fields = list_fields(request)
    values = {name: _read_values(rows, field) for name, field in fields.items()}
    pattern = TextPattern(request.texts.get(language or "", request.text))
    phones = [row.phone for row in rows]
    sizes = pattern.measure(phones, values, collect_defaults(request))
    page.note_sizes(set(sizes))
    for members in chunked(list(compress(rows, sizes)), size):
        recipients = [row.phone for row in members]
        own = {
            name: {phone: table[phone] for phone in recipients if phone in table}
            for name, table in values.items()
        }
        used = {name: table for name, table in own.items() if table}
        zones = {row.phone: row.time_zone for row in members if row.time_zone}
        yield AudienceChunk(recipients, used or None, language, zones=zones)
    unfilled = list(compress(rows, map(not_, sizes)))
    yield from _make_excluded_chunks(ExclusionReason.NO_VALUE, language, unfilled, size)


def _make_excluded_chunks(
    reason: ExclusionReason, language: str | None, rows: Sequence[Row[Any]], size: int
) -> Iterator[AudienceChunk]:
    for members in chunked(rows, size):
        yield AudienceChunk([row.phone for row in members], None, language, reason)


def list_fields(request: BroadcastRequest) -> dict[str, str]:
    """Return the subscribers' fields that fill the placeholders of a request's texts."""
    names = chain.from_iterable(map(find_placeholders, (request.text, *request.texts.values())))
    return {name: name_field(name, request.fields) for name in names}


def _read_values(rows: Sequence[Row[Any]], field: str) -> dict[str, str]:
    """Return the values of a field by number, without those who have none."""
    return {row.phone: value for row in rows if (value := read_value(row, field)) is not None}


def resolve_next(ctx: Context, broadcast_id: int) -> bool:
    """Look up the next page of a broadcast that has started.  Returns False if there is none."""
    with ctx.db.read() as tx:
        broadcast = tx.execute(select(_BROADCASTS).where(_BROADCASTS.c.id == broadcast_id)).one()
        if not _is_resolving(tx, ctx, broadcast):
            return False
        size = choose_chunk_size(
            parts=broadcast.parts,
            messages_per_second=ctx.rules.messages_per_second,
            ahead_s=ctx.rules.pace_ahead_s,
        )
        page = read_page(
            tx, _restore_request(broadcast), after=broadcast.resolved_to or "", size=size
        )
    with ctx.db.write() as tx:
        locked = lock_broadcast(tx, broadcast_id)
        # Another worker may have stored this page first.
        if _is_resolving(tx, ctx, locked) and locked.resolved_to == broadcast.resolved_to:
            _store_page(tx, locked, page)
            if page.last is None:
                pause_if_grown(tx, ctx, locked)
    return True


def _is_resolving(tx: Connection, ctx: Context, broadcast: Row[Any]) -> bool:
    if not broadcast.resolving or broadcast.status in FINAL:
        return False
    return broadcast.status in ACTIVE or _may_have_been_sent(tx, ctx, broadcast)


def _may_have_been_sent(tx: Connection, ctx: Context, broadcast: Row[Any]) -> bool:
    """Return True if a broadcast from a backup may have been sent after the backup was made.

    Its audience is then looked up while Sinch is asked for what was sent.
    """
    now = ctx.now()
    if broadcast.id > read_gates(tx, ctx.rules, now).restored_broadcast_id:
        return False
    return broadcast.send_at is None or bool(broadcast.send_at <= now + CLOCK_DOUBT)


def _restore_request(broadcast: Row[Any]) -> BroadcastRequest:
    """Return what the lookup needs of the request that made a broadcast."""
    defaults = broadcast.options.get("defaults") or {}
    return BroadcastRequest(
        recipients=(),
        audience=Audience.from_json(broadcast.audience["select"]),
        category=broadcast.category,
        text=broadcast.text,
        texts=broadcast.texts or {},
        language=broadcast.options.get("language"),
        fields=broadcast.audience.get("fields") or {},
        parameters={name: {DEFAULT: value} for name, value in defaults.items()},
    )


def _store_page(tx: Connection, broadcast: Row[Any], page: LookupPage) -> None:
    if page.chunks:
        rows = list(make_chunk_rows(broadcast.id, page.chunks, first=broadcast.chunks))
        INSERT_CHUNKS.run_each(tx, rows)
    values = {
        "recipients": broadcast.recipients + page.recipients,
        "chunks": broadcast.chunks + len(page.chunks),
        "resolved_to": page.last,
        "resolving": page.last is not None,
        "parts": max(broadcast.parts, page.parts),
        "encoding": Encoding.UCS_2.value if page.ucs2 else broadcast.encoding,
    }
    tx.execute(update(_BROADCASTS).where(_BROADCASTS.c.id == broadcast.id).values(values))
