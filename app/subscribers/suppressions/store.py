"""Which numbers are not written to.

Whoever claims a batch holds suppressions still until its transaction ends; whoever changes one
holds them for the change.  So a claim that is committed after a STOP has seen it.  Within one
transaction it is the one or the other, before any other lock but that of the books, which is
waited for longest and which no claim takes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, text, update

from app.db.base import table_of
from app.db.lists import PHONES, pack
from app.ids import make_id
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Scope, Suppression
from app.subscribers.suppressions.hash_key import find_anonymized, has_anonymized, settle_key

# So many numbers go into one statement.
QUERY_CHUNK_SIZE = 1_000

_HOLD_STILL = text("SELECT pg_advisory_xact_lock_shared(7245013001)")
_HOLD_FOR_CHANGE = text("SELECT pg_advisory_xact_lock(7245013001)")

_SUPPRESSIONS = table_of(Suppression)
_IS_ACTIVE = _SUPPRESSIONS.c.released_at.is_(None)
_IS_FOR_ALL = _SUPPRESSIONS.c.scope == Scope.ALL
# Made once: to make a statement costs several times what it takes to run one.
_NAMED = {
    dialect: select(_SUPPRESSIONS.c.phone).where(_SUPPRESSIONS.c.phone.in_(these), _IS_ACTIVE)
    for dialect, these in PHONES.items()
}
# By whether it is about marketing.
_NAMED_FOR = {
    True: _NAMED,
    False: {dialect: query.where(_IS_FOR_ALL) for dialect, query in _NAMED.items()},
}
_BY_DIGEST = select(_SUPPRESSIONS).where(
    _SUPPRESSIONS.c.phone_hash.in_(bindparam("these", expanding=True))
)
_ADD = insert(_SUPPRESSIONS)
_NAME = (
    update(_SUPPRESSIONS)
    .where(_SUPPRESSIONS.c.phone_hash == bindparam("this"), _SUPPRESSIONS.c.phone.is_(None))
    .values(phone=bindparam("number"))
)
# Who asked for it could also take it back by a text.
_BY_THE_PERSON = (Cause.STOP, Cause.CARRIER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """A suppression as it stands; in force while `released_at` is None."""

    public_id: str
    phone: str | None
    scope: Scope
    cause: Cause
    needs_review: bool
    suppressed_at: datetime
    released_at: datetime | None
    actor: str
    note: str | None
    inbound: str | None

    @property
    def active(self) -> bool:
        """Whether it is in force."""
        return self.released_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRequest:
    """That numbers be suppressed: why, on whose word, as of when.

    `needs_review` is True if the text may mean something else; `inbound` is Sinch's id of it.
    """

    cause: Cause
    actor: str
    at: datetime
    scope: Scope = Scope.ALL
    note: str | None = None
    inbound: str | None = None
    needs_review: bool = False


def lock_suppressions_shared(tx: Connection) -> None:
    """Suppressions stay as they are until this transaction ends; SQLite has one writer anyway."""
    if tx.dialect.name != "sqlite":
        tx.execute(_HOLD_STILL)


def lock_suppressions_exclusive(tx: Connection) -> None:
    """Nobody holds suppressions still, nor changes them, until this transaction ends."""
    if tx.dialect.name != "sqlite":
        tx.execute(_HOLD_FOR_CHANGE)


def suppress(
    tx: Connection,
    ctx: SubscriberContext,
    phone: str,
    *,
    cause: Cause,
    actor: str,
    at: datetime,
    scope: Scope = Scope.ALL,
    note: str | None = None,
    inbound: str | None = None,
    needs_review: bool = False,
) -> bool:
    """Write to this number no more; whether it was written to until now.

    What was released later than `at` stays released: the text that asked for it comes late.
    Raises WrongKey.
    """
    wish = SuppressionRequest(
        cause=cause,
        actor=actor,
        at=at,
        scope=scope,
        note=note,
        inbound=inbound,
        needs_review=needs_review,
    )
    return bool(suppress_many(tx, ctx, [phone], wish))


def suppress_many(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str], wish: SuppressionRequest
) -> list[str]:
    """The same for many at once; those that were written to until now."""
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    newly_suppressed: list[str] = []
    for part in _cut(list(dict.fromkeys(phones))):
        newly_suppressed += _suppress_part(tx, ctx, part, wish)
    return newly_suppressed


def _suppress_part(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str], wish: SuppressionRequest
) -> list[str]:
    digests = {ctx.hash_phone(phone): phone for phone in phones}
    known = {row.phone_hash: row for row in tx.execute(_BY_DIGEST, {"these": list(digests)})}
    added = [
        make_row(ctx, phone_hash, phone, wish)
        for phone_hash, phone in digests.items()
        if phone_hash not in known
    ]
    if added:
        tx.execute(_ADD, added)
    newly_suppressed = [row["phone"] for row in added]
    for phone_hash, row in known.items():
        changes = resolve_conflict(row, wish)
        if row.phone is None:
            changes["phone"] = digests[phone_hash]
        if "released_at" in changes:
            newly_suppressed.append(digests[phone_hash])
        change_row(tx, row, changes)
    return newly_suppressed


def make_row(
    ctx: SubscriberContext, phone_hash: bytes, phone: str | None, wish: SuppressionRequest
) -> dict[str, Any]:
    """A new suppression; without a number only its hash is kept."""
    return {
        "public_id": make_id(ctx.now()),
        "phone_hash": phone_hash,
        "phone": phone,
        **_as_values(wish),
    }


def _as_values(wish: SuppressionRequest) -> dict[str, Any]:
    return {
        "scope": wish.scope,
        "cause": wish.cause,
        "needs_review": wish.needs_review,
        "suppressed_at": wish.at,
        "released_at": None,
        "actor": wish.actor,
        "note": wish.note,
        "inbound": wish.inbound,
    }


def resolve_conflict(row: Row[Any], wish: SuppressionRequest) -> dict[str, Any]:
    """What a wish changes of a row; none when it is older than what lifted it, or says no more."""
    if row.released_at is not None:
        return {} if row.released_at > wish.at else _as_values(wish)
    changes: dict[str, Any] = {}
    certain = row.needs_review and not wish.needs_review
    if certain or (wish.cause is Cause.MANUAL and row.cause is not Cause.MANUAL):
        changes |= {
            "cause": wish.cause,
            "actor": wish.actor,
            "note": wish.note,
            "inbound": wish.inbound,
            "needs_review": False,
        }
    if wish.scope is Scope.ALL and row.scope is not Scope.ALL:
        changes["scope"] = Scope.ALL
    # The last time it was asked for: a START from before it lifts nothing.
    if wish.cause in _BY_THE_PERSON and wish.at > row.suppressed_at:
        changes["suppressed_at"] = wish.at
    return changes


def release(
    tx: Connection,
    ctx: SubscriberContext,
    phone: str,
    *,
    at: datetime,
    actor: str,
    by_phone: bool,
) -> bool:
    """Write to this number again; whether it was suppressed until now.

    `by_phone` when the person's own text asks for it: that lifts what was asked for before, and
    nothing that somebody here entered.  Raises WrongKey.
    """
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    row = tx.execute(_BY_DIGEST, {"these": [ctx.hash_phone(phone)]}).first()
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
    """Which of these numbers are not written to.  Raises WrongKey."""
    by_hash, found = has_anonymized(tx, ctx), set[str]()
    for part in _cut(phones):
        found.update(_find_named(tx, part, marketing=marketing))
        if by_hash:
            nameless = find_anonymized(tx, ctx, part)
            found.update(phone for phone, scope in nameless if marketing or scope is Scope.ALL)
    return found


def _find_named(tx: Connection, phones: list[str], *, marketing: bool) -> Iterable[str]:
    dialect = tx.dialect.name
    return tx.execute(_NAMED_FOR[marketing][dialect], {"phones": pack(tx, phones)}).scalars()


def read_suppressions(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str]
) -> Mapping[str, Suppressed]:
    """What is known of these numbers' suppressions, those lifted included."""
    found: dict[str, Suppressed] = {}
    for part in _cut(phones):
        digests = {ctx.hash_phone(phone): phone for phone in part}
        for row in tx.execute(_BY_DIGEST, {"these": list(digests)}):
            found[digests[row.phone_hash]] = make_suppressed(row)
    return found


def restore_phone(tx: Connection, ctx: SubscriberContext, phones: Sequence[str]) -> None:
    """Give suppressions of erased people their number back: they were entered here anew, and stay
    suppressed.  Raises WrongKey."""
    if not has_anonymized(tx, ctx):
        return
    lock_suppressions_exclusive(tx)
    for part in _cut(phones):
        digests = {ctx.hash_phone(phone): phone for phone in part}
        rows = tx.execute(_BY_DIGEST, {"these": list(digests)})
        named = [
            {"this": row.phone_hash, "number": digests[row.phone_hash]}
            for row in rows
            if not row.phone
        ]
        if named:
            tx.execute(_NAME, named)


def make_suppressed(row: Row[Any]) -> Suppressed:
    """A suppression of its row."""
    return Suppressed(
        public_id=row.public_id,
        phone=row.phone,
        scope=row.scope,
        cause=row.cause,
        needs_review=row.needs_review,
        suppressed_at=row.suppressed_at,
        released_at=row.released_at,
        actor=row.actor,
        note=row.note,
        inbound=row.inbound,
    )


def change_row(tx: Connection, row: Row[Any], changes: Mapping[str, Any]) -> None:
    """Change a suppression; suppressions are held for it."""
    if changes:
        tx.execute(update(_SUPPRESSIONS).where(_SUPPRESSIONS.c.id == row.id).values(changes))


def _cut(items: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), QUERY_CHUNK_SIZE):
        yield list(items[start : start + QUERY_CHUNK_SIZE])
