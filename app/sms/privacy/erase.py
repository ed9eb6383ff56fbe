"""Everything that is known of a person goes, for good, but that nobody writes to them.

At once: they are suppressed, and what the tables of people hold goes.  Of what was sent to them
their number goes, a name of no meaning in its place, so that all sums stay.  Where a batch has not
ended that comes later: what Sinch shows of it is compared with what we sent.  Until then the
number waits among the erasures, and is looked for again each minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, delete, literal, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import insert_new
from app.errors import NotFound
from app.phone.pseudonym import make_pseudonym, replace_number
from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to
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
# Where a number may stand.
PLACES = (MESSAGES, INBOUNDS, CALLBACKS, IMPORTS)
# Broadcasts looked for in one statement.
_PAGE = 200

_ERASURES, _SUBSCRIBERS = table_of(Erasure), table_of(Subscriber)
_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)
_KEYS = table_of(IdempotencyKey)

_OF_SUBSCRIBER = select(_SUBSCRIBERS.c.phone).where(_SUBSCRIBERS.c.public_id == bindparam("this"))
_ERASURE = select(_ERASURES).where(_ERASURES.c.phone == bindparam("who"))
_ASK_AGAIN = (
    update(_ERASURES)
    .where(_ERASURES.c.phone == bindparam("who"))
    .values(
        remaining=bindparam("all_", type_=_ERASURES.c.remaining.type), requested_at=bindparam("now")
    )
)
_OPEN_ERASURES = select(_ERASURES.c.phone).order_by(_ERASURES.c.requested_at)
_MESSAGE = (
    select(
        _MESSAGES.c.status,
        _BATCHES.c.state,
        _BATCHES.c.chunk,
        _BATCHES.c.next_report_at,
    )
    .join(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id)
    .where(_MESSAGES.c.broadcast_id == bindparam("of"), _MESSAGES.c.recipient == bindparam("who"))
)
_IS_TAKEN = select(_MESSAGES.c.batch_id).where(
    _MESSAGES.c.broadcast_id == bindparam("of"), _MESSAGES.c.recipient == bindparam("who")
)
_RENAME_MESSAGE = (
    update(_MESSAGES)
    .where(_MESSAGES.c.broadcast_id == bindparam("of"), _MESSAGES.c.recipient == bindparam("who"))
    .values(recipient=bindparam("name"))
)
_CHUNK = (
    select(_CHUNKS.c.recipients, _CHUNKS.c.parameters)
    .where(_CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number == bindparam("this"))
    .with_for_update()
)
_HAS_LINE = (literal("\n") + _CHUNKS.c.recipients + literal("\n")).contains(bindparam("line"))
# Cut into batches as a whole: what is not cut yet has no messages.
_UNCUT = (
    select(
        _CHUNKS.c.broadcast_id, _CHUNKS.c.number, _BROADCASTS.c.status, _BROADCASTS.c.completed_at
    )
    .join(_BROADCASTS, _BROADCASTS.c.id == _CHUNKS.c.broadcast_id)
    .where(_BROADCASTS.c.planned < _BROADCASTS.c.chunks)
    .where(_CHUNKS.c.number >= _BROADCASTS.c.planned, _HAS_LINE)
)
_LOOKING_UP = select(_BROADCASTS.c.id).where(
    _BROADCASTS.c.completed_at.is_(None), _BROADCASTS.c.resolving
)
_ANSWERS = select(_KEYS).where(_KEYS.c.broadcast_id == bindparam("of"), _KEYS.c.answer.is_not(None))
# The last number an audience was looked up to.
_FORGET_PLACE = (
    update(_BROADCASTS)
    .where(_BROADCASTS.c.resolved_to == bindparam("who"), ~_BROADCASTS.c.resolving)
    .values(resolved_to=None)
)
_UNFINISHED_IMPORT = (
    select(Import.id)
    .where(Import.completed_at.is_(None), Import.created_at <= bindparam("since"))
    .limit(1)
)
_REFUSAL = select(_BROADCASTS.c.refusal).where(_BROADCASTS.c.id == bindparam("this"))


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of an erasure: the suppression that stays, and what is still to go."""

    suppression_id: str
    remaining: list[str]


def erase_subscriber(ctx: Context, public_id: str, *, actor: str) -> Erased:
    """Erase the person that a subscriber is.  Raises NotFound."""
    with ctx.db.read() as tx:
        phone = tx.execute(_OF_SUBSCRIBER, {"this": public_id}).scalar()
    if phone is None:
        raise NotFound("There is no such subscriber.")
    return erase_number(ctx, phone, actor=actor)


def erase_number(ctx: Context, phone: str, *, actor: str) -> Erased:
    """Erase whoever has this number, subscriber or not.

    They are suppressed when this returns, or raises: what is left goes later in any case.
    """
    now = ctx.now()
    with ctx.db.write() as tx:
        suppression_id = forget_number(tx, ctx.subscriber_context, phone, at=now, actor=actor)
        places = list(PLACES)
        if not insert_new(
            tx, Erasure, phone=phone, requested_at=now, actor=actor, remaining=places
        ):
            tx.execute(_ASK_AGAIN, {"who": phone, "now": now, "all_": places})
        write_audit(tx, now=now, actor=actor, action="erase", subject=suppression_id)
    logger.bind(suppression=suppression_id, client=actor).info("a person is erased")
    return Erased(suppression_id, _go_on(ctx, phone))


def continue_erasures(ctx: Context) -> int:
    """Erase what could not go before; how many erasures are not finished."""
    with ctx.db.read() as tx:
        phones = tx.execute(_OPEN_ERASURES).scalars().all()
    open_still = 0
    for phone in phones:
        try:
            open_still += bool(_go_on(ctx, phone))
        except Exception as e:
            open_still += 1
            logger.opt(exception=e).error("an erasure could not go on: tried again in a minute")
    return open_still


def _go_on(ctx: Context, phone: str) -> list[str]:
    """Erase what can go by now; what is left.  Sooner or later all of it can."""
    with ctx.db.read() as tx:
        erasure = tx.execute(_ERASURE, {"who": phone}).first()
    if erasure is None:
        return []  # another process was quicker
    remaining = _look_through(ctx, erasure, erasure.remaining)
    if not remaining and erasure.remaining != list(PLACES):
        # What was clean before may not be so any more.
        remaining = _look_through(ctx, erasure, PLACES)
    this = _ERASURES.c.phone == phone
    with ctx.db.write() as tx:
        if remaining:
            tx.execute(update(_ERASURES).where(this).values(remaining=remaining))
        else:
            tx.execute(delete(_ERASURES).where(this))
    return remaining


def _look_through(ctx: Context, erasure: Row[Any], places: Sequence[str]) -> list[str]:
    """Erase what can go of these places; those where something is left."""
    remaining = []
    if MESSAGES in places and _erase_messages(ctx, erasure.phone):
        remaining.append(MESSAGES)
    if INBOUNDS in places or CALLBACKS in places:
        remaining += remove_traces(ctx, erasure.phone)
    if IMPORTS in places and _erase_import_files(ctx, erasure.requested_at):
        remaining.append(IMPORTS)
    return remaining


def _erase_import_files(ctx: Context, requested_at: datetime) -> bool:
    """Delete the files of imports, where a number stands in any way of writing it; whether one
    from before the request has not ended yet."""
    _forget_files(ctx, before=requested_at)
    with ctx.db.read() as tx:
        if tx.execute(_UNFINISHED_IMPORT, {"since": requested_at}).first():
            return True
    _forget_files(ctx, before=ctx.now())
    return False


def _forget_files(ctx: Context, *, before: datetime) -> None:
    while purge_completed(ctx.subscriber_context, before=before):
        pass


def _erase_messages(ctx: Context, phone: str) -> bool:
    """Rename what may be renamed; whether anything may not yet."""
    kept = False
    for broadcast_id in _find_broadcasts(ctx, phone):
        with ctx.db.write() as tx:
            lock_counters(tx)
            kept |= not _rename_in_batch(tx, broadcast_id, phone)
    with ctx.db.write() as tx:
        tx.execute(_FORGET_PLACE, {"who": phone})
    with ctx.db.read() as tx:
        uncut = tx.execute(_UNCUT, {"line": f"\n{phone}\n"}).all()
        kept |= tx.execute(_LOOKING_UP).first() is not None
    for chunk in uncut:
        if chunk.status in FINAL:
            with ctx.db.write() as tx:
                _rename_everywhere(tx, chunk.broadcast_id, chunk.number, phone)
        else:
            kept = True
    return kept


def _find_broadcasts(ctx: Context, phone: str) -> Iterator[int]:
    before = BEYOND_ALL
    while True:
        with ctx.db.read() as tx:
            found = find_broadcasts_to(tx, phone, before=before, limit=_PAGE)
        yield from found
        if len(found) < _PAGE:
            return
        before = found[-1]


def _rename_in_batch(tx: Connection, broadcast_id: int, phone: str) -> bool:
    """Rename a message; False where its number is still needed."""
    message = tx.execute(_MESSAGE, {"of": broadcast_id, "who": phone}).first()
    if message is None:
        return True
    if not _has_ended(message):
        return False
    _rename_everywhere(tx, broadcast_id, message.chunk, phone)
    return True


def _has_ended(message: Any) -> bool:
    """Whether nothing is awaited any more of the batch, nor of this message at Sinch."""
    if message.state in OPEN or message.state is BatchState.NEEDS_ATTENTION:
        return False
    if message.state not in AT_SINCH:
        return True
    return message.status in ENDED or message.next_report_at is None


def _rename_everywhere(tx: Connection, broadcast_id: int, chunk: int, phone: str) -> None:
    name = _draw_name(tx, broadcast_id, phone)
    tx.execute(_RENAME_MESSAGE, {"of": broadcast_id, "who": phone, "name": name})
    row = tx.execute(_CHUNK, {"of": broadcast_id, "this": chunk}).one()
    lines = [name if line == phone else line for line in row.recipients.split("\n")]
    parameters = row.parameters and {
        key: {who: value for who, value in values.items() if who != phone}
        for key, values in row.parameters.items()
    }
    this = (_CHUNKS.c.broadcast_id == broadcast_id, _CHUNKS.c.number == chunk)
    changed = update(_CHUNKS).where(*this)
    tx.execute(changed.values(recipients="\n".join(lines), parameters=parameters))
    _rename_in_words(tx, broadcast_id, phone, name)


def _rename_in_words(tx: Connection, broadcast_id: int, phone: str, name: str) -> None:
    """Sinch's refusal of a batch may quote a number of it, and so may our answer."""
    refusal = tx.execute(_REFUSAL, {"this": broadcast_id}).scalar()
    if refusal and replace_number(refusal, phone, name) != refusal:
        words = replace_number(refusal, phone, name)
        told = update(_BROADCASTS).where(_BROADCASTS.c.id == broadcast_id)
        tx.execute(told.values(refusal=words))
    for row in tx.execute(_ANSWERS, {"of": broadcast_id}).all():
        words = replace_number(row.answer, phone, name)
        if words != row.answer:
            this = (_KEYS.c.client == row.client, _KEYS.c.key == row.key)
            tx.execute(update(_KEYS).where(*this).values(answer=words))


def _draw_name(tx: Connection, broadcast_id: int, phone: str) -> str:
    """A name that nobody else has in this broadcast."""
    # Few names are as short as a very short number: then a longer one will do.
    for model in (phone,) * 5 + (phone.ljust(16, "0"),) * 100:
        name = make_pseudonym(model)
        if tx.execute(_IS_TAKEN, {"of": broadcast_id, "who": name}).first() is None:
            return name
    raise RuntimeError("no name is free")
