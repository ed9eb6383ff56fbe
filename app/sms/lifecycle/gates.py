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

from sqlalchemy import Connection, Row, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.config import SendingRules
from app.db.base import table_of
from app.sms.models.batch import Gate

BUSY, CIRCUIT, PACE, RESTORE = "busy", "circuit", "pace", "restore"

# The longest that Sinch's own wish is followed.
MAX_BUSY_S = 900.0
_MIN_BACKOFF_S = 1.0

_GATES = table_of(Gate)
_ALL = select(_GATES)


@dataclass(frozen=True, slots=True)
class Gates:
    """All gates at one moment; times are None where nothing holds back.

    `circuit` is None while closed, else its facts: `half_open` allows one trial, `trial` is the
    batch that tries.  `restored_broadcast_id` is the newest broadcast of the backup that is being
    restored, 0 outside of restore mode.
    """

    busy_until: datetime | None
    busy_count: int
    circuit: dict[str, Any] | None
    circuit_count: int
    probe_at: datetime | None
    free_at: datetime | None
    restoring_since: datetime | None
    restored_broadcast_id: int

    def find_obstacle(self, now: datetime) -> datetime | None:
        """Until when nothing may be claimed; None when something may."""
        if self.restoring or (self.circuit and not self.may_try):
            return now + timedelta(seconds=CLOCK_SLACK_S)
        if self.busy_until and now < self.busy_until:
            return self.busy_until
        return None

    @property
    def restoring(self) -> bool:
        """Whether what was in flight when the database was saved is still looked for."""
        return self.restoring_since is not None

    @property
    def may_try(self) -> bool:
        """Whether an open circuit lets one batch through to see."""
        return bool(self.circuit and self.circuit.get("half_open") and not self.trial)

    @property
    def trial(self) -> int | None:
        """The batch on trial."""
        return self.circuit.get("trial") if self.circuit else None


def read_gates(
    tx: Connection, rules: SendingRules, now: datetime, *, lock: str | None = None
) -> Gates:
    """The gates as they stand; the one named `lock` stays so until the transaction ends.

    PostgreSQL's; SQLite has one writer anyway.  PACE is only locked where there is a pace to keep,
    so that claims follow one another.
    """
    rows = {row.name: row for row in tx.execute(_ALL)}
    if lock and (lock != PACE or rules.messages_per_second) and tx.dialect.name != "sqlite":
        rows[lock] = _hold(tx, lock)
    circuit, pace, restore = rows[CIRCUIT], rows[PACE], rows[RESTORE].facts
    return Gates(
        busy_until=_believe(rows[BUSY].until_at, now),
        busy_count=rows[BUSY].tries,
        circuit=circuit.facts,
        circuit_count=circuit.tries,
        probe_at=_believe(circuit.until_at, now),
        free_at=pace.until_at if _is_of_this_clock(pace.facts, now) else None,
        restoring_since=datetime.fromisoformat(restore["since"]) if restore else None,
        restored_broadcast_id=_read_newest(restore),
    )


def _read_newest(restore: dict[str, Any] | None) -> int:
    """Return the newest broadcast of the backup; every id where restore mode began without it."""
    return int(restore.get("last_broadcast_id", 2**62)) if restore else 0


def _hold(tx: Connection, name: str) -> Row[Any]:
    return tx.execute(select(_GATES).where(_GATES.c.name == name).with_for_update()).one()


def _believe(until_at: datetime | None, now: datetime) -> datetime | None:
    """A time that a gate may be closed until; one further ahead is a clock that was set back."""
    latest = now + timedelta(seconds=MAX_BUSY_S + CLOCK_SLACK_S)
    return until_at if until_at and until_at <= latest else None


def _is_of_this_clock(facts: dict[str, Any] | None, now: datetime) -> bool:
    """Whether the pace was last booked before now; else the clock was set back."""
    if facts is None:
        return False
    return datetime.fromisoformat(facts["booked_at"]) <= now + timedelta(seconds=CLOCK_SLACK_S)


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
    free_at = max(gates.free_at or now, now)
    if free_at - now > ahead:
        return free_at - ahead
    _set(tx, PACE, until_at=free_at + cost, facts={"booked_at": now.isoformat()})
    return None


def close_busy(
    tx: Connection,
    rules: SendingRules,
    *,
    now: datetime,
    retry_after_s: float | None,
    jitter: Callable[[float, float], float],
) -> datetime:
    """Let everybody wait: as long as Sinch wishes, else full jitter under a doubling ceiling.

    Those in flight when it closed say what is known: only a longer wish changes it.
    """
    row = _hold(tx, BUSY)
    closed_until = _believe(row.until_at, now) or now
    if retry_after_s is None and closed_until > now:
        return closed_until
    count = min(row.tries + (closed_until <= now), 16)
    if retry_after_s is not None:
        wait_s = min(max(retry_after_s, _MIN_BACKOFF_S), MAX_BUSY_S)
    else:
        ceiling_s = min(rules.retry_wait_max_s, _MIN_BACKOFF_S * 2**count)
        wait_s = jitter(min(_MIN_BACKOFF_S, ceiling_s), ceiling_s)
    until_at = max(closed_until, now + timedelta(seconds=wait_s))
    _set(tx, BUSY, until_at=until_at, tries=count)
    return until_at


def open_busy(tx: Connection, now: datetime) -> None:
    """Sinch took a batch: the waits begin anew, unless it closed again behind that batch."""
    over = update(Gate).where(Gate.name == BUSY, or_(Gate.until_at.is_(None), Gate.until_at <= now))
    tx.execute(over.values(until_at=None, tries=0))


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


def begin_restore(tx: Connection, *, now: datetime, last_broadcast_id: int) -> None:
    """Stop all claims until what was in flight has been looked for.

    `last_broadcast_id` is the newest broadcast of the backup.
    """
    _set(tx, RESTORE, facts={"since": now.isoformat(), "last_broadcast_id": last_broadcast_id})


def end_restore(tx: Connection) -> None:
    """All of it has been looked for."""
    _set(tx, RESTORE, facts=None)


def _set(tx: Connection, name: str, **values: Any) -> None:
    tx.execute(update(Gate).where(Gate.name == name).values(**values))
