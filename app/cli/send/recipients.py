"""Recipients of `flask send`: numbers of the command line and of a CSV file."""

from collections.abc import Sequence
from pathlib import Path

import click

from app.phone.e164 import remove_duplicates
from app.phone.reader import PhoneReader
from app.subscribers.lists.phone_list import open_phone_list
from app.subscribers.lists.reader import UnusableFile

_MAX_SHOWN = 20
_PORTION_BYTES = 256 * 1024


def choose_recipients(
    numbers: Sequence[str],
    path: Path | None,
    column: str | None,
    *,
    country: str | None,
    skip_invalid: bool,
) -> list[str]:
    """Return the recipients of --to and --csv in E.164, each once.

    National numbers are those of `country`.  Lists the entries that are no phone numbers, and
    raises UsageError for them unless `skip_invalid`.
    """
    entries, is_international = _read_file(path, column)
    entries = [*(("--to", number) for number in numbers), *entries]
    if not entries:
        raise click.UsageError("no recipients: give --to, --csv or --tag")
    reader = PhoneReader(country=country, without_plus=is_international, check=False)
    phones, errors = list[str](), list[str]()
    for source, entry in entries:
        try:
            phones.append(reader.read(entry))
        except ValueError as e:
            errors.append(f"{source}: {entry[:64]!r} is not a phone number: {e}")
    _report(errors, total=len(entries), skip_invalid=skip_invalid)
    recipients = remove_duplicates(phones)
    if len(recipients) < len(phones):
        click.echo(f"{len(phones) - len(recipients)} duplicates removed", err=True)
    return recipients


def _read_file(path: Path | None, column: str | None) -> tuple[list[tuple[str, str]], bool]:
    """Return the cells of the phone column with their lines; True if its header says E.164."""
    if path is None:
        return [], False
    try:
        with path.open("rb") as file:
            phones = open_phone_list(iter(lambda: file.read(_PORTION_BYTES), b""), column=column)
            if phones.header is not None:
                click.echo(f"numbers from column {phones.header!r}", err=True)
            entries = [(f"line {row.line}", row.cell) for row in phones.rows]
            return entries, phones.is_international
    except OSError as e:
        raise click.UsageError(f"--csv: {path.name}: {e.strerror}") from e
    except UnusableFile as e:
        raise click.UsageError(f"--csv: {path.name}: {e.sentence}") from e


def _report(errors: Sequence[str], *, total: int, skip_invalid: bool) -> None:
    """List the first errors.  Raises UsageError unless these may be skipped and others remain."""
    for error in errors[:_MAX_SHOWN]:
        click.echo(error, err=True)
    if len(errors) > _MAX_SHOWN:
        click.echo(f"… and {len(errors) - _MAX_SHOWN} more", err=True)
    if errors and (not skip_invalid or len(errors) == total):
        raise click.UsageError(f"{len(errors)} of {total} are not phone numbers")
