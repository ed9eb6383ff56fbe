"""Erase a person's data permanently; only the hashed suppression remains.

Suppressing the number and deleting the subscriber is immediate.  In ended broadcasts a pseudonym
replaces the number, so that all counts stay.  In open ones the number is needed to compare what
Sinch reports with what was sent: the erasure stays queued, and a job continues it each minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, delete, select, update

from app.db.audit import write_audit
from app.db.engine import insert_new
from app.errors import NotFound
from app.phone.pseudonym import make_pseudonym, replace_number
from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to, is_unplanned_to
from app.sms.context import Context
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk, IdempotencyKey
from app.sms.models.erasure import Erasure
from app.sms.models.states import AT_SINCH, FINAL, OPEN, BatchState
from app.sms.models.statuses import ENDED
from app.sms.privacy.traces import CALLBACKS, INBOUNDS, remove_traces
from app.subscribers.imports.models import Import
from app.subscribers.imports.service import purge_completed
from app.subscribers.models import Subscriber
from app.subscribers.suppressions.forget import forget_number

MESSAGES, IMPORTS = "messages", "imports"
# The places that an erasure has to clear.
PLACES = (MESSAGES, INBOUNDS, CALLBACKS, IMPORTS)
# Broadcasts found by one statement.
_PAGE_SIZE = 200


@dataclass(frozen=True, slots=True)
class Erased:
    """Result of an erasure: the suppression that stays, and the places still to be cleared."""

    suppression_id: str
    remaining: list[str]


def erase_subscriber(ctx: Context, public_id: str, *, actor: str) -> Erased:
    """Erase the person behind a subscriber.  Raises NotFound."""
    query = select(Subscriber.phone).where(Subscriber.public_id == public_id)
    with ctx.db.read() as tx:
        phone = tx.execute(query).scalar()
    if phone is None:
        raise NotFound("There is no such subscriber.")
    return erase_number(ctx, phone, actor=actor)


def erase_number(ctx: Context, phone: str, *, actor: str) -> Erased:
    """Erase the person with this number, subscriber or not.

    The number is suppressed and the erasure is queued before anything else can fail.
    """
    now = ctx.now()
    with ctx.db.write() as tx:
        suppression_id = forget_number(tx, ctx.subscriber_context, phone, at=now, actor=actor)
        row = {"requested_at": now, "remaining": list(PLACES)}
        if not insert_new(tx, Erasure, phone=phone, actor=actor, **row):
            tx.execute(update(Erasure).where(Erasure.phone == phone).values(row))
        write_audit(tx, now, actor, "erase", suppression_id)
    logger.bind(suppression=suppression_id, client=actor).info("a person is erased")
    return Erased(suppression_id, _continue_erasure(ctx, phone))


def continue_erasures(ctx: Context) -> int:
    """Continue the queued erasures.  Returns how many are not finished."""
    with ctx.db.read() as tx:
        phones = tx.execute(select(Erasure.phone).order_by(Erasure.requested_at)).scalars().all()
    unfinished = 0
    for phone in phones:
        try:
            unfinished += bool(_continue_erasure(ctx, phone))
        except Exception as e:
            unfinished += 1
            logger.opt(exception=e).error("an erasure failed: it is tried again in a minute")
    return unfinished


def _continue_erasure(ctx: Context, phone: str) -> list[str]:
    """Clear what can be cleared by now.  Returns the places that remain."""
    with ctx.db.read() as tx:
        erasure = tx.execute(select(Erasure.__table__).where(Erasure.phone == phone)).first()
    if erasure is None:
        return []  # another process has finished it
    remaining = _clear_places(ctx, erasure, erasure.remaining)
    if not remaining and erasure.remaining != list(PLACES):
        # Places that were clear before may contain the number again.
        remaining = _clear_places(ctx, erasure, PLACES)
    with ctx.db.write() as tx:
        if remaining:
            kept = update(Erasure).where(Erasure.phone == phone)
            tx.execute(kept.values(remaining=remaining))
        else:
            tx.execute(delete(Erasure).where(Erasure.phone == phone))
    return remaining


def _clear_places(ctx: Context, erasure: Row[Any], places: Sequence[str]) -> list[str]:
    """Clear these places as far as possible.  Returns those that remain."""
    remaining = []
    if MESSAGES in places and _clear_messages(ctx, erasure.phone):
        remaining.append(MESSAGES)
    if INBOUNDS in places or CALLBACKS in places:
        remaining += remove_traces(ctx, erasure.phone)
    if IMPORTS in places and _delete_import_files(ctx, erasure.requested_at):
        remaining.append(IMPORTS)
    return remaining


def _delete_import_files(ctx: Context, requested_at: datetime) -> bool:
    """Delete all files of completed imports: a number may be spelt in any way in them.

    Returns True if an import from before the request has not completed.
    """
    purge_completed(ctx.subscriber_context, before=requested_at)
    unfinished = (
        select(Import.id)
        .where(Import.completed_at.is_(None), Import.created_at <= requested_at)
        .limit(1)
    )
    with ctx.db.read() as tx:
        if tx.execute(unfinished).first():
            return True
    purge_completed(ctx.subscriber_context, before=ctx.now())
    return False


def _clear_messages(ctx: Context, phone: str) -> bool:
    """Rename the number in ended broadcasts.  Returns True if it remains in others."""
    remains = False
    for broadcast_id in _find_broadcasts(ctx, phone):
        with ctx.db.write() as tx:
            lock_counters(tx)
            remains |= not _rename_planned(tx, broadcast_id, phone)
    with ctx.db.write() as tx:
        # The last number that a finished lookup has read.
        looked_up = update(Broadcast).where(Broadcast.resolved_to == phone, ~Broadcast.resolving)
        tx.execute(looked_up.values(resolved_to=None))
    query = (
        select(Chunk.broadcast_id, Chunk.number, Broadcast.status)
        .join(Broadcast, Broadcast.id == Chunk.broadcast_id)
        .where(is_unplanned_to(phone))
    )
    with ctx.db.read() as tx:
        unplanned = tx.execute(query).all()
        remains |= _is_looking_up(tx)
    for chunk in unplanned:
        if chunk.status in FINAL:
            with ctx.db.write() as tx:
                _rename(tx, chunk.broadcast_id, chunk.number, phone)
        else:
            remains = True
    return remains


def _is_looking_up(tx: Connection) -> bool:
    query = select(Broadcast.id).where(Broadcast.completed_at.is_(None), Broadcast.resolving)
    return tx.execute(query).first() is not None


def _find_broadcasts(ctx: Context, phone: str) -> Iterator[int]:
    before = BEYOND_ALL
    while True:
        with ctx.db.read() as tx:
            found = find_broadcasts_to(tx, phone, before=before, limit=_PAGE_SIZE)
        yield from found
        if len(found) < _PAGE_SIZE:
            return
        before = found[-1]


def _rename_planned(tx: Connection, broadcast_id: int, phone: str) -> bool:
    """Rename the number of a message.  Returns False if the number is still needed."""
    query = (
        select(Message.status, Batch.state, Batch.chunk, Batch.next_report_at)
        .join(Batch, Batch.id == Message.batch_id)
        .where(Message.broadcast_id == broadcast_id, Message.recipient == phone)
    )
    message = tx.execute(query).first()
    if message is None:
        return True
    if not _has_ended(message):
        return False
    _rename(tx, broadcast_id, message.chunk, phone)
    return True


def _has_ended(message: Any) -> bool:
    """Return True if no outcome of the batch and no report of the message is awaited."""
    if message.state in OPEN or message.state is BatchState.NEEDS_ATTENTION:
        return False
    if message.state not in AT_SINCH:
        return True
    return message.status in ENDED or message.next_report_at is None


def _rename(tx: Connection, broadcast_id: int, chunk: int, phone: str) -> None:
    """Replace the number by a pseudonym in a broadcast's message, chunk, refusal and answers."""
    pseudonym = _choose_pseudonym(tx, broadcast_id, phone)
    message = update(Message).where(
        Message.broadcast_id == broadcast_id, Message.recipient == phone
    )
    tx.execute(message.values(recipient=pseudonym))
    this_chunk = (Chunk.broadcast_id == broadcast_id, Chunk.number == chunk)
    query = select(Chunk.recipients, Chunk.parameters).where(*this_chunk).with_for_update()
    row = tx.execute(query).one()
    phones = [pseudonym if line == phone else line for line in row.recipients.split("\n")]
    parameters = row.parameters and {
        name: {key: value for key, value in values.items() if key != phone}
        for name, values in row.parameters.items()
    }
    renamed = update(Chunk).where(*this_chunk)
    tx.execute(renamed.values(recipients="\n".join(phones), parameters=parameters))
    _rename_in_texts(tx, broadcast_id, phone, pseudonym)


def _rename_in_texts(tx: Connection, broadcast_id: int, phone: str, pseudonym: str) -> None:
    """Replace a number that Sinch's refusal of a batch quotes, and so perhaps our answer."""
    this_broadcast = Broadcast.id == broadcast_id
    refusal = tx.execute(select(Broadcast.refusal).where(this_broadcast)).scalar()
    renamed = refusal and replace_number(refusal, phone, pseudonym)
    if renamed != refusal:
        tx.execute(update(Broadcast).where(this_broadcast).values(refusal=renamed))
    answers = select(IdempotencyKey.__table__).where(
        IdempotencyKey.broadcast_id == broadcast_id, IdempotencyKey.answer.is_not(None)
    )
    for row in tx.execute(answers).all():
        answer = replace_number(row.answer, phone, pseudonym)
        if answer != row.answer:
            this_key = (IdempotencyKey.client == row.client, IdempotencyKey.key == row.key)
            tx.execute(update(IdempotencyKey).where(*this_key).values(answer=answer))


def _choose_pseudonym(tx: Connection, broadcast_id: int, phone: str) -> str:
    """Choose a pseudonym that is unique in this broadcast."""
    # There are few pseudonyms as short as a very short number: then take a longer one.
    for model in (phone,) * 5 + (phone.ljust(16, "0"),) * 100:
        pseudonym = make_pseudonym(model)
        taken = select(Message.batch_id).where(
            Message.broadcast_id == broadcast_id, Message.recipient == pseudonym
        )
        if tx.execute(taken).first() is None:
            return pseudonym
    raise RuntimeError("no pseudonym is free")
