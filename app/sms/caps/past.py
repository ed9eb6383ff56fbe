"""Use of a cap before it was set: what was sent in its hour or day counts, too.

A day may have millions of messages.  They are counted before the transaction that sets the cap.
That one counts the batches that the first count did not see, while no claim runs.  Between the two
nothing is missed, however long a claim takes and whatever the clocks of other machines say.

If the clock was set back into an earlier hour before, what was sent in the later one counts in the
earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, and_, delete, func, insert, or_, select
from sqlalchemy import true as always

from app.db.base import table_of
from app.db.prepared import chunked
from app.keys.models import ApiKey
from app.sms.caps.budget import ORIGIN_ID, find_key, lock_counter, start_period
from app.sms.caps.prices import read_prices
from app.sms.context import Context
from app.sms.lifecycle.locks import await_storing
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.cap import ALL, CapCounter, CapPeriod, CapUnit, CapUse
from app.sms.models.states import OPEN
from app.subscribers.suppressions.store import lock_suppressions_exclusive

# Clocks of machines differ by less: a broadcast that a slow clock completed before the period is
# looked at, too.
_SLACK = timedelta(hours=1)
# The counting takes less, so that no broadcast of later begins meanwhile.
_COUNTED_WITHIN = timedelta(hours=1)
_PAGE = 10_000

_BROADCASTS, _BATCHES, _ATTEMPTS = table_of(Broadcast), table_of(Batch), table_of(Attempt)
_MESSAGES, _KEYS = table_of(Message), table_of(ApiKey)
_COUNTERS, _USES = table_of(CapCounter), table_of(CapUse)


@dataclass(frozen=True, slots=True)
class PastUse:
    """Parts and millionths that were claimed in the period that began at `started_at`.

    What is claimed later is of a broadcast behind `newest_id`, or of one of `open_ids`, whose
    batches in `counted_ids` are in the sums.
    """

    started_at: datetime
    parts: int
    micros: int
    newest_id: int
    open_ids: Sequence[int]
    counted_ids: frozenset[int]


def read_past(ctx: Context, owner: str, period: CapPeriod, unit: CapUnit) -> PastUse:
    """Count what an owner's batches use of a period, as one snapshot of the database has it."""
    newest_id = _await_claims(ctx)
    now = ctx.now()
    started_at = start_period(now, period)
    is_open = _BROADCASTS.c.completed_at.is_(None)
    with ctx.db.read() as tx:
        is_late = or_(is_open, _BROADCASTS.c.completed_at >= started_at - _SLACK)
        parts, micros = _add_up(tx, _select_sent(owner, is_late, started_at), unit)
        counted = select(_select_sent(owner, is_open, started_at).c.id)
        counted_ids = frozenset(tx.execute(counted).scalars())
        is_old = _BROADCASTS.c.id <= newest_id
        is_due = or_(_BROADCASTS.c.send_at.is_(None), _BROADCASTS.c.send_at < now + _COUNTED_WITHIN)
        query = select(_BROADCASTS.c.id).where(is_open, is_old, is_due, _is_of(owner))
        open_ids: Sequence[int] = tx.execute(query).scalars().all()
    return PastUse(started_at, parts, micros, newest_id, open_ids, counted_ids)


def count_past(
    tx: Connection, owner: str, period: CapPeriod, unit: CapUnit, past: PastUse, now: datetime
) -> None:
    """Let a cap's counter include what was claimed before, in the transaction that sets the cap."""
    lock_suppressions_exclusive(tx)  # which every claim locks
    counter = lock_counter(tx, (owner, period), now)
    is_of_period = past.started_at == counter.started_at
    parts, micros = (past.parts, past.micros) if is_of_period else (0, 0)
    counted_ids = past.counted_ids if is_of_period else frozenset()
    is_new = _BROADCASTS.c.id > past.newest_id
    new_ids = tx.execute(select(_BROADCASTS.c.id).where(is_new)).scalars()
    for ids in chunked([*past.open_ids, *new_ids]):
        # By their ids: SQLite would read all broadcasts of the client.
        is_recent = _BROADCASTS.c.id.in_(ids)
        sent_ids = tx.execute(select(_select_sent(owner, is_recent, counter.started_at).c.id))
        for uncounted in chunked([*set(sent_ids.scalars()) - counted_ids]):
            is_uncounted = and_(is_recent, _BATCHES.c.id.in_(uncounted))
            more = _add_up(tx, _select_sent(owner, is_uncounted, counter.started_at), unit)
            parts, micros = parts + more[0], micros + more[1]
    ours = _COUNTERS.update().where(_COUNTERS.c.client == owner, _COUNTERS.c.period == period)
    # Under another cap it has counted all along.
    counted = {"parts": max(parts, counter.parts), "micros": max(micros, counter.micros)}
    tx.execute(ours.values(counted))
    _keep_uses(tx, counter.started_at)


def _await_claims(ctx: Context) -> int:
    """Wait until no claim is under way, and no broadcast is being stored.

    Returns the newest id: later broadcasts have higher ones.
    """
    newest_id = select(func.coalesce(func.max(_BROADCASTS.c.id), 0))
    with ctx.db.write() as tx:
        # All lock one of these before they insert a broadcast.
        lock_suppressions_exclusive(tx)
        await_storing(tx)
        return int(tx.execute(newest_id).scalar_one())


def _select_sent(owner: str, is_candidate: ColumnElement[bool], started_at: datetime) -> Subquery:
    """Select batches that were tried in the period that began then."""
    columns = (_BATCHES.c.id, _BATCHES.c.broadcast_id, _BATCHES.c.size, _BROADCASTS.c.parts)
    return (
        select(*columns)
        .select_from(_BROADCASTS)
        .join(_BATCHES, _BATCHES.c.broadcast_id == _BROADCASTS.c.id)
        .join(_ATTEMPTS, _ATTEMPTS.c.batch_id == _BATCHES.c.id)
        .where(is_candidate, _is_of(owner), _ATTEMPTS.c.started_at >= started_at)
        .group_by(*columns)
        .subquery()
    )


def _is_of(owner: str) -> ColumnElement[bool]:
    """Return the condition that a broadcast counts against the caps of an owner."""
    if owner == ALL:
        return always()
    key_id = find_key(owner)
    if key_id is None:
        return _BROADCASTS.c.client == owner
    keys = select(_KEYS.c.id).where(ORIGIN_ID.in_((key_id,)))
    return _BROADCASTS.c.key_id.in_(keys)


def _add_up(tx: Connection, sent: Subquery, unit: CapUnit) -> tuple[int, int]:
    """Return the parts of batches, and what they cost if the unit is costs."""
    parts = func.coalesce(func.sum(sent.c.size * sent.c.parts), 0)
    micros = _add_up_costs(tx, sent) if unit is CapUnit.COST else 0
    return int(tx.execute(select(parts)).scalar_one()), micros


def _add_up_costs(tx: Connection, sent: Subquery) -> int:
    prices = read_prices(tx)
    is_of_batch = and_(
        _MESSAGES.c.broadcast_id == sent.c.broadcast_id, _MESSAGES.c.batch_id == sent.c.id
    )
    query = select(_MESSAGES.c.recipient, sent.c.parts).join(sent, is_of_batch)
    rows = tx.execute(query, execution_options={"yield_per": _PAGE})
    return sum(prices.charge(phone) * parts for phone, parts in rows)


def _keep_uses(tx: Connection, started_at: datetime) -> None:
    """Remember which batches may be tried again in this period: they count already.

    Those of other owners, too: they have been counted, or no cap is on them.
    """
    last_at = func.max(_ATTEMPTS.c.started_at)
    query = (
        select(_BATCHES.c.id.label("batch_id"), last_at.label("at"))
        .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
        .join(_ATTEMPTS, _ATTEMPTS.c.batch_id == _BATCHES.c.id)
        .where(_BROADCASTS.c.completed_at.is_(None), _BATCHES.c.state.in_(OPEN))
        .group_by(_BATCHES.c.id)
        .having(last_at >= started_at)
    )
    uses: list[dict[str, Any]] = [dict(row) for row in tx.execute(query).mappings()]
    for part in chunked(uses):
        tx.execute(delete(_USES).where(_USES.c.batch_id.in_([use["batch_id"] for use in part])))
        tx.execute(insert(_USES), part)
