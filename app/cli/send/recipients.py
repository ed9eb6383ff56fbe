"""Recipients as people keep them: on the command line, or in a CSV file of a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from app.phone.e164 import normalise_number, remove_duplicates

# A title such as "Phone", "Mobile number" or "phone_number": a word of these, and no digit.
_TITLE = re.compile(
    r"(?<![a-z])(phones?|mobiles?|cells?|msisdn|recipients?|numbers?|to|tel)(?![a-z])",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"[0-9]")
_MAX_SHOWN = 20


def read_entries(path: Path | None, column: str | None) -> list[tuple[str, str]]:
    """Each number of a CSV file as it stands, with the place it stands in."""
    if path is None:
        return []
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return list(_read_rows(text, column))
    except OSError as e:
        raise click.UsageError(f"--csv: {path.name}: {e.strerror}") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise click.UsageError(f"--csv: {path.name} is not a CSV file in UTF-8") from e


def _read_rows(text: str, column: str | None) -> Iterator[tuple[str, str]]:
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    position: int | None = None
    for row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if position is None:
            titles = _find_titles(cells, column)
            position = titles[0] if titles else _find_number(cells)
            if titles:
                click.echo(f"numbers from column {cells[position]!r}", err=True)
                continue
        yield f"line {rows.line_num}", cells[position] if position < len(cells) else ""


def _find_titles(cells: Sequence[str], column: str | None) -> list[int]:
    """Where the heading names the numbers, one place; [] when the first row is no heading."""
    if column is not None:
        names = [cell.lower() for cell in cells]
        if column.lower() not in names:
            raise click.UsageError(f"--column: the file has no column {column!r}")
        return [names.index(column.lower())]
    if any(_DIGIT.search(cell) for cell in cells):
        return []
    titles = [i for i, cell in enumerate(cells) if _TITLE.search(cell)]
    if len(titles) > 1:
        names = [cells[i] for i in titles]
        raise click.UsageError(
            f"--csv: which column holds the numbers? --column {' | '.join(names)}"
        )
    return titles


def _find_number(cells: Sequence[str]) -> int:
    return next((i for i, cell in enumerate(cells) if normalise_number(cell)), 0)


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
    normalised = [normalise_number(entry) for _, entry in entries]
    numbers = [number for number in normalised if number is not None]
    recipients = remove_duplicates(numbers)
    if len(recipients) < len(numbers):
        click.echo(f"{len(numbers) - len(recipients)} duplicates removed", err=True)
    return recipients
