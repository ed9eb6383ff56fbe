"""Suppressions of numbers: find, suppress, release; the lock that claims share; the key of hashes.

A claim takes the lock shared until its transaction ends; a change takes it exclusive.  So a claim
that commits after a STOP has seen the STOP.  A transaction takes one of the two, before any other
lock except that of the counters, which has the longest wait and which no claim takes.

An erased person's number is stored only as its keyed hash.  Under another key the suppression would
not match, and the person would be written to again.  So the key's fingerprint is stored: while a
row without a number exists, nothing is sent under another key.  While every row has its number,
all hashes are recomputed.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    LargeBinary,
    Row,
    bindparam,
    exists,
    insert,
    select,
    text,
    update,
)

from app.db.base import Metadata, table_of
from app.db.facts import read_metadata, set_metadata
from app.db.prepared import PHONES, Prepared, chunked, pack, run_sql
from app.db.schema import WrongDatabase
from app.ids import make_id
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Scope, Suppression

KEY_FACT = "suppression_key"
_PAGE = 1_000
_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(7245013001)"
_LOCK_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(7245013001)")

_SUPPRESSIONS = table_of(Suppression)
_IS_ACTIVE = _SUPPRESSIONS.c.released_at.is_(None)
# Rows of suppressions; `active` is true while one is in force.
SELECT_SUPPRESSIONS = select(_SUPPRESSIONS, _IS_ACTIVE.label("active"))
_IS_FOR_ALL = _SUPPRESSIONS.c.scope == Scope.ALL
_ACTIVE_OF_PHONES = {
    dialect: select(_SUPPRESSIONS.c.phone).where(_SUPPRESSIONS.c.phone.in_(phones), _IS_ACTIVE)
    for dialect, phones in PHONES.items()
}
_SUPPRESSED_FOR_MARKETING = Prepared(_ACTIVE_OF_PHONES)
_SUPPRESSED_FOR_ALL = Prepared(
    {dialect: query.where(_IS_FOR_ALL) for dialect, query in _ACTIVE_OF_PHONES.items()}
)
_BY_HASH = Prepared(
    SELECT_SUPPRESSIONS.where(_SUPPRESSIONS.c.phone_hash.in_(bindparam("hashes", expanding=True)))
)
_ANONYMIZED = Prepared(
    select(
        exists(select(_SUPPRESSIONS.c.id).where(_SUPPRESSIONS.c.phone.is_(None))).label("exists"),
        select(Metadata.value)
        .where(Metadata.name == KEY_FACT)
        .scalar_subquery()
        .label("fingerprint"),
    )
)
_LOOKUP = "SELECT phone_hash, scope FROM suppressions WHERE phone IS NULL AND released_at IS NULL"
_POSTGRES_LOOKUP = text(f"{_LOOKUP} AND phone_hash = ANY(:hashes)").bindparams(
    bindparam("hashes", type_=ARRAY(LargeBinary))
)
_INSERT = insert(_SUPPRESSIONS)
# A text from the phone can release these.
_BY_THE_PERSON = (Cause.STOP, Cause.CARRIER)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRequest:
    """The cause, author and time of suppressing numbers.

    `needs_review` is True if the text may mean something else; `inbound` is Sinch's id of the text.
    """

    cause: Cause
    actor: str
    at: datetime
    scope: Scope = Scope.ALL
    note: str | None = None
    inbound: str | None = None
    needs_review: bool = False


class WrongKey(WrongDatabase):
    """Erased people cannot be recognised under this key: nothing may be sent."""

    def __init__(self) -> None:
        super().__init__(
            "the numbers of erased people were hashed with another key: set SUPPRESSION_KEY, or "
            "the SECRET_KEY it was made of, as it was"
        )


def lock_suppressions_shared(tx: Connection) -> None:
    """Keep suppressions unchanged until this transaction ends; SQLite needs no lock."""
    if tx.dialect.name != "sqlite":
        run_sql(tx, _LOCK_SHARED)


def lock_suppressions_exclusive(tx: Connection) -> None:
    """Keep others from locking or changing suppressions until this transaction ends."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_EXCLUSIVE)


def suppress_many(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str], request: SuppressionRequest
) -> list[str]:
    """Suppress numbers.  Returns those that were not suppressed before.  Raises WrongKey.

    A number that was released after the request's time stays released: the request came late.
    """
    newly_suppressed: list[str] = []
    for part in chunked(list(dict.fromkeys(phones))):
        hashes = {ctx.hash_phone(phone): phone for phone in part}
        added = suppress_hashes(tx, ctx, dict.fromkeys(hashes, request), hashes)
        newly_suppressed += (hashes[phone_hash] for phone_hash in added)
    return newly_suppressed


def suppress_hashes(
    tx: Connection,
    ctx: SubscriberContext,
    requests: Mapping[bytes, SuppressionRequest],
    phones: Mapping[bytes, str],
) -> list[bytes]:
    """Suppress phone hashes, whose numbers are known or not.  Raises WrongKey.

    Returns those that were not suppressed before.
    """
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    known = read_rows(tx, requests)
    added = [phone_hash for phone_hash in requests if phone_hash not in known]
    if added:
        rows = (make_row(ctx, new, phones.get(new), requests[new]) for new in added)
        tx.execute(_INSERT, list(rows))
    for phone_hash, row in known.items():
        changes = _resolve_conflict(row, requests[phone_hash])
        if row.phone is None and phone_hash in phones:
            changes["phone"] = phones[phone_hash]
        if "released_at" in changes:
            added.append(phone_hash)
        change_row(tx, row, changes)
    return added


def make_row(
    ctx: SubscriberContext, phone_hash: bytes, phone: str | None, request: SuppressionRequest
) -> dict[str, Any]:
    """Return the row of a new suppression; without a number it has only the hash."""
    return {
        "public_id": make_id(ctx.now()),
        "phone_hash": phone_hash,
        "phone": phone,
        **_as_values(request),
    }


def _as_values(request: SuppressionRequest) -> dict[str, Any]:
    return {
        "scope": request.scope,
        "cause": request.cause,
        "needs_review": request.needs_review,
        "suppressed_at": request.at,
        "released_at": None,
        "actor": request.actor,
        "note": request.note,
        "inbound": request.inbound,
    }


def _resolve_conflict(row: Row[Any], request: SuppressionRequest) -> dict[str, Any]:
    """Return the columns of an existing row that a request changes.

    Nothing changes if the row was released after the request, or already says as much.
    """
    if row.released_at is not None:
        return {} if row.released_at > request.at else _as_values(request)
    changes: dict[str, Any] = {}
    certain = row.needs_review and not request.needs_review
    if certain or (request.cause is Cause.MANUAL and row.cause is not Cause.MANUAL):
        changes |= {
            "cause": request.cause,
            "actor": request.actor,
            "note": request.note,
            "inbound": request.inbound,
            "needs_review": False,
        }
    if request.scope is Scope.ALL and row.scope is not Scope.ALL:
        changes["scope"] = Scope.ALL
    # The latest request counts: a START from before it releases nothing.
    if request.cause in _BY_THE_PERSON and request.at > row.suppressed_at:
        changes["suppressed_at"] = request.at
    return changes


def release(
    tx: Connection, ctx: SubscriberContext, phone: str, *, at: datetime, actor: str, by_phone: bool
) -> bool:
    """Release a number.  Returns True if it was suppressed before.  Raises WrongKey.

    With `by_phone` a text from the phone asks for it: the text releases an older suppression,
    but none that was entered by hand.
    """
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    row = read_rows(tx, [ctx.hash_phone(phone)]).get(ctx.hash_phone(phone))
    if row is None or row.released_at is not None:
        return False
    if by_phone and (at <= row.suppressed_at or row.cause is Cause.MANUAL):
        return False
    changes = {"released_at": at, "needs_review": False, "actor": actor}
    change_row(tx, row, changes | ({"phone": phone} if row.phone is None else {}))
    return True


def find_suppressed(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str], *, marketing: bool
) -> set[str]:
    """Return the suppressed ones among these numbers.  Raises WrongKey."""
    query = _SUPPRESSED_FOR_MARKETING if marketing else _SUPPRESSED_FOR_ALL
    by_hash, suppressed = has_anonymized(tx, ctx), set[str]()
    for part in chunked(phones):
        rows = query.fetch(tx, {"phones": pack(tx, part)})
        suppressed.update(row.phone for row in rows)
        if by_hash:
            anonymized = _find_anonymized(tx, ctx, part)
            suppressed.update(
                phone for phone, scope in anonymized if marketing or scope is Scope.ALL
            )
    return suppressed


def read_rows(tx: Connection, hashes: Iterable[bytes]) -> dict[bytes, Row[Any]]:
    """Return the rows of suppressions by phone hash, released ones too."""
    return {row.phone_hash: row for row in _BY_HASH.fetch(tx, {"hashes": list(hashes)})}


def read_suppressions(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str]
) -> Mapping[str, Row[Any]]:
    """Return the suppressions of numbers, released ones too."""
    suppressions: dict[str, Row[Any]] = {}
    for part in chunked(phones):
        hashes = {ctx.hash_phone(phone): phone for phone in part}
        for phone_hash, row in read_rows(tx, hashes).items():
            suppressions[hashes[phone_hash]] = row
    return suppressions


def restore_phone(tx: Connection, ctx: SubscriberContext, phones: Sequence[str]) -> None:
    """Restore the numbers of erased people; they stay suppressed.  Raises WrongKey."""
    if not has_anonymized(tx, ctx):
        return
    lock_suppressions_exclusive(tx)
    for phone, row in read_suppressions(tx, ctx, phones).items():
        if row.phone is None:
            change_row(tx, row, {"phone": phone})


def change_row(tx: Connection, row: Row[Any], changes: Mapping[str, Any]) -> None:
    """Change a suppression; the exclusive lock is held."""
    if changes:
        tx.execute(update(_SUPPRESSIONS).where(_SUPPRESSIONS.c.id == row.id).values(changes))


@lru_cache(maxsize=16)
def write_fingerprint(key: bytes) -> str:
    """Return the fingerprint of a key, which does not reveal the key."""
    return hmac.digest(key, b"clarion key check", "sha256").hex()[:32]


def has_anonymized(tx: Connection, ctx: SubscriberContext) -> bool:
    """Return True if a suppression has no number.  Raises WrongKey if its key was another."""
    anonymized = _ANONYMIZED.first(tx)
    if anonymized.exists and anonymized.fingerprint != write_fingerprint(ctx.phone_hash_key):
        raise WrongKey
    return bool(anonymized.exists)


def _find_anonymized(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str]
) -> Iterator[tuple[str, Scope]]:
    """Return the suppressed ones among numbers that are stored only as a hash, with the scope."""
    hashes = {ctx.hash_phone(phone): phone for phone in phones}
    if tx.dialect.name == "sqlite":
        # Without SQLAlchemy's share, which takes several times as long as the look-up.
        rows = tx.exec_driver_sql(_make_sqlite_lookup(len(hashes)), tuple(hashes))
    else:
        rows = tx.execute(_POSTGRES_LOOKUP, {"hashes": list(hashes)})
    return ((hashes[phone_hash], Scope(scope)) for phone_hash, scope in rows)


@lru_cache(maxsize=2_000)
def _make_sqlite_lookup(count: int) -> str:
    marks = ", ".join("?" * count)
    return f"{_LOOKUP} AND phone_hash IN ({marks})"


def settle_key(tx: Connection, ctx: SubscriberContext) -> None:
    """Make every stored hash one of our key; called before each write of suppressions.

    Raises WrongKey if hashes of another key cannot be recomputed.
    """
    fingerprint = write_fingerprint(ctx.phone_hash_key)
    stored = read_metadata(tx, KEY_FACT)
    if stored == fingerprint:
        return
    if stored is not None:
        has_anonymized(tx, ctx)
        _rehash(tx, ctx)
    set_metadata(tx, KEY_FACT, fingerprint)


def _rehash(tx: Connection, ctx: SubscriberContext) -> None:
    """Recompute all hashes: some 10 microseconds a row, once after a change of the key."""
    named = select(_SUPPRESSIONS.c.id, _SUPPRESSIONS.c.phone).order_by(_SUPPRESSIONS.c.id)
    named = named.where(_SUPPRESSIONS.c.phone.is_not(None)).limit(_PAGE)
    statement = (
        update(_SUPPRESSIONS)
        .where(_SUPPRESSIONS.c.id == bindparam("row_id"))
        .values(phone_hash=bindparam("new_hash", type_=LargeBinary))
    )
    after = 0
    while rows := tx.execute(named.where(_SUPPRESSIONS.c.id > after)).all():
        changes = [{"row_id": row.id, "new_hash": ctx.hash_phone(row.phone)} for row in rows]
        tx.execute(statement, changes)
        after = rows[-1].id
