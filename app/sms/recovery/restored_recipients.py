"""Recipients of a batch from a backup: since then it may have been sent to fewer than it has."""

from collections import Counter
from collections.abc import Set
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, select, update

from app.sms.audience.chunks import load_batch_recipients
from app.sms.audience.split import find_free_start, split_off
from app.sms.context import Context
from app.sms.lifecycle.finalize import reopen_broadcast
from app.sms.lifecycle.latency import NONE
from app.sms.models.batch import Message
from app.sms.models.reports import DeliveryCount
from app.sms.models.states import BatchState
from app.sms.models.statuses import ENDED, MessageStatus


def set_others_aside(
    tx: Connection,
    ctx: Context,
    row: Row[Any],
    broadcast: Row[Any],
    listed: Set[str],
) -> dict[str, Any]:
    """Move the recipients whom Sinch does not list to an unknown batch, and reopen the broadcast.

    A claim of which a restored database knows nothing may have withheld them.  Whether they were
    sent to since is looked up; an operator decides about them.  Returns the batch's new columns.
    """
    content = load_batch_recipients(tx, row)
    ended = select(Message.recipient).where(
        Message.broadcast_id == row.broadcast_id,
        Message.batch_id == row.id,
        Message.status.in_(ENDED),
    )
    kept = listed | set(tx.execute(ended).scalars())
    pairs = list(zip(content.recipient_indexes, content.recipients, strict=True))
    aside = [(index, phone) for index, phone in pairs if phone not in kept]
    if not aside:
        return {}
    now = ctx.now()
    created = split_off(
        tx,
        row,
        broadcast.public_id,
        start=find_free_start(tx, row),
        size=len(aside),
        recipient_indexes=[index for index, _ in aside],
        recipients=[phone for _, phone in aside],
        state=BatchState.UNKNOWN,
        unknown_at=now,
        next_reconcile_at=now,
    )
    _forget_submitted(tx, created)
    reopen_broadcast(tx, broadcast)
    bound = logger.bind(client_reference=row.client_reference, recipients=len(aside))
    bound.warning("sinch lists fewer recipients of a restored batch: the others are looked up")
    remaining = [index for index, phone in pairs if phone in kept]
    values = {"size": len(remaining), "recipient_indexes": remaining, "rollup_dirty": True}
    return values | ({"next_report_at": None} if row.ended >= len(remaining) else {})


def _forget_submitted(tx: Connection, batch: Row[Any]) -> None:
    """Take back reports that said of a whole batch that Sinch has it."""
    reported = [
        Message.broadcast_id == batch.broadcast_id,
        Message.batch_id == batch.id,
        Message.status == MessageStatus.SUBMITTED,
    ]
    codes = Counter(tx.execute(select(Message.code).where(*reported)).scalars())
    for code, messages in codes.items():
        count = update(DeliveryCount).where(
            DeliveryCount.broadcast_id == batch.broadcast_id,
            DeliveryCount.status == MessageStatus.SUBMITTED,
            DeliveryCount.code == (NONE if code is None else code),
        )
        tx.execute(count.values(messages=DeliveryCount.messages - messages))
    unreported = {"status": None, "code": None, "status_at": None, "recorded_at": None}
    tx.execute(update(Message).where(*reported).values(unreported))
