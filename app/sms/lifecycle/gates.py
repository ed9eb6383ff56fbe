"""Gates: reasons to pause all sending, one row each, shared by every worker.

busy     Sinch answered 429 or was unreachable: no batch is claimed until a time
circuit  Sinch rejects all payloads: open until a trial batch succeeds or an operator closes it
pace     when the messages handed to Sinch so far will have left its queue
restore  the database came from a backup: no batch is claimed until batches in doubt were looked up

A migration inserts the rows.  A gate survives restarts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from app.clock import CLOCK_SLACK_S
from app.config import SendingRules
from app.db.base import table_of
from app.db.prepared import Prepared, PreparedUpdate
from app.sms.models.batch import Gate

BUSY, CIRCUIT, PACE, RESTORE = "busy", "circuit", "pace", "restore"

# Longest Retry-After of Sinch that is followed.
MAX_BUSY_S = 900.0
_MIN_BACKOFF_S = 1.0

_GATES = table_of(Gate)
_SELECT_GATES = Prepared(select(_GATES))
_UPDATE_GATE = PreparedUpdate(_GATES)


@dataclass(frozen=True, slots=True)
class Gates:
    """All gates at one moment; times are None for gates that do not pause sending.

    `circuit` is None while closed, else a dict: `half_open` allows one trial batch, `candidate` is
    the batch that may try and its broadcast (None if any may), `trial` is the id of the batch on
    trial, `last_trial` the batch tried before with its broadcast and client, `since` when the
    circuit opened.  `restored_broadcast_id` is the newest broadcast of the backup in restore mode,
    else 0; `restored_in_doubt` is how many batches were in doubt by then.
    """

    busy_until: datetime | None
    busy_count: int
    circuit: dict[str, Any] | None
    circuit_count: int
    probe_at: datetime | None
    free_at: datetime | None
    restoring_since: datetime | None
    restored_broadcast_id: int
    restored_in_doubt: int

    def find_obstacle(self, now: datetime) -> datetime | None:
        """Return until when no batch may be claimed; None if one may be claimed now."""
        if self.restoring or (self.circuit and not self.may_try):
            return now + timedelta(seconds=CLOCK_SLACK_S)
        if self.busy_until and now < self.busy_until:
            return self.busy_until
        return None

    @property
    def restoring(self) -> bool:
        return self.restoring_since is not None

    @property
    def stopped_since(self) -> datetime | None:
        """The time at which the restore began or the circuit opened; None for neither."""
        opened = (self.circuit or {}).get("since")
        return self.restoring_since or (datetime.fromisoformat(opened) if opened else None)

    @property
    def may_try(self) -> bool:
        """True if the open circuit lets one trial batch through."""
        return bool(self.circuit and self.circuit.get("half_open") and not self.trial)

    @property
    def last_trial(self) -> dict[str, Any] | None:
        """The batch that was tried or refused last, with its broadcast and client."""
        return self.circuit.get("last_trial") if self.circuit else None

    @property
    def candidate(self) -> tuple[int, int] | None:
        """The ids of the batch that alone may try, and of its broadcast."""
        batch = self.circuit.get("candidate") if self.circuit else None
        return (batch[0], batch[1]) if batch else None

    @property
    def trial(self) -> int | None:
        return self.circuit.get("trial") if self.circuit else None


def read_gates(
    tx: Connection, rules: SendingRules, now: datetime, *, lock: str | None = None
) -> Gates:
    """Read all gates, and lock the one named `lock` until the transaction ends.

    PACE is locked only if `messages_per_second` is set: claims then run one after another.  SQLite
    has one writer and needs no lock.
    """
    rows = {row.name: row for row in _SELECT_GATES.fetch(tx)}
    if lock and (lock != PACE or rules.messages_per_second) and tx.dialect.name != "sqlite":
        rows[lock] = _lock_gate(tx, lock)
    circuit, pace, restore = rows[CIRCUIT], rows[PACE], rows[RESTORE].facts
    return Gates(
        busy_until=_drop_implausible(rows[BUSY].until_at, now),
        busy_count=rows[BUSY].tries,
        circuit=circuit.facts,
        circuit_count=circuit.tries,
        probe_at=_drop_implausible(circuit.until_at, now),
        free_at=pace.until_at if _is_current(pace.facts, now) else None,
        restoring_since=datetime.fromisoformat(restore["since"]) if restore else None,
        restored_broadcast_id=_read_newest(restore),
        restored_in_doubt=restore.get("in_doubt", 0) if restore else 0,
    )


def _read_newest(restore: dict[str, Any] | None) -> int:
    """Return the newest broadcast of the backup; above all ids if restore mode began without it."""
    return int(restore.get("last_broadcast_id", 2**62)) if restore else 0


def _lock_gate(tx: Connection, name: str) -> Row[Any]:
    return tx.execute(select(_GATES).where(_GATES.c.name == name).with_for_update()).one()


def _drop_implausible(until_at: datetime | None, now: datetime) -> datetime | None:
    """Return the time, or None if it is so far ahead that the clock must have been set back."""
    latest = now + timedelta(seconds=MAX_BUSY_S + CLOCK_SLACK_S)
    return until_at if until_at and until_at <= latest else None


def _is_current(facts: dict[str, Any] | None, now: datetime) -> bool:
    """Return False if the pace was last updated after now: the clock was set back since."""
    if facts is None:
        return False
    return datetime.fromisoformat(facts["booked_at"]) <= now + timedelta(seconds=CLOCK_SLACK_S)


def take_pace(
    tx: Connection, gates: Gates, rules: SendingRules, *, parts: int, now: datetime
) -> datetime | None:
    """Add `parts` to Sinch's queue.  If it is too full, returns when they may be added instead.

    This is a token bucket with debt: the last batch may exceed the allowance, and the next one
    waits until that is sent.
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
    """Pause all sending: for Sinch's Retry-After, else exponential back-off with full jitter.

    Returns until when.  Answers to batches that were in flight already change it only by a longer
    Retry-After.
    """
    row = _lock_gate(tx, BUSY)
    closed_until = _drop_implausible(row.until_at, now) or now
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
    """Reset the back-off after an accepted batch, unless the gate has closed again since."""
    over = update(Gate).where(Gate.name == BUSY, or_(Gate.until_at.is_(None), Gate.until_at <= now))
    tx.execute(over.values(until_at=None, tries=0))


def choose_probe_wait(rules: SendingRules, attempt: int) -> float:
    """Return the seconds until the next try, which double with each attempt."""
    doublings: int = 2 ** min(attempt - 1, 10)
    return min(rules.probe_every_s * doublings, MAX_BUSY_S)


def open_circuit(
    tx: Connection,
    gates: Gates,
    rules: SendingRules,
    *,
    now: datetime,
    refusal: dict[str, Any],
    refused: dict[str, Any] | None = None,
) -> None:
    """Stop all sending.  The wait before the next probe doubles each time the circuit reopens.

    `refused` is the refused batch with its broadcast and client; None if a probe was refused.
    """
    count = gates.circuit_count + 1
    wait_s = choose_probe_wait(rules, count)
    since = (gates.circuit or {}).get("since", now.isoformat())
    facts = {
        **refusal,
        "since": since,
        "half_open": False,
        "trial": None,
        "candidate": None,
        "last_trial": refused,
    }
    _set(tx, CIRCUIT, until_at=now + timedelta(seconds=wait_s), tries=count, facts=facts)


def half_open_circuit(tx: Connection, gates: Gates, *, candidate: tuple[int, int] | None) -> None:
    """Let one batch through: `candidate`, or the next one claimed where it is None.

    `candidate` are the ids of a batch and of its broadcast.
    """
    facts = {"half_open": True, "trial": None, "candidate": candidate}
    _set(tx, CIRCUIT, facts={**(gates.circuit or {}), **facts})


def begin_trial(tx: Connection, gates: Gates, *, batch_id: int, broadcast: Row[Any]) -> None:
    """Record that a batch was claimed to try while the circuit is half open."""
    last = {"batch_id": batch_id, "broadcast_id": broadcast.id, "client": broadcast.client}
    facts = {"trial": batch_id, "candidate": None, "last_trial": last}
    _set(tx, CIRCUIT, facts={**(gates.circuit or {}), **facts})


def postpone_probe(tx: Connection, rules: SendingRules, *, now: datetime) -> None:
    """Schedule the next probe after one that failed."""
    _set(tx, CIRCUIT, until_at=now + timedelta(seconds=rules.probe_every_s))


def close_circuit(tx: Connection) -> None:
    """Close the circuit: Sinch accepts our payloads again."""
    _set(tx, CIRCUIT, until_at=None, tries=0, facts=None)


def begin_restore(tx: Connection, *, now: datetime, last_broadcast_id: int) -> None:
    """Enter restore mode: no batch is claimed until end_restore.

    `last_broadcast_id` is the newest broadcast of the backup.
    """
    _set(tx, RESTORE, facts={"since": now.isoformat(), "last_broadcast_id": last_broadcast_id})


def add_in_doubt(tx: Connection, batches: int) -> None:
    """Add batches in doubt to those of the restore, unless it has ended."""
    if facts := _lock_gate(tx, RESTORE).facts:
        _set(tx, RESTORE, facts={**facts, "in_doubt": facts.get("in_doubt", 0) + batches})


def end_restore(tx: Connection) -> None:
    _set(tx, RESTORE, facts=None)


def _set(tx: Connection, name: str, **values: Any) -> None:
    _UPDATE_GATE.run(tx, name, values)
