"""What comes of a turn: taken, to be tried again, given up; and what that says of the endpoint.

After failures an endpoint is left alone for a while, whatever waits for it; once it takes something
again, all that waits goes at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.sms.context import Context
from app.webhooks.outgoing.http_client import PostResult
from app.webhooks.outgoing.lease import MAX_PAUSE, QUICK_TIMES, Due, EndpointLease
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, Endpoint, EndpointStatus

# When a delivery is tried again, in seconds: nearly a day in all.
WAITS_S = (5, 30, 120, 600, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600)
# How long an endpoint is left alone after its first failure in a row, its second, …
PAUSES_S = (0, 5, 30, 120, 600, 1_800)
# What has waited for so long, and its endpoint has taken nothing since, is given up.
ABANDONED_AFTER = timedelta(days=1)
# What has failed for so long, and so often, is switched off.
FAILED_AFTER = timedelta(days=3)
FAILED_TIMES = 20
# An answer within this is quick.
QUICK_S = 1.0
_JITTER = 0.2
# So many failures in a row are the endpoint's, not one event's.
_OUTAGE = 3

_ENDPOINTS, _DELIVERIES = table_of(Endpoint), table_of(Delivery)

# Made once: to make a statement costs several times what it takes to run one.
_HOLD = (
    select(_ENDPOINTS)
    .where(_ENDPOINTS.c.id == bindparam("this"), _ENDPOINTS.c.lease == bindparam("ours"))
    .with_for_update()
)
_THIS_DELIVERY = update(_DELIVERIES).where(
    _DELIVERIES.c.endpoint_id == bindparam("of"), _DELIVERIES.c.event_id == bindparam("this")
)
_LAST_TRY = {
    "tries": _DELIVERIES.c.tries + 1,
    "tried_at": bindparam("at"),
    "duration_ms": bindparam("took_ms"),
    "http_status": bindparam("answered"),
    "problem": bindparam("why"),
}
_NOTE_TAKEN = _THIS_DELIVERY.values(status=DeliveryStatus.DELIVERED, due_at=None, **_LAST_TRY)
_NOTE_FAILED = _THIS_DELIVERY.where(_DELIVERIES.c.status == DeliveryStatus.WAITING).values(
    status=bindparam("stands"), due_at=bindparam("next_at"), **_LAST_TRY
)
_HURRY = (
    update(_DELIVERIES)
    .where(_DELIVERIES.c.endpoint_id == bindparam("of"), _DELIVERIES.c.due_at > bindparam("now"))
    .values(due_at=bindparam("now"))
)
# Nothing reaches them: switched off, or failing for as long as anything may wait.
_OUT_OF_REACH = select(_ENDPOINTS.c.id).where(
    (_ENDPOINTS.c.status != EndpointStatus.ACTIVE)
    | (_ENDPOINTS.c.failing_since <= bindparam("day_ago"))
)
_GIVE_UP_STALE = (
    update(_DELIVERIES)
    .where(_DELIVERIES.c.endpoint_id.in_(_OUT_OF_REACH))
    .where(_DELIVERIES.c.status == DeliveryStatus.WAITING)
    .where(_DELIVERIES.c.waiting_since <= bindparam("day_ago"))
    .values(status=DeliveryStatus.ABANDONED, due_at=None)
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A delivery that was posted, when, and what came of it."""

    due: Due
    at: datetime
    outcome: PostResult


def record_attempts(ctx: Context, turn: EndpointLease, tried: Sequence[Tried]) -> None:
    """Note what came of a turn, which a failure ends, and give the endpoint back.

    What was taken is noted in any case; a failure only while the lease is ours: behind that
    another hand has tried.
    """
    failed = tried[-1] if tried and tried[-1].outcome.problem else None
    taken = tried[:-1] if failed else tried
    with ctx.db.write() as tx:
        if taken:
            tx.execute(_NOTE_TAKEN, [_describe_try(turn, each) for each in taken])
        endpoint = tx.execute(_HOLD, {"this": turn.endpoint_id, "ours": turn.lease}).first()
        if endpoint is None:
            return
        values: dict[str, Any] = {"lease": None, "leased_until": None}
        if taken:
            values |= _succeed(tx, ctx, endpoint, taken)
        if failed:
            values |= _fail(tx, ctx, turn, failed, {**endpoint._mapping, **values})
        tx.execute(update(_ENDPOINTS).where(_ENDPOINTS.c.id == endpoint.id).values(values))


def _describe_try(turn: EndpointLease, tried: Tried) -> dict[str, Any]:
    return {
        "of": turn.endpoint_id,
        "this": tried.due.event_id,
        "at": tried.at,
        "took_ms": round(tried.outcome.duration_s * 1000),
        "answered": tried.outcome.http_status,
        "why": tried.outcome.problem,
    }


def _succeed(
    tx: Connection, ctx: Context, endpoint: Row[Any], taken: Sequence[Tried]
) -> dict[str, Any]:
    if endpoint.failures >= _OUTAGE:
        tx.execute(_HURRY, {"of": endpoint.id, "now": ctx.now()})
    slow = taken[-1].outcome.duration_s > QUICK_S
    return {
        "quick": 0 if slow else min(endpoint.quick + len(taken), QUICK_TIMES),
        "failures": 0,
        "failing_since": None,
        "problem": None,
        "not_before": None,
        "delivered_at": taken[-1].at,
    }


def _fail(
    tx: Connection, ctx: Context, turn: EndpointLease, failed: Tried, endpoint: dict[str, Any]
) -> dict[str, Any]:
    failures = endpoint["failures"] + 1
    pause_s = _draw_wait(ctx, PAUSES_S[min(failures, len(PAUSES_S)) - 1])
    retry_after_s = failed.outcome.retry_after_s or 0.0
    not_before = ctx.seconds_from_now(min(max(pause_s, retry_after_s), MAX_PAUSE.total_seconds()))
    _put_off(tx, ctx, turn, failed, not_before=not_before)
    failing_since = endpoint["failing_since"] or failed.at
    return {
        "status": _choose_status(ctx, turn, failed, failures, failing_since),
        "quick": 0,
        "failures": failures,
        "failing_since": failing_since,
        "problem": failed.outcome.problem,
        "not_before": not_before,
    }


def _put_off(
    tx: Connection, ctx: Context, turn: EndpointLease, failed: Tried, *, not_before: datetime
) -> None:
    """Let a delivery wait for its next try, or give it up when there is none."""
    tries = failed.due.tries + 1
    again = tries <= len(WAITS_S)
    next_at = (
        max(ctx.seconds_from_now(_draw_wait(ctx, WAITS_S[tries - 1])), not_before)
        if again
        else None
    )
    stands = DeliveryStatus.WAITING if again else DeliveryStatus.ABANDONED
    values = _describe_try(turn, failed) | {"stands": stands, "next_at": next_at}
    tx.execute(_NOTE_FAILED, values)
    if not again:
        bound = logger.bind(webhook=turn.public_id, event=failed.due.public_id, tries=tries)
        bound.warning("a delivery to a client was given up")


def _choose_status(
    ctx: Context, turn: EndpointLease, failed: Tried, failures: int, failing_since: datetime
) -> EndpointStatus:
    bound = logger.bind(webhook=turn.public_id, problem=failed.outcome.problem, failures=failures)
    if failed.outcome.gone:
        bound.error("a client's webhook is gone: it is switched off")
        return EndpointStatus.GONE
    if failures >= FAILED_TIMES and ctx.now() - failing_since >= FAILED_AFTER:
        bound.error("a client's webhook has taken nothing for days: it is switched off")
        return EndpointStatus.FAILED
    return EndpointStatus.ACTIVE


def _draw_wait(ctx: Context, seconds: float) -> float:
    return ctx.jitter(seconds * (1 - _JITTER), seconds * (1 + _JITTER))


def abandon_stale(ctx: Context) -> int:
    """Give up what has waited for a day for an endpoint that is out of reach; how many."""
    with ctx.db.write() as tx:
        stale = tx.execute(_GIVE_UP_STALE, {"day_ago": ctx.now() - ABANDONED_AFTER}).rowcount
    if stale:
        logger.bind(deliveries=stale).warning("deliveries to clients were given up")
    return stale
