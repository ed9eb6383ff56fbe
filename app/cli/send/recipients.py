"""Recipients of `flask send`: numbers of the command line and of a CSV file, with their values."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from app.cli.command import count_of
from app.phone.e164 import remove_duplicates
from app.phone.reader import PhoneReader
from app.phone.spelling import is_landline
from app.subscribers.lists.permissions import REASONS, Permission
from app.subscribers.lists.phone_list import ListedPhone, PhoneList, open_phone_list
from app.subscribers.lists.reader import UnusableFile

_MAX_SHOWN = 20
_BLOCK_BYTES = 256 * 1024


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


@dataclass(slots=True)
class Recipients:
    """Recipients in E.164, each once, and their values: `{placeholder: {recipient: value}}`."""

    phones: list[str] = field(default_factory=list)
    parameters: dict[str, dict[str, str]] = field(default_factory=dict)


def read_recipients(options: RecipientOptions) -> Recipients:
    """Return the recipients of --to or --csv.

    Lists the entries that are no phone numbers, and raises UsageError for them unless
    `skip_invalid`.
    """
    if options.csv_path is None:
        phones = PhoneList(ListedPhone(0, number) for number in options.numbers)
        return _read_phones(phones, options)
    try:
        with options.csv_path.open("rb") as file:
            blocks = iter(lambda: file.read(_BLOCK_BYTES), b"")
            phones = open_phone_list(
                blocks,
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


def _read_phones(phones: PhoneList, options: RecipientOptions) -> Recipients:
    reader = PhoneReader(
        country=options.country,
        without_plus=options.without_plus or phones.is_international,
        check=False,
    )
    found, errors, left_out = Recipients(), list[str](), Counter[str]()
    landlines = list[str]()
    for row in phones.rows:
        if _is_left_out(row, marketing=options.marketing):
            left_out[f"column {row.said_by!r}: {REASONS[row.permission or Permission.LEFT]}"] += 1
            continue
        try:
            phone = reader.read(row.cell)
        except ValueError as e:
            source = f"line {row.line}" if row.line else "--to"
            errors.append(f"{source}: {row.cell[:64]!r} is not a phone number: {e}")
            continue
        found.phones.append(phone)
        if is_landline(phone):
            landlines.append(f"line {row.line}" if row.line else phone)
        for name, value in row.values.items():  # of a number that comes twice the first
            found.parameters.setdefault(name, {}).setdefault(phone, value)
    if landlines:
        shown = ", ".join(_list(landlines))
        click.echo(f"warning: landlines get no texts in most countries: {shown}", err=True)
    for reason, rows in left_out.items():
        click.echo(f"{count_of(rows, 'row')} left out, {reason}", err=True)
    _report(errors, valid=len(found.phones), options=options)
    recipients = remove_duplicates(found.phones)
    if len(recipients) < len(found.phones):
        removed = count_of(len(found.phones) - len(recipients), "duplicate")
        click.echo(f"{removed} removed", err=True)
    found.phones = recipients
    return found


def _is_left_out(row: ListedPhone, *, marketing: bool) -> bool:
    """Return True if a column of the row says that its person wants no such text."""
    needed = Permission.NOT_GIVEN if marketing else Permission.LEFT
    return row.permission is not None and row.permission >= needed


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
        verb = "is not a phone number" if len(errors) == 1 else "are not phone numbers"
        hints = [] if options.country else ["--country SE for national numbers"]
        hints += [] if options.skip_invalid else ["--skip-invalid to send to the others"]
        ways = f": correct them, or give {' or '.join(hints)}" if hints else ""
        raise click.UsageError(f"{len(errors)} of {valid + len(errors)} {verb}{ways}")
