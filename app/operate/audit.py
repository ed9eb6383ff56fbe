"""The audit log: list its entries, seal them, verify the seals.

Seals are a hash chain over the entries, by which a change of one shows.  A seal's hash is the
SHA-256 of the hash of the seal before it and of the entries since, each as a line of JSON.  An
entry is sealed a few minutes after it was written: entries of transactions that are under way may
have lower ids.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from loguru import logger
from sqlalchemy import ColumnClause, Connection, LargeBinary, Row, Select, select

from app.clock import Clock
from app.db.audit import AuditEntry
from app.db.base import Base, column, table_of
from app.db.engine import Database, insert_new
from app.db.types import BigId
from app.pagination import Page, read_newest, read_pages

# In place of the hash before the first seal.
BEGINNING = bytes(32)
# No transaction that writes an entry takes so long.
_SEALED_AFTER = timedelta(minutes=5)
# Entries of one seal at most, so that sealing takes milliseconds.
_MAX_ENTRIES = 1_000


class AuditSeal(Base):
    """The seal over the entries behind the seal before it, up to `last_entry_id`."""

    __tablename__ = "audit_seals"

    id: ColumnClause[int] = column(BigId, primary_key=True, autoincrement=False)
    last_entry_id: ColumnClause[int] = column(BigId)
    entries: ColumnClause[int]
    hash: ColumnClause[bytes] = column(LargeBinary(32))
    sealed_at: ColumnClause[datetime]


_ENTRIES, _SEALS = table_of(AuditEntry), table_of(AuditSeal)
_BY_ID = select(_ENTRIES).order_by(_ENTRIES.c.id)


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The result of a check: `broken` says what is wrong, None if nothing is.

    `head` is the hash of the last seal.  `unsealed` entries are too new to be sealed.
    """

    sealed: int
    unsealed: int
    head: bytes
    broken: str | None = None


def list_entries(
    db: Database, *, only: Mapping[str, str], cursor: int | None = None, limit: int = 50
) -> Page[Row[Any]]:
    """List entries, the newest first; `only` gives the actor, action or subject to list."""
    query = select(_ENTRIES).where(*(_ENTRIES.c[name] == value for name, value in only.items()))
    with db.read() as tx:
        return read_newest(tx, query, _ENTRIES.c.id, cursor=cursor, limit=limit)


def read_all(db: Database) -> Iterator[Row[Any]]:
    """Yield all entries, the oldest first, in short transactions."""
    for page in read_pages(db, select(_ENTRIES), _ENTRIES.c.id, size=_MAX_ENTRIES):
        yield from page


def seal_entries(db: Database, clock: Clock) -> int:
    """Seal entries that are old enough.  Returns how many.  The first seal of a day is logged."""
    now = clock.now()
    with db.write() as tx:
        last = _read_last(tx)
        rows = tx.execute(_behind(last).limit(_MAX_ENTRIES)).all()
        entries = list(_take_old(rows, now - _SEALED_AFTER))
        if not entries:
            return 0
        digest = hash_entries(last.hash if last else BEGINNING, entries)
        made = insert_new(
            tx,
            AuditSeal,
            id=last.id + 1 if last else 1,
            last_entry_id=entries[-1].id,
            entries=len(entries),
            hash=digest,
            sealed_at=now,
        )
    if not made:
        return 0  # another process was quicker
    if last is None or last.sealed_at.date() != now.date():
        logger.bind(head=digest.hex(), seal=last.id + 1 if last else 1).info("audit log sealed")
    return len(entries)


def verify_entries(db: Database, *, head: bytes | None = None) -> AuditVerdict:
    """Check every seal, and that `head`, the hash of an earlier one, is still among them."""
    before, behind, sealed, heads = BEGINNING, 0, 0, set()
    with db.read() as tx:
        for seal in tx.execute(select(_SEALS).order_by(_SEALS.c.id)).all():
            own = _BY_ID.where(_ENTRIES.c.id > behind, _ENTRIES.c.id <= seal.last_entry_id)
            entries = tx.execute(own).all()
            if len(entries) != seal.entries or hash_entries(before, entries) != seal.hash:
                return AuditVerdict(sealed, 0, before, _describe_break(behind, seal))
            before, behind, sealed = seal.hash, seal.last_entry_id, sealed + len(entries)
            heads.add(seal.hash)
        unsealed = len(tx.execute(_BY_ID.where(_ENTRIES.c.id > behind)).all())
    missing = head is not None and head not in heads
    broken = "No seal has this head: seals at the end were removed" if missing else None
    return AuditVerdict(sealed, unsealed, before, broken)


def read_head(tx: Connection) -> str | None:
    """Return the hash of the last seal in hex; None before the first."""
    query = select(_SEALS.c.hash).order_by(_SEALS.c.id.desc()).limit(1)
    head: bytes | None = tx.execute(query).scalar()
    return head.hex() if head else None


def hash_entries(before: bytes, entries: Iterable[Row[Any]]) -> bytes:
    """Return the hash of a seal over entries, behind a seal with the hash `before`."""
    digest = sha256(before)
    for entry in entries:
        digest.update(write_entry(entry).encode() + b"\n")
    return digest.digest()


def write_entry(entry: Row[Any]) -> str:
    """Return an entry as the line of JSON that is hashed, in ASCII."""
    return json.dumps(
        {
            "id": entry.id,
            "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": entry.actor,
            "action": entry.action,
            "subject": entry.subject,
            "facts": entry.facts,
        },
        sort_keys=True,
    )


def _read_last(tx: Connection) -> Row[Any] | None:
    return tx.execute(select(_SEALS).order_by(_SEALS.c.id.desc()).limit(1)).first()


def _behind(last: Row[Any] | None) -> Select[Any]:
    return _BY_ID.where(_ENTRIES.c.id > (last.last_entry_id if last else 0))


def _take_old(entries: Iterable[Row[Any]], latest: datetime) -> Iterator[Row[Any]]:
    """Yield the entries before the first that is too new."""
    for entry in entries:
        if entry.at > latest:
            return
        yield entry


def _describe_break(behind: int, seal: Row[Any]) -> str:
    return (
        f"Entries {behind + 1} to {seal.last_entry_id} are not as they were sealed at "
        f"{seal.sealed_at:%Y-%m-%d %H:%M} UTC: one was changed, added or removed"
    )
