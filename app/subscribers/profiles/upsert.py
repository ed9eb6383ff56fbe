"""People as they are given become subscribers, within a transaction.

Locks are taken in this order: suppressions, tags, subscribers by number, the ledger of consent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.ids import make_id
from app.subscribers.consent import ledger
from app.subscribers.context import SubscriberContext
from app.subscribers.models import ConsentKind, Subscriber
from app.subscribers.profiles.entry import (
    OnConflict,
    SubscriberEntry,
    TooManyAttributes,
    is_same,
    make_details,
    merge_details,
    replace_details,
)
from app.subscribers.suppressions.store import restore_phone
from app.subscribers.tags.assignments import (
    TagAssignment,
    add_tags,
    chunked,
    insert_missing,
    lock_tags,
    read_tags,
    remove_tags,
)

_SUBSCRIBERS = table_of(Subscriber)
# Made once: to make a statement costs several times what it takes to run one.
_ADD = insert_missing(_SUBSCRIBERS)
_HOLD = (
    select(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone.in_(bindparam("these", expanding=True)))
    .order_by(_SUBSCRIBERS.c.phone)
    .with_for_update()
)
_MADE = select(_SUBSCRIBERS.c.id, _SUBSCRIBERS.c.phone).where(
    _SUBSCRIBERS.c.public_id.in_(bindparam("these", expanding=True))
)
_CHANGE = update(_SUBSCRIBERS).where(_SUBSCRIBERS.c.id == bindparam("this"))


@dataclass(slots=True)
class UpsertResult:
    """What became of entries: how many of each, and what was wrong with whom, by number.

    `made` are the numbers that are new, in the order of their making.
    """

    made: list[str] = field(default_factory=list)
    updated: int = 0
    unchanged: int = 0
    faults: dict[str, str] = field(default_factory=dict)


def write_entries(
    tx: Connection,
    ctx: SubscriberContext,
    entries: Sequence[SubscriberEntry],
    *,
    on_conflict: OnConflict,
    actor: str,
    channel: str,
) -> UpsertResult:
    """Make subscribers of entries, each of another number, or change those there are.

    A number that is suppressed stays so, whoever enters it.
    """
    outcome = UpsertResult()
    restore_phone(tx, ctx, [entry.phone for entry in entries])
    tags = lock_tags(tx, ctx, (name for entry in entries for name in entry.tags or ()))
    left, taken = {entry.phone: entry for entry in entries}, set[str]()
    while left:
        known = read_known(tx, list(left))
        found = [left.pop(phone) for phone in known]
        if on_conflict is OnConflict.SKIP:
            outcome.unchanged += len(found)
        else:
            taken |= _change_known(tx, ctx, known, found, tags, on_conflict, outcome)
        made = _make_new(tx, ctx, left, tags)
        outcome.made += made
        taken.update(made)
        # Whom somebody else has just made is there at the next look.
        left = {phone: entry for phone, entry in left.items() if phone not in taken}
    agreed = [entry for entry in entries if entry.phone in taken]
    record_consents(tx, ctx, agreed, actor=actor, channel=channel)
    return outcome


def read_known(tx: Connection, phones: Sequence[str]) -> dict[str, Row[Any]]:
    """The subscribers of these numbers, whom nobody else changes before the end of it."""
    found: dict[str, Row[Any]] = {}
    for part in chunked(sorted(phones)):
        found |= {row.phone: row for row in tx.execute(_HOLD, {"these": list(part)})}
    return found


def _change_known(
    tx: Connection,
    ctx: SubscriberContext,
    known: Mapping[str, Row[Any]],
    entries: Sequence[SubscriberEntry],
    tags: Mapping[str, Any],
    on_conflict: OnConflict,
    outcome: UpsertResult,
) -> set[str]:
    """Change who is there already; the numbers of those with whom nothing is wrong."""
    now, replace = ctx.now(), on_conflict is OnConflict.REPLACE
    borne = read_tags(tx, [row.id for row in known.values()])
    changes: list[dict[str, Any]] = []
    added: dict[int, set[str]] = {}
    removed: list[tuple[int, int]] = []
    for entry in entries:
        row = known[entry.phone]
        old = row._asdict()
        try:
            new = replace_details(old, entry) if replace else merge_details(old, entry)
        except TooManyAttributes as e:
            outcome.faults[entry.phone] = str(e)
            continue
        own = borne.get(row.id, [])
        more = set(entry.tags or ()).difference(each.name for each in own)
        less = find_dropped(own, entry.tags) if replace else []
        if is_same(old, new) and not more and not less:
            outcome.unchanged += 1
            continue
        outcome.updated += 1
        changes.append({"this": row.id, "updated_at": now, **new})
        added[row.id] = more
        removed += [(each.tag_id, row.id) for each in less]
    if changes:
        tx.execute(_CHANGE, changes)
    remove_tags(tx, removed)
    add_tags(tx, tags, added)
    return known.keys() - outcome.faults.keys()


def find_dropped(borne: Sequence[TagAssignment], tags: Sequence[str] | None) -> list[TagAssignment]:
    """What somebody bears and no longer is to; nothing where no tags are given."""
    return [] if tags is None else [each for each in borne if each.name not in tags]


def _make_new(
    tx: Connection,
    ctx: SubscriberContext,
    entries: Mapping[str, SubscriberEntry],
    tags: Mapping[str, Any],
) -> list[str]:
    """Make subscribers, as far as nobody else is making them just now; the numbers made."""
    now = ctx.now()
    rows = [
        {
            "public_id": make_id(now),
            "phone": phone,
            "consented_at": None,
            "updated_at": now,
            **make_details(entries[phone], now),
        }
        for phone in sorted(entries)
    ]
    if not rows:
        return []
    tx.execute(_ADD[tx.dialect.name], rows)
    ids: dict[str, int] = {}
    for part in chunked([row["public_id"] for row in rows]):
        made = tx.execute(_MADE, {"these": list(part)})
        ids |= {row.phone: row.id for row in made}
    add_tags(tx, tags, {ids[phone]: entries[phone].tags or () for phone in ids})
    return list(ids)


def record_consents(
    tx: Connection,
    ctx: SubscriberContext,
    entries: Sequence[SubscriberEntry],
    *,
    actor: str,
    channel: str,
) -> None:
    """Add to the ledger what those who agreed to marketing agreed to."""
    now = ctx.now()
    events = [
        (entry.phone, entry.consent.at or now, entry.consent.source, entry.consent.wording, None)
        for entry in entries
        if entry.consent is not None
    ]
    ledger.append_consents(tx, ctx, ConsentKind.OPT_IN, events, actor=actor, channel=channel)
