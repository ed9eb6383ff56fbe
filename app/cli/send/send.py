"""`flask send`: a broadcast from the command line, through the same functions as the API.

The broadcast is stored first and then sent by this process, with a progress bar.  If the process
ends early, the service sends the rest; no recipient gets the text twice.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import click
from flask.cli import with_appcontext
from marshmallow import ValidationError

from app.accounts.models import MAX_NAME
from app.cli.command import (
    COUNTRY,
    ENCODING,
    EXISTING_FILE,
    FILE,
    TIME,
    ServiceCommand,
    audit_export,
    count_of,
    csv_options,
    current_context,
    name_operator,
    name_program,
    read_pairs,
    say_refusal,
)
from app.cli.interrupts import interrupts
from app.cli.operate.broadcasts import describe_exclusions
from app.cli.send.quotes import print_quote
from app.cli.send.recipients import RecipientOptions, read_recipients
from app.csv_cells import format_lines
from app.errors import BroadcastDuplicated, ClarionError
from app.http.arguments import reject_fields
from app.sms.broadcasts.create import count_expected, explain_stop
from app.sms.broadcasts.store import accept_broadcast
from app.sms.broadcasts.views import BroadcastView, view_by_id
from app.sms.caps.caps import check_recipients
from app.sms.content.placeholders import DEFAULT, find_placeholders
from app.sms.content.templates import load_template
from app.sms.context import Context
from app.sms.dispatch.submit import drain_broadcast
from app.sms.messages.export import export_messages
from app.sms.models.states import Category
from app.sms.quotes.serialize import serialize_quote
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import check_times, prepare_request
from app.sms.request.schemas import BroadcastSchema
from app.subscribers.lists.phone_list import SortedPhones

CLIENT = "cli"
EXIT_NOT_ALL_SENT = 1
# A broadcast to more recipients is confirmed first.
_CONFIRMED_ABOVE = 100

# Options that are fields of the API's request.
_PLAIN_OPTIONS = (
    "message",
    "language",
    "category",
    "sender",
    "send_at",
    "expire_at",
    "priority",
    "reference",
    "max_parts",
    "allow_duplicate",
)


@click.command("send", cls=ServiceCommand)
@click.option("--to", "numbers", multiple=True, help="A recipient's number; may be repeated.")
@click.option(
    "--csv",
    "csv_path",
    type=EXISTING_FILE,
    help="File of recipients: a column phone, number, recipient …, or the first column. Its other "
    "columns fill the placeholders of their name, such as ${first_name}.",
)
@click.option("--column", help="The CSV column that holds the numbers.")
@click.option(
    "--country",
    type=COUNTRY,
    help="Country of national numbers, such as SE. Default: DEFAULT_COUNTRY.",
)
@click.option("--without-plus", is_flag=True, help="Numbers without + or 00 are international.")
@click.option("--encoding", type=ENCODING, help="Of a CSV file without a byte order mark.")
@click.option("--tag", help="Send to all active subscribers with this tag.")
@click.option("--message", help="The text, 1 to 2000 characters.")
@click.option("--template", help="A stored text in place of --message: name, or name:version.")
@click.option("--default", "defaults", multiple=True, help="NAME=VALUE where ${NAME} has none.")
@click.option("--language", help="Language of the opt-out footer and the template.")
@click.option(
    "--category",
    type=click.Choice([category.value for category in Category]),
    help="Default: transactional.",
)
@click.option("--sender", help="Default: SINCH_NUMBER.")
@click.option("--send-at", help="Start at this time: ISO 8601 with offset. Default: now.")
@click.option("--expire-at", help="Stop trying at this time: ISO 8601 with offset.")
@click.option("--priority", type=int, help="1 to 9; higher is sent first.")
@click.option("--reference", help="Your name for the broadcast, 1 to 64 characters.")
@click.option("--max-parts", type=int, help="Send nothing if the text takes more parts.")
@click.option("--quote", is_flag=True, help="Print recipients, parts and cost; send nothing.")
@click.option("--yes", is_flag=True, help=f"Do not ask, also above {_CONFIRMED_ABOVE} recipients.")
@click.option("--skip-invalid", is_flag=True, help="Skip invalid numbers and list them.")
@click.option("--allow-duplicate", is_flag=True, help="Send even if it repeats a broadcast.")
@click.option(
    "--report",
    "report_path",
    type=FILE,
    help="New CSV file with a row for each recipient: number, status, reason, batch.",
)
@csv_options
@with_appcontext
def send(
    quote: bool,
    yes: bool,
    report_path: Path | None,
    delimiter: str,
    spreadsheet: bool,
    **options: Any,
) -> None:
    """Send a text to numbers, to a CSV file or to a tag.

    Asks first if there are more than 100 recipients.  Exits with 0 if Sinch accepted everything
    that may be sent now, 1 if not, 2 if the input is wrong.  --delimiter and --spreadsheet are for
    the file of --report.
    """
    ctx = current_context()
    ctx.require_own_database()
    try:
        request = _read_request(_make_body(ctx, options))
        if quote:
            quoted = serialize_quote(ctx, request, dry_run=False)
            print_quote(quoted)
            click.echo(f"token for the API: {quoted['token']}")
            return
        check_times(request, ctx.now())
        prepared = prepare_request(ctx, replace(request, created_by=name_operator()[:MAX_NAME]))
        total = count_expected(ctx, prepared)
        check_recipients(ctx, CLIENT, total)
        if total > _CONFIRMED_ABOVE and not yes:
            _confirm(ctx, request)
    except ClarionError as e:
        raise click.UsageError(_name_options(e)) from e
    with _open_report(report_path) as report:
        view = _send(ctx, prepared, total)
        if report:
            audit_export(f"{view.row.public_id}.csv")
            lines = export_messages(ctx, view.row.public_id, masked=False)
            formatted = format_lines(lines, delimiter=delimiter, spreadsheet=spreadsheet)
            report.writelines(formatted)
    _print_result(view)


def _make_body(ctx: Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the body of the API's request.  Raises UsageError for options that exclude others."""
    sources = {"--to": "numbers", "--csv": "csv_path", "--tag": "tag"}
    given = [option for option, name in sources.items() if options[name]]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other: give one of them")
    template = _read_template(options["template"])
    found = SortedPhones()
    if options["tag"] is None:
        country = options["country"] or ctx.subscriber_context.rules.default_country
        names = _find_names(ctx, options["message"], template)
        reading = ("numbers", "csv_path", "column", "encoding", "without_plus", "skip_invalid")
        found = read_recipients(
            RecipientOptions(
                **{name: options[name] for name in reading},
                country=country,
                placeholders=names,
                marketing=options["category"] == Category.MARKETING,
            )
        )
    parameters = found.parameters
    for name, value in read_pairs(options["defaults"], option="--default: ").items():
        parameters.setdefault(name, {})[DEFAULT] = value
    return {name: options[name] for name in _PLAIN_OPTIONS} | {
        "recipients": found.phones or None,
        "audience": {"any": [options["tag"]]} if options["tag"] is not None else None,
        "template": template,
        "parameters": parameters or None,
    }


def _read_template(value: str | None) -> dict[str, Any] | None:
    """Return the request's template for `name` or `name:version`."""
    if value is None:
        return None
    name, _, version = value.rpartition(":")
    if name and version.isascii() and version.isdigit():
        return {"name": name, "version": int(version)}
    return {"name": value}


def _find_names(
    ctx: Context, message: str | None, template: dict[str, Any] | None
) -> Sequence[str]:
    """Return the placeholders of the text, or of all texts of the template."""
    if template is None:
        return find_placeholders(message or "")
    with ctx.db.read() as tx:
        stored = load_template(tx, ctx.viewer, template["name"], template.get("version"))
    return find_placeholders(" ".join(stored.texts.values()))


def _read_request(body: dict[str, Any]) -> BroadcastRequest:
    given = {name: value for name, value in body.items() if value is not None}
    try:
        request: BroadcastRequest = BroadcastSchema().load(given)
    except ValidationError as e:
        raise reject_fields(e) from e
    return request


def _name_options(error: ClarionError) -> str:
    """Return the error with our options where it names the API's fields."""
    sentence = error.sentence
    if isinstance(error, BroadcastDuplicated):
        before, _, _ = sentence.partition("To send it again")
        watch = f"{name_program()} broadcasts watch {error.facts['duplicate_of']}"
        return f"{before}To send a second one, give --allow-duplicate. To follow that one: {watch}"
    for name in _PLAIN_OPTIONS:
        option = f"--{name.replace('_', '-')}: "
        sentence = re.sub(rf"(?<![\w-]){name}: ", option, sentence, flags=re.IGNORECASE)
    return sentence.replace("give it in parameters", "give a CSV column of that name, or --default")


def _confirm(ctx: Context, request: BroadcastRequest) -> None:
    """Print the quote and ask.  Exits unless the answer is yes."""
    print_quote(serialize_quote(ctx, request, dry_run=False))
    try:
        confirmed = click.confirm("Send it?")
    except click.Abort as e:
        raise click.UsageError("not confirmed: give --yes to send without a question") from e
    if not confirmed:
        click.echo("Nothing was sent.")
        sys.exit(EXIT_NOT_ALL_SENT)


def _send(ctx: Context, request: BroadcastRequest, total: int) -> BroadcastView:
    """Store the broadcast and send it.  Ctrl-C leaves the rest to the service."""
    try:
        accepted = accept_broadcast(ctx, request, client=CLIENT)
    except BroadcastDuplicated as e:
        raise click.ClickException(_name_options(e)) from e
    except KeyboardInterrupt as e:
        raise click.ClickException(
            "interrupted while the broadcast was stored: whether it goes out is said by\n"
            f"  {name_program()} broadcasts list"
        ) from e
    click.echo(f"broadcast {accepted.public_id}")
    if request.send_at is not None:
        click.echo(f"the service sends it at {request.send_at:{TIME}}; to stop it:")
        click.echo(f"  {name_program()} broadcasts cancel {accepted.public_id}")
        return view_by_id(ctx, accepted.id)
    with (
        interrupts() as interrupted,
        click.progressbar(length=total, label=f"Sending to {total}") as bar,
    ):
        sent = 0
        for _ in drain_broadcast(ctx, accepted.id, accepted.first, stop=interrupted):
            sent = _show_progress(ctx, accepted.id, bar, sent)
        _show_progress(ctx, accepted.id, bar, sent)
    view = view_by_id(ctx, accepted.id)
    waiting = view.counts["pending"] - view.deferred[0]
    if interrupted():
        _explain_rest(view, f"interrupted: the service sends the other {view.counts['pending']}.")
    elif waiting:
        reason = explain_stop(ctx) or "Sinch cannot be reached, or takes no more at the moment."
        _explain_rest(
            view, f"{reason}\nThe service sends what waits, {waiting} in all, as soon as it can."
        )
    return view


def _show_progress(ctx: Context, broadcast_id: int, bar: Any, shown: int) -> int:
    """Count what the service has sent meanwhile, too.  Returns how many recipients are done."""
    view = view_by_id(ctx, broadcast_id)
    done = view.row.recipients - view.counts["pending"]
    bar.update(done - shown)
    return int(done)


def _explain_rest(view: BroadcastView, sentence: str) -> None:
    """Say why the rest is not sent yet, and how to stop or follow it."""
    click.echo(sentence, err=True)
    public_id = view.row.public_id
    for word, action in (("To stop it", "cancel"), ("To follow it", "watch")):
        click.echo(f"{word}: {name_program()} broadcasts {action} {public_id}", err=True)


@contextmanager
def _open_report(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except OSError as e:
        raise click.UsageError(f"--report: {path}: {e.strerror}") from e
    try:
        with file:
            yield file
    except OSError as e:
        raise click.ClickException(f"--report: {path}: {e.strerror}: it is incomplete") from e


def _print_result(view: BroadcastView) -> None:
    """Print the counts.  Exits with 1 unless Sinch accepted all that may be sent now."""
    row = view.row
    counts = ", ".join(f"{count} {status}" for status, count in view.counts.items() if count)
    click.echo(f"{counts} ({row.encoding}, {count_of(row.parts, 'part')} each)")
    for line in describe_exclusions(view):
        click.echo(line)
    if row.refusal:
        click.echo(say_refusal(row.refusal), err=True)
    if view.counts["unconfirmed"]:
        sentence = "some may have been sent: Clarion is asking Sinch, do not send them again"
        click.echo(f"{view.counts['unconfirmed']} unconfirmed: {sentence}", err=True)
    left_out = view.counts["suppressed"] + view.deferred[0]
    if row.send_at is None and view.totals.at_sinch != row.recipients - left_out:
        sys.exit(EXIT_NOT_ALL_SENT)
