"""Withholding: split excluded and deferred recipients off a batch, into batches of their own.

The batch keeps its reference and the remaining recipients; the new batches hold other recipients
of the chunk.  Only batches inside a claim are split, so none of these recipients is at Sinch yet.
Exception: a batch that an operator chose to resend may already have been sent; the batches split
off keep the resend mark.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, func, insert, select, update

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.sms.audience.chunks import MAX_BATCH_RECIPIENTS, make_reference, move_messages
from app.sms.eligibility.decide import RecipientGroup
from app.sms.lifecycle.finalize import was_resent
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Chunk
from app.sms.models.states import RESEND, BatchState

_BATCHES, _CHUNKS, _AUDIT = table_of(Batch), table_of(Chunk), table_of(AuditEntry)

_LOCK_CHUNK = (
    select(_CHUNKS.c.number)
    .where(
        _CHUNKS.c.broadcast_id == bindparam("broadcast_id"), _CHUNKS.c.number == bindparam("chunk")
    )
    .with_for_update()
)
_COUNT_WITHHELD = select(func.count()).where(
    _BATCHES.c.broadcast_id == bindparam("broadcast_id"),
    _BATCHES.c.chunk == bindparam("chunk"),
    _BATCHES.c.start >= MAX_BATCH_RECIPIENTS,
    _BATCHES.c.level == 0,
)
_INSERT_BATCH = insert(_BATCHES).returning(_BATCHES)
_SHRINK_BATCH = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch_id"))
    .values(
        state=bindparam("new_state"),
        size=bindparam("new_size"),
        recipient_indexes=bindparam("new_indexes"),
        exclusion_reason=bindparam("reason"),
        not_before=bindparam("new_not_before"),
    )
)
_COPY_RESEND_MARK = insert(_AUDIT).from_select(
    ["at", "actor", "action", "subject", "facts"],
    select(
        _AUDIT.c.at,
        _AUDIT.c.actor,
        _AUDIT.c.action,
        bindparam("new_reference", type_=String),
        _AUDIT.c.facts,
    ).where(_AUDIT.c.subject == bindparam("old_reference"), _AUDIT.c.action == RESEND),
)


def withhold_recipients(
    tx: Connection, broadcast: Row[Any], batch: Row[Any], groups: Sequence[RecipientGroup]
) -> None:
    """Leave the first group to a pending batch, and give each other group a batch of its own."""
    resent = was_resent(tx, batch.client_reference)
    _shrink(tx, batch, groups[0], resent=resent)
    others = groups[1:]
    if not others:
        return
    chunk = {"broadcast_id": broadcast.id, "chunk": batch.chunk}
    tx.execute(_LOCK_CHUNK, chunk)
    withheld: int = tx.execute(_COUNT_WITHHELD, chunk).scalar_one()
    for number, group in enumerate(others, withheld + 1):
        # Halves are numbered from the start of their batch: each batch has that range to itself.
        start = number * MAX_BATCH_RECIPIENTS
        reference = make_reference(broadcast.public_id, batch.chunk, start, 0)
        row = {
            "broadcast_id": broadcast.id,
            "chunk": batch.chunk,
            "start": start,
            "size": len(group.recipient_indexes),
            "level": 0,
            "recipient_indexes": list(group.recipient_indexes),
            "exclusion_reason": group.eligibility.exclusion_reason,
            "client_reference": reference,
            "state": _choose_state(group, resent=resent),
            "not_before": group.eligibility.not_before,
        }
        created = tx.execute(_INSERT_BATCH, row).one()
        move_messages(tx, created, group.recipients)
        if resent:
            references = {"old_reference": batch.client_reference, "new_reference": reference}
            tx.execute(_COPY_RESEND_MARK, references)


def _choose_state(group: RecipientGroup, *, resent: bool) -> BatchState:
    state = group.eligibility.state
    return BatchState.CLOSED_UNSENT if resent and state is BatchState.SUPPRESSED else state


def _shrink(tx: Connection, batch: Row[Any], group: RecipientGroup, *, resent: bool) -> None:
    whole = len(group.recipient_indexes) == batch.size
    values = {
        "batch_id": batch.id,
        "new_state": _choose_state(group, resent=resent),
        "new_size": len(group.recipient_indexes),
        "new_indexes": batch.recipient_indexes if whole else list(group.recipient_indexes),
        "reason": group.eligibility.exclusion_reason,
        "new_not_before": group.eligibility.not_before,
    }
    tx.execute(_SHRINK_BATCH, values)
