"""Erasures and suppressions that a restored backup has lost: repeat the erasures."""

from collections.abc import Iterator, Mapping

from sqlalchemy import select

from app.db.base import table_of
from app.db.prepared import chunked
from app.pagination import read_pages
from app.phone.e164 import normalise_number
from app.sms.context import Context
from app.sms.models.broadcast import Chunk
from app.sms.models.reports import Inbound
from app.sms.privacy.erase import erase_number
from app.subscribers.models import Cause, ConsentEvent, Subscriber, Suppression
from app.subscribers.suppressions.store import restore_phone

_PAGE_SIZE = 2_000
_CHUNK_PAGE_SIZE = 100


def erase_again(ctx: Context, *, actor: str) -> tuple[int, int]:
    """Erase numbers of erased people again; restore the phones of other suppressions by hash.

    Returns how many people were erased, and how many phones restored.  Reads every number in the
    database, which takes about 10 seconds a million.
    """
    query = select(Suppression.phone_hash, Suppression.cause).where(Suppression.phone.is_(None))
    with ctx.db.read() as tx:
        causes = dict(tx.execute(query).all())
    if not causes:
        return 0, 0
    found = _find_phones(ctx, causes)
    erased = [phone for phone, cause in found.items() if cause is Cause.ERASED]
    named = [phone for phone, cause in found.items() if cause is not Cause.ERASED]
    for phone in erased:
        erase_number(ctx, phone, actor=actor)
    for phones in chunked(named):
        with ctx.db.write() as tx:
            restore_phone(tx, ctx.subscriber_context, phones)
    return len(erased), len(named)


def _find_phones(ctx: Context, causes: Mapping[bytes, Cause]) -> dict[str, Cause]:
    """Return the numbers that have one of these hashes, with their cause."""
    found: dict[str, Cause] = {}
    for phones in _read_phones(ctx):
        for phone in phones:
            cause = causes.get(ctx.subscriber_context.hash_phone(phone))
            if cause is not None:
                found[phone] = cause
    return found


def _read_phones(ctx: Context) -> Iterator[set[str]]:
    for table in (Subscriber, ConsentEvent, Inbound):
        yield from _read_column(ctx, table)
    yield from _read_recipients(ctx)


def _read_column(
    ctx: Context, table: type[Subscriber] | type[ConsentEvent] | type[Inbound]
) -> Iterator[set[str]]:
    rows_of = table_of(table)
    phone = rows_of.c.sender if table is Inbound else rows_of.c.phone
    query = select(rows_of.c.id, phone.label("phone")).where(phone.is_not(None))
    for rows in read_pages(ctx.db, query, rows_of.c.id, size=_PAGE_SIZE):
        # Phones are hashed with their plus, which Sinch may leave out.
        phones = (normalise_number("+" + row.phone.lstrip("+")) for row in rows)
        yield {number for number in phones if number}


def _read_recipients(ctx: Context) -> Iterator[set[str]]:
    chunks = table_of(Chunk)
    key = chunks.c.broadcast_id, chunks.c.number
    query = select(*key, chunks.c.recipients)
    for rows in read_pages(ctx.db, query, *key, size=_CHUNK_PAGE_SIZE):
        yield {phone for row in rows for phone in row.recipients.split("\n") if phone}
