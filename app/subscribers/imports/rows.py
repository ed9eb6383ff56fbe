"""Rows of an import as entries for the writer, and the cells for which rows are refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from app.csv_cells import read_given, read_harmless
from app.phone.e164 import is_landline
from app.phone.reader import NO_NUMBER, PhoneReader
from app.subscribers.attributes import (
    ATTRIBUTE,
    MAX_NAME_CHARACTERS,
    MAX_SOURCE_CHARACTERS,
    MAX_WORDING_CHARACTERS,
)
from app.subscribers.imports.models import ImportOptions, Purpose, ValueType
from app.subscribers.lists.cells import (
    read_boolean,
    read_datetime,
    read_language,
    read_number,
    read_tags,
    read_text,
    read_time_zone,
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
from app.subscribers.lists.permissions import REASONS, Permission, find_permissions
from app.subscribers.lists.reader import TOO_MANY_CELLS, Row
from app.subscribers.profiles.entry import GivenConsent, SubscriberEntry, choose_details

_MAX_CELL_SHOWN = 64
WHOLE_ROW = -1
NO_CONSENT = "A consent needs its wording, its source and its time."
DENIED_ELSEWHERE = "By another row with this number the person has left or does not agree."
LANDLINE = "A landline: it gets no texts in most countries."

_DETAILS = (FIRST_NAME, LAST_NAME, LANGUAGE, TIME_ZONE, ACTIVE)
_NAME_PARTS = (FIRST_NAME, LAST_NAME)
_CONSENT = (CONSENT_AT, CONSENT_SOURCE, CONSENT_WORDING)
_VALUE_READERS: dict[ValueType, Callable[[str], Any]] = {
    ValueType.TEXT: read_text,
    ValueType.NUMBER: read_number,
    ValueType.BOOLEAN: read_boolean,
}


@dataclass(frozen=True, slots=True)
class RejectedCell:
    """A cell for which a row is refused or taken with a warning, and the reason.

    The whole row has position WHOLE_ROW.
    """

    line: int
    position: int
    header: str
    cell: str
    reason: str


@dataclass(slots=True)
class ParsedEntry:
    """An entry, the first of its lines, and the number of rows that it was made of."""

    entry: SubscriberEntry
    line: int
    rows: int = 1


@dataclass(slots=True)
class ParsedRows:
    """The entries of some rows by number, and the cells for which other rows are refused.

    `landlines` are numbers and cells of rows that are taken although they hold a landline.
    """

    rows: int
    entries: dict[str, ParsedEntry] = field(default_factory=dict)
    rejected: list[RejectedCell] = field(default_factory=list)
    refused: int = 0
    landlines: list[tuple[str, RejectedCell]] = field(default_factory=list)

    def add(self, line: int, entry: SubscriberEntry) -> None:
        """Add the entry of a row; its cells override those of earlier rows of the number."""
        parsed = self.entries.get(entry.phone)
        if parsed is None:
            self.entries[entry.phone] = ParsedEntry(entry, line)
        else:
            parsed.entry = _merge(parsed.entry, entry)
            parsed.rows += 1


class RowParser:
    """Parser of the rows of one file."""

    def __init__(
        self, mapping: ColumnMapping, options: ImportOptions, *, zone: str, now: datetime
    ) -> None:
        self._headers = mapping.headers
        self._fields = mapping.fields
        self._phone_at = mapping.fields.index(PHONE)
        self._options = options
        self._phones = PhoneReader(
            country=options.country,
            without_plus=options.without_plus or mapping.is_international,
            check=options.check_numbers,
        )
        self._permissions = find_permissions(
            mapping.headers,
            [
                name if name == TAGS or (name and name.startswith(ATTRIBUTE)) else None
                for name in mapping.fields
            ],
        )
        self._readers = self._choose_readers(ZoneInfo(zone), now)
        self._has_whole_names = NAME in mapping.fields or set(_NAME_PARTS) <= set(mapping.fields)
        self._has_consents = any(name in mapping.fields for name in _CONSENT) and (
            options.purpose is Purpose.MARKETING
            or options.consent is not None
            or all(name in mapping.fields for name in _CONSENT)
        )

    def parse(self, rows: Sequence[Row]) -> ParsedRows:
        """Return the entries of rows, each number once; rows of blank cells are passed over."""
        rows = [row for row in rows if row.error or any(cell.strip() for cell in row.cells)]
        parsed = ParsedRows(len(rows))
        for row in rows:
            result = [(WHOLE_ROW, row.error)] if row.error else self._parse_row(row.cells)
            if isinstance(result, SubscriberEntry):
                parsed.add(row.line, result)
                if is_landline(result.phone):
                    cell = show_rejected(row, self._headers, self._phone_at, LANDLINE)
                    parsed.landlines.append((result.phone, cell))
            else:
                parsed.rejected += [show_rejected(row, self._headers, *error) for error in result]
                parsed.refused += 1
        return parsed

    @property
    def may_find_denials(self) -> bool:
        """True if the file has columns by which a row could deny texts or marketing."""
        return bool(self._permissions.kinds)

    def may_deny(self, lines: str) -> bool:
        """Return False if no row of these lines denies texts or marketing."""
        return self._permissions.may_deny(lines)

    def find_denials(self, rows: Iterable[Row]) -> dict[str, Permission]:
        """Return the numbers that a row denies marketing or all texts; it may have errors."""
        denied: dict[str, Permission] = {}
        for row in rows:
            said = self._permissions.read(row.cells)
            if said and said[0] >= Permission.DENIED and self._phone_at < len(row.cells):
                phone = self._phones.guess(read_harmless(row.cells[self._phone_at]).strip())
                if phone:
                    denied[phone] = max(said[0], denied.get(phone, said[0]))
        return denied

    def deny(self, parsed: ParsedRows, denied: Mapping[str, Permission]) -> None:
        """Refuse the rows of numbers that other rows deny, or leave out their consent."""
        for phone in denied.keys() & parsed.entries.keys():
            row = parsed.entries[phone]
            if self._refuses(denied[phone]):
                del parsed.entries[phone]
                parsed.rejected.append(RejectedCell(row.line, WHOLE_ROW, "", "", DENIED_ELSEWHERE))
                parsed.refused += row.rows
            else:
                row.entry = replace(row.entry, consent=None)

    def _choose_readers(
        self, zone: ZoneInfo, now: datetime
    ) -> list[tuple[int, str, Callable[[str], Any]]]:
        """Return position, field and reader of each column that is not ignored."""
        readers: dict[str, Callable[[str], Any]] = {
            PHONE: self._phones.read,
            FIRST_NAME: partial(read_text, limit=MAX_NAME_CHARACTERS),
            LAST_NAME: partial(read_text, limit=MAX_NAME_CHARACTERS),
            NAME: partial(read_text, limit=2 * MAX_NAME_CHARACTERS),
            LANGUAGE: read_language,
            TIME_ZONE: read_time_zone,
            TAGS: read_tags,
            ACTIVE: read_boolean,
            CONSENT_WORDING: partial(read_text, limit=MAX_WORDING_CHARACTERS),
            CONSENT_SOURCE: partial(read_text, limit=MAX_SOURCE_CHARACTERS),
            CONSENT_AT: partial(read_datetime, zone=zone, now=now),
        }
        types = self._options.types
        return [
            (
                position,
                name,
                readers.get(name)
                or _VALUE_READERS[types.get(name.removeprefix(ATTRIBUTE), ValueType.TEXT)],
            )
            for position, name in enumerate(self._fields)
            if name
        ]

    def _parse_row(self, cells: list[str]) -> SubscriberEntry | list[tuple[int, str]]:
        """Return the entry of a row, or the positions of its bad cells with the reasons."""
        errors: list[tuple[int, str]] = []
        width = len(self._headers)
        if len(cells) > width and any(cell.strip() for cell in cells[width:]):
            errors.append((WHOLE_ROW, TOO_MANY_CELLS))
        cells += [""] * (width - len(cells))
        values: dict[str, Any] = {}
        for position, name, read in self._readers:
            cell = read_given(cells[position])
            try:
                if cell:
                    values[name] = read(cell)
                elif name == PHONE:
                    raise ValueError(NO_NUMBER)
            except ValueError as e:
                errors.append((position, str(e)))
        said = self._permissions.read(cells)
        says_all = said is not None and all(values.get(name) for name in _CONSENT)
        consent = self._options.consent
        if self._has_consents:
            consent = self._read_consent(values, errors)
        if said and not self._allows(said, errors, has_own=says_all):
            consent = None
        return errors or self._make_entry(values, consent)

    def _allows(
        self, said: tuple[Permission, int], errors: list[tuple[int, str]], *, has_own: bool
    ) -> bool:
        """Return True if the row may have a consent; refuse it if it has to, or has left.

        `has_own` is True if the row itself says to what the person agreed, where and when.
        """
        permission, index = said
        if permission is Permission.GIVEN or (permission is Permission.NOT_GIVEN and has_own):
            return True
        if self._refuses(permission) and index not in dict(errors):
            errors.append((index, REASONS[permission]))
        return False

    def _refuses(self, permission: Permission) -> bool:
        """Return True if rows with less than a consent are refused."""
        return permission is Permission.LEFT or self._options.purpose is Purpose.MARKETING

    def _read_consent(
        self, values: dict[str, Any], errors: list[tuple[int, str]]
    ) -> GivenConsent | None:
        """Return the row's consent, completed by the one for all rows; None for no consent."""
        for_all = self._options.consent
        at = values.pop(CONSENT_AT, for_all and for_all.at)
        source = values.pop(CONSENT_SOURCE, for_all and for_all.source)
        wording = values.pop(CONSENT_WORDING, for_all and for_all.wording)
        if at and source and wording:
            return GivenConsent(at=at, source=source, wording=wording)
        needed = self._options.purpose is Purpose.MARKETING
        if not errors and (needed or at or source or wording):
            fields = self._fields
            position = next((fields.index(name) for name in _CONSENT if name in fields), WHOLE_ROW)
            errors.append((position, NO_CONSENT))
        return None

    def _make_entry(self, values: dict[str, Any], consent: GivenConsent | None) -> SubscriberEntry:
        if NAME in values:
            values |= _split_name(values[NAME])
        tags: tuple[str, ...] = self._options.tags
        if TAGS in values:
            tags = tuple(dict.fromkeys((*tags, *values[TAGS])))
        start = len(ATTRIBUTE)
        details = {name: values[name] for name in _DETAILS if name in values}
        if self._has_whole_names and not details.keys().isdisjoint(_NAME_PARTS):
            details = dict.fromkeys(_NAME_PARTS) | details
        return SubscriberEntry(
            phone=values[PHONE],
            details=details,
            attributes={
                name[start:]: value for name, value in values.items() if name.startswith(ATTRIBUTE)
            },
            tags=tags,
            consent=consent,
        )


class _Cells(Protocol):
    @property
    def line(self) -> int: ...
    @property
    def cells(self) -> Sequence[str]: ...


def show_rejected(row: _Cells, headers: Sequence[str], position: int, reason: str) -> RejectedCell:
    """Return a cell of a row as it is shown, or the whole row, with what is wrong with it."""
    whole = position == WHOLE_ROW
    return RejectedCell(
        line=row.line,
        position=position,
        header="" if whole else headers[position][:_MAX_CELL_SHOWN],
        cell="" if whole else row.cells[position].replace("\0", "�")[:_MAX_CELL_SHOWN],
        reason=reason,
    )


def _split_name(name: str) -> dict[str, str]:
    """Return the parts of `Ann Mary Lee`, divided at the last blank, or of `Lee, Ann`.

    >>> _split_name("Ann Mary Lee"), _split_name("Ann")
    ({'first_name': 'Ann Mary', 'last_name': 'Lee'}, {'first_name': 'Ann'})
    """
    last, comma, first = name.partition(",")
    if not comma:
        first, _, last = name.rpartition(" ")
        if not first:
            first, last = last, ""
    parts = {FIRST_NAME: first.strip(), LAST_NAME: last.strip()}
    return {field: part[:MAX_NAME_CHARACTERS] for field, part in parts.items() if part}


def _merge(earlier: SubscriberEntry, later: SubscriberEntry) -> SubscriberEntry:
    return SubscriberEntry(
        phone=later.phone,
        details={**earlier.details, **choose_details(earlier.details, later.details)},
        attributes={**(earlier.attributes or {}), **(later.attributes or {})},
        tags=tuple(dict.fromkeys((*(earlier.tags or ()), *(later.tags or ())))),
        consent=later.consent or earlier.consent,
    )
