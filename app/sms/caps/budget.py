"""The budget that caps leave, counted in the transaction that claims a batch.

Of a batch that does not fit, the recipients that do are sent to; the others wait until the hour or
day of the cap is over, or until the cap is raised.  A broadcast with more recipients than it may
have waits as a whole.  A batch counts once in an hour and once in a day, however often it is tried.
Each recipient counts as the broadcast's longest text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    String,
    Table,
    bindparam,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from app.db.base import table_of
from app.db.engine import insert_new
from app.db.old_rows import OldRows
from app.db.prepared import Prepared, chunked
from app.keys.models import ApiKey
from app.sms.caps.prices import PriceTable, read_prices
from app.sms.context import Context
from app.sms.eligibility.decide import RecipientGroup, defer_rest
from app.sms.lifecycle.outbox import EventType, enqueue_event
from app.sms.models.cap import ALL, KEY, Cap, CapCounter, CapPeriod, CapUnit, CapUse
from app.sms.models.states import ExclusionReason

# Clients are told when so much of a cap is used.
NEARED_PERCENT = 80
# Uses of periods that have ended count no more.
_USES_KEPT = timedelta(days=2)

_CAPS, _COUNTERS, _USES = table_of(Cap), table_of(CapCounter), table_of(CapUse)
_KEYS = table_of(ApiKey)
# The first of the keys that replaced each other up to this one.
ORIGIN_ID: ColumnElement[int] = func.coalesce(_KEYS.c.origin_id, _KEYS.c.id)
_ORIGIN = select(KEY + cast(ORIGIN_ID, String)).where(
    _KEYS.c.id == bindparam("key_id", type_=BigInteger)
)
# What a client sends with a key, None for one of API_KEYS.
IS_LIMIT_OF = or_(
    _CAPS.c.client.in_((ALL, bindparam("client"))), _CAPS.c.client == _ORIGIN.scalar_subquery()
)
_ORDER = (_CAPS.c.client, _CAPS.c.period, _CAPS.c.unit)
_SELECT_ALL = select(_CAPS).order_by(*_ORDER)
_SELECT_CAPS = Prepared(_SELECT_ALL.where(IS_LIMIT_OF))
_LOCK_CAPS = _SELECT_ALL.where(IS_LIMIT_OF).with_for_update()

# Whose counter, and of which period.
_CounterKey = tuple[str, CapPeriod]
_CapKey = tuple[str, CapPeriod, CapUnit]
# Counters, and the parts and millionths that a batch adds to each.
_Use = tuple[set[_CounterKey], int, int]


@dataclass(slots=True)
class _Limit:
    """A cap in its current hour or day; `used` includes what this transaction takes.

    A cap on recipients begins with a broadcast, which uses it at once.
    """

    cap: Row[Any]
    started_at: datetime
    used: int

    @property
    def ends_at(self) -> datetime:
        length = timedelta(hours=1) if self.cap.period is CapPeriod.HOUR else timedelta(days=1)
        return self.started_at + length

    @property
    def is_reached(self) -> bool:
        """True if texts have met it in its hour or day, or nothing is left."""
        return self.cap.reached_in == self.started_at or not self.has_room(1)

    @property
    def is_neared(self) -> bool:
        return self.used * 100 >= int(self.cap.amount) * NEARED_PERCENT

    def has_room(self, need: int) -> bool:
        return self.used + need <= int(self.cap.amount)


def start_period(now: datetime, period: CapPeriod) -> datetime:
    """Return the start of the hour or day of UTC that a time is in."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    return hour if period is CapPeriod.HOUR else hour.replace(hour=0)


def read_limits(
    tx: Connection, now: datetime, *, client: str | None = None, key_id: int | None = None
) -> list[_Limit]:
    """Return the caps on hours and days with what is used: of a client and key, else all."""
    if client is None:
        caps = tx.execute(_SELECT_ALL).all()
    else:
        caps = _SELECT_CAPS.fetch(tx, {"client": client, "key_id": key_id})
    return list(_find_limits(tx, filter(_is_counted, caps), now).values())


def _find_limits(tx: Connection, caps: Iterable[Row[Any]], now: datetime) -> dict[_CapKey, _Limit]:
    """Return caps on hours and days with what is used, as others have committed it."""
    named = {_name(cap): cap for cap in caps}
    if not named:
        return {}
    query = select(_COUNTERS).where(_COUNTERS.c.client.in_({cap.client for cap in named.values()}))
    counters = {(row.client, row.period): row for row in tx.execute(query)}
    return {name: _make_limit(cap, counters.get(name[:2]), now) for name, cap in named.items()}


def open_budgets(
    tx: Connection, ctx: Context, broadcasts: Sequence[Any], now: datetime, *, are_new: bool = True
) -> list["Budget | None"]:
    """Lock the counters of the caps of broadcasts.  Returns None for one that no cap limits.

    What one of them takes, the next ones no longer have.  All other claims under these caps wait
    until the transaction ends: counters are locked late, and not for a cap that is used up, which
    stays so until its period ends.  `are_new` is False if a batch may count already.
    """
    senders = [(broadcast.client, broadcast.key_id) for broadcast in broadcasts]
    caps = {
        (client, key_id): _SELECT_CAPS.fetch(tx, {"client": client, "key_id": key_id})
        for client, key_id in dict.fromkeys(senders)
    }
    found = {_name(cap): cap for own in caps.values() for cap in own if _is_counted(cap)}
    prices = read_prices(tx) if any(unit is CapUnit.COST for *_, unit in found) else None
    limits = _find_limits(tx, found.values(), now)
    keys = {
        (cap.client, cap.period)
        for broadcast, sender in zip(broadcasts, senders, strict=True)
        if not (are_new and _is_used_up(caps[sender], limits, broadcast.parts, prices))
        for cap in caps[sender]
        if _is_counted(cap)
    }
    # In one order, as every transaction locks them.
    counters = {key: lock_counter(tx, key, now) for key in sorted(keys)}
    limits |= {
        name: _make_limit(cap, counters[name[:2]], now)
        for name, cap in found.items()
        if name[:2] in counters
    }
    return [
        Budget(
            tx,
            ctx,
            broadcast,
            [
                limits.get(_name(cap)) or _Limit(cap, broadcast.created_at, broadcast.recipients)
                for cap in caps[sender]
            ],
            prices,
            now,
        )
        if caps[sender]
        else None
        for broadcast, sender in zip(broadcasts, senders, strict=True)
    ]


def _is_used_up(
    caps: Iterable[Row[Any]],
    limits: Mapping[_CapKey, _Limit],
    parts: int,
    prices: PriceTable | None,
) -> bool:
    """Return True if a cap leaves nothing for one recipient, even in the cheapest country."""
    need = {CapUnit.PARTS: parts, CapUnit.COST: prices.cheapest * parts if prices else 0}
    return any(not limits[_name(cap)].has_room(need[cap.unit]) for cap in caps if _is_counted(cap))


def record_uses(tx: Connection, budgets: Mapping[int, "Budget"], now: datetime) -> None:
    """Count batches that were claimed, each with the budget of its broadcast.

    Each counter is written once: other claims wait for it.
    """
    sums: dict[_CounterKey, tuple[int, int]] = {}
    uses = {batch_id: budget.find_use(batch_id) for batch_id, budget in budgets.items()}
    for keys, parts, micros in uses.values():
        for key in keys:
            before = sums.get(key, (0, 0))
            sums[key] = (before[0] + parts, before[1] + micros)
    for (client, period), (parts, micros) in sorted(sums.items()):
        added = {"parts": _COUNTERS.c.parts + parts, "micros": _COUNTERS.c.micros + micros}
        tx.execute(_of(_COUNTERS, client, period).values(added))
    rows = [{"batch_id": batch_id, "at": now} for batch_id, (keys, *_) in uses.items() if keys]
    for some in chunked(rows):
        tx.execute(delete(_USES).where(_USES.c.batch_id.in_([row["batch_id"] for row in some])))
        tx.execute(insert(_USES), some)
    for budget in dict.fromkeys(budgets.values()):
        budget.tell_neared()


class Budget:
    """The budget of one broadcast's batches, in the transaction that claims them."""

    def __init__(
        self,
        tx: Connection,
        ctx: Context,
        broadcast: Any,
        limits: Sequence[_Limit],
        prices: PriceTable | None,
        now: datetime,
    ) -> None:
        self._tx, self._ctx, self._broadcast, self._now = tx, ctx, broadcast, now
        self._limits = [limit for limit in limits if _is_counted(limit.cap)]
        self._sizes = [limit for limit in limits if not _is_counted(limit.cap)]
        self._prices = prices
        # What each batch adds to which counters: parts and millionths.
        self._added: dict[int, _Use] = {}
        self._whole: _Use = (set(), 0, 0)
        self.left: list[dict[str, Any]] = []

    def limit(self, batch: Row[Any], groups: list[RecipientGroup]) -> list[RecipientGroup]:
        """Defer those recipients of the first group for whom the caps leave nothing.

        All of a broadcast with more recipients than it may have, such as one whose audience has
        grown, are deferred until its end: it waits for the cap to be raised.
        """
        if not groups[0].eligibility.is_allowed:
            return groups
        if exceeded := self._find_exceeded():
            self._tell(exceeded, EventType.CAP_REACHED)
            return defer_rest(groups, 0, ExclusionReason.CAP_REACHED, self._broadcast.expires_at)
        fitting, until = self._take(batch.id, groups[0].recipients, self._find_limits(batch))
        if until is None:
            return groups
        return defer_rest(groups, fitting, ExclusionReason.CAP_REACHED, until)

    def take_whole(self, recipients: Sequence[str]) -> bool:
        """Take what the only batch of a new broadcast needs.

        Returns False, and takes nothing, if that does not fit.  `left` is what its caps leave.
        """
        parts = self._broadcast.parts
        prices = self._prices
        price = sum(prices.charge(phone) for phone in recipients) if prices else 0
        need = {CapUnit.PARTS: len(recipients) * parts, CapUnit.COST: price * parts}
        if not all(limit.has_room(need[limit.cap.unit]) for limit in self._limits):
            return False
        if self._find_exceeded():
            return False
        for limit in self._limits:
            limit.used += need[limit.cap.unit]
        keys = {(limit.cap.client, limit.cap.period) for limit in self._limits}
        self._whole = (keys, need[CapUnit.PARTS], need[CapUnit.COST])
        # Before the next broadcast of the transaction takes its own.
        self.left = [describe_limit(limit) for limit in self._limits]
        return True

    def find_use(self, batch_id: int) -> _Use:
        """Return what a batch adds to which counters."""
        return self._added.get(batch_id, self._whole)

    def tell_neared(self) -> None:
        """Tell clients of the caps of which most is used."""
        for limit in self._limits:
            if limit.is_neared:
                self._tell(limit, EventType.CAP_NEARED)

    def _find_exceeded(self) -> _Limit | None:
        """Return a cap on recipients that the broadcast exceeds."""
        return next((limit for limit in self._sizes if not limit.has_room(0)), None)

    def _find_limits(self, batch: Row[Any]) -> list[_Limit]:
        """Return the limits against which a batch does not count yet."""
        if not batch.attempt:
            return list(self._limits)
        query = select(_USES.c.at).where(_USES.c.batch_id == batch.id)
        counted_at: datetime | None = self._tx.execute(query).scalar()
        return [
            limit for limit in self._limits if counted_at is None or counted_at < limit.started_at
        ]

    def _take(
        self, batch_id: int, recipients: Sequence[str], limits: Sequence[_Limit]
    ) -> tuple[int, datetime | None]:
        """Take parts and costs of recipients while there is room.

        Returns how many there was room for, and until when the others wait.
        """
        parts, micros, until = self._broadcast.parts, 0, None
        fitting = len(recipients) if not limits else 0
        for phone in recipients[fitting:]:
            cost = self._prices.charge(phone) * parts if self._prices else 0
            need = {CapUnit.PARTS: parts, CapUnit.COST: cost}
            full = [limit for limit in limits if not limit.has_room(need[limit.cap.unit])]
            if full:
                until = max(limit.ends_at for limit in full)
                for limit in full:
                    self._tell(limit, EventType.CAP_REACHED)
                break
            for limit in limits:
                limit.used += need[limit.cap.unit]
            fitting, micros = fitting + 1, micros + cost
        keys = {(limit.cap.client, limit.cap.period) for limit in limits}
        self._added[batch_id] = (keys, fitting * parts, micros)
        return fitting, until

    def _tell(self, limit: _Limit, event_type: EventType) -> None:
        """Tell clients once in an hour or day, or for a broadcast, that a cap is met or nearly."""
        cap, is_reached = limit.cap, event_type is EventType.CAP_REACHED
        told = _CAPS.c.reached_in if is_reached else _CAPS.c.neared_in
        if getattr(cap, told.name) == limit.started_at:
            return
        # In one order: claims under caps that are used up tell of several at once.
        sender = {"client": self._broadcast.client, "key_id": self._broadcast.key_id}
        self._tx.execute(_LOCK_CAPS, sender)
        ours = _of(_CAPS, cap.client, cap.period).where(
            _CAPS.c.unit == cap.unit, told.is_distinct_from(limit.started_at)
        )
        if not self._tx.execute(ours.values({told: limit.started_at})).rowcount:
            return
        bound = logger.bind(client=cap.client, period=cap.period.value, unit=cap.unit.value)
        bound.warning("a cap is reached" if is_reached else "a cap is nearly reached")
        # A cap of all clients is told to all, none of whom may know of another's broadcast.
        client, public_id = self._broadcast.client, self._broadcast.public_id
        if cap.client == ALL and _is_counted(cap):
            client = public_id = None
        facts = {**describe_limit(limit), "broadcast_id": public_id}
        enqueue_event(self._tx, self._ctx, client=client, event_type=event_type, facts=facts)


def describe_limit(limit: _Limit) -> dict[str, Any]:
    """Show a cap and what is left of it in its hour or day; one on recipients has no end."""
    left = max(0, int(limit.cap.amount) - limit.used)
    resets_at = limit.ends_at.isoformat() if _is_counted(limit.cap) else None
    return describe_cap(limit.cap) | {"left": left, "resets_at": resets_at}


def describe_cap(cap: Row[Any]) -> dict[str, Any]:
    """Show a cap; costs are in millionths of the currency's unit."""
    key_id = find_key(cap.client)
    return {
        "client": None if cap.client == ALL or key_id else cap.client,
        "key": key_id,
        "period": cap.period.value,
        "unit": cap.unit.value,
        "amount": int(cap.amount),
    }


def find_key(owner: str) -> int | None:
    """Return the key that a cap is on; None if it is on a client, or on all of them.

    >>> find_key("key:7"), find_key("shop")
    (7, None)
    """
    return int(owner.removeprefix(KEY)) if owner.startswith(KEY) else None


def forget_use(tx: Connection, batch_id: int) -> None:
    """Let the next attempt of a batch count again: Sinch may have both."""
    tx.execute(delete(_USES).where(_USES.c.batch_id == batch_id))


def old_uses(ctx: Context) -> OldRows:
    """Return the uses of periods that have ended."""
    return OldRows(_USES, _USES.c.at < ctx.now() - _USES_KEPT)


def _name(cap: Row[Any]) -> _CapKey:
    return cap.client, cap.period, cap.unit


def _is_counted(cap: Row[Any]) -> bool:
    """Return True for a cap on what is sent in an hour or day, False for one on recipients."""
    return cap.period is not CapPeriod.BROADCAST


def _make_limit(cap: Row[Any], counter: Row[Any] | None, now: datetime) -> _Limit:
    started_at = start_period(now, cap.period)
    # After the clock was set back, the counter's period is ahead: it goes on counting.
    if counter is None or counter.started_at < started_at:
        return _Limit(cap, started_at, 0)
    used = counter.micros if cap.unit is CapUnit.COST else counter.parts
    return _Limit(cap, counter.started_at, used)


def lock_counter(tx: Connection, key: _CounterKey, now: datetime) -> Row[Any]:
    """Lock a counter, and begin it anew if its hour or day is over."""
    client, period = key
    anew = {"started_at": start_period(now, period), "parts": 0, "micros": 0}
    query = select(_COUNTERS).where(_COUNTERS.c.client == client, _COUNTERS.c.period == period)
    found = tx.execute(query.with_for_update()).one_or_none()
    if found is not None and found.started_at >= anew["started_at"]:
        return found
    insert_new(tx, CapCounter, client=client, period=period, **anew)
    over = _of(_COUNTERS, client, period).where(_COUNTERS.c.started_at < anew["started_at"])
    tx.execute(over.values(anew))
    return tx.execute(query.with_for_update()).one()


def _of(table: Table, client: str, period: CapPeriod) -> Any:
    return update(table).where(table.c.client == client, table.c.period == period)
