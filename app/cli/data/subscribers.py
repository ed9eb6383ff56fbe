"""`flask subscribers`: import and export CSV files through the functions of the API."""

import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from marshmallow import ValidationError
from sqlalchemy import Row

from app.cli.command import (
    COUNTRY,
    ENCODING,
    EXISTING_FILE,
    FILE,
    TIME,
    ServiceGroup,
    audit_export,
    count_of,
    csv_options,
    name_operator,
    name_program,
    print_table,
    read_pairs,
    verified_context,
    write_new_file,
)
from app.cli.interrupts import interrupts
from app.csv_cells import format_lines
from app.errors import ClarionError
from app.http.arguments import reject_fields
from app.http.body import read_stream
from app.phone.reader import NO_COUNTRY
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.job import work_import
from app.subscribers.imports.models import ImportOptions, ImportStatus, Purpose
from app.subscribers.imports.schemas import ImportSchema, list_warnings
from app.subscribers.imports.service import (
    cancel_import,
    create_import,
    export_refusals,
    list_imports,
    view_import,
)
from app.subscribers.imports.upload import FileTooLarge, store_file
from app.subscribers.profiles.export_csv import export_subscribers

subscribers = ServiceGroup("subscribers")

EXIT_NOT_ALL_TAKEN = 1
_LOOK_EVERY_S = 0.3
_MAX_REASONS, _MAX_LINES = 5, 10


@subscribers.command("import")
@click.argument("file", required=False, type=EXISTING_FILE)
@click.option("--resume", "import_id", help="Go on with this import, instead of a file.")
@click.option("--tag", "tags", multiple=True, help="A tag for all rows; may be repeated.")
@click.option("--country", type=COUNTRY, help="Country of national numbers, such as SE.")
@click.option("--without-plus", is_flag=True, help="Numbers without + or 00 are international.")
@click.option("--column", "columns", multiple=True, help="FIELD=HEADER, such as phone=Mobil.")
@click.option("--ignore", multiple=True, help="Header of a column to leave out.")
@click.option("--type", "types", multiple=True, help="ATTRIBUTE=number, or boolean.")
@click.option("--encoding", type=ENCODING, help="Of a file without a byte order mark.")
@click.option("--all-or-nothing/--skip-bad", default=False, help="With bad rows, import no row.")
@click.option("--unchecked", is_flag=True, help="Accept numbers that libphonenumber does not know.")
@click.option("--purpose", type=click.Choice([purpose.value for purpose in Purpose]))
@click.option("--consent-wording", help="Text that all people agreed to; with the next two.")
@click.option("--consent-source", help="Where they agreed.")
@click.option("--consent-at", help="When they agreed: ISO 8601 with offset.")
@click.option("--refused", type=FILE, help="New CSV file of the cells that were refused.")
@click.option("--warnings", type=FILE, help="New CSV file of the landlines that were imported.")
@csv_options
def import_file(
    file: Path | None,
    import_id: str | None,
    refused: Path | None,
    warnings: Path | None,
    delimiter: str,
    spreadsheet: bool,
    **options: Any,
) -> None:
    """Import the rows of a CSV file as subscribers.

    Ctrl-C leaves the rest to the service, or to --resume.  Exits with 0 when every row was taken,
    1 when not, 2 when the input is wrong.  --delimiter and --spreadsheet are for the files of
    --refused and --warnings.
    """
    if (file is None) == (import_id is None):
        raise click.UsageError("give a FILE, or --resume with the id of an import")
    for option, path in (("--refused", refused), ("--warnings", warnings)):
        if path is not None and path.exists():
            raise click.UsageError(f"{option}: {path}: there is such a file")
    ctx = verified_context().subscriber_context
    with interrupts() as interrupted:
        if file is not None:
            import_id = _store(ctx, file, _read_options(options))
        row = _work_off(ctx, str(import_id), interrupted)
    for path, of_warnings in ((refused, False), (warnings, True)):
        if path is not None:
            audit_export(f"{'warnings' if of_warnings else 'refused'}-{row.public_id}.csv")
            lines = export_refusals(ctx, row.public_id, warnings=of_warnings)
            write_new_file(path, format_lines(lines, delimiter=delimiter, spreadsheet=spreadsheet))
    _summarise(ctx, row)


@subscribers.command("imports")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
def list_them(limit: int) -> None:
    """List the newest imports, one per line."""
    imports = list_imports(verified_context().subscriber_context, limit=limit).rows
    rows = (
        (
            row.public_id,
            f"{row.created_at:{TIME}}",
            row.status.value,
            row.lines_done,
            row.lines,
            row.refused,
            row.client,
        )
        for row in imports
    )
    headers = ("IMPORT", "CREATED", "STATUS", "LINES DONE", "OF", "REFUSED", "CLIENT")
    print_table(headers, rows, empty="There are no imports.")


@subscribers.command("export")
@click.argument("file", type=FILE)
@csv_options
def export_file(file: Path, delimiter: str, spreadsheet: bool) -> None:
    """Write all subscribers to a new CSV file."""
    audit_export("subscribers")
    lines = export_subscribers(verified_context().subscriber_context)
    write_new_file(file, format_lines(lines, delimiter=delimiter, spreadsheet=spreadsheet))


def _read_options(options: dict[str, Any]) -> ImportOptions:
    """Return the options as the API would read them.  Raises UsageError."""
    consent = {name: options.pop(f"consent_{name}") for name in ("wording", "source", "at")}
    request = {name: options[name] for name in ("country", "encoding", "purpose") if options[name]}
    request |= {name: list(options[name]) for name in ("tags", "ignore") if options[name]}
    request |= {name: read_pairs(options[name]) for name in ("columns", "types") if options[name]}
    request |= {"without_plus": options["without_plus"], "check_numbers": not options["unchecked"]}
    request["mode"] = "all_or_nothing" if options["all_or_nothing"] else "skip_bad"
    if any(consent.values()):
        request["consent"] = {name: value for name, value in consent.items() if value}
    try:
        loaded: ImportOptions = ImportSchema().load(request)
    except ValidationError as e:
        raise click.UsageError(reject_fields(e).sentence) from e
    return loaded


def _store(ctx: SubscriberContext, file: Path, options: ImportOptions) -> str:
    """Create an import and store its file.  Returns its id.  Raises UsageError.

    An import whose file cannot be used is cancelled.
    """
    try:
        row = create_import(ctx, options, client=name_operator())
    except ClarionError as e:
        raise click.UsageError(e.sentence) from e
    try:
        with file.open("rb") as opened:
            stored = store_file(ctx, row.public_id, read_stream(opened))
    except (ClarionError, FileTooLarge, OSError) as e:
        cancel_import(ctx, row.public_id)
        reason = f"{file}: larger than IMPORT_MAX_BYTES"
        if isinstance(e, ClarionError):
            reason = _name_options(e.sentence)
        elif isinstance(e, OSError):
            reason = f"{file}: {e.strerror}"
        raise click.UsageError(reason) from e
    click.echo(f"import {stored.public_id}")
    for title, field in zip(
        stored.column_mapping["headers"], stored.column_mapping["fields"], strict=True
    ):
        click.echo(f"  {title!r} is {field or 'left out'}", err=True)
    return str(stored.public_id)


def _name_options(sentence: str) -> str:
    """Name our options where the sentence names fields of the API."""
    consent = "--consent-wording, --consent-source and --consent-at"
    ours = {
        "with columns, or give one consent": f"with --column, or give {consent}",
        "name its encoding": "give --encoding",
        "columns: ": "--column: ",
    }
    for theirs, option in ours.items():
        sentence = sentence.replace(theirs, option)
    return sentence


def _work_off(ctx: SubscriberContext, import_id: str, interrupted: Callable[[], bool]) -> Row[Any]:
    """Work on an import until its end or Ctrl-C, beside the service.  Returns the import."""
    row = _view(ctx, import_id)
    if row.status is ImportStatus.WAITING:
        raise click.UsageError("its file has not arrived: import the file anew")
    while not row.completed_at and not interrupted():
        row = _follow_pass(ctx, row, interrupted)
    if not row.completed_at:
        command = f"{name_program()} subscribers import --resume {import_id}"
        click.echo(f"interrupted: the service goes on.  To watch it: {command}", err=True)
    return row


def _follow_pass(
    ctx: SubscriberContext, row: Row[Any], interrupted: Callable[[], bool]
) -> Row[Any]:
    """Show the progress of a pass until its end or Ctrl-C.  Returns the import."""
    status, done = row.status, 0
    with click.progressbar(length=row.lines, label=status.value) as bar:
        for now in _work_or_watch(ctx, row, interrupted):
            if now.status is not status:
                return now
            bar.update(now.lines_done - done)
            done = now.lines_done
    return now


def _work_or_watch(
    ctx: SubscriberContext, row: Row[Any], interrupted: Callable[[], bool]
) -> Iterator[Row[Any]]:
    """Yield the import after each commit, of this process or of a worker of the service."""
    yield row
    while not interrupted():
        for _ in work_import(ctx, row.id, stop=interrupted):
            yield _view(ctx, row.public_id)
        yield _view(ctx, row.public_id)
        time.sleep(_LOOK_EVERY_S)


def _view(ctx: SubscriberContext, import_id: str) -> Row[Any]:
    try:
        return view_import(ctx, import_id)
    except ClarionError as e:
        raise click.UsageError(e.sentence) from e


def _summarise(ctx: SubscriberContext, row: Row[Any]) -> None:
    """Print counts and the most frequent refusals.  Exits with 1 unless every row was written."""
    words = ["refused"]
    if row.status is not ImportStatus.REFUSED:
        words = ["created", "updated", "unchanged", "merged", *words]
    counted = ", ".join(f"{getattr(row, word)} {word}" for word in words)
    click.echo(f"{row.status.value}: {count_of(row.rows, 'row')}, {counted}")
    if row.error:
        click.echo(row.error, err=True)
    if row.refused:
        reasons = Counter(refusal["reason"] for refusal in _read_cells(ctx, row, warnings=False))
        for reason, times in reasons.most_common(_MAX_REASONS):
            way_out = " Name it with --country." if reason.endswith(NO_COUNTRY) else ""
            click.echo(f"{times:>9} refused: {reason}{way_out}", err=True)
        click.echo("--refused FILE writes each with its line to a file", err=True)
    if row.landlines:
        lines = [cell["line"] for cell in _read_cells(ctx, row, warnings=True)]
        shown = ", ".join(lines[:_MAX_LINES]) + (" …" if len(lines) > _MAX_LINES else "")
        named = f"{'line' if len(lines) == 1 else 'lines'} {shown}"
        (warning,) = list_warnings(row, where=named)
        click.echo(f"warning: {warning}", err=True)
        click.echo("--warnings FILE writes each with its line to a file", err=True)
    if row.status is not ImportStatus.COMPLETE or row.refused:
        sys.exit(EXIT_NOT_ALL_TAKEN)


def _read_cells(ctx: SubscriberContext, row: Row[Any], *, warnings: bool) -> list[dict[str, str]]:
    """Return the cells that were refused, or taken with a warning."""
    lines = export_refusals(ctx, row.public_id, warnings=warnings)
    return list(csv.DictReader(io.StringIO("".join(lines))))
