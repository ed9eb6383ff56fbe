"""`flask send`: a broadcast from the command line, through the same functions as the API.

It is stored first and then worked off here, with a bar; what this process does not finish, the
service does, or `flask send` left alone: nothing is sent twice by it.
"""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from flask import current_app
from flask.cli import with_appcontext
from marshmallow import ValidationError

from app.cli.interrupts import interrupts
from app.cli.send.quotes import print_quote
from app.cli.send.recipients import choose_recipients
from app.db.schema import WrongDatabase
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


@click.command("send")
@click.option("--to", "numbers", multiple=True, help="A recipient's number; may be repeated.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of recipients: a column phone, number, recipient …, or the first column.",
)
@click.option("--column", help="The CSV column that holds the numbers.")
@click.option("--tag", help="To all active subscribers who bear this tag, instead of numbers.")
@click.option("--message", help="The text, 1 to 2000 characters.")
@click.option("--template", help="A stored text instead: its name, or name:version.")
@click.option("--language", help="Of the message, for the way to unsubscribe; of a template.")
@click.option(
    "--category",
    type=click.Choice([each.value for each in Category]),
    help="What it is for; transactional when left out.",
)
@click.option("--quote", is_flag=True, help="Only say what it would come to.")
@click.option("--sender", help="SINCH_NUMBER when left out.")
@click.option("--skip-invalid", is_flag=True, help="Leave invalid numbers out, and list them.")
@click.option(
    "--allow-duplicate", is_flag=True, help="Send the same text to the same people again."
)
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
    """Send one text to --to numbers, to everyone in a CSV file, or to a tag.

    Exits with 0 when Sinch took everything, 1 when not, 2 when the input is wrong.
    """
    ctx: Context = current_app.extensions["clarion"]
    whom: dict[str, Any]
    if tag is None:
        country = ctx.subscriber_context.rules.default_country
        recipients = choose_recipients(
            numbers, csv_path, column, country=country, skip_invalid=skip_invalid
        )
        whom = {"recipients": recipients}
    elif numbers or csv_path:
        raise click.UsageError("give --tag, or numbers by --to and --csv")
    else:
        whom = {"audience": {"any": [tag]}}
    options = {
        "message": message,
        "template": _read_template(template),
        "language": language,
        "category": category,
        "sender": sender,
    }
    given = {name: value for name, value in options.items() if value is not None}
    broadcast_request = _make_order({**whom, **given, "allow_duplicate": allow_duplicate})
    try:
        ctx.require_own_database()
        if quote:
            print_quote(serialize_quote(ctx, broadcast_request, dry_run=False))
            return
        broadcast_request = prepare_request(ctx, broadcast_request)
        total = count_expected(ctx, broadcast_request)
    except WrongDatabase as e:
        raise click.ClickException(str(e)) from e
    except ClarionError as e:
        raise click.UsageError(e.sentence) from e
    with _open_report(report_path) as report:
        view = _send(ctx, broadcast_request, total)
        _write_report(ctx, view, report)
    _summarise(ctx, view)


def _read_template(named: str | None) -> dict[str, Any] | None:
    """The template that `name` or `name:version` names."""
    if named is None:
        return None
    name, _, version = named.rpartition(":")
    if name and version.isascii() and version.isdigit():
        return {"name": name, "version": int(version)}
    return {"name": named}


def _make_order(request: dict[str, Any]) -> BroadcastRequest:
    try:
        broadcast_request: BroadcastRequest = BroadcastSchema().load(request)
    except ValidationError as e:
        raise click.UsageError(reject_fields(e).sentence) from e
    except ClarionError as e:
        raise click.UsageError(e.sentence) from e
    return broadcast_request


def _send(ctx: Context, broadcast_request: BroadcastRequest, total: int) -> BroadcastView:
    """Store the broadcast and work it off; Ctrl-C leaves the rest to the service."""
    try:
        accepted = accept_broadcast(ctx, broadcast_request, client=CLIENT)
    except ClarionError as e:
        raise click.ClickException(e.sentence) from e
    except WrongDatabase as e:
        raise click.ClickException(str(e)) from e
    click.echo(f"broadcast {accepted.public_id}")
    if sys.stderr.isatty():
        configure_logging("ERROR")  # lines between would tear the bar
    with (
        interrupts() as interrupted,
        click.progressbar(length=total, label=f"Sending to {total}") as bar,
    ):
        for handled in drain_broadcast(ctx, accepted.id, accepted.first, stop=interrupted):
            bar.update(handled)
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


def _write_report(ctx: Context, view: BroadcastView, file: TextIO | None) -> None:
    """A row for each recipient."""
    if file is None:
        return
    rows = csv.writer(file)
    rows.writerow(("number", "status", "batch_id", "client_reference"))
    cursor: str | None = None
    while True:
        page = list_messages(ctx, view.row.public_id, cursor=cursor, limit=_PAGE)
        rows.writerows(
            (each.recipient, each.status, each.batch_id, each.client_reference)
            for each in page.rows
        )
        cursor = page.cursor
        if cursor is None:
            return


def _summarise(ctx: Context, view: BroadcastView) -> None:
    """Say what became of everybody; exit with 1 unless Sinch took everything."""
    row = view.row
    ends = ", ".join(f"{count} {word}" for word, count in view.counts.items() if count)
    parts = "1 part" if row.parts == 1 else f"{row.parts} parts"
    click.echo(f"{ends} ({row.encoding}, {parts} each)")
    if row.refusal:
        click.echo(_describe(describe_refusal(row.refusal, production=False)), err=True)
    if view.counts["unconfirmed"]:
        sentence = "some may have been sent: Sinch is asked, do not send them again"
        click.echo(f"{view.counts['unconfirmed']} unconfirmed: {sentence}", err=True)
    for batch_id in list_batch_ids(ctx, row.id):
        click.echo(f"batch {batch_id}")
    if view.sums.at_sinch != row.recipients - view.counts["suppressed"]:
        sys.exit(EXIT_NOT_ALL_SENT)


def _describe(refusal: dict[str, Any]) -> str:
    text = str(refusal.get("text") or "no reason given")
    printable = "".join(each if each.isprintable() else "?" for each in text)
    return f"Sinch says HTTP {refusal.get('status')} {refusal.get('code', '')}, {printable}"
