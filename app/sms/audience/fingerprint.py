"""Fingerprints of audiences: two are equal if no person joined, left or changed in between."""

from collections.abc import Collection, Sequence
from functools import reduce
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, type_coerce

from app.db.base import table_of
from app.sms.audience.expand import AUDIENCE_WITHIN_S
from app.sms.audience.lookup import (
    EXCLUSION_INDEX,
    count_ids,
    list_fields,
    match_ids,
    select_audience,
)
from app.sms.context import Context
from app.sms.models.states import Category
from app.sms.request.model import BroadcastRequest
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.models import Subscriber

# Between the values of a person, and between two people.
_BETWEEN, _END = "\x1f", "\n"
_SUBSCRIBERS = table_of(Subscriber)


def hash_audience(ctx: Context, request: BroadcastRequest, marked: Collection[str]) -> str:
    """Return a hash of who is in an audience, is suppressed, and of the values that texts use.

    `marked` are numbers of which it matters who is among the audience.  A million people take
    about two seconds: the database joins the values of the next ids to one text.  Raises
    QueryTooSlow.
    """
    joined, hashed = func.aggregate_strings(_join(_list_columns(request)), _END), sha256()
    with ctx.db.read() as tx:
        end = count_ids(tx)
    after = 0
    while after < end:
        is_next, after = match_ids(request, after)
        with ctx.db.read(within_s=AUDIENCE_WITHIN_S) as tx:
            query = select_audience(request, tx.dialect, joined).where(is_next)
            text: str | None = tx.execute(query).scalar_one()
        if text is None:
            continue  # ids of others leave no trace
        people = sorted(text.split(_END))
        hashed.update(_END.join(people).encode())
        phones = (person.partition(_BETWEEN)[0] for person in people)
        known = [phone for phone in phones if phone in marked] if marked else []
        hashed.update(_END.join(["", *known]).encode())
    return hashed.hexdigest()


def _list_columns(request: BroadcastRequest) -> list[ColumnElement[Any]]:
    columns: list[ColumnElement[Any]] = [
        _SUBSCRIBERS.c.phone,
        cast(EXCLUSION_INDEX[request.category], Text),
        *(_find_column(field) for field in sorted(set(list_fields(request).values()))),
    ]
    if request.texts:
        columns.append(_SUBSCRIBERS.c.language)
    if request.category is Category.MARKETING:
        columns.append(_SUBSCRIBERS.c.time_zone)
    return columns


def _join(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    texts = [type_coerce(func.coalesce(column, ""), Text) for column in columns]
    return reduce(lambda line, text: line.concat(_BETWEEN).concat(text), texts)


def _find_column(field: str) -> ColumnElement[Any]:
    if field.startswith(ATTRIBUTE):
        attribute = _SUBSCRIBERS.c.attributes[field.removeprefix(ATTRIBUTE)]
        text: ColumnElement[Any] = attribute.as_string()
        return text
    return _SUBSCRIBERS.c[field]
