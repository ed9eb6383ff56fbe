"""Queries for the gauges: each reads daily counters, what is open, or the oldest of what waits."""

from typing import Any

from sqlalchemy import and_, bindparam, case, false, func, or_, select, text

from app.db.base import table_of
from app.db.types import UtcTime
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.daily import DailyCount, DailyInbound
from app.sms.models.reports import Event, OutboxEvent
from app.sms.models.states import ACTIVE, BatchState, BroadcastStatus, ExclusionReason
from app.webhooks.outgoing.models import Delivery, Endpoint, EndpointStatus

_S, _B = BatchState, BroadcastStatus
_BATCHES, _BROADCASTS, _CHUNKS = table_of(Batch), table_of(Broadcast), table_of(Chunk)
_COUNTS, _INBOUNDS, _EVENTS = table_of(DailyCount), table_of(DailyInbound), table_of(Event)
_ENDPOINTS, _DELIVERIES, _OUTBOX = table_of(Endpoint), table_of(Delivery), table_of(OutboxEvent)


def _sum(size: Any) -> Any:
    return func.coalesce(func.sum(size), 0)


# Broadcasts that are scheduled or final are left out: there may be many of either.
_UNDER_WAY = (*ACTIVE, _B.PAUSED, _B.HALTED, _B.MISSED_START)
OPEN_STATUSES = (_B.SCHEDULED, *_UNDER_WAY)
STATES = (_S.PENDING, _S.SENDING, _S.HELD, _S.UNKNOWN, _S.NEEDS_ATTENTION, _S.DUPLICATE)

_NOW = bindparam("now", type_=UtcTime())
_IS_DUE = and_(
    _BROADCASTS.c.status.in_(ACTIVE),
    or_(_BATCHES.c.not_before.is_(None), _BATCHES.c.not_before <= _NOW),
)
_WAITS_FOR_CAP = and_(
    _BROADCASTS.c.status.in_(ACTIVE), _BATCHES.c.exclusion_reason == ExclusionReason.CAP_REACHED
)
_DUE_SINCE = func.coalesce(_BATCHES.c.not_before, _BROADCASTS.c.send_at, _BROADCASTS.c.created_at)
PENDING = (
    select(
        func.count().label("batches"),
        _sum(case((_IS_DUE, _BATCHES.c.size), else_=0)).label("messages"),
        _sum(case((_IS_DUE, _BATCHES.c.size * _BROADCASTS.c.parts), else_=0)).label("parts"),
        func.min(case((_IS_DUE, _DUE_SINCE))).label("since"),
        _sum(case((_WAITS_FOR_CAP, _BATCHES.c.size), else_=0)).label("capped"),
    )
    .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
    .where(_BROADCASTS.c.status.in_(_UNDER_WAY), _BATCHES.c.state == _S.PENDING)
)
UNPLANNED = (
    select(
        _sum(_CHUNKS.c.size).label("messages"),
        _sum(_CHUNKS.c.size * _BROADCASTS.c.parts).label("parts"),
    )
    .join(_BROADCASTS, _BROADCASTS.c.id == _CHUNKS.c.broadcast_id)
    .where(_BROADCASTS.c.status.in_(ACTIVE), _BROADCASTS.c.planned < _BROADCASTS.c.chunks)
    .where(_CHUNKS.c.number >= _BROADCASTS.c.planned)
)
# Conditions as the partial indexes have them: with parameters no database would use these.
TROUBLED = (
    select(_BATCHES.c.state, func.count(), func.min(_BATCHES.c.unknown_at))
    .where(text("batches.state IN ('held', 'unknown', 'needs_attention', 'duplicate')"))
    .group_by(_BATCHES.c.state)
)
COUNT_SENDING = select(func.count()).where(
    text("batches.state = 'sending'"), _BATCHES.c.lease_until.is_not(None)
)
COUNT_BROADCASTS = (
    select(_BROADCASTS.c.status, func.count().label("broadcasts"))
    .where(_BROADCASTS.c.status.in_(OPEN_STATUSES))
    .group_by(_BROADCASTS.c.status)
)
OLDEST_CALLBACK = (
    select(_EVENTS.c.received_at)
    .where(_EVENTS.c.dead_letter_reason.is_(None))
    .where(or_(_EVENTS.c.not_before.is_(None), _EVENTS.c.not_before <= _NOW))
    .order_by(_EVENTS.c.id)
    .limit(1)
)
OLDEST_EVENT = (
    select(_OUTBOX.c.at).where(_OUTBOX.c.fanned_out == false()).order_by(_OUTBOX.c.id).limit(1)
)
OLDEST_DELIVERIES = select(
    select(func.min(_DELIVERIES.c.due_at))
    .where(_DELIVERIES.c.endpoint_id == _ENDPOINTS.c.id, _DELIVERIES.c.due_at <= _NOW)
    .scalar_subquery()
).where(
    _ENDPOINTS.c.status == EndpointStatus.ACTIVE,
    or_(_ENDPOINTS.c.not_before.is_(None), _ENDPOINTS.c.not_before <= _NOW),
)
COUNT_ENDPOINTS = select(
    _ENDPOINTS.c.status, func.count(), func.count(_ENDPOINTS.c.failing_since)
).group_by(_ENDPOINTS.c.status)
COUNT_MESSAGES = (
    select(_COUNTS.c.day, _COUNTS.c.status, func.sum(_COUNTS.c.messages))
    .where(_COUNTS.c.day >= bindparam("since"))
    .group_by(_COUNTS.c.day, _COUNTS.c.status)
)
COUNT_INBOUNDS = (
    select(_INBOUNDS.c.day, func.sum(_INBOUNDS.c.inbounds), func.sum(_INBOUNDS.c.opt_outs))
    .where(_INBOUNDS.c.day >= bindparam("since"))
    .group_by(_INBOUNDS.c.day)
)
