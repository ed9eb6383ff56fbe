"""Columns of an audience, for a count and a hash of all its people: a million in some seconds.

The database joins the values of the next ids to one text: rows, and chunks of them, cost several
times as much.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from hashlib import sha256
from itertools import compress
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Text, cast, func, literal, type_coerce

from app.db.base import table_of
from app.sms.audience.expand import AUDIENCE_WITHIN_S
from app.sms.audience.lookup import (
    EXCLUSION_INDEX,
    EXCLUSION_REASONS,
    IS_NEXT,
    choose_ids_at_once,
    count_ids,
    list_fields,
    select_audience,
)
from app.sms.content.languages import choose_language
from app.sms.content.placeholders import show_value
from app.sms.context import Context
from app.sms.models.states import ExclusionReason
from app.sms.request.model import BroadcastRequest
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.models import Subscriber

# Between the values of a person, and between two people.
_BETWEEN, _END = "\x1f", "\n"
_ALLOWED = str(EXCLUSION_REASONS.index(None))
_SUBSCRIBERS = table_of(Subscriber)


@dataclass(frozen=True, slots=True)
class PeopleColumns:
    """People of an audience whose text is that of `language`: one entry a person in each column.

    `zones` are the stored ones; `values` are by placeholder, with None for people who have none.
    """

    language: str | None
    phones: Sequence[str]
    zones: Sequence[str | None]
    values: Mapping[str, Sequence[str | None]]


class AudienceHash:
    """Hash of who is in an audience, is suppressed, and of what decides about their texts.

    Two are equal if no person joined, left or changed in between.  `marked` are numbers of which
    it matters who is among the audience.
    """

    def __init__(self, marked: set[str]) -> None:
        self.marked, self._hash = marked, sha256()

    def add(self, lines: Sequence[str]) -> None:
        """Add the next people of iterate_lines."""
        people = sorted(lines)
        self._hash.update(_END.join(people).encode())
        known = []
        if self.marked:
            phones = (person.partition(_BETWEEN)[0] for person in people)
            known = [phone for phone in phones if phone in self.marked]
        self._hash.update(_END.join(["", *known]).encode())

    def write(self) -> str:
        """Return the hash of the people that were added."""
        return self._hash.hexdigest()


def iterate_lines(
    ctx: Context, request: BroadcastRequest, *, start: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Yield the people of an audience, a line each, with a transaction for some of them.

    They come with a position: those before a `start` are left out.  Raises QueryTooSlow.
    """
    with ctx.db.read() as tx:
        last = count_ids(tx)
        joined = func.aggregate_strings(_join(request, tx.dialect), _END)
        # Made once: there are hundreds of portions.
        query = select_audience(request, tx.dialect, joined).where(IS_NEXT)
    step = choose_ids_at_once(request)
    for after in range(start, last, step):
        with ctx.db.read(within_s=AUDIENCE_WITHIN_S) as tx:
            ids = {"after": after, "end": after + step}
            text: str | None = tx.execute(query, ids).scalar_one()
        if text is not None:  # ids of others leave no trace
            yield after, text.split(_END)


def read_lines(
    request: BroadcastRequest, lines: Sequence[str]
) -> tuple[Iterator[PeopleColumns], Counter[ExclusionReason]]:
    """Return columns of the people of some lines, and count those whom the query excludes."""
    fields = list_fields(request)
    width = 4 + len(fields)
    cells = _BETWEEN.join(lines).split(_BETWEEN)
    columns = [cells[position::width] for position in range(width)]
    excluded = Counter[ExclusionReason]()
    for index, people in Counter(columns[1]).items():
        if reason := EXCLUSION_REASONS[int(index)]:
            excluded[reason] = people
    if excluded:
        columns = _select_rows(columns, [index == _ALLOWED for index in columns[1]])
    groups = _group_by_language(request, columns)
    return (_name_columns(fields, *group) for group in groups), excluded


def list_excluded(lines: Sequence[str]) -> Iterator[tuple[str, ExclusionReason]]:
    """Yield the people of some lines whom the query excludes, each with the reason."""
    for line in lines:
        phone, index, _ = line.split(_BETWEEN, 2)
        if reason := EXCLUSION_REASONS[int(index)]:
            yield phone, reason


def _join(request: BroadcastRequest, dialect: Dialect) -> ColumnElement[Any]:
    """Return a person's line: number, exclusion, zone, language, then the fields of texts."""
    columns = [
        _SUBSCRIBERS.c.phone,
        cast(EXCLUSION_INDEX[request.category], Text),
        _SUBSCRIBERS.c.time_zone,
        _SUBSCRIBERS.c.language if request.texts else literal("", Text),
        *(_find_column(field, dialect) for field in list_fields(request).values()),
    ]
    texts = [type_coerce(func.coalesce(column, ""), Text) for column in columns]
    return reduce(lambda line, text: line.concat(_BETWEEN).concat(text), texts)


def _find_column(field: str, dialect: Dialect) -> ColumnElement[Any]:
    """Return a field of subscribers without our marks: characters in their place count as they do.

    An attribute is what is written of it in JSON, which has no such marks.
    """
    if field.startswith(ATTRIBUTE):
        name = field.removeprefix(ATTRIBUTE)
        key = f'$."{name}"' if dialect.name == "sqlite" else name
        written = _SUBSCRIBERS.c.attributes.op("->")(cast(literal(key, Text), Text))
        return cast(written, Text)
    column = func.replace(_SUBSCRIBERS.c[field], _END, " ")
    return func.replace(column, _BETWEEN, "\x1e")


def _select_rows(columns: Sequence[list[str]], chosen: Sequence[bool]) -> list[list[str]]:
    return [list(compress(column, chosen)) for column in columns]


def _group_by_language(
    request: BroadcastRequest, columns: list[list[str]]
) -> Iterator[tuple[str | None, list[list[str]]]]:
    if not request.texts:
        yield None, columns
        return
    wanted = columns[3]
    chosen = [choose_language(own or None, request.texts, request.language) for own in wanted]
    for language in dict.fromkeys(chosen):  # in an order that does not change
        yield language, _select_rows(columns, [other == language for other in chosen])


def _name_columns(
    fields: Mapping[str, str], language: str | None, columns: Sequence[list[str]]
) -> PeopleColumns:
    phones, _, zones, _, *values = columns
    shown = {
        name: list(map(_show_attribute if field.startswith(ATTRIBUTE) else _show_text, column))
        for (name, field), column in zip(fields.items(), values, strict=True)
    }
    return PeopleColumns(language, phones, [zone or None for zone in zones], shown)


# Many people have values alike.
_show_text = lru_cache(maxsize=2**14)(show_value)


@lru_cache(maxsize=2**14)
def _show_attribute(written: str) -> str | None:
    return show_value(json.loads(written)) if written else None
