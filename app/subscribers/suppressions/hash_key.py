"""The key of phone hashes, and its change.

An erased person's number is stored only as its keyed hash.  Under another key the suppression would
not match, and the person would be written to again.  So the key's fingerprint is stored: while a
row without a number exists, nothing is sent under another key.  While every row has its number,
all hashes are recomputed.
"""

import hmac
from collections.abc import Iterator, Sequence
from functools import lru_cache

from sqlalchemy import ARRAY, Connection, LargeBinary, bindparam, exists, select, text, update

from app.db.base import Metadata, table_of
from app.db.facts import read_metadata, set_metadata
from app.db.prepared import Prepared
from app.db.schema import WrongDatabase
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Scope, Suppression

KEY_FACT = "suppression_key"
_PAGE = 1_000

_SUPPRESSIONS = table_of(Suppression)
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


class WrongKey(WrongDatabase):
    """Erased people cannot be recognised under this key: nothing may be sent."""

    def __init__(self) -> None:
        super().__init__(
            "the numbers of erased people were hashed with another key: set SUPPRESSION_KEY, or "
            "the SECRET_KEY it was made of, as it was"
        )


@lru_cache(maxsize=16)
def write_fingerprint(key: bytes) -> str:
    """Return the fingerprint of a key, which does not reveal the key."""
    return hmac.digest(key, b"clarion key check", "sha256").hex()[:32]


def has_anonymized(tx: Connection, ctx: SubscriberContext) -> bool:
    """Return True if there are suppressions without a number.

    Raises WrongKey if those were hashed with another key.
    """
    anonymized = _ANONYMIZED.first(tx)
    if anonymized.exists and anonymized.fingerprint != write_fingerprint(ctx.phone_hash_key):
        raise WrongKey
    return bool(anonymized.exists)


def find_anonymized(
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
