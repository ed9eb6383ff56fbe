"""The consent ledger: an append-only hash chain of opt-ins and opt-outs.

Links are numbered from 1 without a gap, and each hash covers the hash before it.  The last link's
number and hash, the head, are kept in the metadata table and locked while links are appended, so
that concurrent writers extend one chain.  The head is the last lock a transaction takes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, exists, func, or_, select, update

from app.db.base import Metadata, table_of
from app.db.engine import insert_new
from app.db.prepared import Prepared, chunked, insert_rows
from app.db.types import UtcTime
from app.subscribers.consent.hash_chain import (
    BEGINNING,
    commit_to,
    hash_link,
    read_content,
    write_content,
)
from app.subscribers.models import ConsentEvent, ConsentKind, Subscriber

HEAD_FACT = "consent_head"
_SALT_BYTES = 16

_EVENTS, _SUBSCRIBERS, _METADATA = table_of(ConsentEvent), table_of(Subscriber), table_of(Metadata)
_LATER, _PREVIOUS = _EVENTS.alias(), _EVENTS.alias()
_HEAD = select(_METADATA.c.value).where(_METADATA.c.name == HEAD_FACT)
_LOCK_HEAD = Prepared(_HEAD.with_for_update())
_MOVE_HEAD = Prepared(
    update(_METADATA).where(_METADATA.c.name == HEAD_FACT).values(value=bindparam("head"))
)
_LOCK_SUBSCRIBERS = (
    select(_SUBSCRIBERS.c.id)
    .where(_SUBSCRIBERS.c.phone.in_(bindparam("phones", expanding=True)))
    .order_by(_SUBSCRIBERS.c.phone)
    .with_for_update(key_share=True)
)
_APPENDED = _EVENTS.c.id.between(bindparam("first"), bindparam("last"))
_NEWEST = (
    select(_EVENTS.c.phone, func.max(_EVENTS.c.at, type_=UtcTime()).label("at"))
    .where(_APPENDED)
    .group_by(_EVENTS.c.phone)
    .subquery("newest")
)
_OBJECTED_LATER = exists(
    select(_LATER.c.id).where(
        _LATER.c.phone == _NEWEST.c.phone,
        _LATER.c.kind == ConsentKind.OPT_OUT,
        _LATER.c.at > _NEWEST.c.at,
    )
)
_SET_CONSENT = Prepared(
    update(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone == _NEWEST.c.phone, ~_OBJECTED_LATER)
    .where(or_(_SUBSCRIBERS.c.consented_at.is_(None), _SUBSCRIBERS.c.consented_at < _NEWEST.c.at))
    .values(consented_at=_NEWEST.c.at)
)
_CLEAR_CONSENT = Prepared(
    update(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone.in_(select(_EVENTS.c.phone).where(_APPENDED)))
    .where(_SUBSCRIBERS.c.consented_at.is_not(None))
    .values(consented_at=None)
)
_EFFECTS = {
    ConsentKind.OPT_IN: _SET_CONSENT,
    ConsentKind.CONFIRMED: _SET_CONSENT,
    ConsentKind.OPT_OUT: _CLEAR_CONSENT,
}


@dataclass(frozen=True, slots=True)
class Head:
    """The last link: its number and hash; 0 and zeros before the first."""

    number: int = 0
    hash: bytes = BEGINNING

    def __str__(self) -> str:
        return f"{self.number} {self.hash.hex()}"


class ConsentEntry(NamedTuple):
    """The content of a link to be appended.

    `channel` is how it reached us (sms, api, cli, page, import, carrier), `source` where it was
    given (a form's address, a file, a text's id), `wording` the exact text that was sent or agreed
    to.
    """

    kind: ConsentKind
    phone: str
    at: datetime
    channel: str
    actor: str
    source: str
    wording: str
    tag: str | None = None


def append_consent_entries(tx: Connection, entries: Sequence[ConsentEntry]) -> None:
    """Append links in this order, and update when their subscribers consented.

    Meant for at most some thousand in one transaction.
    """
    if not entries:
        return
    _lock_subscribers(tx, entries)
    links = make_links(_lock_head(tx), entries)
    insert_rows(tx, _EVENTS, links)
    _MOVE_HEAD.change(tx, {"head": str(Head(links[-1]["id"], links[-1]["hash"]))})
    for effect, group in groupby(links, lambda link: _EFFECTS.get(link["kind"])):
        ids = [link["id"] for link in group]
        if effect is not None:
            effect.change(tx, {"first": ids[0], "last": ids[-1]})


def _lock_subscribers(tx: Connection, entries: Sequence[ConsentEntry]) -> None:
    """Lock them before the head: others hold a subscriber while they wait for the head."""
    if tx.dialect.name != "sqlite":
        changing = {entry.phone for entry in entries if entry.kind in _EFFECTS}
        for phones in chunked(sorted(changing)):
            tx.execute(_LOCK_SUBSCRIBERS, {"phones": phones})


def _lock_head(tx: Connection) -> Head:
    row = _LOCK_HEAD.first(tx)
    if row is None:
        insert_new(tx, Metadata, name=HEAD_FACT, value=str(Head()))
        row = _LOCK_HEAD.first(tx)
    return _parse_head(row.value)


def make_links(head: Head, entries: Sequence[ConsentEntry]) -> list[dict[str, Any]]:
    """Return the rows of the links that follow the head."""
    links, number, previous = list[dict[str, Any]](), head.number, head.hash
    for entry in entries:
        content = write_content(
            phone=entry.phone,
            actor=entry.actor,
            channel=entry.channel,
            source=entry.source,
            wording=entry.wording,
            tag=entry.tag,
        )
        salt = os.urandom(_SALT_BYTES)
        commitment = commit_to(salt, content)
        number += 1
        previous = hash_link(previous, number, entry.kind.value, entry.at, commitment)
        links.append(
            {
                "id": number,
                "kind": entry.kind,
                "at": entry.at,
                "phone": entry.phone,
                "salt": salt,
                "content": content,
                "commitment": commitment,
                "hash": previous,
            }
        )
    return links


def read_events(tx: Connection, phone: str) -> list[dict[str, Any]]:
    """Return the links of a number that have their content, the oldest first.

    A link has the columns of its row, the fields of its content, and the hash before it.
    """
    rows = tx.execute(
        select(_EVENTS, _PREVIOUS.c.hash.label("previous_hash"))
        .outerjoin(_PREVIOUS, _PREVIOUS.c.id == _EVENTS.c.id - 1)
        .where(_EVENTS.c.phone == phone)
        .order_by(_EVENTS.c.id)
    )
    return [
        {
            **row._asdict(),
            **read_content(row.content),
            "previous_hash": row.previous_hash or BEGINNING,
        }
        for row in rows
    ]


def forget_person(tx: Connection, phone: str) -> int:
    """Remove a number and its contents from the ledger.  Returns how many links had one.

    The links stay, and the chain holds.
    """
    erased = update(_EVENTS).where(_EVENTS.c.phone == phone)
    return tx.execute(erased.values(phone=None, salt=None, content=None)).rowcount


def read_head(tx: Connection) -> Head | None:
    """Return the head that is kept beside the ledger; None before the first link."""
    value = tx.execute(_HEAD).scalar()
    return None if value is None else _parse_head(value)


def _parse_head(value: str) -> Head:
    number, link_hash = value.split(" ")
    return Head(int(number), bytes.fromhex(link_hash))
