"""Phone numbers of a CSV file: the cells of one column, below its header or without one."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from app.subscribers.lists.columns import find_phone_column, is_international
from app.subscribers.lists.reader import (
    EmptyFile,
    FileChunk,
    RowReader,
    read_heading,
    split_chunks,
)


@dataclass(frozen=True, slots=True)
class PhoneList:
    """The cells of a file's phone column with their lines, and the header of that column, if any.

    Reading the cells raises UnusableFile where the file stops being CSV.
    """

    cells: Iterator[tuple[int, str]]
    header: str | None = None

    @property
    def is_international(self) -> bool:
        """True if the header says that its numbers are international even without a plus."""
        return self.header is not None and is_international(self.header)


def open_phone_list(blocks: Iterable[bytes], *, column: str | None = None) -> PhoneList:
    """Find the phone numbers in a file that comes in blocks of bytes; an empty file has none.

    `column` is the header above the numbers.  Raises UnusableFile and UnusableHeaders.
    """
    chunks = split_chunks(blocks)
    first = next(chunks, FileChunk(1, ""))
    try:
        heading = read_heading(first)
    except EmptyFile:
        return PhoneList(iter(()))
    index, has_header = find_phone_column(heading.headers, column)
    start = heading.first_line if has_header else heading.line
    lines = (line for chunk in chain((first,), chunks) for line in io.StringIO(chunk.text))
    rows = RowReader(islice(lines, start - 1, None), delimiter=heading.delimiter, first_line=start)
    return PhoneList(_read_cells(rows, index), heading.headers[index] if has_header else None)


def _read_cells(rows: RowReader, index: int) -> Iterator[tuple[int, str]]:
    """Yield the lines and the cells of a column; rows of blank cells are passed over."""
    for row in rows:
        if any(cell.strip() for cell in row.cells):
            yield row.line, row.cells[index].strip() if index < len(row.cells) else ""
