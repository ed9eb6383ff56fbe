"""`flask suppressions`: numbers that are not written to, entered, lifted, in and out of files."""

from pathlib import Path
from typing import Any

import click

from app.cli.command import (
    COUNTRY,
    ENCODING,
    EXISTING_FILE,
    Note,
    ServiceGroup,
    audit_export,
    count_of,
    csv_options,
    name_operator,
    verified_context,
)
from app.csv_cells import format_lines
from app.http.body import BLOCK_BYTES, read_stream
from app.phone.e164 import normalise_number
from app.sms.privacy.after_restore import erase_again
from app.sms.privacy.erase import erase_number
from app.subscribers.models import Scope
from app.subscribers.suppressions.csv_files import export_suppressions, import_suppressions
from app.subscribers.suppressions.hashed_lists import export_hashes, import_hashes
from app.subscribers.suppressions.manage import CLI, add_suppressions, release_number
from app.subscribers.suppressions.schemas import MAX_NOTE

suppressions = ServiceGroup("suppressions")


class _Number(click.ParamType[str]):
    """A phone number in E.164."""

    name = "number"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        number = normalise_number(value)
        if number is None:
            self.fail("a number is a '+' and 2 to 15 digits", param, ctx)
        return number


NUMBER = _Number()
_NOTE = Note(MAX_NOTE)


@suppressions.command("add")
@click.argument("numbers", nargs=-1, required=True, type=NUMBER)
@click.option("--marketing", is_flag=True, help="Send them no marketing, but all else.")
@click.option("--note", type=_NOTE, help="Why.")
def add(numbers: tuple[str, ...], marketing: bool, note: str | None) -> None:
    """Write to these numbers no more.

    No text from their phones lifts it.
    """
    added = add_suppressions(
        verified_context().subscriber_context,
        numbers,
        actor=name_operator(),
        channel=CLI,
        scope=Scope.MARKETING if marketing else Scope.ALL,
        note=note,
    )
    click.echo(f"{added.newly_suppressed} of {added.numbers} were written to until now.")


@suppressions.command("release")
@click.argument("number", type=NUMBER)
@click.option("--note", required=True, type=_NOTE, help="On whose word.")
def release(number: str, note: str) -> None:
    """Write to this number again.

    Consent to marketing does not come back by that.
    """
    ctx = verified_context().subscriber_context
    if not release_number(ctx, number, actor=name_operator(), channel=CLI, note=note):
        raise click.ClickException("this number is not suppressed")
    click.echo("This number is written to again.")


@suppressions.command("erase")
@click.argument("number", type=NUMBER)
@click.confirmation_option(prompt="Nothing of it comes back. Erase all that is known of it?")
def erase(number: str) -> None:
    """Erase the person with this number; the number stays suppressed."""
    remaining = erase_number(verified_context(), number, actor=name_operator()).remaining
    if remaining:
        later = " and ".join(name.replace("_", " ") for name in remaining)
        click.echo(f"Suppressed and erased.  The service erases the {later} as soon as it can.")
    else:
        click.echo("Erased.")


@suppressions.command("export")
@click.option("--hashes", is_flag=True, help="Hashes, of erased people too: for a restore.")
@csv_options
def export(hashes: bool, delimiter: str, spreadsheet: bool) -> None:
    """Print the suppressions in force as CSV."""
    audit_export("suppressions")
    ctx = verified_context().subscriber_context
    lines = export_hashes(ctx) if hashes else export_suppressions(ctx)
    for piece in format_lines(lines, delimiter=delimiter, spreadsheet=spreadsheet):
        click.echo(piece, nl=False)


@suppressions.command("import")
@click.argument("file", type=EXISTING_FILE)
@click.option("--hashes", is_flag=True, help="Hashes that `export --hashes` wrote.")
@click.option("--column", help="Header of the column of numbers.")
@click.option("--country", type=COUNTRY, help="Country of national numbers, such as SE.")
@click.option("--encoding", default="utf-8", show_default=True, type=ENCODING)
@click.option("--without-plus", is_flag=True, help="Numbers without + or 00 are international.")
def import_them(file: Path, hashes: bool, **options: Any) -> None:
    """Suppress the numbers of a CSV or NDJSON file.

    It is NDJSON if its name ends in .jsonl or .ndjson.
    Repeating it changes nothing.  --hashes erases again the people who were erased before.
    """
    if hashes:
        _import_hashes(file)
        return
    blocks = -(-file.stat().st_size // BLOCK_BYTES)
    with (
        file.open("rb") as opened,
        click.progressbar(read_stream(opened), length=blocks, label=file.name) as bar,
    ):
        taken = import_suppressions(
            verified_context().subscriber_context,
            bar,
            is_json=file.suffix in (".jsonl", ".ndjson"),
            actor=name_operator(),
            source=file.name[:200],
            **options,
        )
    for refusal in taken.refusals:
        click.echo(f"line {refusal['line']}: {refusal['reason']}", err=True)
    click.echo(
        f"{count_of(taken.numbers, 'number')}, {taken.newly_suppressed} of them written to "
        f"until now; {count_of(taken.refused, 'line')} refused."
    )


def _import_hashes(file: Path) -> None:
    ctx, actor = verified_context(), name_operator()
    with file.open(encoding="utf-8", newline="") as lines:
        taken = import_hashes(ctx.subscriber_context, lines, actor=actor)
    erased, restored = erase_again(ctx, actor=actor)
    people = "person" if erased == 1 else "people"
    click.echo(
        f"{count_of(taken.hashes, 'hash')}, {taken.newly_suppressed} of them written to until now; "
        f"{erased} {people} erased again, {restored} found by number."
    )
