"""Missing delivery reports: fetch them from Sinch, end unreported messages as unknown.

Each fetch first moves the time of the next one, so that of several workers one fetches.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Row, bindparam, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.prepared import Prepared
from app.db.types import has_come
from app.sinch.errors import SinchError, SinchRefusal
from app.sms.audience.chunks import load_batch_recipients
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_broadcast
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH
from app.sms.models.statuses import MessageStatus
from app.sms.recovery.confirm import UPDATE_BATCH
from app.sms.recovery.unknown_outcome import check_recipients
from app.sms.reports.batch_reports import read_summary
from app.sms.reports.carrier_opt_outs import apply_carrier_opt_outs, lock_for_codes
from app.sms.reports.notify import notify_clients
from app.sms.reports.record import DeliveryReport, record_reports
from app.subscribers.consent.ledger import append_consent_entries

# The next pass fetches what one pass does not reach in this time.
_PASS_S = 10.0
_MAX_DUE = 1_000
# Sinch keeps reports for 14 days: after that an unreadable report is not waited for.
_GONE_AFTER = timedelta(days=14)
_NOT_FOUND = 404

_BATCHES, _BROADCASTS, _MESSAGES = table_of(Batch), table_of(Broadcast).c, table_of(Message).c
_NEXT_AT = _BATCHES.c.next_report_at
_IS_AT_SINCH = _BATCHES.c.state.in_(AT_SINCH)
_DUE = Prepared(
    select(_BATCHES, _BROADCASTS.expires_at, _BROADCASTS.options)
    .join(table_of(Broadcast), _BROADCASTS.id == _BATCHES.c.broadcast_id)
    .where(_NEXT_AT.is_not(None), has_come(_NEXT_AT, bindparam("now"), bindparam("latest")))
    .order_by(_NEXT_AT)
    .limit(_MAX_DUE)
)
_SCHEDULE_NEXT = Prepared(
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch_id"), _NEXT_AT.is_not(None))
    .where(_BATCHES.c.report_fetches == bindparam("fetches"))
    .values(report_fetches=_BATCHES.c.report_fetches + 1, next_report_at=bindparam("report_at"))
)


def fetch_due_reports(ctx: Context) -> int:
    """Fetch the reports that are due, for a few seconds.  Returns how many were fetched."""
    ctx.require_own_database()
    due = _list_due(ctx)
    deadline = ctx.clock.monotonic() + _PASS_S
    fetched = 0
    for batch in due:
        fetched += fetch_report(ctx, batch)
        if ctx.clock.monotonic() >= deadline:
            break
    return fetched


def _list_due(ctx: Context) -> Sequence[Row[Any]]:
    now = ctx.now()
    latest = now + timedelta(seconds=ctx.rules.longest_report_wait_s + CLOCK_SLACK_S)
    with ctx.db.read() as tx:
        return _DUE.fetch(tx, {"now": now, "latest": latest})


def fetch_report(ctx: Context, batch: Row[Any]) -> bool:
    """Fetch the report of a batch.  Returns False if another worker is fetching it."""
    if not _schedule_next(ctx, batch):
        return False
    reports, readable = _fetch(ctx, batch)
    overdue = ctx.now() - batch.expires_at - timedelta(seconds=ctx.rules.report_margin_s)
    last = overdue >= timedelta(0) and (readable or overdue >= _GONE_AFTER)
    to_finalize = _record(ctx, reports) if reports else set()
    if last:
        to_finalize |= _end_unreported(ctx, batch)
    for broadcast_id in to_finalize:
        finalize_broadcast(ctx, broadcast_id)
    return True


def _schedule_next(ctx: Context, batch: Row[Any]) -> bool:
    """Set the time of the next fetch.  Returns False if another worker was quicker."""
    called_back = ctx.report_mode(batch.options) is not None
    wait_s = ctx.report_wait_s(batch.report_fetches + 1, called_back=called_back)
    values = {
        "batch_id": batch.id,
        "fetches": batch.report_fetches,
        "report_at": ctx.seconds_from_now(wait_s),
    }
    with ctx.db.write() as tx:
        return _SCHEDULE_NEXT.change(tx, values) == 1


def _fetch(ctx: Context, batch: Row[Any]) -> tuple[Sequence[DeliveryReport], bool]:
    """Fetch a report.  Returns its contents, and True if Sinch's answer was readable."""
    if batch.sinch_id is None:
        return [], True
    try:
        report = ctx.sinch.fetch_full_report(batch.sinch_id)
    except SinchRefusal as e:
        return [], e.status == _NOT_FOUND
    except SinchError as e:
        bound = logger.bind(client_reference=batch.client_reference, reason=type(e).__name__)
        bound.warning("a report cannot be read: it is fetched again later")
        return [], False
    named = {phone for status in report.statuses for phone in status.recipients}
    if batch.next_reconcile_at is not None and len(named) == report.total:
        check_recipients(ctx, batch.id, batch.sinch_id, named)
    with ctx.db.read() as tx:
        return list(read_summary(tx, report)), True


def _record(ctx: Context, reports: Sequence[DeliveryReport]) -> set[int]:
    """Record reports.  Returns the broadcasts to finalize."""
    with ctx.db.write() as tx:
        lock_counters(tx)
        lock_for_codes(tx, (report.code for report in reports))
        recorded = record_reports(tx, ctx, reports)
        opted_out = apply_carrier_opt_outs(tx, ctx, recorded.placed)
        notify_clients(tx, ctx, recorded)
        append_consent_entries(tx, opted_out)
    return recorded.to_finalize


def _end_unreported(ctx: Context, batch: Row[Any]) -> set[int]:
    """Record unreported messages as UNKNOWN and stop fetching.  Returns broadcasts to finalize."""
    with ctx.db.write() as tx:
        lock_counters(tx)
        recipients = load_batch_recipients(tx, batch).recipients
        open_messages = select(_MESSAGES.recipient).where(
            _MESSAGES.broadcast_id == batch.broadcast_id,
            # Where there are many messages, those of a batch lie together.
            _MESSAGES.recipient.between(min(recipients), max(recipients)),
            _MESSAGES.batch_id == batch.id,
            or_(_MESSAGES.status.is_(None), _MESSAGES.status == MessageStatus.SUBMITTED),
            # The report of a batch in doubt was fetched to learn who was sent to.
            select(_BATCHES.c.id).where(_BATCHES.c.id == batch.id, _IS_AT_SINCH).exists(),
        )
        unreported, unknown = tx.execute(open_messages).scalars().all(), MessageStatus.UNKNOWN
        reports = [
            DeliveryReport(batch.client_reference, batch.sinch_id, phone, unknown, None, None)
            for phone in unreported
        ]
        recorded = record_reports(tx, ctx, reports)
        notify_clients(tx, ctx, recorded)
        UPDATE_BATCH.run(tx, batch.id, {"next_report_at": None})
    if reports:
        bound = logger.bind(client_reference=batch.client_reference, messages=len(reports))
        bound.warning("messages were never reported: they end as unknown")
    return recorded.to_finalize | {batch.broadcast_id}
