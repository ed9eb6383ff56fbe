"""Verification of the consent ledger, and the evidence document of one number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from app.db.base import table_of
from app.subscribers.consent.hash_chain import BEGINNING, commit_to, hash_link, is_about, write_time
from app.subscribers.consent.ledger import Head, read_events, read_head
from app.subscribers.context import SubscriberContext
from app.subscribers.models import ConsentEvent, ConsentKind

_PAGE = 5_000

_EVENTS = table_of(ConsentEvent)

# Verifies an evidence document without our software.
HOW_TO_CHECK = (
    "commitment is the SHA-256 of the line `salt content`, and hash that of the line "
    "`previous_hash id kind at commitment`: UTF-8, single blanks between, no line break, hashes "
    "and salt in lower-case hex. content is what was recorded, and says the same as the other "
    "fields of its event. A head written down at the time, on paper or with another person, shows "
    "by `flask consent verify --head HASH` that nothing up to it was written anew since."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCheck:
    """The result of a verification: the number of links up to `head`.

    `broken` describes the first wrong link; `erased` counts links whose content was erased.
    """

    links: int
    erased: int
    head: Head
    broken: str | None = None


class _Link(NamedTuple):
    """The columns of a link that are verified."""

    id: int
    kind: ConsentKind
    at: datetime
    phone: Any
    salt: Any
    content: Any
    commitment: bytes
    hash: bytes


def verify_ledger(
    ctx: SubscriberContext,
    *,
    anchor: str | None = None,
    on_progress: Callable[[int], None] = lambda links: None,
) -> LedgerCheck:
    """Verify the whole ledger, in which `anchor`, a hash noted earlier, must occur.

    Calls `on_progress` with the number of links verified after each page.
    """
    head, erased, anchored = Head(), 0, anchor in (None, BEGINNING.hex())
    while True:
        with ctx.db.read() as tx:
            rows, broken = _read_page(tx, head)
        if not rows:
            break
        for row in rows:
            broken = _find_fault(row, head)
            if broken:
                return LedgerCheck(links=head.number, erased=erased, head=head, broken=broken)
            head = Head(row.id, row.hash)
            erased += row.content is None
            anchored = anchored or row.hash.hex() == anchor
        on_progress(head.number)
    if not broken and not anchored:
        broken = f"no link has the hash {anchor}: what led to it was written anew, or cut off"
    return LedgerCheck(links=head.number, erased=erased, head=head, broken=broken)


def _read_page(tx: Connection, head: Head) -> tuple[Sequence[Row[Any]], str | None]:
    """Return the links after the head, and what is wrong with the end if there are none."""
    try:
        query = select(_EVENTS).where(_EVENTS.c.id > head.number).order_by(_EVENTS.c.id)
        rows = tx.execute(query.limit(_PAGE)).all()
        # In one snapshot: a link appended meanwhile is in both queries or in neither.
        return rows, None if rows else _find_wrong_end(tx, head)
    except (ValueError, TypeError, KeyError):
        return [], f"a link after link {head.number} holds what we never write"


def _find_wrong_end(tx: Connection, head: Head) -> str | None:
    kept = read_head(tx) or Head()
    if tx.execute(select(_EVENTS.c.id).where(_EVENTS.c.id < 1).limit(1)).first():
        return "there is a link before the first"
    if kept == head:
        return None
    if kept.number > head.number:
        return f"link {head.number + 1} is missing: the ledger had {kept.number}"
    return f"link {head.number} is not the last one that was kept, {kept.number}"


def _find_fault(row: Row[Any] | _Link, before: Head) -> str | None:
    """Return what is wrong with a link that must follow `before`; None if nothing is."""
    if row.id != before.number + 1:
        return f"link {before.number + 1} is missing"
    hashed = hash_link(before.hash, row.id, row.kind.value, row.at, row.commitment)
    if hashed != row.hash:
        return f"link {row.id} does not follow from the one before: it was changed or moved"
    erasable = (row.phone, row.salt, row.content)
    if erasable == (None, None, None):
        return None
    if None in erasable or commit_to(row.salt, row.content) != row.commitment:
        return f"link {row.id} says something else than it did"
    if not is_about(row.content, row.phone):
        return f"link {row.id} says it of another number"
    return None


@dataclass(frozen=True, slots=True)
class History:
    """The consent events of a number, the oldest first; `fault` is what is wrong with one."""

    events: Sequence[Mapping[str, Any]]
    fault: str | None


def read_history(ctx: SubscriberContext, phone: str) -> History:
    """Read the consent events of a number, and verify each with its hash and the one before it.

    That none is missing only the verification of the whole ledger can say.
    """
    with ctx.db.read() as tx:
        events = read_events(tx, phone)
    faults = (
        _find_fault(
            _Link(**{name: event[name] for name in _Link._fields}),
            Head(event["id"] - 1, event["previous_hash"]),
        )
        for event in events
    )
    return History(events, next(filter(None, faults), None))


def make_evidence(ctx: SubscriberContext, phone: str) -> dict[str, Any]:
    """Return the consent events of a number as a document that can be verified on its own."""
    with ctx.db.read() as tx:
        links, head = read_events(tx, phone), read_head(tx)
    return {
        "phone": phone,
        "made_at": ctx.now(),
        "events": [_show_link(link) for link in links],
        "head": {"id": head.number, "hash": head.hash.hex()} if head else None,
        "how_to_check": HOW_TO_CHECK,
    }


def _show_link(link: Mapping[str, Any]) -> dict[str, Any]:
    """Return a link with its values as they were hashed."""
    shown = {name: value for name, value in link.items() if name != "phone"}
    for name in ("salt", "commitment", "previous_hash", "hash"):
        shown[name] = shown[name].hex()
    return shown | {"kind": link["kind"].value, "at": write_time(link["at"])}
