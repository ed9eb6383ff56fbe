"""The first rows of a staged file as an import would read them, with what is wrong with each."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.subscribers.context import SubscriberContext
from app.subscribers.imports.models import ImportOptions
from app.subscribers.imports.rows import RejectedCell, RowParser
from app.subscribers.imports.service import complete_options
from app.subscribers.imports.upload import read_first_chunk
from app.subscribers.lists.columns import ColumnMapping, map_columns, strip_headers
from app.subscribers.lists.permissions import Permission
from app.subscribers.lists.reader import (
    FileChunk,
    Heading,
    Row,
    RowReader,
    UnusableHeaders,
    read_heading,
)


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row of a file as it is written, and the cells for which it would be refused."""

    line: int
    cells: Sequence[str]
    rejected: Sequence[RejectedCell]


@dataclass(frozen=True, slots=True)
class FilePreview:
    """Headers, their fields, and the first rows.

    `fields` is None, and no cell is checked, if the headers cannot be used: `error` says why.
    """

    headers: Sequence[str]
    fields: Sequence[str | None] | None
    delimiter: str
    first_line: int
    rows: Sequence[PreviewRow]
    error: str = ""


def preview_file(
    ctx: SubscriberContext, public_id: str, options: ImportOptions, *, rows: int
) -> FilePreview:
    """Read the first rows of a staged file.  Raises NotFound and Conflict."""
    options = complete_options(ctx, options)
    chunk = read_first_chunk(ctx, public_id)
    heading = read_heading(chunk)
    read = _read_rows(chunk, heading, rows)
    try:
        mapping = map_columns(heading, columns=options.columns, ignore=options.ignore)
    except UnusableHeaders as e:
        shown = [PreviewRow(row.line, row.cells, ()) for row in read]
        return _make(heading, None, shown, e.sentence)
    parser = RowParser(mapping, options, zone=ctx.rules.default_zone, now=ctx.now())
    denied = parser.find_denials(read)
    return _make(heading, mapping, [_check_row(parser, row, denied) for row in read])


def _check_row(parser: RowParser, row: Row, denied: Mapping[str, Permission]) -> PreviewRow:
    parsed = parser.parse([row])
    parser.deny(parsed, denied)
    return PreviewRow(row.line, list(row.cells), parsed.rejected)


def _read_rows(chunk: FileChunk, heading: Heading, limit: int) -> list[Row]:
    lines = io.StringIO(chunk.text).readlines()[heading.first_line - chunk.first_line :]
    reader = RowReader(iter(lines), delimiter=heading.delimiter, first_line=heading.first_line)
    return reader.read(limit)


def _make(
    heading: Heading, mapping: ColumnMapping | None, rows: Sequence[PreviewRow], error: str = ""
) -> FilePreview:
    return FilePreview(
        headers=strip_headers(heading),
        fields=mapping.fields if mapping else None,
        delimiter=heading.delimiter,
        first_line=heading.first_line,
        rows=rows,
        error=error,
    )
