"""Suppressions in an operator's hand: looked at, entered, confirmed, lifted; each change is noted
in the ledger of consent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, true, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import Conflict, NotFound
from app.pagination import Page, make_page
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Cause, ConsentKind, Scope, Suppression
from app.subscribers.suppressions.store import (
    Suppressed,
    SuppressionRequest,
    lock_suppressions_exclusive,
    make_suppressed,
    read_suppressions,
    release,
    suppress_many,
)

API, CLI, IMPORT = "api", "cli", "import"
SOURCE = "suppressions"
# Numbers in one transaction, which others wait for.
_AT_ONCE = 500

_SUPPRESSIONS = table_of(Suppression)
_BY_PUBLIC_ID = select(_SUPPRESSIONS).where(_SUPPRESSIONS.c.public_id == bindparam("this"))
_CONFIRM = (
    update(_SUPPRESSIONS).where(_SUPPRESSIONS.c.id == bindparam("that")).values(needs_review=False)
)


@dataclass(frozen=True, slots=True)
class Added:
    """What came of many: how many were asked for, each once, and written to until now."""

    numbers: int
    newly_suppressed: int


def list_suppressions(
    ctx: SubscriberContext,
    *,
    cursor: int | None = None,
    limit: int = 100,
    cause: Cause | None = None,
    scope: Scope | None = None,
    needs_review: bool | None = None,
    active: bool | None = None,
) -> Page[Suppressed]:
    """Those that fit all that is given."""
    query = select(_SUPPRESSIONS).order_by(_SUPPRESSIONS.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(_SUPPRESSIONS.c.id < cursor)
    if cause is not None:
        query = query.where(_SUPPRESSIONS.c.cause == cause)
    if scope is not None:
        query = query.where(_SUPPRESSIONS.c.scope == scope)
    if needs_review is not None:
        flagged = _SUPPRESSIONS.c.needs_review == true()
        query = query.where(flagged if needs_review else ~flagged)
    if active is not None:
        in_force = _SUPPRESSIONS.c.released_at.is_(None)
        query = query.where(in_force if active else ~in_force)
    with ctx.db.read() as tx:
        page = make_page(tx.execute(query).all(), limit)
    return Page([make_suppressed(row) for row in page.rows], page.cursor)


def look_up(ctx: SubscriberContext, phone: str) -> Suppressed | None:
    """What is known of a number's suppression, one that was lifted included."""
    with ctx.db.read() as tx:
        return read_suppressions(tx, ctx, [phone]).get(phone)


def add_suppressions(
    ctx: SubscriberContext,
    phones: Sequence[str],
    *,
    actor: str,
    channel: str,
    scope: Scope = Scope.ALL,
    note: str | None = None,
) -> Added:
    """Write to these numbers no more, whatever their phones say.  Raises WrongKey."""
    numbers = list(dict.fromkeys(phones))
    wish = SuppressionRequest(cause=Cause.MANUAL, actor=actor, at=ctx.now(), scope=scope, note=note)
    newly_suppressed = 0
    for some in _cut(numbers):
        with ctx.db.write() as tx:
            lock_suppressions_exclusive(tx)
            before = read_suppressions(tx, ctx, some)
            newly_suppressed += len(suppress_many(tx, ctx, some, wish))
            changed = [each for each in some if _says_more(before.get(each), scope)]
            record_objections(tx, ctx, changed, wish, channel=channel)
    return Added(len(numbers), newly_suppressed)


def add_imported(
    ctx: SubscriberContext, phones: Sequence[str], *, actor: str, at: datetime, source: str
) -> int:
    """Take over from a list who wants nothing; how many were written to until now.

    What was released since `at` stays so.  Raises WrongKey.
    """
    wish = SuppressionRequest(cause=Cause.IMPORT, actor=actor, at=at)
    newly_suppressed = 0
    for some in _cut(phones):
        with ctx.db.write() as tx:
            added = suppress_many(tx, ctx, some, wish)
            record_objections(tx, ctx, added, wish, channel=IMPORT, source=source)
            newly_suppressed += len(added)
    return newly_suppressed


def record_objections(
    tx: Connection,
    ctx: SubscriberContext,
    phones: Sequence[str],
    wish: SuppressionRequest,
    *,
    channel: str,
    source: str = SOURCE,
) -> None:
    """Add to the ledger that these numbers are not to be written to."""
    entries = [
        ConsentEntry(
            ConsentKind.OPT_OUT, phone, wish.at, channel, wish.actor, source, wish.note or ""
        )
        for phone in phones
    ]
    append_consent_entries(tx, entries)


def release_suppression(
    ctx: SubscriberContext, public_id: str, *, actor: str, channel: str, note: str
) -> Suppressed:
    """Lift a suppression; one that is lifted already stays as it is.

    Consent to marketing does not come back by that.  Raises NotFound, WrongKey, and Conflict for
    an erased person's: nobody here knows any more whose it is.
    """
    with ctx.db.write() as tx:
        lock_suppressions_exclusive(tx)
        row = _find(tx, public_id)
        if row.released_at is None:
            _release_number(tx, ctx, _require_number(row), actor, channel, note)
        return make_suppressed(_find(tx, public_id))


def release_number(
    ctx: SubscriberContext, phone: str, *, actor: str, channel: str, note: str
) -> bool:
    """Lift the suppression of a number; whether there was one.  Raises WrongKey."""
    with ctx.db.write() as tx:
        return _release_number(tx, ctx, phone, actor, channel, note)


def confirm_suppression(
    ctx: SubscriberContext, public_id: str, *, actor: str, channel: str
) -> Suppressed:
    """A text that could have been meant otherwise was meant so.  Raises NotFound, Conflict."""
    with ctx.db.write() as tx:
        lock_suppressions_exclusive(tx)
        row = _find(tx, public_id)
        if row.released_at is not None:
            raise Conflict("It was lifted: there is nothing to confirm.")
        if row.needs_review:
            tx.execute(_CONFIRM, {"that": row.id})
            wish = SuppressionRequest(cause=row.cause, actor=actor, at=ctx.now(), note="confirmed")
            record_objections(tx, ctx, [_require_number(row)], wish, channel=channel)
            write_audit(
                tx, now=ctx.now(), actor=actor, action="confirm suppression", subject=public_id
            )
        return make_suppressed(_find(tx, public_id))


def _release_number(
    tx: Connection, ctx: SubscriberContext, phone: str, actor: str, channel: str, note: str
) -> bool:
    now = ctx.now()
    if not release(tx, ctx, phone, at=now, actor=actor, by_phone=False):
        return False
    entry = ConsentEntry(ConsentKind.RELEASED, phone, now, channel, actor, SOURCE, note)
    append_consent_entries(tx, [entry])
    (released,) = read_suppressions(tx, ctx, [phone]).values()
    write_audit(tx, now=now, actor=actor, action="release suppression", subject=released.public_id)
    return True


def _says_more(before: Suppressed | None, scope: Scope) -> bool:
    """Whether entering a number by hand changes what is known of it."""
    if before is None or not before.active or before.cause is not Cause.MANUAL:
        return True
    return before.scope is not Scope.ALL and scope is Scope.ALL


def _find(tx: Connection, public_id: str) -> Row[Any]:
    row = tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first()
    if row is None:
        raise NotFound("There is no such suppression.")
    return row


def _require_number(row: Row[Any]) -> str:
    if row.phone is None:
        raise Conflict(
            "The person was erased, and nobody here knows the number: enter it anew first."
        )
    return str(row.phone)


def _cut(phones: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(phones), _AT_ONCE):
        yield phones[start : start + _AT_ONCE]
