"""Marks of the background in the database, for /ready and /metrics.

They are the times of the last sweep, backup and purge, the last check's violations, and since when
checks of /ready fail.  A fault is marked by the process that sees it first.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.db.base import Metadata
from app.db.engine import insert_new
from app.db.facts import delete_metadata, set_metadata
from app.sms.context import Context
from app.sms.lifecycle.gates import read_gates
from app.sms.models.batch import Batch
from app.sms.models.states import BatchState

_SWEPT_AT, _VIOLATIONS = "swept_at", "violations"
# Before the name of a check that fails; the value is since when.
_FAULT = "fault_"
_BACKED_UP_AT, _PURGED_AT = "backed_up_at", "purged_at"
# After this many missed sweeps the background workers count as stopped.
_MISSED = 4


@dataclass(frozen=True, slots=True)
class BackgroundMarks:
    """Times of the last sweep, backup and purge; what the last check found; and faults.

    `violations` are sentences on counts that do not add up; `faults_since` is by the name of a
    check that fails when a process saw that first.
    """

    swept_at: datetime | None
    backed_up_at: datetime | None
    purged_at: datetime | None
    violations: list[str]
    faults_since: Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class BackgroundHealth(BackgroundMarks):
    """Health as /ready shows it; `attention` is the number of batches that need attention.

    `stopped_since` is when the circuit opened, or the restore began.
    """

    background_alive: bool
    circuit_open: bool
    restoring: bool
    stopped_since: datetime | None
    attention: int


def record_heartbeat(ctx: Context) -> None:
    _store(ctx, _SWEPT_AT, ctx.now().isoformat())


def record_backup(ctx: Context) -> None:
    _store(ctx, _BACKED_UP_AT, ctx.now().isoformat())


def record_purge(ctx: Context) -> None:
    _store(ctx, _PURGED_AT, ctx.now().isoformat())


def record_consistency(ctx: Context, violations: list[str]) -> None:
    with ctx.db.write() as tx:
        set_metadata(tx, _VIOLATIONS, json.dumps(violations[:20]))
        _mark_fault(tx, ctx, "consistency", fails=bool(violations))


def record_fault(ctx: Context, check: str, *, fails: bool) -> None:
    """Mark since when a check fails, unless it is marked before, or that it passes."""
    with ctx.db.write() as tx:
        _mark_fault(tx, ctx, check, fails=fails)


def _mark_fault(tx: Connection, ctx: Context, check: str, *, fails: bool) -> None:
    if fails:
        insert_new(tx, Metadata, name=_FAULT + check, value=ctx.now().isoformat())
    else:
        delete_metadata(tx, _FAULT + check)


def read_health(ctx: Context) -> BackgroundHealth:
    """Read the current health.  Raises the database's error if it cannot be read."""
    now = ctx.now()
    with ctx.db.read() as tx:
        marks = read_marks(tx)
        gates = read_gates(tx, ctx.rules, now)
        attention = select(func.count()).where(Batch.state == BatchState.NEEDS_ATTENTION)
        waiting = tx.execute(attention).scalar_one()
    return BackgroundHealth(
        **asdict(marks),
        background_alive=_is_recent(ctx, marks.swept_at, now),
        circuit_open=gates.circuit is not None,
        restoring=gates.restoring,
        stopped_since=gates.stopped_since,
        attention=waiting,
    )


def read_marks(tx: Connection) -> BackgroundMarks:
    """Read the marks of the background."""
    rows = tx.execute(select(Metadata.name, Metadata.value))
    metadata = {row.name: row.value for row in rows}

    def read_time(name: str) -> datetime | None:
        return datetime.fromisoformat(metadata[name]) if name in metadata else None

    return BackgroundMarks(
        swept_at=read_time(_SWEPT_AT),
        backed_up_at=read_time(_BACKED_UP_AT),
        purged_at=read_time(_PURGED_AT),
        violations=json.loads(metadata.get(_VIOLATIONS, "[]")),
        faults_since={
            name.removeprefix(_FAULT): datetime.fromisoformat(value)
            for name, value in metadata.items()
            if name.startswith(_FAULT)
        },
    )


def _is_recent(ctx: Context, swept_at: datetime | None, now: datetime) -> bool:
    if swept_at is None:
        return False
    age_s = abs((now - swept_at).total_seconds())
    return age_s <= max(_MISSED * ctx.rules.sweep_every_s, 10.0)


def _store(ctx: Context, name: str, value: str) -> None:
    with ctx.db.write() as tx:
        set_metadata(tx, name, value)
