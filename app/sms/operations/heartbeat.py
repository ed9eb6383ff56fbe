"""Whether the background is at work, and how it found the books: told to /ready by the database."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from app.db.base import Metadata
from app.db.facts import set_metadata
from app.sms.context import Context
from app.sms.lifecycle.gates import read_gates
from app.sms.models.batch import Batch
from app.sms.models.states import BatchState

_SWEPT, _BOOKS = "swept_at", "violations"
# So many sweeps may be missed before the background counts as dead.
_MISSED = 4


@dataclass(frozen=True, slots=True)
class BackgroundHealth:
    """What /ready tells: is the background alive, do the books balance, what waits for a person."""

    background_alive: bool
    is_consistent: bool
    circuit_open: bool
    restoring: bool
    attention: int


def record_heartbeat(ctx: Context) -> None:
    """A sweep has been made."""
    _note(ctx, _SWEPT, ctx.now().isoformat())


def record_consistency(ctx: Context, violations: list[str]) -> None:
    """What the last look at the invariants found."""
    _note(ctx, _BOOKS, json.dumps(violations[:20]))


def read_health(ctx: Context) -> BackgroundHealth:
    """How things stand; raises the database's error when it cannot be asked."""
    now = ctx.now()
    with ctx.db.read() as tx:
        facts = {row.name: row.value for row in tx.execute(select(Metadata.name, Metadata.value))}
        gates = read_gates(tx, ctx.rules, now)
        waiting = select(func.count()).where(Batch.state == BatchState.NEEDS_ATTENTION)
        attention = tx.execute(waiting).scalar_one()
    return BackgroundHealth(
        background_alive=_is_recent(ctx, facts.get(_SWEPT), now),
        is_consistent=facts.get(_BOOKS, "[]") == "[]",
        circuit_open=gates.circuit is not None,
        restoring=gates.restoring,
        attention=attention,
    )


def _is_recent(ctx: Context, swept: str | None, now: datetime) -> bool:
    if swept is None:
        return False
    age_s = abs((now - datetime.fromisoformat(swept)).total_seconds())
    return age_s <= max(_MISSED * ctx.rules.sweep_every_s, 10.0)


def _note(ctx: Context, name: str, value: str) -> None:
    with ctx.db.write() as tx:
        set_metadata(tx, name, value)
