"""Events, stored as they came, are applied: a group at a time, all of a group or nothing of it.

An event is gone in the transaction that books it.  One that says nothing to us stays as a
leftover for a while; one that speaks of a batch we do not know yet is looked at again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, delete, or_, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from app.db.base import table_of
from app.failpoints import failpoints
from app.sinch.callbacks import RecipientReport, UnreadableCallback, parse_callback
from app.sinch.schemas import BatchReport, SinchInbound
from app.sms.context import Context
from app.sms.inbound.opt_out import lock_for_inbounds
from app.sms.inbound.receive import store_inbounds
from app.sms.lifecycle.finalize import finalize_broadcast
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.reports import DeadLetterReason, Event
from app.sms.models.statuses import translate_status
from app.sms.reports.batch_reports import read_summary, request_full_report
from app.sms.reports.carrier_opt_outs import apply_carrier_opt_outs, lock_for_codes
from app.sms.reports.notify import notify_clients
from app.sms.reports.record import DeliveryReport, RecordedReports, record_reports
from app.subscribers.consent.ledger import append_consent_records

GROUP = 500
# Of so many messages a group may tell, beside its first event: all others wait meanwhile.
_GROUP_MESSAGES = 3_000
# A text from a phone, which may change who is written to and be answered, takes as long as so many.
_TEXT_AS_MESSAGES = 100
# A report may come before the answer that names its batch was recorded.
_UNPLACED_WAIT = timedelta(seconds=10)
_MAX_UNPLACED_TRIES = 6
_MAX_WAIT = timedelta(hours=1)

_EVENTS = table_of(Event)
# Made once: to make a statement costs several times what it takes to run one.
_WAITING = (
    select(_EVENTS.c.id, _EVENTS.c.raw, _EVENTS.c.tries, _EVENTS.c.received_at)
    .where(_EVENTS.c.dead_letter_reason.is_(None))
    .where(or_(_EVENTS.c.not_before.is_(None), _EVENTS.c.not_before <= bindparam("now")))
    .order_by(_EVENTS.c.id)
    .limit(bindparam("most"))
)
_STILL_THERE = select(_EVENTS.c.id).where(
    _EVENTS.c.id.in_(bindparam("these", expanding=True)), _EVENTS.c.dead_letter_reason.is_(None)
)
_FORGET = delete(_EVENTS).where(_EVENTS.c.id.in_(bindparam("these", expanding=True)))
_LEAVE = (
    update(_EVENTS)
    .where(_EVENTS.c.id.in_(bindparam("these", expanding=True)))
    .values(dead_letter_reason=bindparam("because"))
)
_PUT_OFF = (
    update(_EVENTS)
    .where(_EVENTS.c.id == bindparam("this"))
    .values(tries=_EVENTS.c.tries + 1, not_before=bindparam("until"))
)


@dataclass(frozen=True, slots=True)
class _Read:
    """An event and what it says; None where that cannot be read."""

    row: Row[Any]
    said: RecipientReport | BatchReport | SinchInbound | None


def apply_events(ctx: Context, *, most: int = GROUP) -> int:
    """Apply the events that wait longest, at most so many; how many were looked at.

    A group that cannot be applied is tried one by one, and what fails then is put off.
    """
    ctx.require_own_database()
    with ctx.db.read() as tx:
        rows: Iterable[Row[Any]] = tx.execute(_WAITING, {"now": ctx.now(), "most": most})
        group = list(_limit(_Read(row, _parse(row.raw)) for row in rows))
    if not group:
        return 0
    try:
        _apply_group(ctx, group)
    except (OperationalError, InterfaceError):
        raise  # the database is in trouble, not the events
    except Exception as e:
        logger.opt(exception=e).error("events could not be applied together: one by one")
        for each in group:
            _apply_alone(ctx, each)
    return len(group)


def _limit(events: Iterator[_Read]) -> Iterator[_Read]:
    """The first events, as many as together tell of a bearable number of messages."""
    messages = 0
    for number, event in enumerate(events):
        messages += _count_messages(event.said)
        if number and messages > _GROUP_MESSAGES:
            return
        yield event


def _count_messages(said: RecipientReport | BatchReport | SinchInbound | None) -> int:
    if isinstance(said, SinchInbound):
        return _TEXT_AS_MESSAGES
    if not isinstance(said, BatchReport):
        return 1
    return 1 + sum(max(each.count, len(each.recipients)) for each in said.statuses)


def _parse(raw: bytes) -> RecipientReport | BatchReport | SinchInbound | None:
    try:
        return parse_callback(raw)
    except UnreadableCallback:
        return None


def _apply_alone(ctx: Context, event: _Read) -> None:
    try:
        _apply_group(ctx, [event])
    except (OperationalError, InterfaceError):
        raise
    except Exception as e:
        wait = min(timedelta(minutes=1) * 2 ** min(event.row.tries, 10), _MAX_WAIT)
        logger.bind(event=event.row.id).opt(exception=e).error("an event could not be applied")
        with ctx.db.write() as tx:
            tx.execute(_PUT_OFF, {"this": event.row.id, "until": ctx.now() + wait})


def _apply_group(ctx: Context, group: Sequence[_Read]) -> None:
    to_settle = _apply_in_one(ctx, group)
    # Behind the commit: who holds a broadcast together with others could not change it.
    for broadcast_id in to_settle:
        finalize_broadcast(ctx, broadcast_id)


def _apply_in_one(ctx: Context, group: Sequence[_Read]) -> set[int]:
    with ctx.db.write() as tx:
        # The books first: whoever waits for them must not keep claims and STOPs waiting.
        lock_counters(tx)
        _hold_suppressions(tx, group)
        there = set(tx.execute(_STILL_THERE, {"these": [each.row.id for each in group]}).scalars())
        ours = [each for each in group if each.row.id in there]
        unreadable = [each.row.id for each in ours if each.said is None]
        booked, foreign, early = _book(tx, ctx, ours)
        failpoints.reach("E1")
        _keep(tx, unreadable, DeadLetterReason.UNREADABLE)
        _keep(tx, foreign, DeadLetterReason.FOREIGN)
        for event_id in early:
            tx.execute(_PUT_OFF, {"this": event_id, "until": ctx.now() + _UNPLACED_WAIT})
        done = there.difference(unreadable, foreign, early)
        if done:
            tx.execute(_FORGET, {"these": list(done)})
    if unreadable:
        logger.bind(events=len(unreadable)).warning("sinch sent what its contract does not have")
    return booked.to_settle


def _hold_suppressions(tx: Connection, group: Sequence[_Read]) -> None:
    inbounds = [each.said for each in group if isinstance(each.said, SinchInbound)]
    lock_for_inbounds(tx, inbounds)
    lock_for_codes(tx, (code for each in group for code in _list_codes(each.said)))


def _list_codes(said: RecipientReport | BatchReport | SinchInbound | None) -> Iterator[int | None]:
    if isinstance(said, RecipientReport):
        yield said.code
    elif isinstance(said, BatchReport):
        yield from (each.code for each in said.statuses)


def _book(
    tx: Connection, ctx: Context, events: Sequence[_Read]
) -> tuple[RecordedReports, list[int], list[int]]:
    """Book what the events say; and which of them speak of batches not ours, or not yet."""
    told: list[DeliveryReport] = []
    speakers: dict[int, Row[Any]] = {}
    inbounds: list[SinchInbound] = []
    reports: list[BatchReport] = []
    for event in events:
        said = event.said
        if isinstance(said, SinchInbound):
            inbounds.append(said)
        elif isinstance(said, RecipientReport):
            told.append(_tell(said))
            speakers[id(told[-1])] = event.row
        elif said is not None:
            reports.append(said)
            for each in read_summary(tx, said):
                told.append(each)
                speakers[id(each)] = event.row
    noted = store_inbounds(tx, ctx, inbounds)
    booked = record_reports(tx, ctx, told)
    unplaced = {id(each) for each in booked.unplaced}
    opted_out = apply_carrier_opt_outs(tx, ctx, (each for each in told if id(each) not in unplaced))
    for report in reports:
        request_full_report(tx, ctx, report)
    notify_clients(tx, ctx, booked)
    foreign, early = set[int](), set[int]()
    rows = [speakers[id(each)] for each in booked.unplaced]
    for row in rows:
        (foreign if row.tries >= _MAX_UNPLACED_TRIES else early).add(row.id)
    append_consent_records(tx, ctx.subscriber_context, [*noted.said, *opted_out])
    return booked, sorted(foreign), sorted(early)


def _tell(report: RecipientReport) -> DeliveryReport:
    return DeliveryReport(
        reference=report.client_reference,
        sinch_id=report.batch_id,
        recipient=report.recipient,
        status=translate_status(report.status),
        code=report.code,
        at=report.at,
    )


def _keep(tx: Connection, events: Sequence[int], because: DeadLetterReason) -> None:
    if events:
        tx.execute(_LEAVE, {"these": list(events), "because": because})


def purge_dead_letters(ctx: Context) -> int:
    """Delete events kept as leftovers for long enough; how many."""
    old = delete(_EVENTS).where(
        _EVENTS.c.dead_letter_reason.is_not(None),
        _EVENTS.c.received_at < ctx.seconds_from_now(-ctx.rules.events_kept_s),
    )
    with ctx.db.write() as tx:
        return tx.execute(old).rowcount
