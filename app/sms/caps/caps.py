"""Set, remove and list caps; refuse a broadcast with more recipients than it may have."""

import re
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from app.config.keys import CLIENT_NAME
from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import repeat_on_conflict
from app.db.prepared import Prepared
from app.errors import NotFound, reject_field
from app.keys.models import ApiKey
from app.sms.caps.budget import (
    IS_LIMIT_OF,
    ORIGIN_ID,
    describe_cap,
    describe_limit,
    find_key,
    read_limits,
)
from app.sms.caps.past import count_past, read_past
from app.sms.caps.prices import parse_price, read_prices
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.cap import ALL, KEY, Cap, CapPeriod, CapUnit
from app.sms.models.states import BatchState, ExclusionReason
from app.subscribers.suppressions.store import lock_suppressions_exclusive

_MAX_DIGITS = 15
_OF_KEY = re.compile(rf"{KEY}[1-9][0-9]{{0,14}}")

_CAPS, _BATCHES, _BROADCASTS = table_of(Cap), table_of(Batch), table_of(Broadcast)
_KEYS = table_of(ApiKey)
_SELECT_RECIPIENTS = Prepared(
    select(_CAPS.c.amount).where(IS_LIMIT_OF, _CAPS.c.period == CapPeriod.BROADCAST)
)


@dataclass(frozen=True, slots=True)
class CapName:
    """A cap's client, `key:7` for that key and those that replaced it, or ALL; period and unit."""

    client: str
    period: CapPeriod
    unit: CapUnit


def read_amount(unit: CapUnit, value: str) -> int:
    """Return the amount of a cap as it is typed; costs become millionths.  Raises BadInput."""
    try:
        if unit is CapUnit.COST:
            return parse_price(value)
        if value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
            return int(value)
    except ValueError as e:
        raise reject_field("amount", f"It is {e}") from e
    raise reject_field("amount", "It must be a whole number")


def set_cap(ctx: Context, cap: CapName, amount: int, *, actor: str) -> None:
    """Set a cap; costs are in millionths.  What waits for a cap is looked at again at once.

    What was sent in its hour or day counts.  Raises BadInput for a period without this unit, for a
    cap on costs without prices, and for an unknown key.
    """
    _check(cap, amount)
    with ctx.db.read() as tx:
        cap = _require_owner(tx, cap)
    counts = cap.period is not CapPeriod.BROADCAST
    past = read_past(ctx, cap.client, cap.period, cap.unit) if counts else None

    def store() -> None:
        with ctx.db.write() as tx:
            if past:
                count_past(tx, cap.client, cap.period, cap.unit, past, ctx.now())
            _replace(tx, ctx, cap, amount, actor=actor)

    # It ends the waits of many batches, whose outcomes others may be recording.
    repeat_on_conflict(store)


def _replace(tx: Connection, ctx: Context, cap: CapName, amount: int, *, actor: str) -> None:
    # Every claim locks these: none that still sees the old cap lets a batch wait for it.
    lock_suppressions_exclusive(tx)
    if cap.unit is CapUnit.COST and read_prices(tx).currency is None:
        raise reject_field("unit", "No prices are stored: import them with flask prices import")
    before = tx.execute(_find(cap, select(_CAPS.c.amount))).scalar()
    tx.execute(_find(cap, delete(_CAPS)))
    row = {"client": cap.client, "period": cap.period, "unit": cap.unit, "amount": amount}
    tx.execute(insert(_CAPS), row)
    _end_waits(tx)
    _audit(tx, ctx, cap, "set cap", {"amount": amount, "before": before}, actor=actor)


def remove_cap(ctx: Context, cap: CapName, *, actor: str) -> None:
    """Remove a cap.  Raises NotFound."""
    repeat_on_conflict(lambda: _remove(ctx, cap, actor=actor))


def _remove(ctx: Context, cap: CapName, *, actor: str) -> None:
    with ctx.db.write() as tx:
        lock_suppressions_exclusive(tx)  # as when it is replaced
        cap = _require_owner(tx, cap)
        if not tx.execute(_find(cap, delete(_CAPS))).rowcount:
            raise NotFound("There is no such cap: `flask caps list` shows all")
        _end_waits(tx)
        _audit(tx, ctx, cap, "remove cap", {}, actor=actor)


def list_caps(ctx: Context) -> list[dict[str, Any]]:
    """List all caps; those of hours and days with what is left, and when they begin anew."""
    broadcast = select(_CAPS).where(_CAPS.c.period == CapPeriod.BROADCAST).order_by(_CAPS.c.client)
    with ctx.db.read() as tx:
        limits = read_limits(tx, ctx.now())
        rows = tx.execute(broadcast).all()
    alone = [describe_cap(row) for row in rows]
    return [*map(describe_limit, limits), *alone]


def list_used_caps(ctx: Context) -> list[dict[str, Any]]:
    """List the caps that are reached in their hour or day, or nearly so; `is_reached` says it."""
    with ctx.db.read() as tx:
        limits = read_limits(tx, ctx.now())
    return [
        describe_limit(limit) | {"is_reached": limit.is_reached}
        for limit in limits
        if limit.is_reached or limit.is_neared
    ]


def describe_caps(ctx: Context, client: str, key_id: int | None) -> list[dict[str, Any]]:
    """Return what the caps on hours and days leave to a client and key, as answers show it."""
    with ctx.db.read() as tx:
        limits = read_limits(tx, ctx.now(), client=client, key_id=key_id)
        return [describe_limit(limit) for limit in limits]


def check_recipients(ctx: Context, client: str, recipients: int) -> None:
    """Raise BadInput if a broadcast has more recipients than a cap allows; a cap is 1 at least."""
    with ctx.db.read() as tx:
        found = _SELECT_RECIPIENTS.fetch(tx, {"client": client, "key_id": ctx.viewer.key_id})
    amounts = [row.amount for row in found]
    if amounts and recipients > min(amounts):
        raise reject_field(
            "recipients",
            f"{recipients:,} are more than the {min(amounts):,} that a broadcast may have: send "
            "several, or ask an administrator to raise the cap",
        )


def _check(cap: CapName, amount: int) -> None:
    # Clients of our own, such as `people`, can be capped like others.
    is_name = cap.client == ALL or CLIENT_NAME.fullmatch(cap.client)
    if not is_name and not _OF_KEY.fullmatch(cap.client):
        raise reject_field(
            "client",
            "The name must be 1 to 64 letters, digits, '.', '_' or '-'; or name a key by its "
            "number, such as key:7",
        )
    is_broadcast = cap.period is CapPeriod.BROADCAST
    if is_broadcast != (cap.unit is CapUnit.RECIPIENTS):
        raise reject_field(
            "unit", "A cap is on recipients of a broadcast, or on parts or cost of an hour or a day"
        )
    if amount < (1 if is_broadcast else 0):
        raise reject_field("amount", "A cap is 0 or more, that on recipients 1 or more")


def _require_owner(tx: Connection, cap: CapName) -> CapName:
    """Return the cap; one on a key names the first of those that it replaced.  Raises BadInput."""
    key_id = find_key(cap.client)
    if key_id is None:
        return cap
    query = select(ORIGIN_ID).where(_KEYS.c.id == key_id)
    origin_id = tx.execute(query).scalar()
    if origin_id is None:
        raise reject_field(
            "client",
            "There is no key of this number: `flask keys list` shows all. Those of API_KEYS have "
            "none: cap their client",
        )
    return replace(cap, client=f"{KEY}{origin_id}")


def _end_waits(tx: Connection) -> None:
    """Let what waits for a cap be claimed now, if it fits."""
    is_open = select(_BROADCASTS.c.id).where(_BROADCASTS.c.completed_at.is_(None))
    waiting = update(_BATCHES).where(
        _BATCHES.c.broadcast_id.in_(is_open),
        _BATCHES.c.state == BatchState.PENDING,
        _BATCHES.c.exclusion_reason == ExclusionReason.CAP_REACHED,
    )
    tx.execute(waiting.values(not_before=None))


def _find(cap: CapName, statement: Any) -> Any:
    return statement.where(
        _CAPS.c.client == cap.client, _CAPS.c.period == cap.period, _CAPS.c.unit == cap.unit
    )


def _audit(
    tx: Connection, ctx: Context, cap: CapName, action: str, facts: dict[str, Any], *, actor: str
) -> None:
    subject = "all clients" if cap.client == ALL else cap.client.replace(KEY, "key ")
    facts = {"period": cap.period.value, "unit": cap.unit.value, **facts}
    write_audit(tx, ctx.now(), actor, action, subject, **facts)
