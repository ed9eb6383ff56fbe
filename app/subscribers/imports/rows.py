"""From rows of a file to what they say of people, and the cells that cannot be taken."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import compress
from typing import Any
from zoneinfo import ZoneInfo

from app.phone.reader import ParsedColumn, PhoneReader
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.imports.models import ImportConsent, ImportOptions, Purpose, ValueType
from app.subscribers.lists.cells import (
    MAX_SOURCE_CHARACTERS,
    MAX_WORDING_CHARACTERS,
    read_booleans,
    read_datetimes,
    read_languages,
    read_names,
    read_numbers,
    read_tags,
    read_texts,
    read_values,
    read_zones,
)
from app.subscribers.lists.columns import (
    ACTIVE,
    CONSENT_AT,
    CONSENT_SOURCE,
    CONSENT_WORDING,
    FIRST_NAME,
    LANGUAGE,
    LAST_NAME,
    NAME,
    PHONE,
    TAGS,
    TIME_ZONE,
    ColumnMapping,
)
from app.subscribers.lists.reader import Row

MAX_CELL_SHOWN = 64
WHOLE_ROW = -1
NO_CONSENT = "A consent needs its wording, its source and its time."

# The columns of a subscriber that a file can fill, as they are written.
DETAILS = (FIRST_NAME, LAST_NAME, LANGUAGE, TIME_ZONE, ACTIVE)
_CONSENT = (CONSENT_AT, CONSENT_SOURCE, CONSENT_WORDING)
_VALUE_READERS = {
    ValueType.TEXT: read_values,
    ValueType.NUMBER: read_numbers,
    ValueType.BOOLEAN: read_booleans,
}


@dataclass(frozen=True, slots=True)
class RejectedCell:
    """Why a row is not taken: the cell at `position`, or the whole row."""

    line: int
    position: int
    header: str
    cell: str
    reason: str


@dataclass(slots=True)
class ParsedEntries:
    """What rows say of people: lists of the same length, one place for each row.

    None, or an empty tuple of tags, where nothing is said.  `rows` says how many rows of the file
    stand behind each place.
    """

    lines: list[int]
    phones: list[str]
    details: dict[str, list[Any]]
    attributes: dict[str, list[Any]]
    tags: list[tuple[str, ...]]
    consents: list[ImportConsent | None]
    rows: list[int]

    def keep(self, kept: Sequence[bool]) -> None:
        """Drop the places where `kept` is false."""
        self.lines = list(compress(self.lines, kept))
        self.phones = list(compress(self.phones, kept))
        self.details = {name: list(compress(each, kept)) for name, each in self.details.items()}
        self.attributes = {
            name: list(compress(each, kept)) for name, each in self.attributes.items()
        }
        self.tags = list(compress(self.tags, kept))
        self.consents = list(compress(self.consents, kept))
        self.rows = list(compress(self.rows, kept))


@dataclass(slots=True)
class ParsedRows:
    """Rows that were read: what the good ones say, and why the others are refused."""

    entries: ParsedEntries
    refusals: list[RejectedCell]
    rows: int
    refused: int


class RowParser:
    """Reads rows of one layout."""

    def __init__(
        self, column_mapping: ColumnMapping, options: ImportOptions, *, zone: str, now: datetime
    ) -> None:
        self._layout = column_mapping
        self._options = options
        self._readers = self._choose_readers(ZoneInfo(zone), now)

    def read(self, rows: Sequence[Row]) -> ParsedRows:
        """What the rows say."""
        good = [row for row in rows if not row.error]
        lines = [row.line for row in good]
        cells = _Cells(lines, self._layout.headers)
        cells.take([row.cells for row in good])
        columns: dict[str, list[Any]] = {}
        for place, (name, read) in self._readers.items():
            columns[name] = cells.read(place, read)
        consents = self._join_consents(columns, cells)
        entries = self._make_entries(columns, consents, lines)
        if cells.faulty:
            entries.keep([place not in cells.faulty for place in range(len(entries.lines))])
        unreadable = [
            RejectedCell(row.line, WHOLE_ROW, "", "", row.error) for row in rows if row.error
        ]
        _merge_repeated(entries)
        return ParsedRows(
            entries=entries,
            refusals=[*cells.list_refusals(), *unreadable],
            rows=len(rows),
            refused=len(cells.faulty) + len(unreadable),
        )

    def _choose_readers(
        self, zone: ZoneInfo, now: datetime
    ) -> dict[int, tuple[str, Callable[[Sequence[str]], ParsedColumn]]]:
        """For each column that is for something: its field, and what reads its cells."""
        options = self._options
        phones = PhoneReader(
            country=options.country,
            without_plus=options.without_plus or self._layout.is_international,
            check=options.check_numbers,
        )
        readers: dict[str, Callable[[Sequence[str]], ParsedColumn]] = {
            PHONE: phones.read_column,
            FIRST_NAME: read_names,
            LAST_NAME: read_names,
            NAME: partial(read_texts, most=200),
            LANGUAGE: read_languages,
            TIME_ZONE: read_zones,
            TAGS: read_tags,
            ACTIVE: read_booleans,
            CONSENT_WORDING: partial(read_texts, most=MAX_WORDING_CHARACTERS),
            CONSENT_SOURCE: partial(read_texts, most=MAX_SOURCE_CHARACTERS),
            CONSENT_AT: partial(read_datetimes, zone=zone, now=now),
        }

        def choose(name: str) -> Callable[[Sequence[str]], ParsedColumn]:
            kind = options.types.get(name.removeprefix(ATTRIBUTE), ValueType.TEXT)
            return _VALUE_READERS[kind] if name.startswith(ATTRIBUTE) else readers[name]

        fields = enumerate(self._layout.fields)
        return {place: (name, choose(name)) for place, name in fields if name}

    def _join_consents(
        self, columns: dict[str, list[Any]], cells: "_Cells"
    ) -> list[ImportConsent | None]:
        """Each row's consent; what it does not say is as it was given for all."""
        for_all = self._options.consent
        parts = [columns.pop(name, None) for name in _CONSENT]
        needed = self._options.purpose is Purpose.MARKETING
        if parts == [None] * 3 or (not needed and not for_all and None in parts):
            return [for_all] * cells.count
        given = for_all or (None, None, None)
        filled = [
            [value or other for value in part] if part else [other] * cells.count
            for part, other in zip(parts, given, strict=True)
        ]
        consents: list[ImportConsent | None] = []
        for place, own in enumerate(zip(*filled, strict=True)):
            consents.append(ImportConsent(*own) if all(own) else None)
            incomplete = consents[-1] is None and (needed or any(own))
            if incomplete and place not in cells.faulty:
                cells.refuse(place, self._place_consent(), NO_CONSENT)
        return consents

    def _place_consent(self) -> int:
        fields = self._layout.fields
        return next((fields.index(name) for name in _CONSENT if name in fields), WHOLE_ROW)

    def _make_entries(
        self,
        columns: dict[str, list[Any]],
        consents: list[ImportConsent | None],
        lines: list[int],
    ) -> ParsedEntries:
        if NAME in columns:
            first, last = _split_names(columns.pop(NAME))
            columns[FIRST_NAME], columns[LAST_NAME] = first, last
        everyone = self._options.tags
        tags = columns.get(TAGS)
        return ParsedEntries(
            lines=list(lines),
            phones=columns[PHONE],
            details={name: columns[name] for name in DETAILS if name in columns},
            attributes={
                name.removeprefix(ATTRIBUTE): each
                for name, each in columns.items()
                if name.startswith(ATTRIBUTE)
            },
            tags=_join_tags(tags, everyone) if tags else [everyone] * len(lines),
            consents=consents,
            rows=[1] * len(lines),
        )


@dataclass(slots=True)
class _Cells:
    """The columns of some rows, and what is wrong with which cell."""

    lines: Sequence[int]
    headers: Sequence[str]
    columns: list[tuple[str, ...]] = field(default_factory=list)
    faults: list[tuple[int, int, str]] = field(default_factory=list)
    faulty: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self.lines)

    def take(self, rows: list[list[str]]) -> None:
        """Turn rows into columns; missing cells at their ends are empty, and more a fault."""
        width = len(self.headers)
        if any(len(row) != width for row in rows):
            rows = [self._fit(place, row, width) for place, row in enumerate(rows)]
        self.columns = list(zip(*rows, strict=True)) or [()] * width

    def _fit(self, place: int, row: list[str], width: int) -> list[str]:
        if any(cell.strip() for cell in row[width:]):
            self.refuse(place, WHOLE_ROW, "More cells than there are titles.")
        return row[:width] + [""] * (width - len(row))

    def read(self, position: int, read: Callable[[Sequence[str]], ParsedColumn]) -> list[Any]:
        values, faults = read(self.columns[position])
        for place, reason in faults.items():
            self.refuse(place, position, reason)
        return values

    def refuse(self, place: int, position: int, reason: str) -> None:
        self.faults.append((place, position, reason))
        self.faulty.add(place)

    def list_refusals(self) -> Iterator[RejectedCell]:
        for place, position, reason in self.faults:
            whole = position == WHOLE_ROW
            yield RejectedCell(
                line=self.lines[place],
                position=position,
                header="" if whole else self.headers[position][:MAX_CELL_SHOWN],
                cell="" if whole else show_cell(self.columns[position][place]),
                reason=reason,
            )


def show_cell(cell: str) -> str:
    """A cell as a report quotes it: cut where it is long, without what no database takes."""
    return cell.replace("\0", "�")[:MAX_CELL_SHOWN]


def _split_names(names: Sequence[str | None]) -> tuple[list[str | None], list[str | None]]:
    """Whole names in two: `Ann Mary Lee` before the last blank, `Lee, Ann` at the comma."""
    first: list[str | None] = []
    last: list[str | None] = []
    for name in names:
        family, comma, given = (name or "").partition(",")
        if not comma:
            given, _, family = (name or "").rpartition(" ")
            if not given:
                given, family = family, ""
        first.append(given.strip()[:100] or None)
        last.append(family.strip()[:100] or None)
    return first, last


def _join_tags(tags: Sequence[tuple[str, ...]], everyone: tuple[str, ...]) -> list[tuple[str, ...]]:
    joined = {own: tuple(dict.fromkeys((*everyone, *own))) for own in set(tags)}
    return [joined[own] for own in tags]


def _merge_repeated(entries: ParsedEntries) -> None:
    """Have each number once: what a later row says goes over what an earlier one said."""
    if len(set(entries.phones)) == len(entries.phones):
        return
    first: dict[str, int] = {}
    columns = [*entries.details.values(), *entries.attributes.values(), entries.consents]
    kept = [True] * len(entries.phones)
    for place, phone in enumerate(entries.phones):
        to = first.setdefault(phone, place)
        if to == place:
            continue
        for column in columns:
            if column[place] is not None:
                column[to] = column[place]
        entries.tags[to] = tuple(dict.fromkeys((*entries.tags[to], *entries.tags[place])))
        entries.rows[to] += 1
        kept[place] = False
    entries.keep(kept)
