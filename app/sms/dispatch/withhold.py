"""Withholding: split excluded and deferred recipients off a batch, into batches of their own.

The batch keeps its reference and the remaining recipients; the new batches hold other recipients
of the chunk.  Only batches inside a claim are split, so none of these recipients is at Sinch yet.
Exception: a batch that an operator chose to resend may already have been sent; the batches split
off keep the resend mark.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, String, insert, literal, select, update

from app.db.audit import AuditEntry
from app.db.base import table_of
from app.sms.audience.chunks import MAX_BATCH_RECIPIENTS
from app.sms.audience.split import find_free_start, split_off
from app.sms.eligibility.decide import RecipientGroup
from app.sms.lifecycle.finalize import was_resent
from app.sms.models.batch import Batch
from app.sms.models.states import RESEND, BatchState

_BATCHES, _AUDIT = table_of(Batch), table_of(AuditEntry)


def withhold_recipients(
    tx: Connection, broadcast: Row[Any], batch: Row[Any], groups: Sequence[RecipientGroup]
) -> None:
    """Leave the first group to a pending batch, and give each other group a batch of its own."""
    resent = was_resent(tx, batch.client_reference)
    _shrink(tx, batch, groups[0], resent=resent)
    others = groups[1:]
    if not others:
        return
    start = find_free_start(tx, batch)
    for number, group in enumerate(others):
        created = split_off(
            tx,
            batch,
            broadcast.public_id,
            start=start + number * MAX_BATCH_RECIPIENTS,
            size=len(group.recipient_indexes),
            recipient_indexes=group.recipient_indexes,
            recipients=group.recipients,
            exclusion_reason=group.eligibility.exclusion_reason,
            state=_choose_state(group, resent=resent),
            not_before=group.eligibility.not_before,
        )
        if resent:
            _copy_resend_mark(tx, batch.client_reference, created.client_reference)


def _choose_state(group: RecipientGroup, *, resent: bool) -> BatchState:
    state = group.eligibility.state
    return BatchState.CLOSED_UNSENT if resent and state is BatchState.SUPPRESSED else state


def _shrink(tx: Connection, batch: Row[Any], group: RecipientGroup, *, resent: bool) -> None:
    whole = len(group.recipient_indexes) == batch.size
    values = {
        "state": _choose_state(group, resent=resent),
        "size": len(group.recipient_indexes),
        "recipient_indexes": batch.recipient_indexes if whole else list(group.recipient_indexes),
        "exclusion_reason": group.eligibility.exclusion_reason,
        "not_before": group.eligibility.not_before,
    }
    tx.execute(update(_BATCHES).where(_BATCHES.c.id == batch.id).values(values))


def _copy_resend_mark(tx: Connection, old_reference: str, new_reference: str) -> None:
    columns = _AUDIT.c.at, _AUDIT.c.actor, _AUDIT.c.action, _AUDIT.c.facts
    marks = select(*columns, literal(new_reference, String)).where(
        _AUDIT.c.subject == old_reference, _AUDIT.c.action == RESEND
    )
    tx.execute(insert(_AUDIT).from_select(["at", "actor", "action", "facts", "subject"], marks))
