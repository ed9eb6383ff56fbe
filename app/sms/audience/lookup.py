"""Who an audience is, looked up a page at a time when the send starts.

Each page of people becomes chunks of those who are alike: in their language, and in why they are
left out, if they are.  Whoever is left out stays in the books, as suppressed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    FromClause,
    Row,
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)

from app.db.base import table_of
from app.sms.audience.chunks import AudienceChunk, choose_chunk_size, chunked
from app.sms.content.placeholders import (
    choose_language,
    find_placeholders,
    measure_personal,
    name_field,
    read_value,
)
from app.sms.context import Context
from app.sms.lifecycle.finalize import lock_broadcast
from app.sms.lifecycle.gates import read_gates
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import ACTIVE, FINAL, Category, ExclusionReason
from app.subscribers.audiences.audience import Audience, find_people
from app.subscribers.models import Scope, Subscriber, Suppression
from app.text.segments import Encoding

# People a page; each page is one look at the database and one short transaction.
# In restore mode our clock may be wrong by this much: a broadcast that it still calls scheduled may
# have been sent before.
CLOCK_DOUBT = timedelta(hours=1)

_PAGE = 20_000

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_PEOPLE, _SUPPRESSIONS = table_of(Subscriber), table_of(Suppression)
# Made once: to make a statement costs several times what it takes to run one.
_ADD_CHUNKS = insert(_CHUNKS)
_GROW = update(_BROADCASTS).where(_BROADCASTS.c.id == bindparam("this"))
_IS_SUPPRESSED = and_(
    _SUPPRESSIONS.c.phone == _PEOPLE.c.phone, _SUPPRESSIONS.c.released_at.is_(None)
)
# Judged in the database, as a plain number: types of our own would cost as much as all the rest.
_IS_FOR_ALL = _SUPPRESSIONS.c.scope == Scope.ALL
_JUDGED = (None, ExclusionReason.OPTED_OUT, ExclusionReason.NO_CONSENT)
_JUDGEMENTS = {
    Category.TRANSACTIONAL: case((_IS_FOR_ALL, 1), else_=0),
    Category.MARKETING: case(
        (_SUPPRESSIONS.c.scope.is_not(None), 1), (_PEOPLE.c.consented_at.is_(None), 2), else_=0
    ),
}
_PERSONAL = (
    _PEOPLE.c.first_name,
    _PEOPLE.c.last_name,
    _PEOPLE.c.language,
    _PEOPLE.c.attributes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupPlan:
    """What has to be known to make pieces of people: whom, which texts, which values."""

    audience: Audience
    category: Category
    text: str
    texts: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> dict[str, str]:
        """The field that fills each placeholder of any of the texts."""
        names = [
            name for text in (self.text, *self.texts.values()) for name in find_placeholders(text)
        ]
        return {name: name_field(name, self.fields) for name in dict.fromkeys(names)}


@dataclass(slots=True)
class LookupPage:
    """People of an audience in pieces, the largest text of theirs, and behind whom to go on."""

    pieces: list[AudienceChunk]
    parts: int
    ucs2: bool
    last: str | None

    @property
    def recipients(self) -> int:
        return sum(len(piece.recipients) for piece in self.pieces)


def read_page(
    tx: Connection, plan: LookupPlan, *, after: str = "", most: int | None = None, size: int
) -> LookupPage:
    """The next people of an audience in the order of their numbers, in pieces of up to `size`.

    At most so many; without that as many as fit in memory, which is all of them where they are
    numbers alone.  In the order of numbers a database reads rows from all over the place: a million
    are quicker read as they come and then put in order.
    """
    personal = bool(plan.texts or plan.wanted)
    if personal or most is not None:
        rows, last = _read_some(tx, plan, after, most or _PAGE)
        return _sort_personally(plan, rows, size, last)
    pieces = [
        AudienceChunk(part, exclusion_reason=exclusion_reason)
        for exclusion_reason, phones in zip(_JUDGED, _read_all(tx, plan), strict=True)
        for part in chunked(phones, size)
    ]
    return LookupPage(pieces, 1, False, None)


def _read_all(tx: Connection, plan: LookupPlan) -> Iterator[list[str]]:
    """The numbers of all, by how they are judged, each group in order.

    Put together as one text each in the database: a million rows cost a second by themselves.
    """
    source, condition = _find_people(plan, tx.dialect)
    judged = _JUDGEMENTS[plan.category]
    groups = [
        func.aggregate_strings(_PEOPLE.c.phone, "\n").filter(judged == number)
        for number in range(len(_JUDGED))
    ]
    for numbers in tx.execute(select(*groups).select_from(source).where(condition)).one():
        yield sorted(numbers.split("\n")) if numbers else []


def _read_some(
    tx: Connection, plan: LookupPlan, after: str, most: int
) -> tuple[list[Any], str | None]:
    """The next people by their numbers, and the last of these when there may be more."""
    source, condition = _find_people(plan, tx.dialect)
    some = (
        select(_PEOPLE.c.phone, _JUDGEMENTS[plan.category].label("judged"), *_PERSONAL)
        .select_from(source)
        .where(condition, _PEOPLE.c.phone > after)
        .order_by(_PEOPLE.c.phone)
        .limit(most)
    )
    rows: list[Any] = list(tx.execute(some))
    return rows, rows[-1].phone if len(rows) == most else None


def _find_people(plan: LookupPlan, dialect: Dialect) -> tuple[FromClause, ColumnElement[bool]]:
    source, condition = find_people(plan.audience, dialect)
    return source.outerjoin(_SUPPRESSIONS, _IS_SUPPRESSED), condition


def _sort_personally(
    plan: LookupPlan, rows: Sequence[Any], size: int, last: str | None
) -> LookupPage:
    groups: dict[tuple[ExclusionReason | None, str | None], list[tuple[str, dict[str, str]]]]
    groups = defaultdict(list)
    page = LookupPage([], 1, False, last)
    wanted = plan.wanted
    placeholders = {text: find_placeholders(text) for text in (plan.text, *plan.texts.values())}
    for row in rows:
        language = choose_language(row.language, plan.texts, plan.language)
        text = plan.texts.get(language or "", plan.text)
        own = {
            name: value
            for name, field_ in wanted.items()
            if (value := read_value(row, field_)) is not None
        }
        exclusion_reason = _JUDGED[row.judged]
        values = {**plan.defaults, **own}
        if exclusion_reason is None:
            exclusion_reason = _measure(page, text, placeholders[text], values)
        groups[exclusion_reason, language if plan.texts else None].append((row.phone, own))
    page.pieces = [
        _make_piece(part, exclusion_reason, language)
        for (exclusion_reason, language), people in groups.items()
        for part in chunked(people, size)
    ]
    return page


def _measure(
    page: LookupPage, text: str, names: Sequence[str], values: Mapping[str, str]
) -> ExclusionReason | None:
    """Let the page know how large a person's text is; why they cannot get any."""
    if any(name not in values for name in names):
        return ExclusionReason.NO_VALUE
    size = measure_personal(text, values)
    if size is None:
        return ExclusionReason.NO_VALUE
    page.parts = max(page.parts, size.parts)
    page.ucs2 = page.ucs2 or size.encoding is Encoding.UCS_2
    return None


def _make_piece(
    people: Sequence[tuple[str, dict[str, str]]],
    exclusion_reason: ExclusionReason | None,
    language: str | None,
) -> AudienceChunk:
    own: dict[str, dict[str, str]] = defaultdict(dict)
    if exclusion_reason is None:
        for phone, values in people:
            for name, value in values.items():
                own[name][phone] = value
    return AudienceChunk(
        [phone for phone, _ in people], dict(own) or None, language, exclusion_reason
    )


def resolve_next(ctx: Context, broadcast_id: int) -> bool:
    """Look up the next people of a broadcast whose send has started; whether it had any to do."""
    with ctx.db.read() as tx:
        query = select(_BROADCASTS).where(_BROADCASTS.c.id == broadcast_id)
        broadcast = tx.execute(query).one()
        if not _is_resolving(tx, ctx, broadcast):
            return False
        page = read_page(
            tx,
            plan_of(broadcast),
            after=broadcast.resolved_to or "",
            size=choose_chunk_size(
                parts=broadcast.parts,
                messages_per_second=ctx.rules.messages_per_second,
                ahead_s=ctx.rules.pace_ahead_s,
            ),
        )
    with ctx.db.write() as tx:
        held = lock_broadcast(tx, broadcast_id)
        # Somebody else may have been quicker.
        if _is_resolving(tx, ctx, held) and held.resolved_to == broadcast.resolved_to:
            _add(tx, held, page)
    return True


def _is_resolving(tx: Connection, ctx: Context, broadcast: Row[Any]) -> bool:
    if not broadcast.resolving or broadcast.status in FINAL:
        return False
    return broadcast.status in ACTIVE or may_have_been_sent(tx, ctx, broadcast)


def may_have_been_sent(tx: Connection, ctx: Context, broadcast: Row[Any]) -> bool:
    """Return True if a broadcast from a backup may have been sent after the backup was made.

    Its audience is then looked up while Sinch is asked for what was sent.
    """
    now = ctx.now()
    if broadcast.id > read_gates(tx, ctx.rules, now).restored_broadcast_id:
        return False
    return broadcast.send_at is None or bool(broadcast.send_at <= now + CLOCK_DOUBT)


def plan_of(broadcast: Row[Any]) -> LookupPlan:
    """How the audience of a stored broadcast is looked up."""
    return LookupPlan(
        audience=Audience.from_json(broadcast.audience["select"]),
        category=broadcast.category,
        text=broadcast.text,
        texts=broadcast.texts or {},
        language=broadcast.options.get("language"),
        fields=broadcast.audience.get("fields") or {},
        defaults=broadcast.options.get("defaults") or {},
    )


def _add(tx: Connection, broadcast: Row[Any], page: LookupPage) -> None:
    if page.pieces:
        tx.execute(
            _ADD_CHUNKS, list(make_chunks(broadcast.id, page.pieces, first=broadcast.chunks))
        )
    values = {
        "recipients": broadcast.recipients + page.recipients,
        "chunks": broadcast.chunks + len(page.pieces),
        "resolved_to": page.last,
        "resolving": page.last is not None,
        "parts": max(broadcast.parts, page.parts),
        "encoding": Encoding.UCS_2.value if page.ucs2 else broadcast.encoding,
    }
    tx.execute(_GROW.values(values), {"this": broadcast.id})


def make_chunks(
    broadcast_id: int, pieces: Sequence[AudienceChunk], *, first: int = 0
) -> Iterator[dict[str, Any]]:
    """The rows of pieces, numbered from `first` on."""
    for number, piece in enumerate(pieces, first):
        yield {
            "broadcast_id": broadcast_id,
            "number": number,
            "size": len(piece.recipients),
            "recipients": "\n".join(piece.recipients),
            "parameters": piece.own,
            "language": piece.language,
            "exclusion_reason": piece.exclusion_reason,
        }
