"""Suppressions by hand: list, look up, add, confirm, release; each change enters the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.prepared import chunked
from app.errors import Conflict, NotFound
from app.pagination import Page, read_newest
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, ConsentKind, Scope, Suppression
from app.subscribers.suppressions.store import (
    SELECT_SUPPRESSIONS,
    SuppressionRequest,
    change_row,
    lock_suppressions_exclusive,
    read_suppressions,
    release,
    suppress_many,
)

API, CLI, IMPORT, PAGE = "api", "cli", "import", "page"
SOURCE = "suppressions"
# Numbers in one transaction, for which other writers wait.
_CHUNK_SIZE = 500

_COLUMNS = SELECT_SUPPRESSIONS.selected_columns


@dataclass(frozen=True, slots=True)
class Added:
    """Counts of distinct numbers that were given, and of those not suppressed before."""

    numbers: int
    newly_suppressed: int


def list_suppressions(
    ctx: SubscriberContext,
    *,
    cursor: int | None = None,
    limit: int = 100,
    **filters: Cause | Scope | bool,
) -> Page[Row[Any]]:
    """Return a page of suppressions, the newest first; `filters` are values by column."""
    matching = (_COLUMNS[name] == value for name, value in filters.items())
    query = SELECT_SUPPRESSIONS.where(*matching)
    with ctx.db.read() as tx:
        return read_newest(tx, query, table_of(Suppression).c.id, cursor=cursor, limit=limit)


def look_up(ctx: SubscriberContext, phone: str) -> Row[Any] | None:
    """Return a number's suppression, also a released one; None if there never was one."""
    with ctx.db.read() as tx:
        return read_suppressions(tx, ctx, [phone]).get(phone)


def view_suppression(ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """Return a suppression, also a released one.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _find(tx, public_id)


def count_to_review(ctx: SubscriberContext) -> int:
    """Return how many suppressions in force are of texts that may mean something else."""
    query = select(func.count()).where(_COLUMNS.needs_review, _COLUMNS.active)
    with ctx.db.read() as tx:
        return tx.execute(query).scalar_one()


def add_suppressions(
    ctx: SubscriberContext,
    phones: Sequence[str],
    *,
    actor: str,
    channel: str,
    scope: Scope = Scope.ALL,
    note: str | None = None,
) -> Added:
    """Suppress numbers; no text from a phone releases them.  Raises WrongKey."""
    numbers = list(dict.fromkeys(phones))
    request = SuppressionRequest(
        cause=Cause.MANUAL, actor=actor, at=ctx.now(), scope=scope, note=note
    )
    newly_suppressed = 0
    for part in chunked(numbers, _CHUNK_SIZE):
        ctx.db.give_way()
        with ctx.db.write() as tx:
            lock_suppressions_exclusive(tx)
            before = read_suppressions(tx, ctx, part)
            newly_suppressed += len(suppress_many(tx, ctx, part, request))
            changed = [phone for phone in part if _is_change(before.get(phone), scope)]
            record_objections(tx, changed, request, channel=channel)
    return Added(len(numbers), newly_suppressed)


def add_imported(
    ctx: SubscriberContext, phones: Sequence[str], *, actor: str, at: datetime, source: str
) -> int:
    """Suppress the numbers of a list.  Returns how many were not suppressed before.

    A number that was released after `at` stays released.  Raises WrongKey.
    """
    request = SuppressionRequest(cause=Cause.IMPORT, actor=actor, at=at)
    newly_suppressed = 0
    for part in chunked(phones, _CHUNK_SIZE):
        ctx.db.give_way()
        with ctx.db.write() as tx:
            added = suppress_many(tx, ctx, part, request)
            record_objections(tx, added, request, channel=IMPORT, source=source)
            newly_suppressed += len(added)
    return newly_suppressed


def record_objections(
    tx: Connection,
    phones: Sequence[str],
    request: SuppressionRequest,
    *,
    channel: str,
    source: str = SOURCE,
) -> None:
    """Append an opt-out of each number to the ledger."""
    entries = [
        ConsentEntry(
            ConsentKind.OPT_OUT,
            phone,
            request.at,
            channel,
            request.actor,
            source,
            request.note or "",
        )
        for phone in phones
    ]
    append_consent_entries(tx, entries)


def release_suppression(
    ctx: SubscriberContext, public_id: str, *, actor: str, channel: str, note: str
) -> Row[Any]:
    """Release a suppression; a released one stays as it is.

    Marketing consent does not come back.  Raises NotFound, WrongKey, and Conflict for an erased
    person's suppression, whose number is gone.
    """
    with ctx.db.write() as tx:
        lock_suppressions_exclusive(tx)
        row = _find(tx, public_id)
        if row.released_at is None:
            _release_number(tx, ctx, _require_number(row), actor, channel, note)
        return _find(tx, public_id)


def release_number(
    ctx: SubscriberContext, phone: str, *, actor: str, channel: str, note: str
) -> bool:
    """Release a number.  Returns True if it was suppressed before.  Raises WrongKey."""
    with ctx.db.write() as tx:
        return _release_number(tx, ctx, phone, actor, channel, note)


def confirm_suppression(
    ctx: SubscriberContext, public_id: str, *, actor: str, channel: str, note: str = "confirmed"
) -> Row[Any]:
    """Confirm a suppression that needs review.  Raises NotFound, Conflict."""
    with ctx.db.write() as tx:
        lock_suppressions_exclusive(tx)
        row = _find(tx, public_id)
        if row.released_at is not None:
            raise Conflict("The suppression was released: there is nothing to confirm.")
        if row.needs_review:
            change_row(tx, row, {"needs_review": False})
            request = SuppressionRequest(cause=row.cause, actor=actor, at=ctx.now(), note=note)
            record_objections(tx, [_require_number(row)], request, channel=channel)
            write_audit(tx, ctx.now(), actor, "confirm suppression", public_id)
        return _find(tx, public_id)


def _release_number(
    tx: Connection, ctx: SubscriberContext, phone: str, actor: str, channel: str, note: str
) -> bool:
    now = ctx.now()
    if not release(tx, ctx, phone, at=now, actor=actor, by_phone=False):
        return False
    entry = ConsentEntry(ConsentKind.RELEASED, phone, now, channel, actor, SOURCE, note)
    append_consent_entries(tx, [entry])
    (released,) = read_suppressions(tx, ctx, [phone]).values()
    write_audit(tx, now, actor, "release suppression", released.public_id)
    return True


def _is_change(before: Row[Any] | None, scope: Scope) -> bool:
    """Return True if suppressing by hand changes the suppression."""
    if before is None or not before.active or before.cause is not Cause.MANUAL:
        return True
    return before.scope is not Scope.ALL and scope is Scope.ALL


def _find(tx: Connection, public_id: str) -> Row[Any]:
    row = tx.execute(SELECT_SUPPRESSIONS.where(_COLUMNS.public_id == public_id)).first()
    if row is None:
        raise NotFound("There is no such suppression.")
    return row


def _require_number(row: Row[Any]) -> str:
    if row.phone is None:
        raise Conflict(
            "The person was erased, so the number is not known: suppress the number again first."
        )
    return str(row.phone)
