"""`flask send`: a broadcast from the command line, through the same functions as the API.

The broadcast is stored first and then sent by this process, with a progress bar.  If the process
ends early, the service sends the rest; no recipient gets the text twice.
"""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from flask.cli import with_appcontext
from marshmallow import ValidationError

from app.cli.command import ServiceCommand, current_context
from app.cli.interrupts import interrupts
from app.cli.send.quotes import print_quote
from app.cli.send.recipients import choose_recipients
from app.errors import ClarionError
from app.http.arguments import reject_fields
from app.logs import configure_logging
from app.sms.broadcasts.create import count_expected, describe_refusal
from app.sms.broadcasts.store import accept_broadcast
from app.sms.broadcasts.views import BroadcastView, list_batch_ids, view_by_id
from app.sms.context import Context
from app.sms.dispatch.drain import drain_broadcast
from app.sms.messages.list import list_messages
from app.sms.models.states import Category
from app.sms.quotes.serialize import serialize_quote
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import prepare_request
from app.sms.request.schemas import BroadcastSchema

CLIENT = "cli"
EXIT_NOT_ALL_SENT = 1
_PAGE = 1_000


@click.command("send", cls=ServiceCommand)
@click.option("--to", "numbers", multiple=True, help="A recipient's number; may be repeated.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of recipients: a column phone, number, recipient …, or the first column.",
)
@click.option("--column", help="The CSV column that holds the numbers.")
@click.option("--tag", help="Send to all active subscribers with this tag.")
@click.option("--message", help="The text, 1 to 2000 characters.")
@click.option("--template", help="A stored text in place of --message: name, or name:version.")
@click.option("--language", help="Language of the opt-out footer and the template.")
@click.option(
    "--category",
    type=click.Choice([category.value for category in Category]),
    help="Default: transactional.",
)
@click.option("--quote", is_flag=True, help="Print recipients, parts and cost; send nothing.")
@click.option("--sender", help="Default: SINCH_NUMBER.")
@click.option("--skip-invalid", is_flag=True, help="Skip invalid numbers and list them.")
@click.option("--allow-duplicate", is_flag=True, help="Send even if it repeats a broadcast.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New CSV file with a row for each recipient: number, status, batch.",
)
@with_appcontext
def send(
    numbers: tuple[str, ...],
    csv_path: Path | None,
    column: str | None,
    tag: str | None,
    message: str | None,
    template: str | None,
    language: str | None,
    category: str | None,
    quote: bool,
    sender: str | None,
    skip_invalid: bool,
    allow_duplicate: bool,
    report_path: Path | None,
) -> None:
    """Send one text to --to numbers, to the numbers of a CSV file, or to a tag.

    Exits with 0 if Sinch accepted everything, 1 if not, 2 if the input is wrong.
    """
    ctx = current_context()
    recipients: list[str] | None = None
    if tag is None:
        country = ctx.subscriber_context.rules.default_country
        recipients = choose_recipients(
            numbers, csv_path, column, country=country, skip_invalid=skip_invalid
        )
    elif numbers or csv_path:
        raise click.UsageError("give --tag, or numbers by --to and --csv")
    body = {
        "recipients": recipients,
        "audience": {"any": [tag]} if tag is not None else None,
        "message": message,
        "template": _read_template(template),
        "language": language,
        "category": category,
        "sender": sender,
        "allow_duplicate": allow_duplicate,
    }
    ctx.require_own_database()
    try:
        request = _read_request(body)
        if quote:
            print_quote(serialize_quote(ctx, request, dry_run=False))
            return
        request = prepare_request(ctx, request)
        total = count_expected(ctx, request)
    except ClarionError as e:
        raise click.UsageError(e.sentence) from e
    with _open_report(report_path) as report:
        view = _send(ctx, request, total)
        if report:
            _write_report(ctx, view, report)
    _print_result(ctx, view)


def _read_template(value: str | None) -> dict[str, Any] | None:
    """Return the request's template for `name` or `name:version`."""
    if value is None:
        return None
    name, _, version = value.rpartition(":")
    if name and version.isascii() and version.isdigit():
        return {"name": name, "version": int(version)}
    return {"name": value}


def _read_request(body: dict[str, Any]) -> BroadcastRequest:
    given = {name: value for name, value in body.items() if value is not None}
    try:
        request: BroadcastRequest = BroadcastSchema().load(given)
    except ValidationError as e:
        raise reject_fields(e) from e
    return request


def _send(ctx: Context, request: BroadcastRequest, total: int) -> BroadcastView:
    """Store the broadcast and send it.  Ctrl-C leaves the rest to the service."""
    accepted = accept_broadcast(ctx, request, client=CLIENT)
    click.echo(f"broadcast {accepted.public_id}")
    if sys.stderr.isatty():
        configure_logging("ERROR")  # log lines would break the progress bar
    with (
        interrupts() as interrupted,
        click.progressbar(length=total, label=f"Sending to {total}") as bar,
    ):
        for size in drain_broadcast(ctx, accepted.id, accepted.first, stop=interrupted):
            bar.update(size)
    if interrupted():
        click.echo(f"interrupted: flask broadcasts watch {accepted.public_id}", err=True)
    return view_by_id(ctx, accepted.id)


@contextmanager
def _open_report(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("x", newline="")
    except OSError as e:
        raise click.UsageError(f"--report: {path}: {e.strerror}") from e
    try:
        with file:
            yield file
    except OSError as e:
        raise click.ClickException(f"--report: {path}: {e.strerror}: it is incomplete") from e


def _write_report(ctx: Context, view: BroadcastView, file: TextIO) -> None:
    """Write a row for each recipient."""
    rows = csv.writer(file)
    rows.writerow(("number", "status", "batch_id", "client_reference"))
    cursor: str | None = None
    while True:
        page = list_messages(ctx, view.row.public_id, cursor=cursor, limit=_PAGE)
        rows.writerows(
            (message.recipient, message.status, message.batch_id, message.client_reference)
            for message in page.rows
        )
        cursor = page.cursor
        if cursor is None:
            return


def _print_result(ctx: Context, view: BroadcastView) -> None:
    """Print the counts.  Exits with 1 unless Sinch accepted all that may be sent."""
    row = view.row
    counts = ", ".join(f"{count} {status}" for status, count in view.counts.items() if count)
    parts = "1 part" if row.parts == 1 else f"{row.parts} parts"
    click.echo(f"{counts} ({row.encoding}, {parts} each)")
    if row.refusal:
        click.echo(_describe(describe_refusal(row.refusal, production=False)), err=True)
    if view.counts["unconfirmed"]:
        sentence = "some may have been sent: Clarion is asking Sinch, do not send them again"
        click.echo(f"{view.counts['unconfirmed']} unconfirmed: {sentence}", err=True)
    for batch_id in list_batch_ids(ctx, row.id):
        click.echo(f"batch {batch_id}")
    if view.totals.at_sinch != row.recipients - view.counts["suppressed"]:
        sys.exit(EXIT_NOT_ALL_SENT)


def _describe(refusal: dict[str, Any]) -> str:
    text = str(refusal.get("text") or "no reason given")
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return f"Sinch says HTTP {refusal.get('status')} {refusal.get('code', '')}, {printable}"
