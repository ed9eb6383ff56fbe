"""Recipients of `flask send`: numbers of the command line and of a CSV file, with their values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from app.cli.command import count_of
from app.http.body import read_stream
from app.phone.reader import PhoneReader
from app.subscribers.lists.permissions import REASONS
from app.subscribers.lists.phone_list import (
    ListedPhone,
    PhoneList,
    SortedPhones,
    open_phone_list,
    sort_phones,
)
from app.subscribers.lists.reader import UnusableFile

_MAX_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOptions:
    """Options of `flask send` that say where the numbers are and how to read them.

    `placeholders` are filled from columns of the same name.  Marketing leaves rows out that do not
    agree to it.
    """

    numbers: Sequence[str]
    csv_path: Path | None
    column: str | None
    encoding: str | None
    country: str | None
    without_plus: bool
    skip_invalid: bool
    placeholders: Sequence[str]
    marketing: bool


def read_recipients(options: RecipientOptions) -> SortedPhones:
    """Return the recipients of --to or --csv.

    Lists the entries that are no phone numbers, and raises UsageError for them unless
    `skip_invalid`.
    """
    if options.csv_path is None:
        phones = PhoneList(ListedPhone(0, number) for number in options.numbers)
        return _read_phones(phones, options)
    try:
        with options.csv_path.open("rb") as file:
            phones = open_phone_list(
                read_stream(file),
                column=options.column,
                encoding=options.encoding or "utf-8",
                names=options.placeholders,
            )
            if phones.header is not None:
                click.echo(f"numbers from column {phones.header!r}", err=True)
            return _read_phones(phones, options)
    except OSError as e:
        raise click.UsageError(f"--csv: {options.csv_path}: {e.strerror}") from e
    except UnusableFile as e:
        raise click.UsageError(f"--csv: {options.csv_path}: {_name_options(e.sentence)}") from e


def _read_phones(phones: PhoneList, options: RecipientOptions) -> SortedPhones:
    reader = PhoneReader(
        country=options.country,
        without_plus=options.without_plus or phones.is_international,
        check=False,
    )
    found = sort_phones(phones.rows, reader, marketing=options.marketing)
    if found.landlines:
        shown = ", ".join(_list([_locate(row) for row in found.landlines]))
        click.echo(f"warning: landlines get no texts in most countries: {shown}", err=True)
    for (header, permission), rows in found.left_out.items():
        reason = f"column {header!r}: {REASONS[permission]}"
        click.echo(f"{count_of(rows, 'row')} left out, {reason}", err=True)
    errors = [
        f"{_locate(row, '--to')}: "
        f"{'' if row.error else f'{row.cell[:64]!r} is not a phone number: '}{reason}"
        for row, reason in found.wrong
    ]
    _report(errors, valid=len(found.phones) + found.duplicates, options=options)
    if found.duplicates:
        click.echo(f"{count_of(found.duplicates, 'duplicate')} removed", err=True)
    return found


def _locate(row: ListedPhone, otherwise: str = "") -> str:
    return f"line {row.line}" if row.line else otherwise or row.cell


def _name_options(reason: str) -> str:
    """Name our options where the reader of lists speaks of the API's fields."""
    return reason.replace("with column:", "with --column:").replace(
        "name its encoding", "give --encoding"
    )


def _list(errors: Sequence[str]) -> Iterator[str]:
    yield from errors[:_MAX_SHOWN]
    if len(errors) > _MAX_SHOWN:
        yield f"… and {len(errors) - _MAX_SHOWN} more"


def _report(errors: Sequence[str], *, valid: int, options: RecipientOptions) -> None:
    """List the first errors.  Raises UsageError unless these may be skipped and others remain."""
    for line in _list(errors):
        click.echo(line, err=True)
    if not valid and not errors:
        raise click.UsageError("no recipients: give --to, --csv or --tag")
    if errors and (not options.skip_invalid or not valid):
        hints = [] if options.country else ["--country SE for national numbers"]
        hints += [] if options.skip_invalid else ["--skip-invalid to send to the others"]
        ways = f": correct them, or give {' or '.join(hints)}" if hints else ""
        raise click.UsageError(f"{len(errors)} of {valid + len(errors)} cannot be sent to{ways}")
