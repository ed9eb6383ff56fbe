"""Who agreed or objected, when, how and in which words: the ledger of consent, which only grows.

Links are numbered from 1 without a gap, and each has the hash of the one before in its own.  The
last one's number and hash are kept beside them, too, and held while one is added: links follow
one another whoever writes.  It is the last thing a transaction locks; what it locks besides, it
locks before.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    LargeBinary,
    Text,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import aliased

from app.db.base import Metadata, table_of
from app.db.engine import insert_new
from app.db.types import UtcTime
from app.subscribers.consent.hash_chain import (
    BEGINNING,
    commit_to,
    hash_link,
    read_content,
    write_content,
)
from app.subscribers.context import SubscriberContext
from app.subscribers.models import ConsentEvent, ConsentKind, Subscriber

HEAD_FACT = "consent_head"
_CONSENTS = (ConsentKind.OPT_IN, ConsentKind.CONFIRMED)

_EVENTS, _SUBSCRIBERS, _FACTS = table_of(ConsentEvent), table_of(Subscriber), table_of(Metadata)
_LATER, _PREVIOUS = aliased(_EVENTS), aliased(_EVENTS)
# Made once: to make a statement costs several times what it takes to run one.
_HEAD = select(_FACTS.c.value).where(_FACTS.c.name == HEAD_FACT)
_HOLD_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(_FACTS).where(_FACTS.c.name == HEAD_FACT).values(value=bindparam("head"))
_AT = bindparam("moment", type_=UtcTime())
_NOT_YET = or_(_SUBSCRIBERS.c.consented_at.is_(None), _SUBSCRIBERS.c.consented_at < _AT)
_OBJECTED_AFTER = exists(
    select(_LATER.c.id).where(
        _LATER.c.phone == _SUBSCRIBERS.c.phone,
        _LATER.c.kind == ConsentKind.OPT_OUT,
        _LATER.c.at > _AT,
    )
)
_CONSENT = (
    update(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone == bindparam("who"), _NOT_YET, ~_OBJECTED_AFTER)
    .values(consented_at=_AT)
)
_OBJECT = (
    update(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone == bindparam("who"), _SUBSCRIBERS.c.consented_at.is_not(None))
    .values(consented_at=None)
)
_ADDED = _EVENTS.c.id.between(bindparam("first"), bindparam("last"))
_NEWEST = (
    select(_EVENTS.c.phone, func.max(_EVENTS.c.at, type_=UtcTime()).label("at"))
    .where(_ADDED)
    .group_by(_EVENTS.c.phone)
    .subquery("newest")
)
_CONSENT_OF_MANY = (
    update(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone == _NEWEST.c.phone)
    .where(or_(_SUBSCRIBERS.c.consented_at.is_(None), _SUBSCRIBERS.c.consented_at < _NEWEST.c.at))
    .where(
        ~exists(
            select(_LATER.c.id).where(
                _LATER.c.phone == _NEWEST.c.phone,
                _LATER.c.kind == ConsentKind.OPT_OUT,
                _LATER.c.at > _NEWEST.c.at,
            )
        )
    )
    .values(consented_at=_NEWEST.c.at)
)
_OBJECTION_OF_MANY = (
    update(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone.in_(select(_EVENTS.c.phone).where(_ADDED)))
    .where(_SUBSCRIBERS.c.consented_at.is_not(None))
    .values(consented_at=None)
)
_OF_NUMBER = (
    select(_EVENTS, _PREVIOUS.c.hash.label("previous"))
    .outerjoin(_PREVIOUS, _PREVIOUS.c.id == _EVENTS.c.id - 1)
    .where(_EVENTS.c.phone == bindparam("who"))
    .order_by(_EVENTS.c.id)
)
_FORGET = (
    update(_EVENTS)
    .where(_EVENTS.c.phone == bindparam("who"))
    .values(phone=None, salt=None, content=None)
)


@dataclass(frozen=True, slots=True)
class Head:
    """The last link: its number and hash; 0 and zeros where there is none."""

    number: int = 0
    hash: bytes = BEGINNING

    def __str__(self) -> str:
        return f"{self.number} {self.hash.hex()}"


class ConsentEntry(NamedTuple):
    """What one link of many is to say: of whom, when, from where, in which words."""

    phone: str
    at: datetime
    source: str
    wording: str
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link of the ledger that says something of a person, with all that proves it."""

    id: int
    kind: ConsentKind
    at: datetime
    actor: str | None
    channel: str | None
    source: str | None
    wording: str | None
    tag: str | None
    salt: bytes
    content: str
    commitment: bytes
    previous: bytes
    hash: bytes


def append_consent(
    tx: Connection,
    ctx: SubscriberContext,
    kind: ConsentKind,
    phone: str,
    *,
    at: datetime,
    actor: str,
    channel: str,
    source: str,
    wording: str,
    tag: str | None = None,
) -> None:
    """Add a link; the subscriber of this number, if any, counts as agreed or not from then on.

    `channel` is how it reached us (sms, api, cli, import, carrier), `source` where it was said
    (a form's address, a file, a text's id), `wording` what exactly was said or agreed to.
    """
    if kind in _CONSENTS:
        tx.execute(_CONSENT, {"who": phone, "moment": at})
    elif kind is ConsentKind.OPT_OUT:
        tx.execute(_OBJECT, {"who": phone})
    _append(tx, kind, [ConsentEntry(phone, at, source, wording, tag)], actor=actor, channel=channel)


def append_consents(
    tx: Connection,
    ctx: SubscriberContext,
    kind: ConsentKind,
    entries: Iterable[tuple[str, datetime, str, str, str | None]],
    *,
    actor: str,
    channel: str,
) -> int:
    """Add many links of one kind, in their order; how many.

    Entries are as Entry has them.  Meant for some thousand in one transaction.
    """
    listed = list(entries)
    if not listed:
        return 0
    added = _append(tx, kind, listed, actor=actor, channel=channel)
    if kind in _CONSENTS:
        tx.execute(_CONSENT_OF_MANY, {"first": added.start, "last": added[-1]})
    elif kind is ConsentKind.OPT_OUT:
        tx.execute(_OBJECTION_OF_MANY, {"first": added.start, "last": added[-1]})
    return len(added)


def read_events(tx: Connection, phone: str) -> list[Link]:
    """All that the ledger says of a number, the oldest first."""
    return [_make_link(row) for row in tx.execute(_OF_NUMBER, {"who": phone})]


def forget_person(tx: Connection, phone: str) -> int:
    """Take out of the ledger what it says of a number; how many links said something.

    The links stay, and hold together as before.
    """
    return tx.execute(_FORGET, {"who": phone}).rowcount


def read_head(tx: Connection) -> Head | None:
    """The last link as it is kept beside the ledger; None before the first."""
    value = tx.execute(_HEAD).scalar()
    return None if value is None else _parse_head(value)


def _append(
    tx: Connection,
    kind: ConsentKind,
    entries: Sequence[tuple[str, datetime, str, str, str | None]],
    *,
    actor: str,
    channel: str,
) -> range:
    """The numbers of the new links."""
    head = _hold_head(tx)
    links = make_links(head.number, head.hash, kind, entries, actor=actor, channel=channel)
    insert_links(tx, links)
    last = Head(links[-1].id, links[-1].hash)
    tx.execute(_MOVE_HEAD, {"head": str(last)})
    return range(head.number + 1, last.number + 1)


def _hold_head(tx: Connection) -> Head:
    """The head, which nobody else moves until this transaction ends."""
    value = tx.execute(_HOLD_HEAD).scalar()
    if value is None:
        insert_new(tx, Metadata, name=HEAD_FACT, value=str(Head()))
        value = tx.execute(_HOLD_HEAD).scalar_one()
    return _parse_head(value)


def _parse_head(value: str) -> Head:
    number, digest = value.split(" ")
    return Head(int(number), bytes.fromhex(digest))


def _make_link(row: Any) -> Link:
    said = read_content(row.content)
    return Link(
        id=row.id,
        kind=row.kind,
        at=row.at,
        actor=said["actor"],
        channel=said["channel"],
        source=said["source"],
        wording=said["wording"],
        tag=said["tag"],
        salt=row.salt,
        content=row.content,
        commitment=row.commitment,
        previous=row.previous or BEGINNING,
        hash=row.hash,
    )


_SALT_BYTES = 16


# The order of the fields of a NewLink.
_SQLITE = (
    "INSERT INTO consent_events (id, kind, at, phone, salt, content, commitment, hash) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


_POSTGRES = text(
    "INSERT INTO consent_events (id, kind, at, phone, salt, content, commitment, hash) "
    "SELECT * FROM unnest(:id, :kind, :at, :phone, :salt, :content, :commitment, :hash)"
).bindparams(
    bindparam("id", type_=ARRAY(BigInteger)),
    bindparam("at", type_=ARRAY(UtcTime)),
    *(bindparam(name, type_=ARRAY(Text)) for name in ("kind", "phone", "content")),
    *(bindparam(name, type_=ARRAY(LargeBinary)) for name in ("salt", "commitment", "hash")),
)


class NewLink(NamedTuple):
    """A row of the ledger."""

    id: int
    kind: str
    at: datetime
    phone: str
    salt: bytes
    content: str
    commitment: bytes
    hash: bytes


def make_links(
    number: int,
    previous: bytes,
    kind: ConsentKind,
    entries: Sequence[tuple[str, datetime, str, str, str | None]],
    *,
    actor: str,
    channel: str,
) -> list[NewLink]:
    """The links that follow the one with this number and hash."""
    links, word = [], kind.value
    salts = _draw_salts(len(entries))
    for (phone, at, source, wording, tag), salt in zip(entries, salts, strict=True):
        content = write_content(
            phone=phone, actor=actor, channel=channel, source=source, wording=wording, tag=tag
        )
        commitment = commit_to(salt, content)
        number += 1
        previous = hash_link(previous, number, word, at, commitment)
        links.append(NewLink(number, word, at, phone, salt, content, commitment, previous))
    return links


def insert_links(tx: Connection, links: Sequence[NewLink]) -> None:
    """Write them; the head is held."""
    if tx.dialect.name == "sqlite":
        rows = [(link[0], link[1], _write_time(link[2]), *link[3:]) for link in links]
        tx.exec_driver_sql(_SQLITE, rows)
    else:
        columns = zip(*links, strict=True)
        tx.execute(_POSTGRES, dict(zip(NewLink._fields, map(list, columns), strict=True)))


def _draw_salts(count: int) -> Iterator[bytes]:
    drawn = os.urandom(_SALT_BYTES * count)
    return (drawn[place : place + _SALT_BYTES] for place in range(0, len(drawn), _SALT_BYTES))


def _write_time(at: datetime) -> str:
    """A time as SQLAlchemy keeps it in SQLite.

    >>> _write_time(datetime(2026, 3, 1, 12, tzinfo=UTC))
    '2026-03-01 12:00:00.000000'
    """
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(" ", "microseconds")[:26]


class ConsentRecord(NamedTuple):
    """A link for the ledger of consent."""

    kind: ConsentKind
    phone: str
    at: datetime
    channel: str
    actor: str
    source: str
    wording: str
    tag: str | None = None


def append_consent_records(
    tx: Connection, ctx: SubscriberContext, said: Sequence[ConsentRecord]
) -> None:
    """Add what was heard to the ledger of consent; the last thing in a transaction."""
    for each in said:
        append_consent(
            tx,
            ctx,
            each.kind,
            each.phone,
            at=each.at,
            actor=each.actor,
            channel=each.channel,
            source=each.source,
            wording=each.wording,
            tag=each.tag,
        )
