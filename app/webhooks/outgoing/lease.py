"""Whose turn it is: an endpoint is leased, and a few of its deliveries are posted.

An endpoint is in one hand at a time, so that a dead one holds nobody but itself.  Those that are
new, or were slow or failed lately, are served by hands of their own (`Lane.SLOW`): the others never
wait behind them.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, case, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.db.base import table_of
from app.db.types import UtcTime
from app.sms.context import Context
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.models import Delivery, Endpoint, EndpointStatus

# The longest that nothing is posted because a receiver wished so, or failed.
MAX_PAUSE = timedelta(hours=6)
# So many quick answers in a row open the fast lane.
QUICK_TIMES = 3
# Deliveries in one turn.
MAX_DELIVERIES = 20
# Longer than any turn takes; behind that, whoever had it is taken for dead.
LEASE = timedelta(seconds=60)

_ENDPOINTS, _DELIVERIES, _OUTBOX = table_of(Endpoint), table_of(Delivery), table_of(OutboxEvent)


class Pool(StrEnum):
    """Who serves an endpoint."""

    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery to be posted, how often it was before, and its event."""

    event_id: int
    tries: int
    public_id: str
    event_type: str
    at: datetime
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLease:
    """An endpoint that is ours to post to until it is recorded; `keys` sign."""

    endpoint_id: int
    public_id: str
    url: str
    keys: Sequence[bytes]
    lease: str
    deliveries: Sequence[Due]


# Made once: to make a statement costs several times what it takes to run one.
_NOW = bindparam("now", type_=UtcTime())
_HAS_DUE = (
    select(_DELIVERIES.c.event_id)
    .where(_DELIVERIES.c.endpoint_id == _ENDPOINTS.c.id, _DELIVERIES.c.due_at <= _NOW)
    .exists()
)
# A time further ahead than any of ours comes of a clock that was set back.
_IS_FREE = or_(
    _ENDPOINTS.c.leased_until.is_(None),
    _ENDPOINTS.c.leased_until <= _NOW,
    _ENDPOINTS.c.leased_until > bindparam("latest_lease"),
)
_MAY_BE_CALLED = or_(
    _ENDPOINTS.c.not_before.is_(None),
    _ENDPOINTS.c.not_before <= _NOW,
    _ENDPOINTS.c.not_before > bindparam("latest_pause"),
)
_IS_KNOWN = case((_ENDPOINTS.c.delivered_at.is_(None) & (_ENDPOINTS.c.failures == 0), 0), else_=1)
_READY = (
    select(_ENDPOINTS)
    .where(_ENDPOINTS.c.status == EndpointStatus.ACTIVE)
    .where(_IS_FREE, _MAY_BE_CALLED, _HAS_DUE)
    .limit(1)
)
_NEXT = {
    Pool.FAST: _READY.where(_ENDPOINTS.c.quick >= QUICK_TIMES).order_by(_ENDPOINTS.c.served_at),
    # Who is on its way to the fast lane goes first, then who is new: neither stays here for long.
    Pool.SLOW: _READY.where(_ENDPOINTS.c.quick < QUICK_TIMES).order_by(
        _ENDPOINTS.c.quick.desc(), _IS_KNOWN, _ENDPOINTS.c.served_at
    ),
}
_TAKE = {lane: query.with_for_update(skip_locked=True) for lane, query in _NEXT.items()}
_LEASE = (
    update(_ENDPOINTS)
    .where(_ENDPOINTS.c.id == bindparam("this"))
    .values(lease=bindparam("new"), leased_until=bindparam("until"), served_at=bindparam("since"))
)
_DUE = (
    select(
        _DELIVERIES.c.event_id,
        _DELIVERIES.c.tries,
        _OUTBOX.c.public_id,
        _OUTBOX.c.event_type,
        _OUTBOX.c.at,
        _OUTBOX.c.facts,
    )
    .join(_OUTBOX, _OUTBOX.c.id == _DELIVERIES.c.event_id)
    .where(_DELIVERIES.c.endpoint_id == bindparam("of"), _DELIVERIES.c.due_at <= _NOW)
    .order_by(_DELIVERIES.c.due_at, _DELIVERIES.c.event_id)
    .limit(MAX_DELIVERIES)
)


def has_due_endpoint(ctx: Context, lane: Pool) -> bool:
    """Whether an endpoint of this lane may be served now."""
    with ctx.db.read() as tx:
        return tx.execute(_NEXT[lane], _moments(ctx)).first() is not None


def lease_endpoint(ctx: Context, lane: Pool) -> EndpointLease | None:
    """The endpoint of this lane that has waited longest, leased; None when there is none."""
    if not has_due_endpoint(ctx, lane):
        return None
    with ctx.db.write() as tx:
        moments = _moments(ctx)
        endpoint = tx.execute(_TAKE[lane], moments).first()
        if endpoint is None:
            return None
        now, lease = moments["now"], secrets.token_hex(16)
        given = {"this": endpoint.id, "new": lease, "until": now + LEASE, "since": now}
        tx.execute(_LEASE, given)
        rows = tx.execute(_DUE, {"of": endpoint.id, "now": now}).all()
    keys = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_secret_until > now:
        keys.append(endpoint.old_secret)
    return EndpointLease(
        endpoint_id=endpoint.id,
        public_id=endpoint.public_id,
        url=endpoint.url,
        keys=keys,
        lease=lease,
        deliveries=[Due(*row) for row in rows],
    )


def _moments(ctx: Context) -> dict[str, datetime]:
    now = ctx.now()
    # Others may have looked at the clock behind us: only far beyond theirs is a clock set back.
    latest = now + timedelta(seconds=CLOCK_SLACK_S)
    return {"now": now, "latest_lease": latest + LEASE, "latest_pause": latest + MAX_PAUSE}
