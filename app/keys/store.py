"""Create, rotate, revoke and list keys.  A change takes effect in every process within seconds."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from app.clock import Clock
from app.config.keys import find_name_fault
from app.config.scopes import TEST_SCOPES, KeyScope
from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import Database, lock_table
from app.db.types import MAX_ID
from app.errors import Conflict, NotFound, reject_field
from app.keys.models import ApiKey
from app.keys.secret import make_hint, make_key
from app.phone.e164 import is_country

# One in use, and the one that replaces it.
MAX_LIVE = 2

_KEYS = table_of(ApiKey)
_SHOWN = [column for column in _KEYS.c if column.name != "digest"]


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """Scopes, networks, countries and end of a new key; without networks or countries all."""

    scopes: frozenset[KeyScope]
    networks: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    expires_at: datetime | None = None
    is_test: bool = False


def has_ended(key: Row[Any], now: datetime) -> bool:
    """Return True for a key that no request can use any more."""
    is_past = key.expires_at is not None and now > key.expires_at
    return is_past or key.revoked_at is not None


def create_key(
    db: Database, clock: Clock, client: str, options: KeyOptions, *, actor: str
) -> tuple[Row[Any], str]:
    """Create a key of a client.  Returns its row and its text, which is stored nowhere.

    Raises BadInput for options that make no usable key, Conflict if the client has two live keys.
    """
    now = clock.now()
    if fault := find_name_fault(client):
        raise reject_field("name", f"It {fault}")
    if options.expires_at is not None and options.expires_at <= now:
        raise reject_field("expires", "This time is past: give a later one")
    if options.is_test and not options.scopes <= TEST_SCOPES:
        known = ", ".join(sorted(TEST_SCOPES))
        raise reject_field("scope", f"A test key changes nothing, so it has only these: {known}")
    options = replace(
        options,
        networks=_read_networks(options.networks),
        countries=_read_countries(options.countries),
    )
    with db.write() as tx:
        lock_table(tx, _KEYS)
        live = _list_live(tx, client, now)
        if len(live) >= MAX_LIVE:
            shown = " and ".join(str(row.id) for row in live)
            raise Conflict(
                f"{client} has {MAX_LIVE} live keys already, {shown}: revoke the one that is not "
                "used any more"
            )
        return _insert(tx, now, client, options, actor=actor)


def rotate_key(
    db: Database, clock: Clock, key_id: int, *, ends_at: datetime, actor: str
) -> tuple[Row[Any], str]:
    """Create a key like another one, which then ends at `ends_at` if not before.

    The new key lasts as long as the old one was to.  Returns its row and text.  Raises NotFound,
    and Conflict for a key that has ended or whose client has another live key.
    """
    now = clock.now()
    with db.write() as tx:
        # Before the row, which a request may hold that notes the key's use.
        lock_table(tx, _KEYS)
        old = _lock(tx, key_id)
        if has_ended(old, now):
            raise Conflict(f"Key {key_id} has ended: create a new one")
        others = [row.id for row in _list_live(tx, old.client, now) if row.id != key_id]
        if len(others) >= MAX_LIVE - 1:
            raise Conflict(
                f"{old.client} has another live key, {others[0]}: revoke one of the two first"
            )
        last = min(ends_at, old.expires_at) if old.expires_at else ends_at
        tx.execute(update(_KEYS).where(_KEYS.c.id == key_id).values(expires_at=last))
        options = KeyOptions(
            frozenset(map(KeyScope, old.scopes)),
            networks=tuple(old.networks or ()),
            countries=tuple(old.countries or ()),
            expires_at=now + (old.expires_at - old.created_at) if old.expires_at else None,
            is_test=old.is_test,
        )
        return _insert(tx, now, old.client, options, actor=actor, old=old)


def revoke_key(db: Database, clock: Clock, key_id: int, *, actor: str) -> Row[Any]:
    """End a key.  Returns its row.  Raises NotFound, and Conflict if it is revoked already."""
    now = clock.now()
    with db.write() as tx:
        row = _lock(tx, key_id)
        if row.revoked_at is not None:
            raise Conflict(f"Key {key_id} was revoked at {row.revoked_at:%Y-%m-%d %H:%M} UTC")
        tx.execute(update(_KEYS).where(_KEYS.c.id == key_id).values(revoked_at=now))
        write_audit(tx, now, actor, "revoke key", str(key_id), client=row.client)
    return row


def revoke_all_keys(tx: Connection, now: datetime, *, made_until: datetime | None = None) -> None:
    """End all keys, or those that were made until then."""
    live = update(_KEYS).where(_KEYS.c.revoked_at.is_(None))
    if made_until is not None:
        live = live.where(_KEYS.c.created_at <= made_until)
    tx.execute(live.values(revoked_at=now))


def list_keys(db: Database) -> list[Row[Any]]:
    """List all keys by client, those that ended, too."""
    with db.read() as tx:
        return list_keys_in(tx)


def list_keys_in(tx: Connection) -> list[Row[Any]]:
    """List all keys in an open transaction."""
    return list(tx.execute(select(*_SHOWN).order_by(_KEYS.c.client, _KEYS.c.id)))


def _lock(tx: Connection, key_id: int) -> Row[Any]:
    query = select(*_SHOWN).where(_KEYS.c.id == min(key_id, MAX_ID)).with_for_update()
    row = tx.execute(query).first()
    if row is None:
        raise NotFound("There is no key of this number")
    return row


def _list_live(tx: Connection, client: str, now: datetime) -> list[Row[Any]]:
    query = select(*_SHOWN).where(
        _KEYS.c.client == client,
        _KEYS.c.revoked_at.is_(None),
        or_(_KEYS.c.expires_at.is_(None), _KEYS.c.expires_at > now),
    )
    return list(tx.execute(query.order_by(_KEYS.c.id)))


def _insert(
    tx: Connection,
    now: datetime,
    client: str,
    options: KeyOptions,
    *,
    actor: str,
    old: Row[Any] | None = None,
) -> tuple[Row[Any], str]:
    key = make_key(is_test=options.is_test)
    values = {
        "client": client,
        "digest": sha256(key.encode()).digest(),
        "hint": make_hint(key),
        "scopes": sorted(options.scopes),
        "networks": options.networks or None,
        "countries": options.countries or None,
        "is_test": options.is_test,
        "created_at": now,
        "created_by": actor,
        "expires_at": options.expires_at,
        "origin_id": (old.origin_id or old.id) if old else None,
    }
    row = tx.execute(insert(_KEYS).values(values).returning(*_SHOWN)).one()
    facts = {"scopes": values["scopes"], **({"replaces": old.id} if old else {})}
    write_audit(tx, now, actor, "create key", str(row.id), client=client, **facts)
    return row, key


def _read_networks(values: Iterable[str]) -> tuple[str, ...]:
    """Return networks as they are stored.  Raises BadInput for what is no address or network."""
    networks = []
    for value in values:
        try:
            networks.append(str(ip_network(value.strip())))
        except ValueError as e:
            raise reject_field(
                "address", f"{value[:64]!r} is no address or network such as 192.0.2.0/24"
            ) from e
    return tuple(networks)


def _read_countries(values: Iterable[str]) -> tuple[str, ...]:
    """Return countries as they are stored.  Raises BadInput for what is no country."""
    codes = {value.strip().upper() for value in values}
    for code in sorted(codes):
        if not is_country(code):
            raise reject_field(
                "countries", f"{code[:40]!r} is no country: give two letters such as SE"
            )
    return tuple(sorted(codes))
