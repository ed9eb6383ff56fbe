"""Retention: the texts and numbers of broadcasts, and texts from phones, are deleted in time.

A broadcast's are deleted MESSAGES_KEPT_DAYS after all of it was reported, once the daily counters
have all of its batches.  The broadcast, its batches and its counts stay.  Deleting begins with a
transaction that marks the broadcast: from then on its messages are not shown, and reports on it
change nothing.  Then its messages go, some hundred in each transaction, and its chunks' numbers.
"""

from typing import Any

from sqlalchemy import Connection, Select, false, func, select, update

from app.db.base import table_of
from app.db.old_rows import OldRows, Stop, never
from app.sms.analytics.inbound_rollup import read_counted
from app.sms.context import Context
from app.sms.drafts.store import delete_draft_of
from app.sms.lifecycle.finalize import lock_broadcast
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk, IdempotencyKey
from app.sms.models.reports import Inbound
from app.subscribers.models import Suppression

_BROADCASTS, _BATCHES, _ATTEMPTS = table_of(Broadcast), table_of(Batch), table_of(Attempt)
_CHUNKS, _MESSAGES, _KEYS = table_of(Chunk), table_of(Message), table_of(IdempotencyKey)
_INBOUNDS, _SUPPRESSIONS = table_of(Inbound), table_of(Suppression)

_DIRTY = select(_BATCHES.c.id).where(
    _BATCHES.c.broadcast_id == _BROADCASTS.c.id, _BATCHES.c.rollup_dirty
)
_IN_REVIEW = select(_SUPPRESSIONS.c.id).where(
    _SUPPRESSIONS.c.needs_review, _SUPPRESSIONS.c.inbound == _INBOUNDS.c.sinch_id
)
# The entries of a request that are no phone numbers, in the answer to it.
_INVALID = "invalid_numbers"
# Chunks in one transaction, and broadcasts found by one statement.
_MAX_CHUNKS = 20
_PAGE_SIZE = 100


def old_inbounds(ctx: Context) -> OldRows:
    """Return the texts from phones that are due, but for those that a person has to review."""
    with ctx.db.read() as tx:
        counted = read_counted(tx)
    is_old = _INBOUNDS.c.recorded_at <= ctx.seconds_from_now(-ctx.rules.inbounds_kept_s)
    return OldRows(_INBOUNDS, is_old & (_INBOUNDS.c.id <= counted) & ~_IN_REVIEW.exists())


def count_due_messages(ctx: Context) -> int:
    """Return how many messages are in broadcasts whose texts and numbers are due."""
    due = _select_due(ctx).subquery()
    messages = _MESSAGES.join(due, due.c.id == _MESSAGES.c.broadcast_id)
    with ctx.db.read() as tx:
        return int(tx.execute(select(func.count()).select_from(messages)).scalar_one())


def purge_messages(ctx: Context, *, stop: Stop = never) -> int:
    """Delete the texts and numbers of broadcasts that are due, until `stop` returns True.

    Returns how many messages were deleted.
    """
    deleted = 0
    while True:
        with ctx.db.read() as tx:
            ids = list(tx.execute(_select_due(ctx).limit(_PAGE_SIZE)).scalars())
        for broadcast_id in ids:
            if stop():
                return deleted
            if _begin(ctx, broadcast_id):
                deleted += _delete_messages(ctx, broadcast_id, stop)
        if len(ids) < _PAGE_SIZE:
            return deleted


def _select_due(ctx: Context) -> Select[Any]:
    """Select the broadcasts that are due, and those that are being deleted from."""
    oldest = ctx.seconds_from_now(-ctx.rules.messages_kept_s)
    return (
        select(_BROADCASTS.c.id)
        .where(_BROADCASTS.c.is_purged == false(), _BROADCASTS.c.all_reported_at <= oldest)
        # A request is compared with those of this time.
        .where(_BROADCASTS.c.created_at <= ctx.seconds_from_now(-ctx.rules.repeat_window_s))
        .where(~_DIRTY.exists())
        .order_by(_BROADCASTS.c.all_reported_at)
    )


def _begin(ctx: Context, broadcast_id: int) -> bool:
    """Mark a broadcast and delete its text.  Returns False if it is not due any more."""
    with ctx.db.write() as tx:
        # No report is recorded meanwhile, nor later: it would find the mark.
        lock_counters(tx)
        broadcast = lock_broadcast(tx, broadcast_id)
        if broadcast.purged_at is not None:
            return True
        still_due = _select_due(ctx).where(_BROADCASTS.c.id == broadcast_id)
        if tx.execute(still_due).first() is None:
            return False
        tx.execute(
            update(_BROADCASTS)
            .where(_BROADCASTS.c.id == broadcast_id)
            .values(
                purged_at=ctx.now(),
                text="",
                # With the hash of a short text, its numbers could be guessed.
                text_hash=b"",
                texts=None,
                options={k: v for k, v in broadcast.options.items() if k != "defaults"},
                refusal=_leave_out(broadcast.refusal, "text"),
                resolved_to=None,
            )
        )
        _clear_answers(tx, broadcast_id)
        delete_draft_of(tx, broadcast_id)
        of_broadcast = select(_BATCHES.c.id).where(_BATCHES.c.broadcast_id == broadcast_id)
        attempts = update(_ATTEMPTS).where(_ATTEMPTS.c.batch_id.in_(of_broadcast))
        tx.execute(attempts.values(payload_hash=b""))
    return True


def _clear_answers(tx: Connection, broadcast_id: int) -> None:
    """Delete the entries that were no phone numbers from the stored answers to the request."""
    query = select(_KEYS).where(_KEYS.c.broadcast_id == broadcast_id, _KEYS.c.answer.is_not(None))
    for row in tx.execute(query).all():
        if _INVALID in row.answer or "details" in row.answer:
            key = (_KEYS.c.client == row.client, _KEYS.c.key == row.key)
            answer = _leave_out(row.answer, _INVALID, "details")
            tx.execute(update(_KEYS).where(*key).values(answer=answer))


def _leave_out(facts: dict[str, Any] | None, *names: str) -> dict[str, Any] | None:
    return facts and {name: value for name, value in facts.items() if name not in names}


def _delete_messages(ctx: Context, broadcast_id: int, stop: Stop) -> int:
    """Delete the messages and recipients of a marked broadcast.  Returns how many messages."""
    # In the order of their key: rows side by side are on few pages.
    messages = OldRows(_MESSAGES, _MESSAGES.c.broadcast_id == broadcast_id)
    deleted = messages.delete(ctx.db, stop=stop)
    is_cleared = False
    while not is_cleared and not stop():
        ctx.db.give_way()
        with ctx.db.write() as tx:
            is_cleared = not _clear_chunks(tx, broadcast_id)
            if is_cleared:
                done = update(_BROADCASTS).where(_BROADCASTS.c.id == broadcast_id)
                tx.execute(done.values(is_purged=True))
    return deleted


def _clear_chunks(tx: Connection, broadcast_id: int) -> int:
    """Delete the numbers and values of some chunks.  Returns how many chunks had any."""
    of_broadcast = _CHUNKS.c.broadcast_id == broadcast_id
    some = select(_CHUNKS.c.number).where(of_broadcast, _CHUNKS.c.recipients != "")
    cleared = update(_CHUNKS).where(of_broadcast, _CHUNKS.c.number.in_(some.limit(_MAX_CHUNKS)))
    return tx.execute(cleared.values(recipients="", parameters=None)).rowcount
