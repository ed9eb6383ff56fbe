"""After a restore from a backup: whom the backup still knows by number, and nobody should."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Select, bindparam, select

from app.db.base import table_of
from app.phone.e164 import normalise_number
from app.sms.context import Context
from app.sms.models.broadcast import Chunk
from app.sms.models.reports import Inbound
from app.sms.privacy.erase import erase_number
from app.subscribers.models import Cause, ConsentEvent, Subscriber, Suppression
from app.subscribers.suppressions.store import QUERY_CHUNK_SIZE, restore_phone

_PAGE = 2_000

_SUPPRESSIONS, _CHUNKS = table_of(Suppression), table_of(Chunk)
_NAMELESS = select(_SUPPRESSIONS.c.phone_hash, _SUPPRESSIONS.c.cause).where(
    _SUPPRESSIONS.c.phone.is_(None)
)
_NEXT_CHUNKS = (
    select(_CHUNKS.c.broadcast_id, _CHUNKS.c.number, _CHUNKS.c.recipients)
    .where(
        (_CHUNKS.c.broadcast_id > bindparam("of"))
        | ((_CHUNKS.c.broadcast_id == bindparam("of")) & (_CHUNKS.c.number > bindparam("this")))
    )
    .order_by(_CHUNKS.c.broadcast_id, _CHUNKS.c.number)
    .limit(100)
)


def _make_walk(
    table: type[Subscriber] | type[ConsentEvent] | type[Inbound],
) -> Select[tuple[int, str]]:
    rows = table_of(table)
    number = rows.c.sender if table is Inbound else rows.c.phone
    walk = select(rows.c.id, number.label("number")).where(
        rows.c.id > bindparam("after"), number.is_not(None)
    )
    return walk.order_by(rows.c.id).limit(_PAGE)


_WALKS = tuple(_make_walk(table) for table in (Subscriber, ConsentEvent, Inbound))


@dataclass(frozen=True, slots=True)
class ErasedAgain:
    """How many people were erased once more, and how many suppressions have their number back."""

    erased: int
    named: int


def erase_again(ctx: Context, *, actor: str) -> ErasedAgain:
    """Look through all numbers there are: erase whoever was, name whoever was not.

    Takes some 10 seconds a million numbers.
    """
    with ctx.db.read() as tx:
        nameless = {row.phone_hash: row.cause for row in tx.execute(_NAMELESS)}
    if not nameless:
        return ErasedAgain(0, 0)
    found = _find(ctx, nameless)
    erased = [phone for phone, cause in found.items() if cause is Cause.ERASED]
    named = [phone for phone, cause in found.items() if cause is not Cause.ERASED]
    for phone in erased:
        erase_number(ctx, phone, actor=actor)
    for start in range(0, len(named), QUERY_CHUNK_SIZE):
        with ctx.db.write() as tx:
            restore_phone(tx, ctx.subscriber_context, named[start : start + QUERY_CHUNK_SIZE])
    return ErasedAgain(len(erased), len(named))


def _find(ctx: Context, nameless: Mapping[bytes, Cause]) -> dict[str, Cause]:
    found: dict[str, Cause] = {}
    for numbers in _read_numbers(ctx):
        for number in numbers:
            cause = nameless.get(ctx.subscriber_context.hash_phone(number))
            if cause is not None:
                found[number] = cause
    return found


def _read_numbers(ctx: Context) -> Iterator[set[str]]:
    for walk in _WALKS:
        after = 0
        while True:
            with ctx.db.read() as tx:
                rows = tx.execute(walk, {"after": after}).all()
            if not rows:
                break
            after = rows[-1].id
            yield {number for row in rows if (number := _complete(row.number))}
    yield from _read_recipients(ctx)


def _read_recipients(ctx: Context) -> Iterator[set[str]]:
    place = {"of": 0, "this": 0}
    while True:
        with ctx.db.read() as tx:
            rows = tx.execute(_NEXT_CHUNKS, place).all()
        if not rows:
            return
        place = {"of": rows[-1].broadcast_id, "this": rows[-1].number}
        yield {line for row in rows for line in row.recipients.split("\n")}


def _complete(number: str) -> str | None:
    """A number as it is hashed: Sinch may leave out its plus."""
    return normalise_number("+" + number.lstrip("+"))
