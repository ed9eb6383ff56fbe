"""Reports from Sinch: with recipients, or with counts of a batch only."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select, update

from app.db.base import table_of
from app.db.prepared import Prepared
from app.sinch.schemas import BatchReport
from app.sms.audience.chunks import load_batch_recipients
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, UNSENT, BatchState
from app.sms.models.statuses import MessageStatus, translate_status
from app.sms.recovery.confirm import was_restored
from app.sms.reports.record import DeliveryReport

_BATCHES, _BROADCASTS = table_of(Batch), table_of(Broadcast)
_FIND_REPORTED = Prepared(
    select(_BATCHES, _BROADCASTS.c.purged_at)
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(
        or_(
            _BATCHES.c.client_reference == bindparam("reference"),
            _BATCHES.c.sinch_id == bindparam("sinch_id"),
        )
    )
)


def read_summary(tx: Connection, report: BatchReport) -> Iterator[DeliveryReport]:
    """Yield the delivery reports that a report of Sinch's contains.

    A report without recipients gives each message's status only if all messages ended alike.  While
    it is in doubt who the recipients are, it gives none: Sinch's list or a full report tells.
    """
    for status in report.statuses:
        for recipient in status.recipients:
            yield _make_report(report, recipient, translate_status(status.status), status.code)
    if _names_all(report):
        return
    batch = _find_batch(tx, report)
    if batch is None or batch.purged_at is not None or _is_in_doubt(tx, batch):
        # A report without a recipient: postponed, or a dead letter about a foreign batch.
        yield _make_report(report, "", MessageStatus.SUBMITTED, None)
        return
    recipients = load_batch_recipients(tx, batch).recipients
    if _are_alike(report, batch):
        (common,) = report.statuses
        end = translate_status(common.status)
        yield from (_make_report(report, phone, end, common.code) for phone in recipients)
        return
    # It proves that Sinch accepted the batch.
    yield _make_report(report, recipients[0], MessageStatus.SUBMITTED, None)


def request_full_report(tx: Connection, ctx: Context, report: BatchReport) -> None:
    """Make the full report due now if a batch report lacks the statuses of its recipients."""
    batch = None if _names_all(report) else _find_batch(tx, report)
    if batch is None or batch.purged_at is not None:
        return
    awaited = update(_BATCHES).where(
        _BATCHES.c.id == batch.id,
        _BATCHES.c.state == batch.state,
        _BATCHES.c.ended < _BATCHES.c.size,
    )
    if _is_in_doubt(tx, batch):
        sinch_id = batch.sinch_id or report.batch_id
        tx.execute(awaited.values(sinch_id=sinch_id, next_report_at=ctx.now()))
    elif not _are_alike(report, batch):
        tx.execute(awaited.values(next_report_at=ctx.now()))


def _names_all(report: BatchReport) -> bool:
    return all(status.recipients for status in report.statuses)


def _are_alike(report: BatchReport, batch: Row[Any]) -> bool:
    return len(report.statuses) == 1 and report.statuses[0].count == batch.size


def _is_in_doubt(tx: Connection, batch: Row[Any]) -> bool:
    """Return True if a restored batch may have been sent to others than its recipients."""
    if batch.state in (*UNSENT, BatchState.SENDING) or _is_certain(batch):
        return False
    return was_restored(tx, batch.broadcast_id)


def _is_certain(batch: Row[Any]) -> bool:
    is_known = batch.sinch_id is not None and batch.next_reconcile_at is None
    return is_known and batch.state in AT_SINCH


def _find_batch(tx: Connection, report: BatchReport) -> Row[Any] | None:
    """Find the reported batch; of several, one that Sinch has under this id for certain."""
    ids = {"reference": report.client_reference, "sinch_id": report.batch_id}
    rows = _FIND_REPORTED.fetch(tx, ids)
    return max(
        rows, key=lambda row: _is_certain(row) and row.sinch_id == report.batch_id, default=None
    )


def _make_report(
    report: BatchReport, recipient: str, status: MessageStatus, code: int | None
) -> DeliveryReport:
    return DeliveryReport(
        report.client_reference, report.batch_id, recipient, status, code, report.at
    )
