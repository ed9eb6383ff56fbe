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
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, Scope, Suppression
from app.subscribers.suppressions.hash_key import settle_key, write_fingerprint
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    change_row,
    lock_suppressions_exclusive,
    make_row,
    resolve_conflict,
)

_HEADING = ("key", "phone_hash", "scope", "cause", "suppressed_at")
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
_THESE = select(_SUPPRESSIONS).where(
    _SUPPRESSIONS.c.phone_hash.in_(bindparam("these", expanding=True))
)
_ADD = insert(_SUPPRESSIONS)


@dataclass(frozen=True, slots=True)
class HashesImported:
    """How many hashes a list had, and how many of them were new or in force no more."""

    digests: int
    newly_suppressed: int


def export_hashes(ctx: SubscriberContext) -> Iterator[str]:
    """All suppressions in force, as a CSV file of hashes."""
    key = write_fingerprint(ctx.phone_hash_key)
    yield write_lines([_HEADING])
    after = 0
    while True:
        with ctx.db.write() as tx:
            settle_key(tx, ctx)
            rows = tx.execute(_NEXT, {"after": after}).all()
        if not rows:
            return
        after = rows[-1].id
        yield write_lines(
            (
                key,
                row.phone_hash.hex(),
                row.scope.value,
                row.cause.value,
                row.suppressed_at.isoformat(),
            )
            for row in rows
        )


def import_hashes(ctx: SubscriberContext, lines: Iterable[str], *, actor: str) -> HashesImported:
    """Take over such a file; what was released since stays so, and an erased person's number goes.

    Raises BadInput for another file or another key's, WrongKey.
    """
    wishes = _read(ctx, csv.DictReader(lines), actor)
    digests = newly_suppressed = 0
    while some := dict(islice(wishes, _AT_ONCE)):
        with ctx.db.write() as tx:
            newly_suppressed += _take(tx, ctx, some)
        digests += len(some)
    with ctx.db.write() as tx:
        facts = {"digests": digests, "newly_suppressed": newly_suppressed}
        now = ctx.now()
        write_audit(tx, now=now, actor=actor, action="import digests", subject="all", facts=facts)
    return HashesImported(digests, newly_suppressed)


def _take(
    tx: Connection, ctx: SubscriberContext, wishes: Mapping[bytes, SuppressionRequest]
) -> int:
    """How many of them were not in force until now."""
    lock_suppressions_exclusive(tx)
    settle_key(tx, ctx)
    known = {row.phone_hash: row for row in tx.execute(_THESE, {"these": list(wishes)})}
    added = [
        make_row(ctx, phone_hash, None, wish)
        for phone_hash, wish in wishes.items()
        if phone_hash not in known
    ]
    if added:
        tx.execute(_ADD, added)
    newly_suppressed = len(added)
    for phone_hash, row in known.items():
        changes = resolve_conflict(row, wishes[phone_hash])
        newly_suppressed += "released_at" in changes
        if wishes[phone_hash].cause is Cause.ERASED and (changes or row.released_at is None):
            changes |= {"phone": None, "note": None, "inbound": None, "cause": Cause.ERASED}
        change_row(tx, row, changes)
    return newly_suppressed


def _read(
    ctx: SubscriberContext, rows: "csv.DictReader[str]", actor: str
) -> Iterator[tuple[bytes, SuppressionRequest]]:
    if tuple(rows.fieldnames or ()) != _HEADING:
        raise BadInput("This is no list of digests: export one with --digests")
    key = write_fingerprint(ctx.phone_hash_key)
    for row in rows:
        if row["key"] != key:
            raise BadInput("The list was made with another SUPPRESSION_KEY: set that one")
        try:
            wish = SuppressionRequest(
                cause=Cause(row["cause"]),
                actor=actor,
                at=datetime.fromisoformat(row["suppressed_at"]),
                scope=Scope(row["scope"]),
            )
            phone_hash = bytes.fromhex(row["phone_hash"])
        except (ValueError, TypeError) as e:
            raise BadInput(f"Line {rows.line_num} is none of a list of digests") from e
        if wish.at.tzinfo is None or len(phone_hash) != 32:
            raise BadInput(f"Line {rows.line_num} is none of a list of digests")
        yield phone_hash, wish
