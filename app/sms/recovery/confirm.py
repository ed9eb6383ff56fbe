"""A report on a batch proves that Sinch has it, whatever we knew of it before.

It settles what is not known, also before the answer to the POST came; it overrules an operator
who gave it up, and Sinch's own refusal.  A report under another id than ours says that Sinch has
the batch twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, FINAL, BatchState, BroadcastStatus, CancelRequestState

_S = BatchState
# That a report comes for these is how things may go; for others somebody was wrong.
_EXPECTED = (_S.SENDING, _S.UNKNOWN, _S.NEEDS_ATTENTION)

_BATCHES = table_of(Batch)
HELD_BATCHES = (
    select(_BATCHES)
    .where(_BATCHES.c.id.in_(bindparam("these", expanding=True)))
    .order_by(_BATCHES.c.id)
    .with_for_update()
)


@dataclass(frozen=True, slots=True)
class ReportedBatch:
    """A batch that Sinch speaks of, under which ids, and where its broadcast stands."""

    batch: Row[Any]
    sinch_ids: Sequence[str]
    status: BroadcastStatus


def confirm_accepted(tx: Connection, ctx: Context, seen: ReportedBatch) -> bool:
    """Move a batch that is reported on to where it then stands; whether it moved."""
    row, ids = seen.batch, list(seen.sinch_ids)
    known = row.sinch_id or (ids[0] if ids else None)
    duplicate_sinch_ids = [each for each in ids if each != known]
    if row.state in AT_SINCH and row.sinch_id is None and known:
        _set(tx, row, sinch_id=known, next_reconcile_at=None)
    if row.state is _S.ACCEPTED and duplicate_sinch_ids:
        return _note_duplicate(tx, seen, duplicate_sinch_ids)
    if row.state in AT_SINCH:
        return False
    values = accept_values(ctx, sinch_id=known, cancelled=seen.status is BroadcastStatus.CANCELLED)
    _set(tx, row, **values)
    bound = logger.bind(client_reference=row.client_reference, state=row.state.value)
    if row.state in _EXPECTED:
        bound.info("a report proves that sinch has a batch")
    else:
        bound.error("sinch reports on a batch that was not taken to be sent")
    if duplicate_sinch_ids:
        _note_duplicate(tx, seen, duplicate_sinch_ids)
    return True


def accept_values(ctx: Context, *, sinch_id: str | None, cancelled: bool) -> dict[str, Any]:
    """The columns of a batch that Sinch turns out to have."""
    return {
        "state": _S.ACCEPTED,
        "sinch_id": sinch_id,
        "lease_until": None,
        "not_before": None,
        "unknown_at": None,
        "attention": None,
        "next_reconcile_at": None,
        "cancel_request": CancelRequestState.WANTED if cancelled else None,
        **report_values(ctx),
    }


def report_values(ctx: Context) -> dict[str, Any]:
    """The columns that say since when Sinch has a batch, and when to ask for its report."""
    return {
        "accepted_at": ctx.now(),
        "next_report_at": ctx.first_report_at(),
        "rollup_dirty": True,
    }


def _note_duplicate(tx: Connection, seen: ReportedBatch, duplicate_sinch_ids: list[str]) -> bool:
    row = seen.batch
    _set(tx, row, state=_S.DUPLICATE, duplicate_sinch_ids=duplicate_sinch_ids)
    bound = logger.bind(client_reference=row.client_reference, recipients=row.size)
    bound.error("sinch has this batch more than once: its broadcast is stopped")
    if seen.status not in FINAL:
        stopped = update(Broadcast).where(Broadcast.id == row.broadcast_id)
        tx.execute(stopped.values(status=BroadcastStatus.HALTED))
    return True


def _set(tx: Connection, row: Row[Any], **values: Any) -> None:
    tx.execute(update(Batch).where(Batch.id == row.id).values(**values))
