"""Keys that work again after a restore: some may have been revoked since the backup.

A mark says when the database came back, until an administrator has ended the keys or kept them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.clock import Clock
from app.db.audit import write_audit
from app.db.engine import Database
from app.db.facts import delete_metadata, read_metadata, set_metadata
from app.keys.store import has_ended, list_keys_in, revoke_all_keys

_RESTORED_AT = "keys_restored_at"


@dataclass(frozen=True, slots=True)
class RestoredKeys:
    """The keys of a database that came back at a time, and that can be used."""

    at: datetime
    keys: list[Row[Any]]

    def describe(self) -> str:
        """Return the keys as people name them, such as "3 of shop, 4 of crm"."""
        return ", ".join(f"{key.id} of {key.client}" for key in self.keys)


def mark_keys_restored(tx: Connection, now: datetime, *, revoke: bool) -> None:
    """Note that the keys came back with the database, or end all of them."""
    if revoke:
        revoke_all_keys(tx, now)
        delete_metadata(tx, _RESTORED_AT)
    else:
        set_metadata(tx, _RESTORED_AT, now.isoformat())


def find_restored_keys(db: Database, clock: Clock) -> RestoredKeys | None:
    """Return the keys that came back and can be used; None if there are none to look at."""
    with db.read() as tx:
        return _find(tx, clock.now())


def end_restored_keys(db: Database, clock: Clock, *, actor: str) -> int:
    """End all keys that came back.  Returns how many could be used until now."""
    return _decide(db, clock, actor=actor, revoke=True)


def keep_restored_keys(db: Database, clock: Clock, *, actor: str) -> int:
    """Note that the keys that came back may go on being used.  Returns how many."""
    return _decide(db, clock, actor=actor, revoke=False)


def _decide(db: Database, clock: Clock, *, actor: str, revoke: bool) -> int:
    now = clock.now()
    with db.write() as tx:
        restored = _find(tx, now)
        if restored is None:
            return 0
        if revoke:
            revoke_all_keys(tx, now, made_until=restored.at)
        delete_metadata(tx, _RESTORED_AT)
        write_audit(
            tx,
            now,
            actor,
            "revoke restored keys" if revoke else "keep restored keys",
            "database",
            keys=[key.id for key in restored.keys],
        )
    return len(restored.keys)


def _find(tx: Connection, now: datetime) -> RestoredKeys | None:
    restored_at = read_metadata(tx, _RESTORED_AT)
    if restored_at is None:
        return None
    at = datetime.fromisoformat(restored_at)
    keys = [key for key in list_keys_in(tx) if key.created_at <= at and not has_ended(key, now)]
    return RestoredKeys(at, keys) if keys else None
