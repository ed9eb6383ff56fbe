"""Suppressions as hashes, in and out: what keeps opt-outs and erasures over a restore.

A backup knows nothing of what came after it.  The list says to nobody who they are, and holds also
those whose number is gone; it is of use with the same key alone, whose fingerprint stands in it.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, bindparam, insert, select

from app.csv_cells import write_lines
from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput
from app.subscribers.context import People
from app.subscribers.models import Cause, Scope, Suppression
from app.subscribers.suppressions.hash_key import settle_key, write_fingerprint
from app.subscribers.suppressions.store import Wish, change_row, hold_for_change, make_row, weigh

_HEADING = ("key", "digest", "scope", "cause", "since_at")
_PAGE = 5_000
_AT_ONCE = 500

_SUPPRESSIONS = table_of(Suppression)
# Made once: to make a statement costs several times what it takes to run one.
_NEXT = (
    select(_SUPPRESSIONS)
    .where(_SUPPRESSIONS.c.id > bindparam("after"), _SUPPRESSIONS.c.released_at.is_(None))
    .order_by(_SUPPRESSIONS.c.id)
    .limit(_PAGE)
)
_THESE = select(_SUPPRESSIONS).where(_SUPPRESSIONS.c.digest.in_(bindparam("these", expanding=True)))
_ADD = insert(_SUPPRESSIONS)


@dataclass(frozen=True, slots=True)
class DigestsTaken:
    """How many hashes a list had, and how many of them were new or in force no more."""

    digests: int
    newly: int


def export_digests(people: People) -> Iterator[str]:
    """All suppressions in force, as a CSV file of hashes."""
    key = write_fingerprint(people.digest_key)
    yield write_lines([_HEADING])
    after = 0
    while True:
        with people.db.write() as tx:
            settle_key(tx, people)
            rows = tx.execute(_NEXT, {"after": after}).all()
        if not rows:
            return
        after = rows[-1].id
        yield write_lines(
            (key, row.digest.hex(), row.scope.value, row.cause.value, row.since_at.isoformat())
            for row in rows
        )


def import_digests(people: People, lines: Iterable[str], *, actor: str) -> DigestsTaken:
    """Take over such a file; what was released since stays so, and an erased person's number goes.

    Raises BadInput for another file or another key's, WrongKey.
    """
    wishes = _read(people, csv.DictReader(lines), actor)
    digests = newly = 0
    while some := dict(islice(wishes, _AT_ONCE)):
        with people.db.write() as tx:
            newly += _take(tx, people, some)
        digests += len(some)
    with people.db.write() as tx:
        facts = {"digests": digests, "newly": newly}
        now = people.now()
        write_audit(tx, now=now, actor=actor, action="import digests", subject="all", facts=facts)
    return DigestsTaken(digests, newly)


def _take(tx: Connection, people: People, wishes: Mapping[bytes, Wish]) -> int:
    """How many of them were not in force until now."""
    hold_for_change(tx)
    settle_key(tx, people)
    known = {row.digest: row for row in tx.execute(_THESE, {"these": list(wishes)})}
    added = [
        make_row(people, digest, None, wish)
        for digest, wish in wishes.items()
        if digest not in known
    ]
    if added:
        tx.execute(_ADD, added)
    newly = len(added)
    for digest, row in known.items():
        changes = weigh(row, wishes[digest])
        newly += "released_at" in changes
        if wishes[digest].cause is Cause.ERASED and (changes or row.released_at is None):
            changes |= {"phone": None, "note": None, "inbound": None, "cause": Cause.ERASED}
        change_row(tx, row, changes)
    return newly


def _read(people: People, rows: "csv.DictReader[str]", actor: str) -> Iterator[tuple[bytes, Wish]]:
    if tuple(rows.fieldnames or ()) != _HEADING:
        raise BadInput("This is no list of digests: export one with --digests")
    key = write_fingerprint(people.digest_key)
    for row in rows:
        if row["key"] != key:
            raise BadInput("The list was made with another SUPPRESSION_KEY: set that one")
        try:
            wish = Wish(
                cause=Cause(row["cause"]),
                actor=actor,
                at=datetime.fromisoformat(row["since_at"]),
                scope=Scope(row["scope"]),
            )
            digest = bytes.fromhex(row["digest"])
        except (ValueError, TypeError) as e:
            raise BadInput(f"Line {rows.line_num} is none of a list of digests") from e
        if wish.at.tzinfo is None or len(digest) != 32:
            raise BadInput(f"Line {rows.line_num} is none of a list of digests")
        yield digest, wish
