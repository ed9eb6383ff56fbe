"""Many links at once for the ledger of consent: made, and written in one statement.

Without the object mapper's share, which was half of what a link cost.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, Connection, LargeBinary, Text, bindparam, text

from app.db.types import UtcTime
from app.subscribers.consent.hash_chain import commit_to, hash_link, write_content
from app.subscribers.models import ConsentKind

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
