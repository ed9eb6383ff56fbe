"""Phone numbers of a CSV file: the cells of one column, below its header or without one."""

import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from app.csv_cells import read_given
from app.phone.e164 import is_landline, remove_duplicates
from app.phone.reader import PhoneReader
from app.subscribers.lists.columns import (
    find_field,
    find_header,
    find_phone_column,
    is_international,
)
from app.subscribers.lists.permissions import Permission, PermissionColumns, find_permissions
from app.subscribers.lists.reader import (
    MAX_LINES_AT_ONCE,
    TOO_MANY_CELLS,
    EmptyFile,
    FileChunk,
    Heading,
    RowReader,
    UnusableHeaders,
    read_heading,
    split_chunks,
)


class ListedPhone(NamedTuple):
    """A row's phone cell as written, its line, and other values of the row.

    `values` are the cells of the columns that were asked for, by name, without empty ones.
    `permission` is what the column with the header `said_by` says, if there is such a column.
    `error` is why the row cannot be read as a whole: its values may be those of other columns.
    """

    line: int
    cell: str
    values: Mapping[str, str] = {}
    permission: Permission | None = None
    said_by: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PhoneList:
    """The rows of a file, and the header of its phone column, if any.

    Reading the rows raises UnusableFile where the file stops being CSV.
    """

    rows: Iterator[ListedPhone]
    header: str | None = None

    @property
    def is_international(self) -> bool:
        """True if the header says that its numbers are international even without a plus."""
        return self.header is not None and is_international(self.header)


@dataclass(slots=True)
class SortedPhones:
    """Numbers in E.164, each once, and their values as `{name: {number: value}}`.

    `wrong` are rows without a number, with the reason; `left_out` counts rows by the header of the
    column which says that their person wants no such text; `landlines` are rows with one.
    """

    phones: list[str] = field(default_factory=list)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)
    wrong: list[tuple[ListedPhone, str]] = field(default_factory=list)
    left_out: Counter[tuple[str, Permission]] = field(default_factory=Counter)
    landlines: list[ListedPhone] = field(default_factory=list)
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class _Columns:
    phone: int
    headers: list[str] = field(default_factory=list)
    named: Mapping[str, int] = field(default_factory=dict)
    permissions: PermissionColumns = PermissionColumns({})  # noqa: RUF009 (it is frozen)


def open_phone_list(
    blocks: Iterable[bytes],
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    names: Collection[str] = (),
) -> PhoneList:
    """Find the phone numbers in a file that comes in blocks of bytes; an empty file has none.

    `column` is the header above the numbers, `encoding` that of a file without a byte order mark,
    `names` the columns whose values are wanted as well.  Raises UnusableFile and UnusableHeaders.
    """
    try:
        heading, lines = open_file(blocks, encoding)
    except EmptyFile:
        return PhoneList(iter(()))
    index, has_header = find_phone_column(heading.headers, column, below=heading.below)
    columns = _name_columns(heading.headers, index, names) if has_header else _Columns(index)
    rows = read_rows(heading, lines, has_header=has_header)
    return PhoneList(_read_rows(rows, columns), heading.headers[index] if has_header else None)


def open_file(blocks: Iterable[bytes], encoding: str) -> tuple[Heading, Iterator[str]]:
    """Return the first row of a file and all its lines.  Raises UnusableFile and EmptyFile."""
    chunks = split_chunks(blocks, encoding, max_lines=MAX_LINES_AT_ONCE)
    first = next(chunks, FileChunk(1, ""))
    heading = read_heading(first)
    return heading, (line for chunk in chain((first,), chunks) for line in io.StringIO(chunk.text))


def read_rows(heading: Heading, lines: Iterator[str], *, has_header: bool) -> RowReader:
    """Return the reader of a file's rows; without a header the first row is one of them."""
    start = heading.first_line if has_header else heading.line
    return RowReader(islice(lines, start - 1, None), delimiter=heading.delimiter, first_line=start)


def sort_phones(
    rows: Iterable[ListedPhone], reader: PhoneReader, *, marketing: bool
) -> SortedPhones:
    """Return whom a text may reach by the rows of a file, and what is wrong with other rows.

    Marketing leaves rows out that do not agree to it.  Of a number that comes twice the first value
    counts, and a row that denies leaves out the others.
    """
    found, phones = SortedPhones(), list[str]()
    denied = dict[str, tuple[str, Permission]]()
    for row in rows:
        if _is_left_out(row, marketing=marketing):
            answer = row.said_by, row.permission or Permission.LEFT
            found.left_out[answer] += 1
            if answer[1] >= Permission.DENIED:
                spared = reader.guess(row.cell)
                if spared:
                    denied[spared] = answer
            continue
        try:
            phone = _read_phone(row, reader)
        except ValueError as e:
            found.wrong.append((row, str(e)))
            continue
        phones.append(phone)
        if is_landline(phone):
            found.landlines.append(row)
        for name, value in row.values.items():
            found.parameters.setdefault(name, {}).setdefault(phone, value)
    kept = [phone for phone in phones if phone not in denied] if denied else phones
    found.left_out.update(denied[phone] for phone in phones if phone in denied)
    for values in found.parameters.values():
        for phone in denied:
            values.pop(phone, None)
    found.phones = remove_duplicates(kept)
    found.duplicates = len(kept) - len(found.phones)
    return found


def _read_phone(row: ListedPhone, reader: PhoneReader) -> str:
    if row.error:
        raise ValueError(row.error)
    return reader.read(row.cell)


def _is_left_out(row: ListedPhone, *, marketing: bool) -> bool:
    """Return True if a column of the row says that its person wants no such text."""
    needed = Permission.NOT_GIVEN if marketing else Permission.LEFT
    return row.permission is not None and row.permission >= needed


def _name_columns(headers: list[str], phone: int, names: Collection[str]) -> _Columns:
    named: dict[str, int] = {}
    for name in names:
        indexes = find_header(headers, name) or find_field(headers, name)
        if len(indexes) > 1:
            raise UnusableHeaders(f"more than one column is {name}: rename or remove one")
        if indexes:
            named[name] = indexes[0]
    fields = [None if index == phone else header for index, header in enumerate(headers)]
    return _Columns(phone, headers, named, find_permissions(headers, fields))


def _read_rows(rows: RowReader, columns: _Columns) -> Iterator[ListedPhone]:
    """Yield the rows with their phone cells; rows of blank cells are passed over."""
    for row in rows:
        cells = row.cells
        if not any(cell.strip() for cell in cells):
            continue
        values = {
            name: value
            for name, index in columns.named.items()
            if index < len(cells) and (value := read_given(cells[index]))
        }
        said = columns.permissions.read(cells)
        phone = cells[columns.phone].strip() if columns.phone < len(cells) else ""
        permission, index = said or (None, 0)
        said_by = columns.headers[index].strip() if said else ""
        width = len(columns.headers) or len(cells)
        error = row.error or (TOO_MANY_CELLS if any(map(str.strip, cells[width:])) else None)
        yield ListedPhone(row.line, phone, values, permission, said_by, error)
