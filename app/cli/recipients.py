"""Recipients as people keep them: on the command line, or in a CSV file of a spreadsheet."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import click

from app.phone import normalise_number, remove_duplicates

_PHONE_COLUMN = re.compile(r"(phone|mobile|cell|msisdn|recipient|number|to|tel)\b", re.IGNORECASE)
_MAX_SHOWN = 20


def read_entries(path: Path | None, column: str | None) -> list[tuple[str, str]]:
    """Each number of a CSV file as it stands, with the place it stands in."""
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_read_rows(file, column))
    except (UnicodeDecodeError, csv.Error) as e:
        raise click.UsageError(f"--csv: {path.name} is not a CSV file in UTF-8") from e


def _read_rows(file: TextIO, column: str | None) -> Iterator[tuple[str, str]]:
    head = file.readline()
    file.seek(0)
    delimiter = max(",;\t", key=head.count)
    rows = csv.reader(file, delimiter=delimiter)
    position: int | None = None
    for row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if position is None:
            position = _find_column(cells, column)
            if not normalise_number(cells[position]) and _is_heading(cells, column):
                continue
        yield f"line {rows.line_num}", cells[position] if position < len(cells) else ""


def _find_column(cells: Sequence[str], column: str | None) -> int:
    """Where the numbers stand by the first row: as told, or where a number or its name is."""
    if column is not None:
        names = [cell.lower() for cell in cells]
        if column.lower() not in names:
            raise click.UsageError(f"--column: the file has no column {column!r}")
        return names.index(column.lower())
    by_number = (i for i, cell in enumerate(cells) if normalise_number(cell))
    by_name = (i for i, cell in enumerate(cells) if _PHONE_COLUMN.search(cell))
    return next(by_number, next(by_name, 0))


def _is_heading(cells: Sequence[str], column: str | None) -> bool:
    return column is not None or any(_PHONE_COLUMN.search(cell) for cell in cells)


def choose_recipients(entries: list[tuple[str, str]], *, skip_invalid: bool) -> list[str]:
    """The numbers of all entries, each once; a UsageError that lists those that are none."""
    if not entries:
        raise click.UsageError("nobody to send to: give --to or --csv")
    invalid = [(place, entry) for place, entry in entries if normalise_number(entry) is None]
    for place, entry in invalid[:_MAX_SHOWN]:
        click.echo(f"{place}: {entry[:64]!r} is not a phone number in E.164", err=True)
    if len(invalid) > _MAX_SHOWN:
        click.echo(f"… and {len(invalid) - _MAX_SHOWN} more", err=True)
    if invalid and (not skip_invalid or len(invalid) == len(entries)):
        raise click.UsageError(f"{len(invalid)} of {len(entries)} are not phone numbers")
    numbers = [normalise_number(entry) for _, entry in entries]
    return remove_duplicates([number for number in numbers if number is not None])
