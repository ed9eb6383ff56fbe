"""Application of stored callbacks: a group at a time, all of a group or none.

An event is deleted in the transaction that applies it.  An unreadable or foreign event is kept as
a dead letter for a while.  An event about a batch that is not known yet is postponed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, delete, or_, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from app.db.base import table_of
from app.db.old_rows import OldRows
from app.db.prepared import Prepared
from app.failpoints import failpoints
from app.sinch.callbacks import Callback, UnreadableCallback, parse_callback
from app.sinch.schemas import BatchReport, SinchInbound
from app.sms.context import Context
from app.sms.inbound.opt_out import lock_for_inbounds
from app.sms.inbound.receive import store_inbounds
from app.sms.lifecycle.finalize import finalize_broadcast
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.reports import DeadLetterReason, Event
from app.sms.reports.batch_reports import read_summary, request_full_report
from app.sms.reports.carrier_opt_outs import apply_carrier_opt_outs, lock_for_codes
from app.sms.reports.notify import notify_clients
from app.sms.reports.record import DeliveryReport, RecordedReports, record_reports
from app.subscribers.consent.ledger import append_consent_entries

MAX_EVENTS = 500
# A group reports on at most this many messages, beside its first event: others wait meanwhile.
_MAX_MESSAGES = 3_000
# Weight of one inbound text, in messages: it may change suppressions and trigger a reply.
_INBOUND_WEIGHT = 100
# A report may come before the answer that names its batch was recorded.
_UNPLACED_WAIT = timedelta(seconds=10)
_MAX_UNPLACED_TRIES = 6
_MAX_WAIT = timedelta(hours=1)

_EVENTS = table_of(Event)
_WAITING = Prepared(
    select(_EVENTS.c.id, _EVENTS.c.raw, _EVENTS.c.tries, _EVENTS.c.received_at)
    .where(_EVENTS.c.dead_letter_reason.is_(None))
    .where(or_(_EVENTS.c.not_before.is_(None), _EVENTS.c.not_before <= bindparam("now")))
    .order_by(_EVENTS.c.id)
    .limit(bindparam("limit"))
)
_THESE = _EVENTS.c.id.in_(bindparam("event_ids", expanding=True))
_STILL_WAITING = Prepared(
    select(_EVENTS.c.id).where(_THESE, _EVENTS.c.dead_letter_reason.is_(None))
)
_DELETE = Prepared(delete(_EVENTS).where(_THESE))


@dataclass(frozen=True, slots=True)
class _ParsedEvent:
    """An event and its callback; None if it is unreadable."""

    row: Row[Any]
    callback: Callback | None


def apply_events(ctx: Context, *, limit: int = MAX_EVENTS) -> int:
    """Apply the events that wait longest, at most `limit`.  Returns how many were read.

    If a group cannot be applied, its events are applied one by one, and those that fail postponed.
    """
    ctx.require_own_database()
    with ctx.db.read() as tx:
        rows = _WAITING.read(tx, {"now": ctx.now(), "limit": limit})
        group = list(_limit(_ParsedEvent(row, _parse(row.raw)) for row in rows))
    if not group:
        return 0
    try:
        _apply_group(ctx, group)
    except (OperationalError, InterfaceError):
        raise  # the database is in trouble, not the events
    except Exception as e:
        logger.opt(exception=e).error("events could not be applied together: one by one")
        for event in group:
            _apply_alone(ctx, event)
    return len(group)


def _limit(events: Iterator[_ParsedEvent]) -> Iterator[_ParsedEvent]:
    """Yield the first events, up to _MAX_MESSAGES messages in all."""
    messages = 0
    for number, event in enumerate(events):
        messages += _count_messages(event.callback)
        if number and messages > _MAX_MESSAGES:
            return
        yield event


def _count_messages(callback: Callback | None) -> int:
    if isinstance(callback, SinchInbound):
        return _INBOUND_WEIGHT
    if callback is None:
        return 1
    return 1 + sum(max(status.count, len(status.recipients)) for status in callback.statuses)


def _parse(raw: bytes) -> Callback | None:
    try:
        return parse_callback(raw)
    except UnreadableCallback:
        return None


def _apply_alone(ctx: Context, event: _ParsedEvent) -> None:
    try:
        _apply_group(ctx, [event])
    except (OperationalError, InterfaceError):
        raise
    except Exception as e:
        wait = min(timedelta(minutes=1) * 2 ** min(event.row.tries, 10), _MAX_WAIT)
        logger.bind(event=event.row.id).opt(exception=e).error("an event could not be applied")
        with ctx.db.write() as tx:
            _postpone(tx, event.row.id, ctx.now() + wait)


def _apply_group(ctx: Context, group: Sequence[_ParsedEvent]) -> None:
    to_finalize = _apply_in_one(ctx, group)
    # After the commit: transactions that share a lock on a broadcast could not both change it.
    for broadcast_id in to_finalize:
        finalize_broadcast(ctx, broadcast_id)


def _apply_in_one(ctx: Context, group: Sequence[_ParsedEvent]) -> set[int]:
    with ctx.db.write() as tx:
        # The counters first: a wait for them must not make claims and STOPs wait.
        lock_counters(tx)
        _lock_suppressions(tx, ctx, group)
        ids = {"event_ids": [event.row.id for event in group]}
        waiting = {row.id for row in _STILL_WAITING.fetch(tx, ids)}
        events = [event for event in group if event.row.id in waiting]
        unreadable = [event.row.id for event in events if event.callback is None]
        recorded, foreign, early = _record(tx, ctx, events)
        failpoints.reach("E1")
        _dead_letter(tx, unreadable, DeadLetterReason.UNREADABLE)
        _dead_letter(tx, foreign, DeadLetterReason.FOREIGN)
        for event_id in early:
            _postpone(tx, event_id, ctx.now() + _UNPLACED_WAIT)
        applied = waiting.difference(unreadable, foreign, early)
        if applied:
            _DELETE.change(tx, {"event_ids": list(applied)})
    if unreadable:
        logger.bind(events=len(unreadable)).warning(
            "unparseable sinch callback kept as dead letter"
        )
    return recorded.to_finalize


def _lock_suppressions(tx: Connection, ctx: Context, group: Sequence[_ParsedEvent]) -> None:
    inbounds = [event.callback for event in group if isinstance(event.callback, SinchInbound)]
    lock_for_inbounds(tx, ctx, inbounds)
    lock_for_codes(tx, (code for event in group for code in _list_codes(event.callback)))


def _list_codes(callback: Callback | None) -> Iterator[int | None]:
    if isinstance(callback, BatchReport):
        yield from (status.code for status in callback.statuses)


def _record(
    tx: Connection, ctx: Context, events: Sequence[_ParsedEvent]
) -> tuple[RecordedReports, list[int], list[int]]:
    """Record reports and inbounds.

    Returns the recorded reports, and the ids of events about batches that are not ours and about
    batches that are not known yet.
    """
    reports: list[DeliveryReport] = []
    rows_by_report: dict[int, Row[Any]] = {}
    inbounds: list[SinchInbound] = []
    batch_reports: list[BatchReport] = []
    for event in events:
        callback = event.callback
        if isinstance(callback, SinchInbound):
            inbounds.append(callback)
        elif callback is not None:
            batch_reports.append(callback)
            for report in read_summary(tx, callback):
                reports.append(report)
                rows_by_report[id(report)] = event.row
    _, records = store_inbounds(tx, ctx, inbounds)
    recorded = record_reports(tx, ctx, reports)
    opted_out = apply_carrier_opt_outs(tx, ctx, recorded.placed)
    for batch_report in batch_reports:
        request_full_report(tx, ctx, batch_report)
    notify_clients(tx, ctx, recorded)
    foreign, early = set[int](), set[int]()
    for report in recorded.unplaced:
        row = rows_by_report[id(report)]
        (foreign if row.tries >= _MAX_UNPLACED_TRIES else early).add(row.id)
    append_consent_entries(tx, [*records, *opted_out])
    return recorded, sorted(foreign), sorted(early)


def _dead_letter(tx: Connection, event_ids: Sequence[int], reason: DeadLetterReason) -> None:
    if event_ids:
        events = update(_EVENTS).where(_EVENTS.c.id.in_(event_ids))
        tx.execute(events.values(dead_letter_reason=reason))


def _postpone(tx: Connection, event_id: int, not_before: datetime) -> None:
    event = update(_EVENTS).where(_EVENTS.c.id == event_id)
    tx.execute(event.values(tries=_EVENTS.c.tries + 1, not_before=not_before))


def old_dead_letters(ctx: Context) -> OldRows:
    """Return the dead letters that are older than CALLBACKS_KEPT_DAYS."""
    oldest = ctx.seconds_from_now(-ctx.rules.events_kept_s)
    is_dead = _EVENTS.c.dead_letter_reason.is_not(None)
    return OldRows(_EVENTS, is_dead & (_EVENTS.c.received_at < oldest))
