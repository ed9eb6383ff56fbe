"""CSV files as the audience of a draft: their rows, what their columns are, whom a text reaches.

All cells are kept, so that a text may use another column later.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Self

from app.csv_cells import read_given, simplify_header
from app.phone.country import find_country
from app.phone.mentions import MentionFinder
from app.phone.reader import PhoneReader
from app.sms.content.placeholders import MAX_VALUE_CHARACTERS, PARAMETER_NAME
from app.sms.drafts.numbers import MAX_NUMBERS
from app.subscribers.imports.rows import WHOLE_ROW, RejectedCell, show_rejected
from app.subscribers.lists.cells import read_text
from app.subscribers.lists.columns import (
    FIELDS,
    PHONE,
    find_field,
    find_header,
    find_phone_column,
    has_headers,
    is_international,
)
from app.subscribers.lists.permissions import Permission, PermissionColumns, find_permissions
from app.subscribers.lists.phone_list import (
    ListedPhone,
    SortedPhones,
    open_file,
    read_rows,
    sort_phones,
)
from app.subscribers.lists.reader import TOO_MANY_CELLS, Heading, Row, UnusableFile, UnusableHeaders

# A draft is read whenever a text is counted: larger files are imported.
MAX_FILE_BYTES = 5_000_000
_IMPORT = "import it under People with a tag, and choose the tag"
_MAX_NAME = 200
_MAX_PLACEHOLDER = 16
_NUL = "A NUL character."
_read_value = partial(read_text, limit=MAX_VALUE_CHARACTERS)


class FileRow(NamedTuple):
    """A row as it is kept: its cells, and the number that they are, or why they are none.

    `position` is the column of that fault.  `permission` is what the column `said_at` says.
    """

    line: int
    cells: Sequence[str]
    phone: str | None = None
    fault: str = ""
    position: int = WHOLE_ROW
    permission: int | None = None
    said_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleFile:
    """A file and what was chosen for it.

    `columns` say of each column: PHONE, the placeholder that it fills, or "" for one that is left
    out.  National numbers are those of `country`.  `skipped` are the lines to go on without.  It is
    the audience once it `is_chosen`.
    """

    name: str
    country: str | None
    headers: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[FileRow]
    skipped: Sequence[int] = ()
    is_chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the file as a draft keeps it."""
        lists = {"rows": [list(row) for row in self.rows], "skipped": list(self.skipped)}
        return {field.name: getattr(self, field.name) for field in fields(self)} | lists

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the file that `to_json` wrote."""
        return cls(**{**kept, "rows": [FileRow(*row) for row in kept["rows"]]})


def read_people_file(
    blocks: Iterable[bytes], name: str, *, encoding: str, country: str | None
) -> PeopleFile:
    """Return a file with its columns as its headers name them.  Raises UnusableFile."""
    heading, lines = open_file(_limit(blocks), encoding)
    is_heading = has_headers(heading.headers)
    rows = list(_read_rows(heading, read_rows(heading, lines, has_header=is_heading)))
    headers = [header.strip() for header in heading.headers]
    columns = _guess_columns(heading.headers, headers if is_heading else [])
    if not is_heading:
        headers = [f"Column {number}" for number in range(1, len(headers) + 1)]
    file = PeopleFile(
        name=name[:_MAX_NAME], country=country, headers=headers, columns=[], rows=rows
    )
    return choose_columns(file, columns, country=country)


def choose_columns(file: PeopleFile, columns: Sequence[str], *, country: str | None) -> PeopleFile:
    """Return a file with these columns, and the numbers that its rows have by them."""
    if (list(columns), country) == (file.columns, file.country):
        return file
    at = columns.index(PHONE) if PHONE in columns else None
    reader = PhoneReader(
        country=country,
        without_plus=at is not None and is_international(file.headers[at]),
        check=False,
    )
    others = [None if column == PHONE else column for column in columns]
    permissions = find_permissions(file.headers, others)
    rows = [_read_row(row, reader, permissions, at) for row in file.rows]
    return replace(
        file, columns=list(columns), country=country, rows=rows, skipped=(), is_chosen=False
    )


def name_placeholder(header: str) -> str:
    """Return the placeholder that a column fills by its header; "" for none.

    >>> name_placeholder("Ort"), name_placeholder("Shoe size (EU)"), name_placeholder("№")
    ('Ort', 'shoe_size_eu', 'no')
    """
    if PARAMETER_NAME.fullmatch(header):
        return header
    return re.sub(r"[^a-z0-9_]+", "_", simplify_header(header))[:_MAX_PLACEHOLDER].strip("_")


def find_column(file: PeopleFile, placeholder: str) -> int | None:
    """Return the column that fills a placeholder by its choice, else by its header."""
    by_header = (at for at in find_header(file.headers, placeholder) if file.columns[at])
    return next(chain(find_header(file.columns, placeholder), by_header), None)


def list_faults(file: PeopleFile, placeholders: Collection[str]) -> Iterator[RejectedCell]:
    """Yield why rows cannot be sent to: no number, or no value for one of these placeholders."""
    found = [(name, find_column(file, name)) for name in placeholders]
    columns = [(name, at) for name, at in found if at is not None]
    for row in file.rows:
        if row.fault:
            yield show_rejected(row, file.headers, row.position, row.fault)
            continue
        for name, at in columns:
            if reason := _find_fault(row.cells[at], name):
                yield show_rejected(row, file.headers, at, reason)


def sort_people(
    file: PeopleFile, placeholders: Collection[str], *, marketing: bool
) -> SortedPhones:
    """Return whom a text with these placeholders reaches by a file, and with which values."""
    found = ((name, find_column(file, name)) for name in placeholders)
    columns = {name: at for name, at in found if at is not None}
    skipped = frozenset(file.skipped)
    rows = (
        ListedPhone(
            row.line,
            row.phone,
            {name: row.cells[at] for name, at in columns.items() if row.cells[at]},
            None if row.permission is None else Permission(row.permission),
            file.headers[row.said_at],
        )
        for row in file.rows
        if row.phone and row.line not in skipped
    )
    return sort_phones(rows, PhoneReader(check=False), marketing=marketing)


def forget_in_file(kept: Mapping[str, Any], phone: str) -> dict[str, Any]:
    """Return a file as it is kept without the rows that have a number, however it is written."""
    finder = MentionFinder(phone, [kept.get("country"), find_country(phone)])
    rows = [
        row
        for row in (FileRow(*row) for row in kept["rows"])
        if row.phone != phone and not any(map(finder.is_in, row.cells))
    ]
    return {**kept, "rows": [list(row) for row in rows]}


def _limit(blocks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > MAX_FILE_BYTES:
            raise UnusableFile(f"it has more than {MAX_FILE_BYTES // 1_000_000} MB: {_IMPORT}")
        yield block


def _read_rows(heading: Heading, rows: Iterable[Row]) -> Iterator[FileRow]:
    """Yield the rows that are not blank, with a cell for each header."""
    width, number = len(heading.headers), 0
    for row in rows:
        cells = [read_given(cell) for cell in row.cells]
        if not any(cells):
            continue
        number += 1
        if number > MAX_NUMBERS:
            raise UnusableFile(f"it has more than {MAX_NUMBERS:,} rows: {_IMPORT}")
        fault = row.error or ("" if not any(cells[width:]) else TOO_MANY_CELLS)
        if any("\0" in cell for cell in cells):
            cells, fault = [cell.replace("\0", "�") for cell in cells], _NUL
        cells = [*cells, *[""] * width][:width]
        yield FileRow(row.line, cells, None, fault)


def _guess_columns(first_row: Sequence[str], headers: Sequence[str]) -> list[str]:
    """Return what each column is by its header; without headers the numbers alone are known."""
    columns = [name_placeholder(header) for header in headers] or [""] * len(first_row)
    for field in FIELDS:
        for at in find_field(headers, field)[:1]:
            columns[at] = field
    columns = ["" if column == PHONE else column for column in columns]
    with suppress(UnusableHeaders):
        at, _ = find_phone_column(first_row)
        columns[at] = PHONE
    return [
        "" if column in columns[:position] else column for position, column in enumerate(columns)
    ]


def _read_row(
    row: FileRow, reader: PhoneReader, permissions: PermissionColumns, at: int | None
) -> FileRow:
    """Return a row with the number of the column `at`, and what its other columns permit."""
    if row.fault and row.position == WHOLE_ROW:
        return row
    phone, fault, position = None, "", WHOLE_ROW
    if at is not None:
        try:
            phone = reader.read(row.cells[at])
        except ValueError as e:
            fault, position = str(e), at
    permission, said_at = permissions.read(row.cells) or (None, 0)
    return FileRow(row.line, row.cells, phone, fault, position, permission, said_at)


def _find_fault(cell: str, placeholder: str) -> str:
    if not cell:
        return f"Empty, and the text has ${{{placeholder}}}."
    try:
        _read_value(cell)
    except ValueError as e:
        return str(e)
    return ""
