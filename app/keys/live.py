"""Keys as requests present them: found in the database, remembered for two seconds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from loguru import logger
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.clock import Clock
from app.config.scopes import KeyScope
from app.db.base import table_of
from app.db.engine import Database
from app.keys.models import ApiKey
from app.keys.secret import PREFIX, is_whole

# Seconds for which a process that has read a key goes on using it, revoked or not.
_KNOWN_S = 2.0
# A use within this time of the last one is not written.
_NOTED_EVERY = timedelta(seconds=30)

_KEYS = table_of(ApiKey)


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key that a request may use."""

    id: int
    client: str
    scopes: frozenset[KeyScope]
    is_test: bool
    countries: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A key as it was read, with the monotonic time of that."""

    key: LiveKey
    networks: tuple[str, ...]
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    read_at: float


class KeyUnusable(Exception):
    """The key cannot be used: the sentence says why."""


class LiveKeys:
    """The keys that this process has read lately.  Threads may share it."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}

    def find(
        self, db: Database, clock: Clock, presented: str, digest: bytes, *, address: str | None
    ) -> LiveKey | None:
        """Return the key that a request presents from an address; None for one that is not stored.

        `digest` is its SHA-256.  Raises KeyUnusable with a sentence for the client.
        """
        if not presented.startswith(PREFIX):
            return None
        if not is_whole(presented):
            raise KeyUnusable("A character of the key is missing or wrong: copy it again.")
        known = self._known.get(digest)
        if known is not None and clock.monotonic() - known.read_at <= _KNOWN_S:
            _check(known, clock.now(), address)
            return known.key
        known = self._read(db, digest, clock.monotonic())
        if known is None:
            return None
        _check(known, clock.now(), address)
        _note_use(db, known, clock.now())
        return known.key

    def _read(self, db: Database, digest: bytes, read_at: float) -> _Known | None:
        """Read a key, and remember it."""
        with db.read() as tx:
            row = tx.execute(select(_KEYS).where(_KEYS.c.digest == digest)).first()
        if row is None:
            return None
        scopes = frozenset(scope for scope in KeyScope if scope in row.scopes)
        countries = None if row.countries is None else frozenset(row.countries)
        known = self._known[digest] = _Known(
            LiveKey(row.id, row.client, scopes, row.is_test, countries),
            tuple(row.networks or ()),
            row.expires_at,
            row.revoked_at,
            row.used_at,
            read_at,
        )
        return known


def _check(known: _Known, now: datetime, address: str | None) -> None:
    """Raise KeyUnusable unless a key may be used now, from this address."""
    if known.revoked_at is not None:
        raise KeyUnusable("This key was revoked: ask for a new one.")
    if known.expires_at is not None and now > known.expires_at:
        raise KeyUnusable("This key has expired: ask for a new one.")
    if known.networks and not _is_within(address, known.networks):
        raise KeyUnusable("This key may not be used from this address.")


def _note_use(db: Database, known: _Known, now: datetime) -> None:
    """Write that a key is used, twice a minute at most.  A request never fails for that."""
    earlier = now - _NOTED_EVERY
    if known.used_at is not None and known.used_at > earlier:
        return
    ours = update(_KEYS).where(_KEYS.c.id == known.key.id)
    unnoted = or_(_KEYS.c.used_at.is_(None), _KEYS.c.used_at <= earlier)
    try:
        with db.write() as tx:
            tx.execute(ours.where(unnoted).values(used_at=now))
    except SQLAlchemyError as e:
        logger.debug("the use of key {} was not noted: {}", known.key.id, type(e).__name__)


def _is_within(address: str | None, networks: tuple[str, ...]) -> bool:
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in ip_network(network) for network in networks)
