"""Some recipients of a batch go into batches of their own: not at all, or at another time.

The batch keeps its reference and what is left; what is set aside is other lines of the same chunk.
Nothing of either is at Sinch, since only a batch that is being claimed is taken apart; but for one
that an operator had sent again.  Of that nobody knows, and what is set aside of it keeps that word.
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


# Made once: to make a statement costs several times what it takes to run one.
_LOCK_CHUNK = (
    select(_CHUNKS.c.number)
    .where(_CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number == bindparam("this"))
    .with_for_update()
)
_COUNT_ASIDE = select(func.count()).where(
    _BATCHES.c.broadcast_id == bindparam("of"),
    _BATCHES.c.chunk == bindparam("this"),
    _BATCHES.c.start >= MAX_BATCH_RECIPIENTS,
    _BATCHES.c.level == 0,
)
_ADD = insert(_BATCHES).returning(_BATCHES)
_KEEP = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"))
    .values(
        state=bindparam("stands"),
        size=bindparam("so_many"),
        recipient_indexes=bindparam("these"),
        exclusion_reason=bindparam("because"),
        not_before=bindparam("until"),
    )
)
_REPEAT_WORD = insert(_AUDIT).from_select(
    ["at", "actor", "action", "subject", "facts"],
    select(
        _AUDIT.c.at, _AUDIT.c.actor, _AUDIT.c.action, bindparam("new", type_=String), _AUDIT.c.facts
    ).where(_AUDIT.c.subject == bindparam("old"), _AUDIT.c.action == RESEND),
)


def withhold_recipients(
    tx: Connection, broadcast: Row[Any], batch: Row[Any], portions: Sequence[RecipientGroup]
) -> None:
    """Leave the first portion to a pending batch, and give every other one a batch of its own."""
    resent = was_resent(tx, batch.client_reference)
    _keep(tx, batch, portions[0], resent=resent)
    others = portions[1:]
    if not others:
        return
    place = {"of": broadcast.id, "this": batch.chunk}
    tx.execute(_LOCK_CHUNK, place)
    aside: int = tx.execute(_COUNT_ASIDE, place).scalar_one()
    for number, portion in enumerate(others, aside + 1):
        # Halves are numbered from their whole's start on: each has a batch's worth to itself.
        start = number * MAX_BATCH_RECIPIENTS
        reference = make_reference(broadcast.public_id, batch.chunk, start, 0)
        row = {
            "broadcast_id": broadcast.id,
            "chunk": batch.chunk,
            "start": start,
            "size": len(portion.recipient_indexes),
            "level": 0,
            "recipient_indexes": list(portion.recipient_indexes),
            "exclusion_reason": portion.eligibility.exclusion_reason,
            "client_reference": reference,
            "state": _choose_state(portion, resent=resent),
            "not_before": portion.eligibility.not_before,
        }
        created = tx.execute(_ADD, row).one()
        move_messages(tx, created, portion.recipients)
        if resent:
            tx.execute(_REPEAT_WORD, {"old": batch.client_reference, "new": reference})


def _choose_state(portion: RecipientGroup, *, resent: bool) -> BatchState:
    state = portion.eligibility.state
    return BatchState.CLOSED_UNSENT if resent and state is BatchState.SUPPRESSED else state


def _keep(tx: Connection, batch: Row[Any], portion: RecipientGroup, *, resent: bool) -> None:
    whole = len(portion.recipient_indexes) == batch.size
    values = {
        "this": batch.id,
        "stands": _choose_state(portion, resent=resent),
        "so_many": len(portion.recipient_indexes),
        "these": batch.recipient_indexes if whole else list(portion.recipient_indexes),
        "because": portion.eligibility.exclusion_reason,
        "until": portion.eligibility.not_before,
    }
    tx.execute(_KEEP, values)
