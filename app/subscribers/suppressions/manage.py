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
from app.subscribers.consent.ledger import Entry, record, record_many
from app.subscribers.context import People
from app.subscribers.models import Cause, ConsentKind, Scope, Suppression
from app.subscribers.suppressions.store import (
    Suppressed,
    Wish,
    hold_for_change,
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
    update(_SUPPRESSIONS).where(_SUPPRESSIONS.c.id == bindparam("that")).values(to_review=False)
)


@dataclass(frozen=True, slots=True)
class Page:
    """Suppressions, the newest first, and the cursor behind them; None at the end."""

    rows: list[Suppressed]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Added:
    """What came of many: how many were asked for, each once, and written to until now."""

    numbers: int
    newly: int


def list_suppressions(
    people: People,
    *,
    cursor: int | None = None,
    limit: int = 100,
    cause: Cause | None = None,
    scope: Scope | None = None,
    to_review: bool | None = None,
    active: bool | None = None,
) -> Page:
    """Those that fit all that is given."""
    query = select(_SUPPRESSIONS).order_by(_SUPPRESSIONS.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(_SUPPRESSIONS.c.id < cursor)
    if cause is not None:
        query = query.where(_SUPPRESSIONS.c.cause == cause)
    if scope is not None:
        query = query.where(_SUPPRESSIONS.c.scope == scope)
    if to_review is not None:
        flagged = _SUPPRESSIONS.c.to_review == true()
        query = query.where(flagged if to_review else ~flagged)
    if active is not None:
        in_force = _SUPPRESSIONS.c.released_at.is_(None)
        query = query.where(in_force if active else ~in_force)
    with people.db.read() as tx:
        rows = tx.execute(query).all()
    more = len(rows) > limit
    shown = [make_suppressed(row) for row in rows[:limit]]
    return Page(shown, str(rows[limit - 1].id) if more else None)


def look_up(people: People, phone: str) -> Suppressed | None:
    """What is known of a number's suppression, one that was lifted included."""
    with people.db.read() as tx:
        return read_suppressions(tx, people, [phone]).get(phone)


def add_suppressions(
    people: People,
    phones: Sequence[str],
    *,
    actor: str,
    channel: str,
    scope: Scope = Scope.ALL,
    note: str | None = None,
) -> Added:
    """Write to these numbers no more, whatever their phones say.  Raises WrongKey."""
    numbers = list(dict.fromkeys(phones))
    wish = Wish(cause=Cause.MANUAL, actor=actor, at=people.now(), scope=scope, note=note)
    newly = 0
    for some in _cut(numbers):
        with people.db.write() as tx:
            hold_for_change(tx)
            before = read_suppressions(tx, people, some)
            newly += len(suppress_many(tx, people, some, wish))
            changed = [each for each in some if _says_more(before.get(each), scope)]
            note_objections(tx, people, changed, wish, channel=channel)
    return Added(len(numbers), newly)


def add_imported(
    people: People, phones: Sequence[str], *, actor: str, at: datetime, source: str
) -> int:
    """Take over from a list who wants nothing; how many were written to until now.

    What was released since `at` stays so.  Raises WrongKey.
    """
    wish = Wish(cause=Cause.IMPORT, actor=actor, at=at)
    newly = 0
    for some in _cut(phones):
        with people.db.write() as tx:
            added = suppress_many(tx, people, some, wish)
            note_objections(tx, people, added, wish, channel=IMPORT, source=source)
            newly += len(added)
    return newly


def note_objections(
    tx: Connection,
    people: People,
    phones: Sequence[str],
    wish: Wish,
    *,
    channel: str,
    source: str = SOURCE,
) -> None:
    """Add to the ledger that these numbers are not to be written to."""
    entries = [Entry(phone, wish.at, source, wish.note or "") for phone in phones]
    record_many(tx, people, ConsentKind.OPT_OUT, entries, actor=wish.actor, channel=channel)


def release_suppression(
    people: People, public_id: str, *, actor: str, channel: str, note: str
) -> Suppressed:
    """Lift a suppression; one that is lifted already stays as it is.

    Consent to marketing does not come back by that.  Raises NotFound, WrongKey, and Conflict for
    an erased person's: nobody here knows any more whose it is.
    """
    with people.db.write() as tx:
        hold_for_change(tx)
        row = _find(tx, public_id)
        if row.released_at is None:
            _release_number(tx, people, _require_number(row), actor, channel, note)
        return make_suppressed(_find(tx, public_id))


def release_number(people: People, phone: str, *, actor: str, channel: str, note: str) -> bool:
    """Lift the suppression of a number; whether there was one.  Raises WrongKey."""
    with people.db.write() as tx:
        return _release_number(tx, people, phone, actor, channel, note)


def confirm_suppression(people: People, public_id: str, *, actor: str, channel: str) -> Suppressed:
    """A text that could have been meant otherwise was meant so.  Raises NotFound, Conflict."""
    with people.db.write() as tx:
        hold_for_change(tx)
        row = _find(tx, public_id)
        if row.released_at is not None:
            raise Conflict("It was lifted: there is nothing to confirm.")
        if row.to_review:
            tx.execute(_CONFIRM, {"that": row.id})
            wish = Wish(cause=row.cause, actor=actor, at=people.now(), note="confirmed")
            note_objections(tx, people, [_require_number(row)], wish, channel=channel)
            write_audit(
                tx, now=people.now(), actor=actor, action="confirm suppression", subject=public_id
            )
        return make_suppressed(_find(tx, public_id))


def _release_number(
    tx: Connection, people: People, phone: str, actor: str, channel: str, note: str
) -> bool:
    now = people.now()
    if not release(tx, people, phone, at=now, actor=actor, by_phone=False):
        return False
    said = {"actor": actor, "channel": channel, "source": SOURCE, "wording": note}
    record(tx, people, ConsentKind.RELEASED, phone, at=now, **said)
    (released,) = read_suppressions(tx, people, [phone]).values()
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
