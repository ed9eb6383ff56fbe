"""Reports on whole batches: with their recipients, or counts that mostly make us ask for them."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from app.db.base import table_of
from app.sinch.schemas import BatchReport
from app.sms.audience.chunks import load_batch_recipients
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.statuses import MessageStatus, translate_status
from app.sms.reports.record import DeliveryReport

_BATCHES = table_of(Batch)
_PLACE = select(_BATCHES).where(
    or_(
        _BATCHES.c.client_reference == bindparam("reference"),
        _BATCHES.c.sinch_id == bindparam("sinch_id"),
    )
)
_ASK_NOW = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"), _BATCHES.c.ended < _BATCHES.c.size)
    .values(next_report_at=bindparam("now"))
)


def read_summary(tx: Connection, report: BatchReport) -> Iterator[DeliveryReport]:
    """What a report on a batch says of each message, as far as it does.

    One without recipients says it of all when all ended alike.
    """
    for status in report.statuses:
        for recipient in status.recipients:
            yield _tell(report, recipient, translate_status(status.status), status.code)
    if _names_all(report):
        return
    batch = _find_batch(tx, report)
    if batch is None:
        # Told of nobody: it is put off, or turns out to be foreign.
        yield _tell(report, "", MessageStatus.SUBMITTED, None)
        return
    recipients = load_batch_recipients(tx, batch).recipients
    if _are_alike(report, batch):
        (all_of_them,) = report.statuses
        end = translate_status(all_of_them.status)
        yield from (_tell(report, each, end, all_of_them.code) for each in recipients)
        return
    # Sinch has it, whatever became of each.
    yield _tell(report, recipients[0], MessageStatus.SUBMITTED, None)


def request_full_report(tx: Connection, ctx: Context, report: BatchReport) -> None:
    """Have the full report asked for at once, where one leaves open who ended how."""
    batch = None if _names_all(report) else _find_batch(tx, report)
    if batch is not None and not _are_alike(report, batch):
        tx.execute(_ASK_NOW, {"this": batch.id, "now": ctx.now()})


def _names_all(report: BatchReport) -> bool:
    return all(status.recipients for status in report.statuses)


def _are_alike(report: BatchReport, batch: Row[Any]) -> bool:
    return len(report.statuses) == 1 and report.statuses[0].count == batch.size


def _find_batch(tx: Connection, report: BatchReport) -> Row[Any] | None:
    place = {"reference": report.client_reference, "sinch_id": report.batch_id}
    return tx.execute(_PLACE, place).first()


def _tell(
    report: BatchReport, recipient: str, status: MessageStatus, code: int | None
) -> DeliveryReport:
    return DeliveryReport(report.client_reference, report.batch_id, recipient, status, code, None)
