"""Waits after wrong passwords and codes: 1, 2, 4 … 60 seconds, for each name and each address.

A try is counted as wrong before its password is looked at, and taken back if it was right:
otherwise processes would look at many passwords at once.  A wait never grows beyond a minute, and
what happens during a wait does not prolong it.  Accepted: a program that tries a name all day keeps
its owner waiting too, who then needs luck, or a session from before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Connection, Row, delete, select, update

from app.accounts.models import SignInWait
from app.addresses import group_address
from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.engine import make_upserts
from app.errors import ClarionError

LONGEST_WAIT_S = 60
# After this time without a try a name or address begins with one second again.
FORGOTTEN_AFTER = timedelta(hours=1)
_SLACK = timedelta(seconds=CLOCK_SLACK_S)

_WAITS = table_of(SignInWait)
# Locks a row, and makes it if it is missing.
_LOCK = make_upserts(_WAITS, add=("failures",))


class TryRefused(ClarionError):
    """A wrong password or code, or a try that comes too early."""

    status = HTTPStatus.UNAUTHORIZED
    reason: ClassVar[str]

    def __init__(self, wait_s: int) -> None:
        unit = "second" if wait_s == 1 else "seconds"
        self.wait_s, self.way_out = wait_s, f"You can try again in {wait_s} {unit}."
        super().__init__(f"{self.reason} {self.way_out}", retry_after_s=wait_s)


@dataclass(frozen=True, slots=True)
class Subjects:
    """The name and the address of a try, as they are counted."""

    name: bytes
    address: bytes

    @classmethod
    def of(cls, name_key: str, address: str) -> "Subjects":
        """Return those of a folded name and an address."""
        return cls(hash_name(name_key), _hash("address", group_address(address)))

    @property
    def in_order(self) -> Sequence[bytes]:
        """Both, in the one order in which they are locked."""
        return sorted((self.name, self.address))


@dataclass(frozen=True, slots=True)
class SignInTry:
    """A try that may look at the password or not.

    `wait_s` are the seconds to wait if it may not, or if the password turns out wrong.  `until` are
    the ends of the waits that it began.
    """

    is_allowed: bool
    wait_s: int
    subjects: Subjects
    until: Mapping[bytes, datetime] = field(default_factory=dict)


def hash_name(name_key: str) -> bytes:
    """Return the hash under which a folded name is counted."""
    return _hash("name", name_key)


def _hash(kind: str, value: str) -> bytes:
    return sha256(f"{kind}\0{value}".encode("utf-8", "backslashreplace")).digest()


def read_wait_s(tx: Connection, subjects: Subjects, *, now: datetime) -> int:
    """Return the seconds until a password is looked at; 0 if one would be now."""
    rows = tx.execute(select(_WAITS).where(_WAITS.c.subject_hash.in_(subjects.in_order)))
    return max((_left_s(row, now) for row in rows), default=0)


def begin_try(tx: Connection, subjects: Subjects, *, now: datetime) -> SignInTry:
    """Count a try as a wrong one, unless it has to wait."""
    rows = {subject: _lock(tx, subject, now) for subject in subjects.in_order}
    left_s = max(_left_s(row, now) for row in rows.values())
    if left_s:
        return SignInTry(False, left_s, subjects)
    waits_s = {subject: _count(tx, row, now) for subject, row in rows.items()}
    until = {subject: now + timedelta(seconds=wait_s) for subject, wait_s in waits_s.items()}
    return SignInTry(True, max(waits_s.values()), subjects, until)


def take_back(tx: Connection, right: SignInTry) -> None:
    """Forget a try that turned out right; wrong ones before it stay counted."""
    for subject in right.subjects.in_order:
        counted = _WAITS.c.subject_hash == subject, _WAITS.c.wait_until == right.until[subject]
        fewer = {"failures": _WAITS.c.failures - 1, "wait_until": None}
        tx.execute(update(_WAITS).where(*counted).values(fewer))


def forget_name(tx: Connection, name_hash: bytes) -> None:
    """Forget the wrong passwords of a name."""
    named = update(_WAITS).where(_WAITS.c.subject_hash == name_hash)
    tx.execute(named.values(failures=0, wait_until=None))


def has_old_waits(tx: Connection, *, now: datetime) -> bool:
    """Return True if there are rows that no longer count."""
    return tx.execute(select(_WAITS.c.failures).where(_is_old(now)).limit(1)).first() is not None


def purge_waits(tx: Connection, *, now: datetime) -> None:
    """Delete the rows that no longer count, but for those of a try at this moment."""
    old = select(_WAITS.c.subject_hash).where(_is_old(now)).with_for_update(skip_locked=True)
    tx.execute(delete(_WAITS).where(_WAITS.c.subject_hash.in_(old)))


def _is_old(now: datetime) -> ColumnElement[bool]:
    return ~_WAITS.c.tried_at.between(now - FORGOTTEN_AFTER, now + _SLACK)


def _lock(tx: Connection, subject: bytes, now: datetime) -> Row[Any]:
    new = {"subject_hash": subject, "failures": 0, "tried_at": now}
    return tx.execute(_LOCK[tx.dialect.name].returning(_WAITS), new).one()


def _count(tx: Connection, row: Row[Any], now: datetime) -> int:
    """Count one more wrong password.  Returns the seconds to wait."""
    counts = now - FORGOTTEN_AFTER <= row.tried_at <= now + _SLACK
    failures: int = row.failures + 1 if counts else 1
    wait_s = min(1 << min(failures - 1, 10), LONGEST_WAIT_S)
    values = {"failures": failures, "tried_at": now, "wait_until": now + timedelta(seconds=wait_s)}
    tx.execute(update(_WAITS).where(_WAITS.c.subject_hash == row.subject_hash).values(values))
    return wait_s


def _left_s(row: Row[Any], now: datetime) -> int:
    """Return the seconds left of a wait, rounded up; one beyond the longest is of a wrong clock."""
    if row.wait_until is None:
        return 0
    left_s = math.ceil((row.wait_until - now).total_seconds())
    return left_s if 0 < left_s <= LONGEST_WAIT_S else 0
