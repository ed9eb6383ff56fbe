"""`flask send`: a broadcast from the command line, through the same functions as the API."""

import csv
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click
from flask import current_app
from flask.cli import with_appcontext
from marshmallow import ValidationError

from app.cli.recipients import choose_recipients, read_entries
from app.errors import ClarionError
from app.logs import configure_logging
from app.openapi import refuse_fields
from app.sms.planning import MAX_RECIPIENTS, Broadcast
from app.sms.schemas import BroadcastSchema
from app.sms.sending import BatchOutcome, BatchStatus, Sender

EXIT_NOT_ALL_SENT = 1

# Ctrl-C, a service manager, a lost connection: the batch in hand is finished first.
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Report:
    """A row for each recipient of a batch, on disk before the next batch is begun.

    `broken` is True once a row could not be written; without a file nothing is.
    """

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self.broken = False
        self._write([("number", "status", "batch_id", "client_reference")])

    def add(self, outcome: BatchOutcome) -> None:
        """Write the rows of one batch."""
        ending = (outcome.status.value, outcome.batch_id or "", outcome.client_reference)
        self._write([(number, *ending) for number in outcome.recipients])

    def _write(self, rows: list[tuple[str, ...]]) -> None:
        if self._file is None:
            return
        try:
            csv.writer(self._file).writerows(rows)
            self._file.flush()
        except OSError:
            self.broken = True


@click.command("send")
@click.option("--to", "numbers", multiple=True, help="A recipient in E.164; may be repeated.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of recipients: a column phone, number, recipient …, or the first column.",
)
@click.option("--column", help="The CSV column that holds the numbers.")
@click.option("--message", required=True, help="The text, 1 to 2000 characters.")
@click.option("--sender", help="SINCH_NUMBER when left out.")
@click.option("--skip-invalid", is_flag=True, help="Leave invalid numbers out, and list them.")
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New CSV file with a row for each recipient: number, status, batch.  After a kill -9, "
    "who is missing from it may have been sent to.",
)
@with_appcontext
def send(
    numbers: tuple[str, ...],
    csv_path: Path | None,
    column: str | None,
    message: str,
    sender: str | None,
    skip_invalid: bool,
    report_path: Path | None,
) -> None:
    """Send one text to --to numbers, or to everyone in a CSV file.

    Exits with 0 when Sinch took everything, 1 when not, 2 when the input is wrong.
    """
    entries = [*(("--to", number) for number in numbers), *read_entries(csv_path, column)]
    recipients = choose_recipients(entries, skip_invalid=skip_invalid)
    options = {"sender": sender} if sender else {}
    broadcasts = [
        _make_broadcast({"recipients": chunk, "message": message, **options})
        for chunk in _cut(recipients)
    ]
    outcomes = _submit(broadcasts, report_path)
    _summarise(broadcasts[0], outcomes)


def _cut(recipients: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(recipients), MAX_RECIPIENTS):
        yield recipients[start : start + MAX_RECIPIENTS]


def _make_broadcast(request: dict[str, Any]) -> Broadcast:
    try:
        broadcast: Broadcast = BroadcastSchema().load(request)
    except ValidationError as e:
        raise click.UsageError(refuse_fields(e).sentence) from e
    except ClarionError as e:
        raise click.UsageError(e.sentence) from e
    return broadcast


def _submit(broadcasts: list[Broadcast], report_path: Path | None) -> list[BatchOutcome]:
    """Hand every batch to Sinch, with a progress bar; Ctrl-C stops behind the batch in hand."""
    if sys.stderr.isatty():
        configure_logging("WARNING")  # lines between would tear the bar
    sender: Sender = current_app.extensions["sender"]
    batches = [batch for each in broadcasts for batch in sender.make_batches(each)]
    total = sum(len(batch.recipients) for batch in batches)
    outcomes: list[BatchOutcome] = []
    with (
        _open_report(report_path) as report,
        _interrupts() as interrupted,
        click.progressbar(length=total, label=f"Sending to {total}") as bar,
    ):
        for outcome in sender.submit_patiently(
            batches, stop=lambda: report.broken or interrupted()
        ):
            outcomes.append(outcome)
            report.add(outcome)
            bar.update(len(outcome.recipients))
    if report.broken:
        click.echo(f"--report: {report_path} is incomplete: it could not be written", err=True)
    return outcomes


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Whether we were told to stop, which inside here stops nothing by itself."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    before = {number: signal.signal(number, note) for number in _INTERRUPTS}
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _open_report(path: Path | None) -> Iterator[Report]:
    if path is None:
        yield Report(None)
        return
    try:
        file = path.open("x", newline="")
    except OSError as e:
        raise click.UsageError(f"--report: {path}: {e.strerror}") from e
    try:
        yield Report(file)
    finally:
        with suppress(OSError):  # a full disk was told of already
            file.close()


def _summarise(broadcast: Broadcast, outcomes: list[BatchOutcome]) -> None:
    """Say what became of everybody; exit with 1 unless Sinch took everything."""
    counts: Counter[BatchStatus] = Counter()
    for outcome in outcomes:
        counts[outcome.status] += len(outcome.recipients)
        if outcome.status is not BatchStatus.ACCEPTED:
            click.echo(_describe(outcome), err=True)
    ends = ", ".join(f"{count} {status.value}" for status, count in counts.items())
    parts = "1 part" if broadcast.size.parts == 1 else f"{broadcast.size.parts} parts"
    click.echo(f"{ends} ({broadcast.size.encoding.value}, {parts} each)")
    for outcome in outcomes:
        if outcome.batch_id and outcome.status is BatchStatus.ACCEPTED:
            click.echo(f"batch {outcome.batch_id}")
    if set(counts) != {BatchStatus.ACCEPTED}:
        sys.exit(EXIT_NOT_ALL_SENT)


def _describe(outcome: BatchOutcome) -> str:
    line = f"{len(outcome.recipients)} {outcome.status.value}"
    if outcome.refusal is not None:
        text = outcome.refusal.text or "no reason given"
        printable = "".join(each if each.isprintable() else "?" for each in text)
        line += f": Sinch says {outcome.refusal}, {printable}"
    if outcome.status is BatchStatus.UNKNOWN:
        line += (
            ": they may have been sent; look at Sinch for client_reference "
            f"{outcome.client_reference} before sending again"
        )
    return line
