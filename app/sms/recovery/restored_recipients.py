"""Recipients of a batch from a backup: since then it may have been sent to others than it has."""

from collections import Counter
from collections.abc import Set
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, select, update

from app.db.base import table_of
from app.phone.e164 import respell
from app.sms.audience.chunks import BatchRecipients, load_batch_recipients
from app.sms.audience.split import find_free_start, split_off
from app.sms.context import Context
from app.sms.lifecycle.finalize import await_reports, reopen_broadcast
from app.sms.lifecycle.latency import NONE
from app.sms.models.batch import Batch, Message
from app.sms.models.reports import DeliveryCount
from app.sms.models.states import AT_SINCH, BatchState, BroadcastStatus
from app.sms.models.statuses import ENDED, MessageStatus
from app.sms.recovery.confirm import UPDATE_BATCH, accept_values
from app.sms.recovery.list_result import ListResult

_BATCHES = table_of(Batch)


def believe_list(
    tx: Connection, ctx: Context, row: Row[Any], broadcast: Row[Any], result: ListResult
) -> dict[str, Any]:
    """Let Sinch's list decide to whom a batch was sent.  Returns the batch's new columns."""
    _accept_elsewhere(tx, ctx, row, broadcast, result)
    return _set_others_aside(tx, ctx, row, broadcast, result.listed)


def _accept_elsewhere(
    tx: Connection, ctx: Context, row: Row[Any], broadcast: Row[Any], result: ListResult
) -> None:
    """Accept the listed recipients whom the database has in other batches of the broadcast.

    An audience that is looked up again after a restore may be divided in another way.  Batches that
    Sinch has, or that are being sent, stay as they are.  The others are looked up as before.
    """
    phones = result.listed | set(map(respell, result.listed))
    with_them = select(Message.batch_id).where(
        Message.broadcast_id == row.broadcast_id,
        Message.batch_id != row.id,
        Message.recipient.in_(phones),
    )
    not_sent = _BATCHES.c.state.not_in((*AT_SINCH, BatchState.SENDING))
    others = select(_BATCHES).where(_BATCHES.c.id.in_(with_them), not_sent)
    cancelled = broadcast.status is BroadcastStatus.CANCELLED
    accepted = accept_values(ctx, sinch_id=result.sinch_id, cancelled=cancelled)
    found = tx.execute(others.order_by(_BATCHES.c.id).with_for_update()).all()
    for other in found:
        values = accepted | {"next_reconcile_at": other.next_reconcile_at}
        content = load_batch_recipients(tx, other)
        listed = phones.intersection(content.recipients)
        if len(listed) < other.size:
            _, values = _move_off(tx, other, broadcast, content, listed, **values)
        UPDATE_BATCH.run(tx, other.id, values)
        bound = logger.bind(client_reference=other.client_reference, recipients=len(listed))
        bound.warning(
            "sinch lists recipients of a restored batch in another one: they were sent to"
        )
    if found:
        await_reports(tx, broadcast.id)


def _set_others_aside(
    tx: Connection, ctx: Context, row: Row[Any], broadcast: Row[Any], listed: Set[str]
) -> dict[str, Any]:
    """Move the recipients whom Sinch does not list to an unknown batch, and reopen the broadcast.

    A claim of which a restored database knows nothing may have withheld them.  Whether they were
    sent to since is looked up; an operator decides about them.  Returns the batch's new columns;
    none if it would have no recipient left.
    """
    ended = select(Message.recipient).where(
        Message.broadcast_id == row.broadcast_id,
        Message.batch_id == row.id,
        Message.status.in_(ENDED),
    )
    kept = listed | set(tx.execute(ended).scalars())
    content = load_batch_recipients(tx, row)
    aside = set(content.recipients) - kept
    if len(aside) in (0, row.size):
        return {}
    now = ctx.now()
    unknown = {"state": BatchState.UNKNOWN, "unknown_at": now, "next_reconcile_at": now}
    created, values = _move_off(tx, row, broadcast, content, aside, **unknown)
    _forget_submitted(tx, created)
    reopen_broadcast(tx, broadcast)
    bound = logger.bind(client_reference=row.client_reference, recipients=len(aside))
    bound.warning("sinch lists fewer recipients of a restored batch: the others are looked up")
    return values | ({"next_report_at": None} if row.ended >= values["size"] else {})


def _move_off(
    tx: Connection,
    row: Row[Any],
    broadcast: Row[Any],
    content: BatchRecipients,
    leaving: Set[str],
    **values: Any,
) -> tuple[Row[Any], dict[str, Any]]:
    """Move recipients of a batch, whose content is given, to a new one with these columns.

    Returns the new batch, and the new columns of the old one.
    """
    pairs = list(zip(content.recipient_indexes, content.recipients, strict=True))
    moved = [(index, phone) for index, phone in pairs if phone in leaving]
    created = split_off(
        tx,
        row,
        broadcast.public_id,
        start=find_free_start(tx, row),
        size=len(moved),
        recipient_indexes=[index for index, _ in moved],
        recipients=[phone for _, phone in moved],
        **values,
    )
    remaining = [index for index, phone in pairs if phone not in leaving]
    return created, {
        "size": len(remaining),
        "recipient_indexes": remaining,
        "rollup_dirty": True,
    }


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
