"""What rows of a file change of the people who are known, and who is new.

What a cell says goes over what is stored; an empty one takes nothing away, and tags are added.
A cell that shows what is stored already, be it a number or a truth, changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from app.csv_cells import show_plainly
from app.db.base import table_of
from app.db.lists import PHONES, pack
from app.db.types import UtcTime
from app.subscribers.attributes import MAX_ATTRIBUTES
from app.subscribers.consent.ledger import ConsentEntry
from app.subscribers.imports.models import ImportConsent
from app.subscribers.imports.rows import WHOLE_ROW, ParsedEntries, RejectedCell
from app.subscribers.models import ConsentEvent, ConsentKind, Subscriber, SubscriberTag, Tag

OBJECTED = "This person objected to marketing later than that."

_SUBSCRIBERS, _EVENTS = table_of(Subscriber), table_of(ConsentEvent)
_TAGS, _BEARERS = table_of(Tag), table_of(SubscriberTag)
# Made once: to make a statement costs several times what it takes to run one.
_KNOWN = {
    dialect: select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone.in_(these))
    for dialect, these in PHONES.items()
}
_OBJECTIONS = {
    dialect: select(_EVENTS.c.phone, func.max(_EVENTS.c.at, type_=UtcTime()).label("at"))
    .where(_EVENTS.c.phone.in_(these), _EVENTS.c.kind == ConsentKind.OPT_OUT)
    .group_by(_EVENTS.c.phone)
    for dialect, these in PHONES.items()
}
_BORNE = {
    dialect: select(_SUBSCRIBERS.c.phone, _TAGS.c.name)
    .join(_BEARERS, _BEARERS.c.subscriber_id == _SUBSCRIBERS.c.id)
    .join(_TAGS, _TAGS.c.id == _BEARERS.c.tag_id)
    .where(_SUBSCRIBERS.c.phone.in_(these))
    for dialect, these in PHONES.items()
}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of somebody who was known; `seen_at` tells whether they still are as then."""

    id: int
    seen_at: datetime
    details: dict[str, Any]
    attributes: dict[str, Any] | None
    tags: list[str]


@dataclass(slots=True)
class ImportPlan:
    """What some rows do.  `new` are places of `entries`; the counts are of rows."""

    entries: ParsedEntries
    new: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    consents: list[ConsentEntry] = field(default_factory=list)
    refusals: list[RejectedCell] = field(default_factory=list)
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    merged: int = 0
    refused: int = 0

    @property
    def writes(self) -> bool:
        """Whether it changes anything of anybody."""
        return bool(self.new or self.changes or self.consents)


def plan_entries(tx: Connection, entries: ParsedEntries, *, stamp: datetime) -> ImportPlan:
    """What they do; `stamp` tells whom this import has written before."""
    plan = ImportPlan(entries)
    if not entries.phones:
        return plan
    known = {row.phone: row for row in _ask(tx, _KNOWN, entries.phones)}
    _refuse_objectors(tx, plan, known)
    new, consents, rows = plan.new, entries.consents, entries.rows
    if known:
        borne = _find_borne(tx, entries, known)
        for place, phone in enumerate(entries.phones):
            row = known.get(phone)
            if row is None:
                new.append(place)
            else:
                _plan_known(plan, place, row, borne.get(phone, set()), stamp)
    else:
        new.extend(range(len(entries.phones)))
    plan.created = len(new)
    plan.merged += sum(rows[place] for place in new) - len(new)
    plan.consents += [
        _make_entry(entries.phones[place], consent)
        for place in new
        if (consent := consents[place]) is not None
    ]
    return plan


def _refuse_objectors(tx: Connection, plan: ImportPlan, known: Mapping[str, Row[Any]]) -> None:
    """Leave out whose consent is older than their objection."""
    entries = plan.entries
    asked = [
        phone
        for phone, consent in zip(entries.phones, entries.consents, strict=True)
        if consent is not None and (phone not in known or known[phone].consented_at is None)
    ]
    if not asked:
        return
    objected = {row.phone: row.at for row in _ask(tx, _OBJECTIONS, asked)}
    kept = [
        consent is None or phone not in objected or objected[phone] < consent.at
        for phone, consent in zip(entries.phones, entries.consents, strict=True)
    ]
    for place, stays in enumerate(kept):
        if not stays:
            line = entries.lines[place]
            plan.refusals.append(RejectedCell(line, WHOLE_ROW, "", "", OBJECTED))
            plan.refused += entries.rows[place]
    if plan.refusals:
        entries.keep(kept)


def _find_borne(
    tx: Connection, entries: ParsedEntries, known: Mapping[str, Row[Any]]
) -> dict[str, set[str]]:
    """The tags that known people bear; nobody's where the rows give none."""
    borne: dict[str, set[str]] = {}
    if any(entries.tags):
        for row in _ask(tx, _BORNE, list(known)):
            borne.setdefault(row.phone, set()).add(row.name)
    return borne


def _plan_known(
    plan: ImportPlan, place: int, row: Row[Any], borne: set[str], stamp: datetime
) -> None:
    entries = plan.entries
    details = {
        name: given
        for name, column in entries.details.items()
        if (given := column[place]) is not None and given != getattr(row, name)
    }
    old = row.attributes or {}
    attributes = {
        name: given
        for name, column in entries.attributes.items()
        if (given := column[place]) is not None and not _shows(given, old.get(name))
    }
    tags = [name for name in entries.tags[place] if name not in borne]
    if attributes and len(old | attributes) > MAX_ATTRIBUTES:
        reason = f"More than {MAX_ATTRIBUTES} attributes with those that are stored."
        plan.refusals.append(RejectedCell(entries.lines[place], WHOLE_ROW, "", "", reason))
        plan.refused += entries.rows[place]
        return
    consent = entries.consents[place]
    agrees = consent is not None and (row.consented_at is None or row.consented_at < consent.at)
    changed = bool(details or attributes or tags or agrees)
    if changed:
        merged = old | attributes if attributes else row.attributes
        plan.changes.append(Change(row.id, row.updated_at, _detail(row, details), merged, tags))
    if agrees and consent is not None:
        plan.consents.append(_make_entry(row.phone, consent))
    _count(plan, entries.rows[place], changed=changed, again=row.updated_at == stamp)


def _detail(row: Row[Any], details: Mapping[str, Any]) -> dict[str, Any]:
    names = ("first_name", "last_name", "language", "time_zone", "active")
    return {name: details.get(name, getattr(row, name)) for name in names}


def _count(plan: ImportPlan, rows: int, *, changed: bool, again: bool) -> None:
    if again:
        plan.merged += rows
    elif changed:
        plan.updated += 1
        plan.merged += rows - 1
    else:
        plan.unchanged += rows


def _shows(given: Any, stored: Any) -> bool:
    """Whether a cell's value says what is stored, perhaps as a number or a truth."""
    if isinstance(given, bool) == isinstance(stored, bool) and given == stored:
        return True
    return stored is not None and isinstance(given, str) and given == show_plainly(stored)


def _make_entry(phone: str, consent: ImportConsent) -> ConsentEntry:
    return ConsentEntry(phone, consent.at, consent.source, consent.wording)


def _ask(
    tx: Connection, statements: Mapping[str, Any], phones: Sequence[str]
) -> Iterable[Row[Any]]:
    dialect = tx.dialect.name
    return tx.execute(statements[dialect], {"phones": pack(tx, phones)})
