"""Fingerprints of audiences: two are equal if no person joined, left or changed in between."""

from collections.abc import Collection, Sequence
from functools import reduce
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, cast, func, type_coerce

from app.db.base import table_of
from app.sms.audience.lookup import EXCLUSION_INDEX, list_fields, select_audience
from app.sms.models.states import Category
from app.sms.request.model import BroadcastRequest
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.models import Subscriber

# Between the values of a person, and between two people.
_BETWEEN, _END = "\x1f", "\n"
_SUBSCRIBERS = table_of(Subscriber)


def hash_audience(tx: Connection, request: BroadcastRequest, marked: Collection[str]) -> str:
    """Return a hash of who is in an audience, is suppressed, and of the values that texts use.

    `marked` are numbers of which it matters who is among the audience.  A million people take
    about two seconds: the database joins their values to one text.
    """
    columns: list[ColumnElement[Any]] = [
        _SUBSCRIBERS.c.phone,
        cast(EXCLUSION_INDEX[request.category], Text),
        *(_find_column(field) for field in sorted(set(list_fields(request).values()))),
    ]
    if request.texts:
        columns.append(_SUBSCRIBERS.c.language)
    if request.category is Category.MARKETING:
        columns.append(_SUBSCRIBERS.c.time_zone)
    person = _join(columns)
    query = select_audience(request, tx.dialect, func.aggregate_strings(person, _END))
    people = sorted((tx.execute(query).scalar_one() or "").split(_END))
    hashed = sha256(_END.join(people).encode())
    if marked:
        phones = (line.partition(_BETWEEN)[0] for line in people)
        hashed.update(_END.join(phone for phone in phones if phone in marked).encode())
    return hashed.hexdigest()


def _join(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    texts = [type_coerce(func.coalesce(column, ""), Text) for column in columns]
    return reduce(lambda line, text: line.concat(_BETWEEN).concat(text), texts)


def _find_column(field: str) -> ColumnElement[Any]:
    if field.startswith(ATTRIBUTE):
        attribute = _SUBSCRIBERS.c.attributes[field.removeprefix(ATTRIBUTE)]
        text: ColumnElement[Any] = attribute.as_string()
        return text
    return _SUBSCRIBERS.c[field]
