"""The key of the hashes of numbers, and what becomes of them when it changes.

An erased person's number is kept as its keyed hash alone: under another key nobody would find it,
and the person would be written to again.  So the key's fingerprint is kept, and with a nameless
row nothing is sent under another key.  While every row has its number, all hashes are made anew.
"""

import hmac
from collections.abc import Iterator, Sequence
from functools import lru_cache

from sqlalchemy import ARRAY, Connection, LargeBinary, bindparam, exists, select, text, update

from app.db.base import Metadata, table_of
from app.db.facts import read_metadata, set_metadata
from app.db.schema import WrongDatabase
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Scope, Suppression

KEY_FACT = "suppression_key"
_PAGE = 1_000

_SUPPRESSIONS = table_of(Suppression)
# Made once: to make a statement costs several times what it takes to run one.
_HAS_NAMELESS = exists(select(_SUPPRESSIONS.c.id).where(_SUPPRESSIONS.c.phone.is_(None)))
_NAMELESS_KEY = select(
    _HAS_NAMELESS.label("nameless"),
    select(Metadata.value).where(Metadata.name == KEY_FACT).scalar_subquery().label("kept"),
)
_NAMED = (
    select(_SUPPRESSIONS.c.id, _SUPPRESSIONS.c.phone)
    .where(_SUPPRESSIONS.c.id > bindparam("after"), _SUPPRESSIONS.c.phone.is_not(None))
    .order_by(_SUPPRESSIONS.c.id)
    .limit(_PAGE)
)
_DIGEST_ANEW = (
    update(_SUPPRESSIONS)
    .where(_SUPPRESSIONS.c.id == bindparam("this"))
    .values(phone_hash=bindparam("new", type_=LargeBinary))
)
_LOOKUP = "SELECT phone_hash, scope FROM suppressions WHERE phone IS NULL AND released_at IS NULL"
_POSTGRES_LOOKUP = text(f"{_LOOKUP} AND phone_hash = ANY(:these)").bindparams(
    bindparam("these", type_=ARRAY(LargeBinary))
)


class WrongKey(WrongDatabase):
    """Erased people could not be told from others under this key: nothing may be sent."""

    def __init__(self) -> None:
        super().__init__(
            "the numbers of erased people were hashed with another key: set SUPPRESSION_KEY, or "
            "the SECRET_KEY it was made of, as it was"
        )


@lru_cache(maxsize=16)
def write_fingerprint(key: bytes) -> str:
    """What a key is known by and not found from."""
    return hmac.digest(key, b"clarion key check", "sha256").hex()[:32]


def has_anonymized(tx: Connection, ctx: SubscriberContext) -> bool:
    """Whether there are suppressions known by their hash alone.

    Raises WrongKey where they are of another key.
    """
    found = tx.execute(_NAMELESS_KEY).one()
    if found.nameless and found.kept != write_fingerprint(ctx.phone_hash_key):
        raise WrongKey
    return bool(found.nameless)


def find_anonymized(
    tx: Connection, ctx: SubscriberContext, phones: Sequence[str]
) -> Iterator[tuple[str, Scope]]:
    """Those among numbers whose suppression in force is known by its hash alone; a hash each."""
    digests = {ctx.hash_phone(phone): phone for phone in phones}
    if tx.dialect.name == "sqlite":
        # Without SQLAlchemy's share, which is several times that of the look-up.
        rows = tx.exec_driver_sql(_make_sqlite_lookup(len(digests)), tuple(digests))
    else:
        rows = tx.execute(_POSTGRES_LOOKUP, {"these": list(digests)})
    return ((digests[digest], Scope(scope)) for digest, scope in rows)


@lru_cache(maxsize=2_000)
def _make_sqlite_lookup(count: int) -> str:
    these = ", ".join("?" * count)
    return f"{_LOOKUP} AND phone_hash IN ({these})"


def settle_key(tx: Connection, ctx: SubscriberContext) -> None:
    """From here on every hash is of our key; whoever writes suppressions calls it first.

    Raises WrongKey where hashes of another key cannot be made anew.
    """
    mine = write_fingerprint(ctx.phone_hash_key)
    kept = read_metadata(tx, KEY_FACT)
    if kept == mine:
        return
    if kept is not None:
        has_anonymized(tx, ctx)
        _hash_anew(tx, ctx)
    set_metadata(tx, KEY_FACT, mine)


def _hash_anew(tx: Connection, ctx: SubscriberContext) -> None:
    """Takes some 10 microseconds a row, once after a change of the key."""
    after = 0
    while rows := tx.execute(_NAMED, {"after": after}).all():
        anew = [{"this": row.id, "new": ctx.hash_phone(row.phone)} for row in rows]
        tx.execute(_DIGEST_ANEW, anew)
        after = rows[-1].id
