"""Reports that did not come are asked for, and what is never reported ends as unknown.

Whoever asks first moves the time of the next question, so that of several workers one asks.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Row, bindparam, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.sinch.errors import SinchError, SinchRefusal
from app.sms.audience.chunks import load_batch_recipients
from app.sms.context import Context
from app.sms.lifecycle.finalize import finalize_broadcast
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.statuses import MessageStatus
from app.sms.reports.batch_reports import read_summary
from app.sms.reports.carrier_opt_outs import apply_carrier_opt_outs, lock_for_codes
from app.sms.reports.notify import notify_clients
from app.sms.reports.record import DeliveryReport, record_reports
from app.subscribers.consent.ledger import append_consent_records

# One pass; what it has not asked by then, the next one does.
_PASS_S = 10.0
_MOST = 1_000
# Beyond that Sinch has no report any more, and one that could not be read is not waited for.
_GONE_AFTER = timedelta(days=14)
_NOT_FOUND = 404

_BATCHES, _BROADCASTS, _MESSAGES = table_of(Batch), table_of(Broadcast), table_of(Message)
# Made once: to make a statement costs several times what it takes to run one.
_DUE = (
    select(
        _BATCHES.c.id,
        _BATCHES.c.broadcast_id,
        _BATCHES.c.chunk,
        _BATCHES.c.start,
        _BATCHES.c.size,
        _BATCHES.c.recipient_indexes,
        _BATCHES.c.client_reference,
        _BATCHES.c.sinch_id,
        _BATCHES.c.reports_asked,
        _BROADCASTS.c.expires_at,
        _BROADCASTS.c.options,
    )
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(
        _BATCHES.c.next_report_at.is_not(None),
        or_(
            _BATCHES.c.next_report_at <= bindparam("now"),
            # Further ahead than any of ours: then the clock was set back.
            _BATCHES.c.next_report_at > bindparam("latest"),
        ),
    )
    .order_by(_BATCHES.c.next_report_at)
    .limit(_MOST)
)
_TAKE = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"), _BATCHES.c.reports_asked == bindparam("seen"))
    .where(_BATCHES.c.next_report_at.is_not(None))
    .values(reports_asked=bindparam("now_asked"), next_report_at=bindparam("until"))
)
# Between its first and last number: those of a batch lie together where there are many.
_OPEN_MESSAGES = select(_MESSAGES.c.recipient).where(
    _MESSAGES.c.broadcast_id == bindparam("of"),
    _MESSAGES.c.recipient.between(bindparam("first"), bindparam("last")),
    _MESSAGES.c.batch_id == bindparam("this"),
    or_(_MESSAGES.c.status.is_(None), _MESSAGES.c.status == MessageStatus.SUBMITTED),
)
_GIVE_UP = update(_BATCHES).where(_BATCHES.c.id == bindparam("this")).values(next_report_at=None)


def fetch_due_reports(ctx: Context) -> int:
    """Ask for the reports whose time has come, for a few seconds; how many were asked for."""
    ctx.require_own_database()
    now = ctx.now()
    latest = now + timedelta(seconds=ctx.rules.longest_report_wait_s + CLOCK_SLACK_S)
    with ctx.db.read() as tx:
        due: list[Row[Any]] = list(tx.execute(_DUE, {"now": now, "latest": latest}))
    deadline = ctx.clock.monotonic() + _PASS_S
    asked = 0
    for row in due:
        asked += fetch_report(ctx, row)
        if ctx.clock.monotonic() >= deadline:
            break
    return asked


def fetch_report(ctx: Context, row: Row[Any]) -> bool:
    """Ask for the report of a batch, unless somebody else just does; whether it was asked for."""
    if not _take(ctx, row):
        return False
    told, readable = _fetch(ctx, row)
    over = ctx.now() - row.expires_at - timedelta(seconds=ctx.rules.report_margin_s)
    last = over >= timedelta(0) and (readable or over >= _GONE_AFTER)
    to_settle = _book(ctx, told) if told else set()
    if last:
        to_settle |= _close(ctx, row)
    for broadcast_id in to_settle:
        finalize_broadcast(ctx, broadcast_id)
    return True


def _take(ctx: Context, row: Row[Any]) -> bool:
    asked = row.reports_asked + 1
    place = {"this": row.id, "seen": row.reports_asked, "now_asked": asked}
    called_back = ctx.report_mode(row.options) is not None
    until = ctx.seconds_from_now(ctx.rules.report_wait_s(asked, called_back=called_back))
    with ctx.db.write() as tx:
        taken = tx.execute(_TAKE, place | {"until": until})
        return taken.rowcount == 1


def _fetch(ctx: Context, row: Row[Any]) -> tuple[Sequence[DeliveryReport], bool]:
    """What the report says, and whether it is all that Sinch will ever say at this moment."""
    if row.sinch_id is None:
        return [], True
    try:
        report = ctx.sinch.fetch_full_report(row.sinch_id)
    except SinchRefusal as e:
        return [], e.status == _NOT_FOUND
    except SinchError as e:
        bound = logger.bind(client_reference=row.client_reference, reason=type(e).__name__)
        bound.warning("a report cannot be read: asked for again later")
        return [], False
    with ctx.db.read() as tx:
        return list(read_summary(tx, report)), True


def _book(ctx: Context, told: Sequence[DeliveryReport]) -> set[int]:
    """Book what a report says; the broadcasts to settle."""
    with ctx.db.write() as tx:
        lock_counters(tx)
        lock_for_codes(tx, (each.code for each in told))
        booked = record_reports(tx, ctx, told)
        unplaced = {id(each) for each in booked.unplaced}
        opted_out = apply_carrier_opt_outs(
            tx, ctx, (each for each in told if id(each) not in unplaced)
        )
        notify_clients(tx, ctx, booked)
        append_consent_records(tx, ctx.subscriber_context, opted_out)
    return booked.to_settle


def _close(ctx: Context, row: Row[Any]) -> set[int]:
    """What was not reported by now is booked as unknown; the broadcasts to settle."""
    with ctx.db.write() as tx:
        lock_counters(tx)
        recipients = load_batch_recipients(tx, row).recipients
        place = {"of": row.broadcast_id, "this": row.id}
        ends = {"first": min(recipients), "last": max(recipients)}
        silent = tx.execute(_OPEN_MESSAGES, place | ends).scalars().all()
        told = [_tell_unknown(row, each) for each in silent]
        booked = record_reports(tx, ctx, told)
        notify_clients(tx, ctx, booked)
        tx.execute(_GIVE_UP, {"this": row.id})
    if told:
        bound = logger.bind(client_reference=row.client_reference, messages=len(told))
        bound.warning("never reported: these messages end as unknown")
    return booked.to_settle | {row.broadcast_id}


def _tell_unknown(row: Row[Any], recipient: str) -> DeliveryReport:
    return DeliveryReport(
        reference=row.client_reference,
        sinch_id=row.sinch_id,
        recipient=recipient,
        status=MessageStatus.UNKNOWN,
        code=None,
        at=None,
    )
