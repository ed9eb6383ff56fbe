"""What holds all sending back, one row each, shared by every worker.

busy     Sinch had too much to do or could not be reached: closed until a time
circuit  Sinch refuses whatever we send: open until a trial goes through, or an operator says so
pace     when the traffic handed to Sinch so far will have left its queue
restore  the database came from a backup: closed until what was in flight has been looked for

The rows are made with the tables; a closed gate survives every restart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from app.config import SendingRules
from app.db.base import table_of
from app.sms.models import Gate

BUSY, CIRCUIT, PACE, RESTORE = "busy", "circuit", "pace", "restore"
NAMES = (BUSY, CIRCUIT, PACE, RESTORE)

# The longest that Sinch's own wish is followed.
MAX_BUSY_S = 900.0
_MIN_BACKOFF_S = 1.0
# A time further ahead than anything of ours is a clock that was set back.
_SLACK_S = 60.0

_ALL = select(table_of(Gate))


@dataclass(frozen=True, slots=True)
class Gates:
    """All gates at one moment; times are None where nothing holds back.

    `circuit` is None while closed, else its facts: `half_open` allows one trial, `trial` is the
    batch that tries.
    """

    busy_until: datetime | None
    busy_count: int
    circuit: dict[str, Any] | None
    circuit_count: int
    probe_at: datetime | None
    free_at: datetime | None
    restoring: bool

    def find_obstacle(self, now: datetime) -> datetime | None:
        """Until when nothing may be claimed; None when something may."""
        if self.restoring or (self.circuit and not self.may_try):
            return now + timedelta(seconds=_SLACK_S)
        if self.busy_until and now < self.busy_until:
            return self.busy_until
        return None

    @property
    def may_try(self) -> bool:
        """Whether an open circuit lets one batch through to see."""
        return bool(self.circuit and self.circuit.get("half_open") and not self.trial)

    @property
    def trial(self) -> int | None:
        """The batch on trial."""
        return self.circuit.get("trial") if self.circuit else None


def read_gates(tx: Connection, rules: SendingRules, now: datetime, *, lock: bool = False) -> Gates:
    """The gates as they stand.

    With `lock`, and a pace to keep, claims follow one another (PostgreSQL; SQLite has one writer
    anyway).
    """
    rows = {row.name: row for row in tx.execute(_ALL)}
    if lock and rules.messages_per_second and tx.dialect.name != "sqlite":
        locked = select(Gate.__table__).where(Gate.name == PACE).with_for_update()
        rows[PACE] = tx.execute(locked).one()
    busy, circuit = rows[BUSY], rows[CIRCUIT]
    latest_busy = now + timedelta(seconds=MAX_BUSY_S + _SLACK_S)
    believed = busy.until_at and busy.until_at <= latest_busy
    return Gates(
        busy_until=busy.until_at if believed else None,
        busy_count=busy.tries,
        circuit=circuit.facts,
        circuit_count=circuit.tries,
        probe_at=circuit.until_at,
        free_at=rows[PACE].until_at,
        restoring=rows[RESTORE].facts is not None,
    )


def take_pace(
    tx: Connection, gates: Gates, rules: SendingRules, *, parts: int, now: datetime
) -> datetime | None:
    """Book `parts` in Sinch's queue; or the time from which they may be, when that is too full.

    A bucket with debt: what is booked last may take longer than the allowance, and is paid for
    before the next.
    """
    if rules.messages_per_second is None:
        return None
    ahead = timedelta(seconds=rules.pace_ahead_s)
    cost = timedelta(seconds=parts / rules.messages_per_second)
    # More than an allowance and a batch of a thousand can owe is a clock that was set back.
    most = ahead + timedelta(seconds=max(1000 * parts / rules.messages_per_second, _SLACK_S))
    free_at = gates.free_at if gates.free_at and gates.free_at <= now + most else now
    free_at = max(free_at, now)
    if free_at - now > ahead:
        return free_at - ahead
    _set(tx, PACE, until_at=free_at + cost)
    return None


def close_busy(
    tx: Connection,
    rules: SendingRules,
    *,
    now: datetime,
    wish_s: float | None,
    draw: Callable[[float, float], float],
) -> datetime:
    """Let everybody wait: as long as Sinch wishes, else full jitter under a doubling ceiling."""
    row = tx.execute(select(Gate.tries).where(Gate.name == BUSY)).one()
    count = min(row.tries + 1, 16)
    if wish_s is not None:
        wait_s = min(max(wish_s, _MIN_BACKOFF_S), MAX_BUSY_S)
    else:
        ceiling_s = min(rules.retry_wait_max_s, _MIN_BACKOFF_S * 2**count)
        wait_s = draw(min(_MIN_BACKOFF_S, ceiling_s), ceiling_s)
    until_at = now + timedelta(seconds=wait_s)
    _set(tx, BUSY, until_at=until_at, tries=count)
    return until_at


def open_busy(tx: Connection) -> None:
    """Sinch took a batch: the waits begin anew."""
    _set(tx, BUSY, until_at=None, tries=0)


def open_circuit(
    tx: Connection, gates: Gates, rules: SendingRules, *, now: datetime, refusal: dict[str, Any]
) -> None:
    """Stop all sending; the next probe comes later each time it opens again."""
    count = gates.circuit_count + 1
    wait_s = min(rules.probe_every_s * 2 ** min(count - 1, 10), MAX_BUSY_S)
    since = (gates.circuit or {}).get("since", now.isoformat())
    facts = {**refusal, "since": since, "half_open": False, "trial": None}
    _set(tx, CIRCUIT, until_at=now + timedelta(seconds=wait_s), tries=count, facts=facts)


def half_open_circuit(tx: Connection, gates: Gates, *, trial: int | None = None) -> None:
    """Let one batch through: the next one claimed, or `trial`, which has just been."""
    _set(tx, CIRCUIT, facts={**(gates.circuit or {}), "half_open": True, "trial": trial})


def postpone_probe(tx: Connection, rules: SendingRules, *, now: datetime) -> None:
    """The probe was not green: ask again later."""
    _set(tx, CIRCUIT, until_at=now + timedelta(seconds=rules.probe_every_s))


def close_circuit(tx: Connection) -> None:
    """Sinch takes our calls again."""
    _set(tx, CIRCUIT, until_at=None, tries=0, facts=None)


def begin_restore(tx: Connection, *, now: datetime) -> None:
    """Nothing is claimed until what was in flight has been looked for."""
    _set(tx, RESTORE, facts={"since": now.isoformat()})


def end_restore(tx: Connection) -> None:
    """All of it has been looked for."""
    _set(tx, RESTORE, facts=None)


def _set(tx: Connection, name: str, **values: Any) -> None:
    tx.execute(update(Gate).where(Gate.name == name).values(**values))
