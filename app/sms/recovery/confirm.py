"""Confirmation: a delivery report proves that Sinch accepted a batch, whatever its state.

It resolves an unknown outcome, also before the answer to the POST, and overrules an operator's
decision to give up as well as a rejection by Sinch.  A report under another Sinch id than ours
proves that Sinch has the batch twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select, update

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.db.prepared import Prepared, PreparedUpdate
from app.sms.context import Context
from app.sms.lifecycle.finalize import await_reports
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, FINAL, BatchState, BroadcastStatus, CancelRequestState

_S = BatchState
# The audit entry of a restore, which names the newest broadcast of the backup.
RESTORED, RESTORED_SUBJECT = "restored", "database"
# A report on a batch in these states is normal; in other states it is an error.
_EXPECTED = (_S.SENDING, _S.UNKNOWN, _S.NEEDS_ATTENTION)

_BATCHES, _AUDIT = table_of(Batch), table_of(AuditEntry)
LOCK_BATCHES = Prepared(
    select(_BATCHES)
    .where(_BATCHES.c.id.in_(bindparam("batch_ids", expanding=True)))
    .order_by(_BATCHES.c.id)
    .with_for_update()
)
UPDATE_BATCH = PreparedUpdate(_BATCHES)
_RESTORES = Prepared(
    select(_AUDIT.c.facts).where(_AUDIT.c.subject == RESTORED_SUBJECT, _AUDIT.c.action == RESTORED)
)


@dataclass(frozen=True, slots=True)
class ReportedBatch:
    """A batch that Sinch reports on, the Sinch ids of the reports, its broadcast's status."""

    row: Row[Any]
    sinch_ids: Sequence[str]
    status: BroadcastStatus


def confirm_accepted(tx: Connection, ctx: Context, batch: ReportedBatch) -> bool:
    """Move a batch that Sinch reports on to ACCEPTED or DUPLICATE.  Returns True if it moved."""
    row, sinch_ids = batch.row, list(batch.sinch_ids)
    known = row.sinch_id or (sinch_ids[0] if sinch_ids else None)
    duplicate_sinch_ids = [sinch_id for sinch_id in sinch_ids if sinch_id != known]
    if row.state in AT_SINCH and row.sinch_id is None and known:
        _set(tx, row, sinch_id=known, next_reconcile_at=_verify_at(tx, ctx, row))
    if row.state is _S.ACCEPTED and duplicate_sinch_ids:
        _set(tx, row, **mark_duplicate(tx, row, batch.status, duplicate_sinch_ids))
        return True
    if row.state in AT_SINCH:
        return False
    cancelled = batch.status is BroadcastStatus.CANCELLED
    values = accept_values(ctx, sinch_id=known, cancelled=cancelled)
    if row.state is not _S.SENDING:
        values["next_reconcile_at"] = _verify_at(tx, ctx, row)
    bound = logger.bind(client_reference=row.client_reference, state=row.state.value)
    if row.state in _EXPECTED:
        bound.info("a report proves that sinch accepted a batch")
    else:
        bound.error("sinch reports on a batch that counted as unsent")
    if duplicate_sinch_ids:
        values |= mark_duplicate(tx, row, batch.status, duplicate_sinch_ids)
    _set(tx, row, **values)
    if batch.status in FINAL:
        await_reports(tx, row.broadcast_id)
    return True


def _verify_at(tx: Connection, ctx: Context, row: Row[Any]) -> datetime | None:
    """Return when to look up for which recipients Sinch has a batch; None if that is certain."""
    return ctx.now() if was_restored(tx, row.broadcast_id) else None


def was_restored(tx: Connection, broadcast_id: int) -> bool:
    """Return True if the broadcast comes from a backup.

    Its batches may have been claimed since, for fewer recipients than the backup knows.
    """
    restores = _RESTORES.fetch(tx)
    return any(row.facts.get("last_broadcast_id", 0) >= broadcast_id for row in restores)


def accept_values(ctx: Context, *, sinch_id: str | None, cancelled: bool) -> dict[str, Any]:
    """Return the columns of a batch that Sinch is known to have accepted."""
    return {
        "state": _S.ACCEPTED,
        "sinch_id": sinch_id,
        "lease_until": None,
        "not_before": None,
        "unknown_at": None,
        "attention": None,
        "next_reconcile_at": None,
        "cancel_request": CancelRequestState.WANTED if cancelled else None,
        "accepted_at": ctx.now(),
        "next_report_at": ctx.first_report_at(),
        "rollup_dirty": True,
    }


def mark_duplicate(
    tx: Connection, row: Row[Any], status: BroadcastStatus, duplicate_sinch_ids: list[str]
) -> dict[str, Any]:
    """Halt the broadcast of a batch that Sinch has twice.  Returns the batch's new columns."""
    bound = logger.bind(client_reference=row.client_reference, recipients=row.size)
    bound.error("sinch has this batch more than once: its broadcast is halted")
    if status not in FINAL:
        broadcast = update(Broadcast).where(Broadcast.id == row.broadcast_id)
        tx.execute(broadcast.values(status=BroadcastStatus.HALTED))
    return {"state": _S.DUPLICATE, "duplicate_sinch_ids": duplicate_sinch_ids}


def _set(tx: Connection, row: Row[Any], **values: Any) -> None:
    UPDATE_BATCH.run(tx, row.id, values)
