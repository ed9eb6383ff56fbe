"""The one writer of subscribers: inserts and updates entries within a transaction.

Locks are taken in this order: suppressions, tags, subscribers by number, the ledger of consent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from app.db.base import table_of
from app.db.prepared import PHONES, chunked, insert_rows, pack
from app.db.types import UtcTime
from app.ids import make_ids
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries
from app.subscribers.context import SubscriberContext
from app.subscribers.models import ConsentEvent, ConsentKind, Subscriber
from app.subscribers.profiles.entry import (
    OnConflict,
    SubscriberEntry,
    TooManyAttributes,
    is_same,
    make_details,
    merge_cells,
    merge_details,
    replace_details,
)
from app.subscribers.suppressions.store import restore_phone
from app.subscribers.tags.assignments import (
    TagAssignment,
    add_tags,
    lock_tags,
    read_tags,
    remove_tags,
)

OBJECTED = "This person objected to marketing later than that."

_SUBSCRIBERS, _EVENTS = table_of(Subscriber), table_of(ConsentEvent)
# Locked until the transaction ends.
_KNOWN = {
    dialect: select(_SUBSCRIBERS)
    .where(_SUBSCRIBERS.c.phone.in_(phones))
    .order_by(_SUBSCRIBERS.c.phone)
    .with_for_update()
    for dialect, phones in PHONES.items()
}
_LAST_OBJECTIONS = {
    dialect: select(_EVENTS.c.phone, func.max(_EVENTS.c.at, type_=UtcTime()).label("at"))
    .where(_EVENTS.c.phone.in_(phones), _EVENTS.c.kind == ConsentKind.OPT_OUT)
    .group_by(_EVENTS.c.phone)
    for dialect, phones in PHONES.items()
}
_INSERTED = {
    dialect: select(_SUBSCRIBERS.c.id, _SUBSCRIBERS.c.phone).where(
        _SUBSCRIBERS.c.public_id.in_(public_ids)
    )
    for dialect, public_ids in PHONES.items()
}


class EntryOutcome(StrEnum):
    """Outcome of an entry."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    MERGED = "merged"  # an earlier row of the same file had created or changed the subscriber
    REFUSED = "refused"


@dataclass(slots=True)
class UpsertResult:
    """The outcome of each entry by number, and the reasons of those refused."""

    outcomes: dict[str, EntryOutcome] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def refuse(self, phone: str, reason: str) -> None:
        """Refuse an entry."""
        self.outcomes[phone] = EntryOutcome.REFUSED
        self.errors[phone] = reason


def write_entries(
    tx: Connection,
    ctx: SubscriberContext,
    entries: Sequence[SubscriberEntry],
    *,
    on_conflict: OnConflict = OnConflict.MERGE,
    actor: str,
    channel: str,
    file_stamp: datetime | None = None,
) -> UpsertResult:
    """Insert subscribers for entries, each of another number, or change those that exist.

    A suppressed number stays suppressed.  `file_stamp` is given for rows of an imported file and
    is the time of all that this file writes: a cell that shows the stored value changes nothing, a
    consent is recorded once, and a consent from before an objection refuses its row.
    """
    restore_phone(tx, ctx, [entry.phone for entry in entries])
    tags = lock_tags(tx, ctx, {name for entry in entries for name in entry.tags or ()})
    writer = _Writer(tx, tags, on_conflict, file_stamp or ctx.now(), is_file=file_stamp is not None)
    remaining = {entry.phone: entry for entry in entries}
    while remaining:
        known = read_known(tx, list(remaining))
        writer.refuse_objectors(known, remaining)
        writer.change_known(known, remaining)
        writer.insert_new(remaining)
        # An entry without an outcome was inserted by another transaction: change it now.
        outcomes = writer.result.outcomes
        remaining = {phone: remaining[phone] for phone in remaining if phone not in outcomes}
    agreed = [entry for entry in entries if entry.phone in writer.agreed]
    record_consents(tx, ctx, agreed, actor=actor, channel=channel)
    return writer.result


def read_known(tx: Connection, phones: Sequence[str]) -> dict[str, Row[Any]]:
    """Return the subscribers of these numbers, locked until the transaction ends."""
    known: dict[str, Row[Any]] = {}
    for some in chunked(sorted(phones)):
        locked = tx.execute(_KNOWN[tx.dialect.name], {"phones": pack(tx, some)})
        known |= {row.phone: row for row in locked}
    return known


class _Writer:
    """The writes of one call of `write_entries`, with the locked tags by name."""

    def __init__(
        self,
        tx: Connection,
        tags: Mapping[str, Any],
        on_conflict: OnConflict,
        now: datetime,
        *,
        is_file: bool,
    ) -> None:
        self._tx = tx
        self._tags = tags
        self._on_conflict = on_conflict
        self._now = now
        self._is_file = is_file
        self.result = UpsertResult()
        self.agreed = set[str]()

    def refuse_objectors(
        self, known: Mapping[str, Row[Any]], entries: Mapping[str, SubscriberEntry]
    ) -> None:
        """Refuse rows of a file whose consent is older than an objection of the person."""
        if not self._is_file:
            return
        consents = {
            phone: entry.consent
            for phone, entry in entries.items()
            if entry.consent and (phone not in known or known[phone].consented_at is None)
        }
        objected_at = _read_objections(self._tx, list(consents))
        for phone, consent in consents.items():
            if phone in objected_at and (consent.at or self._now) <= objected_at[phone]:
                self.result.refuse(phone, OBJECTED)

    def change_known(
        self, known: Mapping[str, Row[Any]], entries: Mapping[str, SubscriberEntry]
    ) -> None:
        """Change subscribers that exist, unless conflicts are skipped."""
        if self._on_conflict is OnConflict.SKIP:
            self.result.outcomes |= dict.fromkeys(known, EntryOutcome.UNCHANGED)
            return
        assigned = read_tags(self._tx, [row.id for row in known.values()])
        changes: list[dict[str, Any]] = []
        added: dict[int, set[str]] = {}
        removed: list[tuple[int, int]] = []
        for phone, row in known.items():
            entry, old = entries[phone], row._asdict()
            new = None if phone in self.result.outcomes else self._combine(old, entry)
            if new is None:
                continue
            own = assigned.get(row.id, [])
            missing = set(entry.tags or ()).difference(tag.name for tag in own)
            dropped: list[TagAssignment] = []
            if self._on_conflict is OnConflict.REPLACE:
                dropped = find_dropped(own, entry.tags)
            agrees = self._agrees(row, entry)
            changed = bool(missing or dropped or (agrees and self._is_file))
            if changed or not is_same(old, new):
                changes.append({"subscriber_id": row.id, "updated_at": self._now, **new})
                added[row.id] = missing
                removed += [(tag.tag_id, row.id) for tag in dropped]
                self.result.outcomes[phone] = EntryOutcome.UPDATED
            else:
                self.result.outcomes[phone] = EntryOutcome.UNCHANGED
            if self._is_file and row.updated_at == self._now:
                self.result.outcomes[phone] = EntryOutcome.MERGED
            if agrees:
                self.agreed.add(phone)
        if changes:
            by_id = _SUBSCRIBERS.c.id == bindparam("subscriber_id")
            self._tx.execute(update(_SUBSCRIBERS).where(by_id), changes)
        remove_tags(self._tx, removed)
        add_tags(self._tx, self._tags, added)

    def insert_new(self, entries: Mapping[str, SubscriberEntry]) -> None:
        """Insert the entries without an outcome, except those that another transaction inserts."""
        phones = sorted(phone for phone in entries if phone not in self.result.outcomes)
        if not phones:
            return
        public_ids = make_ids(self._now, len(phones))
        rows = [
            {
                "public_id": public_id,
                "phone": phone,
                "consented_at": None,
                "updated_at": self._now,
                **make_details(entries[phone], self._now),
            }
            for phone, public_id in zip(phones, public_ids, strict=True)
        ]
        insert_rows(self._tx, _SUBSCRIBERS, rows, skip_known=True)
        ids: dict[str, int] = {}
        for some in chunked(public_ids):
            packed = {"phones": pack(self._tx, some)}
            inserted = self._tx.execute(_INSERTED[self._tx.dialect.name], packed)
            ids |= {phone: subscriber_id for subscriber_id, phone in inserted}
        add_tags(self._tx, self._tags, {ids[phone]: entries[phone].tags or () for phone in ids})
        self.result.outcomes |= dict.fromkeys(ids, EntryOutcome.CREATED)
        self.agreed |= {phone for phone in ids if entries[phone].consent}

    def _combine(self, old: dict[str, Any], entry: SubscriberEntry) -> dict[str, Any] | None:
        """Return the new columns; None where they were refused."""
        try:
            if self._on_conflict is OnConflict.REPLACE:
                return replace_details(old, entry)
            return (merge_cells if self._is_file else merge_details)(old, entry)
        except TooManyAttributes as e:
            self.result.refuse(entry.phone, str(e))
            return None

    def _agrees(self, row: Row[Any], entry: SubscriberEntry) -> bool:
        """Return True if the entry's consent is to be recorded; that of a file only if newer."""
        if entry.consent is None or not self._is_file or row.consented_at is None:
            return entry.consent is not None
        return bool(row.consented_at < (entry.consent.at or self._now))


def _read_objections(tx: Connection, phones: Sequence[str]) -> dict[str, datetime]:
    """Return the times of the last objections by number."""
    objected_at: dict[str, datetime] = {}
    for some in chunked(phones):
        objections = tx.execute(_LAST_OBJECTIONS[tx.dialect.name], {"phones": pack(tx, some)})
        objected_at |= {row.phone: row.at for row in objections}
    return objected_at


def find_dropped(
    assigned: Sequence[TagAssignment], tags: Sequence[str] | None
) -> list[TagAssignment]:
    """Return the assignments that are not among the tags given; none if no tags are given."""
    return [] if tags is None else [tag for tag in assigned if tag.name not in tags]


def record_consents(
    tx: Connection,
    ctx: SubscriberContext,
    entries: Sequence[SubscriberEntry],
    *,
    actor: str,
    channel: str,
) -> None:
    """Add the consents of entries to the ledger."""
    now = ctx.now()
    consents = [
        ConsentEntry(
            ConsentKind.OPT_IN,
            entry.phone,
            entry.consent.at or now,
            channel,
            actor,
            entry.consent.source,
            entry.consent.wording,
        )
        for entry in entries
        if entry.consent is not None
    ]
    append_consent_entries(tx, consents)
