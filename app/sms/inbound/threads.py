"""Threads: the texts with one number, both ways, and the list of them by the newest text.

A thread has the id of any text from its number, so that no address contains a number.
A text is answered by a later text to its number alone, from a page or by an automatic reply.  What
programs send to one number is mostly about something else, such as a code, and answers nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    select,
)

from app.config.keys import OWN_CLIENT, PEOPLE_CLIENT
from app.db.base import table_of
from app.db.types import MAX_ID
from app.errors import NotFound
from app.pagination import Page, make_page
from app.sinch.schemas import read_texts
from app.sms.context import Context
from app.sms.messages.search import list_messages_to
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.reports import Inbound
from app.subscribers.models import Scope, Subscriber, Suppression
from app.subscribers.suppressions.store import read_suppressions

# Texts that a page of the list looks at, and the count on every page: it takes some 20 ms, and a
# page may be short though more come behind it.
_WINDOW = 500
# An older text does not wait for an answer any more.
ANSWER_WITHIN = timedelta(days=14)
# The newest of each kind that a thread shows.
_MAX_TEXTS = 100
# Numbers of erased people.
_PSEUDONYMS = "-"

_INBOUNDS, _SUBSCRIBERS = table_of(Inbound), table_of(Subscriber)
_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_SUPPRESSIONS = table_of(Suppression)


class ThreadFilter(StrEnum):
    """The threads of a list."""

    ALL = "all"
    TO_ANSWER = "to_answer"
    OPTED_OUT = "opted_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadText:
    """A text of a thread; one of ours has a status with its reason, and an author if it has one."""

    at: datetime
    body: str
    is_ours: bool
    status: str = ""
    reason: str = ""
    author: str | None = None
    client: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAnswer:
    """The newest text to a number alone that was written on a page."""

    id: str
    at: datetime
    author: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """Texts with one number, the oldest first.

    `first_id` and `newest_id` are of texts from the number, `our_number` is where it wrote last.
    `subscriber` and `suppression` are rows, the latter only if it is in force.
    """

    first_id: int
    newest_id: int
    phone: str
    our_number: str
    texts: Sequence[ThreadText]
    subscriber: Row[Any] | None
    suppression: Row[Any] | None
    answer: SentAnswer | None


def list_threads(
    ctx: Context,
    *,
    show: ThreadFilter = ThreadFilter.ALL,
    cursor: int | None = None,
    limit: int = 50,
) -> Page[Row[Any]]:
    """Return a page of threads by their newest text, the newest first.

    A row has that text, the subscriber's name, `answered`, `opted_out` and `to_review`.
    """
    window = select(_INBOUNDS).order_by(_INBOUNDS.c.id.desc()).limit(_WINDOW)
    if cursor is not None:
        window = window.where(_INBOUNDS.c.id < cursor)
    query = _select_threads(window, show)
    texts = window.subquery()
    reached = select(func.min(texts.c.id), func.count()).select_from(texts)
    with ctx.db.read() as tx:
        rows = tx.execute(query.limit(limit + 1), {"since": ctx.now() - ANSWER_WITHIN}).all()
        if len(rows) > limit:
            return make_page(rows, limit)
        lowest, looked_at = tx.execute(reached).one()
    return Page(list(rows), str(lowest) if looked_at == _WINDOW else None)


def count_to_answer(ctx: Context) -> int:
    """Return how many threads wait for an answer, among the newest texts."""
    with ctx.db.read() as tx:
        return tx.execute(_select_count(), {"since": ctx.now() - ANSWER_WITHIN}).scalar_one()


def find_phone(ctx: Context, text_id: int) -> str:
    """Return the number that sent a text.  Raises NotFound."""
    with ctx.db.read() as tx:
        return str(_find_text(tx, text_id).sender)


def view_thread(ctx: Context, text_id: int) -> Thread:
    """Return the thread of a text.  Raises NotFound."""
    with ctx.db.read() as tx:
        phone = str(_find_text(tx, text_id).sender)
        theirs = select(_INBOUNDS).where(_INBOUNDS.c.sender == phone)
        inbounds = tx.execute(theirs.order_by(_INBOUNDS.c.id.desc()).limit(_MAX_TEXTS)).all()
        first = select(func.min(_INBOUNDS.c.id)).where(_INBOUNDS.c.sender == phone)
        subscriber = select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone == phone)
        suppression = read_suppressions(tx, ctx.subscriber_context, [phone]).get(phone)
        return Thread(
            first_id=tx.execute(first).scalar_one(),
            newest_id=inbounds[0].id,
            phone=phone,
            our_number=inbounds[0].recipient,
            texts=_merge(inbounds, _list_ours(tx, ctx, phone)),
            subscriber=tx.execute(subscriber).first(),
            suppression=suppression if suppression and suppression.active else None,
            answer=_find_answers(tx, [phone]).get(phone),
        )


def find_answers(ctx: Context, phones: Sequence[str]) -> dict[str, SentAnswer]:
    """Return the newest answer to each of some numbers; those without one are left out."""
    with ctx.db.read() as tx:
        return _find_answers(tx, phones)


def _find_answers(tx: Connection, phones: Sequence[str]) -> dict[str, SentAnswer]:
    answers = _select_alone(_CHUNKS.c.recipients.in_(phones)).where(
        _BROADCASTS.c.client == PEOPLE_CLIENT
    )
    newest = answers.with_only_columns(func.max(_BROADCASTS.c.id)).group_by(_CHUNKS.c.recipients)
    query = answers.where(_BROADCASTS.c.id.in_(newest.scalar_subquery()))
    return {
        row.recipients: SentAnswer(
            id=row.public_id, at=row.created_at, author=row.created_by, text=row.text
        )
        for row in tx.execute(query)
    }


def read_body(kind: str, body: str) -> str:
    """Return what a person wrote; "" for a message without text, such as a picture."""
    return "\n".join(read_texts(kind, body))


def _find_text(tx: Connection, text_id: int) -> Row[Any]:
    query = select(_INBOUNDS.c.sender).where(_INBOUNDS.c.id == min(text_id, MAX_ID))
    row = tx.execute(query.where(~_INBOUNDS.c.sender.startswith(_PSEUDONYMS))).first()
    if row is None:
        raise NotFound("There is no such thread.")
    return row


def _select_threads(window: Select[Any], show: ThreadFilter) -> Select[Any]:
    """Select the texts of a window that are the newest from their number.

    Texts that wait for an answer are those after the parameter `since`.
    """
    texts = window.subquery()
    newer = _INBOUNDS.alias()
    opted_out = and_(
        _SUPPRESSIONS.c.id.is_not(None),
        _SUPPRESSIONS.c.scope == Scope.ALL,
        _SUPPRESSIONS.c.needs_review.is_(False),
    )
    to_review = func.coalesce(_SUPPRESSIONS.c.needs_review, False)
    answered = _is_answered(texts)
    query = (
        select(
            texts,
            _SUBSCRIBERS.c.first_name,
            _SUBSCRIBERS.c.last_name,
            answered.label("answered"),
            opted_out.label("opted_out"),
            to_review.label("to_review"),
        )
        .outerjoin(_SUBSCRIBERS, _SUBSCRIBERS.c.phone == texts.c.sender)
        .outerjoin(
            _SUPPRESSIONS,
            and_(_SUPPRESSIONS.c.phone == texts.c.sender, _SUPPRESSIONS.c.released_at.is_(None)),
        )
        .where(~exists().where(newer.c.sender == texts.c.sender, newer.c.id > texts.c.id))
        .where(~texts.c.sender.startswith(_PSEUDONYMS))
        .order_by(texts.c.id.desc())
    )
    if show is ThreadFilter.TO_ANSWER:
        is_recent = texts.c.recorded_at > bindparam("since")
        return query.where(is_recent, ~answered, ~opted_out)
    return query.where(opted_out) if show is ThreadFilter.OPTED_OUT else query


@cache
def _select_count() -> Select[int]:
    """Select the number of threads that wait.

    The statement is made once: every page counts them, and making it took most of the time.
    """
    window = select(_INBOUNDS).order_by(_INBOUNDS.c.id.desc()).limit(_WINDOW)
    waiting = _select_threads(window, ThreadFilter.TO_ANSWER).order_by(None).subquery()
    return select(func.count()).select_from(waiting)


def _is_answered(texts: Any) -> ColumnElement[bool]:
    query = _select_alone(_CHUNKS.c.recipients == texts.c.sender).where(
        _BROADCASTS.c.client.in_((PEOPLE_CLIENT, OWN_CLIENT)),
        _BROADCASTS.c.created_at >= texts.c.recorded_at,
    )
    return query.correlate(texts).exists()


def _select_alone(is_to: ColumnElement[bool]) -> Select[Any]:
    """Select the broadcasts to one number alone, with the number as `recipients`."""
    columns = _BROADCASTS.c
    return (
        select(
            columns.public_id,
            columns.created_at,
            columns.created_by,
            columns.text,
            _CHUNKS.c.recipients,
        )
        .join(_CHUNKS, _CHUNKS.c.broadcast_id == columns.id)
        # A literal, as in the index: with a parameter the index is not used.
        .where(_CHUNKS.c.size == literal_column("1"), is_to)
    )


def _list_ours(tx: Connection, ctx: Context, phone: str) -> list[ThreadText]:
    messages = list_messages_to(tx, ctx.viewer, phone, limit=_MAX_TEXTS)
    ids = [message["broadcast_id"] for message in messages]
    query = select(_BROADCASTS.c.public_id, _BROADCASTS.c.created_by)
    rows = tx.execute(query.where(_BROADCASTS.c.public_id.in_(ids)))
    authors = {row.public_id: row.created_by for row in rows}
    return [
        ThreadText(
            at=message["created_at"],
            body=message["text"],
            is_ours=True,
            status=message["status"],
            reason=message["reason"],
            author=authors.get(message["broadcast_id"]),
            client=message["client"],
        )
        for message in messages
    ]


def _merge(inbounds: Sequence[Row[Any]], ours: Sequence[ThreadText]) -> list[ThreadText]:
    """Return the newest texts of both, the oldest first."""
    theirs = [
        ThreadText(at=row.recorded_at, body=read_body(row.kind, row.body), is_ours=False)
        for row in reversed(inbounds)
    ]
    return sorted([*theirs, *ours], key=lambda text: text.at)[-_MAX_TEXTS:]
