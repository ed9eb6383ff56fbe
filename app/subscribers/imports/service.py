"""Operations on imports: create, view, list, cancel, export the refusals, purge."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, tuple_, update

from app.csv_cells import write_lines
from app.db.base import table_of
from app.errors import BadInput, Conflict, NotFound
from app.ids import make_id
from app.pagination import Page, make_page
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.models import (
    Import,
    ImportChunk,
    ImportOptions,
    ImportRefusal,
    ImportStatus,
    Mode,
)

_PAGE = 2_000
# A chunk holds a million characters, and SQLite's other writers wait meanwhile.
_CHUNKS_AT_ONCE = 4
_REFUSALS_AT_ONCE = 5_000
_PURGED_AT_ONCE = 100
_HEADING = ("line", "column", "cell", "reason")

_IMPORTS, _CHUNKS = table_of(Import), table_of(ImportChunk)
_REFUSALS = table_of(ImportRefusal)


def create_import(ctx: SubscriberContext, options: ImportOptions, *, client: str) -> Row[Any]:
    """Create an import that waits for its file.  Raises BadInput for a consent of the future."""
    now = ctx.now()
    if options.consent and options.consent.at and options.consent.at > now:
        reason = "In the future"
        raise BadInput(f"consent.at: {reason}", fields={"consent": {"at": [f"{reason}."]}})
    if options.country is None:
        options = replace(options, country=ctx.rules.default_country)
    public_id = make_id(now)
    created = insert(_IMPORTS).values(
        public_id=public_id,
        client=client,
        status=ImportStatus.WAITING,
        options=options.to_json(),
        created_at=now,
    )
    with ctx.db.write() as tx:
        tx.execute(created)
        return _find(tx, ctx, public_id)


def view_import(ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """Return one import.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _find(tx, ctx, public_id)


def list_imports(
    ctx: SubscriberContext, *, limit: int, cursor: int | None = None
) -> Page[Row[Any]]:
    """List imports, newest first."""
    query = select(_IMPORTS).where(ctx.viewer.sees(_IMPORTS.c.client))
    query = query.order_by(_IMPORTS.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(_IMPORTS.c.id < cursor)
    with ctx.db.read() as tx:
        return make_page(tx.execute(query).all(), limit)


def cancel_import(ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """End an import; rows that are written stay.

    Raises NotFound.  Raises Conflict if it has ended, or is all or nothing and being written.
    """
    with ctx.db.write() as tx:
        row = lock_import(tx, ctx, public_id)
        writes = row.status is ImportStatus.WRITING
        if row.completed_at or (writes and row.options["mode"] == Mode.ALL_OR_NOTHING):
            reason = "has ended" if row.completed_at else "is being written, all of it"
            raise Conflict(f"The import {reason}", status=row.status.value)
        cancelled = {"status": ImportStatus.CANCELLED, "completed_at": ctx.now()}
        freed = {"lease": None, "leased_until": None, "upload": None}
        tx.execute(update(_IMPORTS).where(_IMPORTS.c.id == row.id).values({**cancelled, **freed}))
        return _find(tx, ctx, public_id)


def lock_import(tx: Connection, ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """Return an import, locked until the transaction ends.  Raises NotFound."""
    return _find(tx, ctx, public_id, lock=True)


def _find(
    tx: Connection, ctx: SubscriberContext, public_id: str, *, lock: bool = False
) -> Row[Any]:
    query = select(_IMPORTS).where(
        _IMPORTS.c.public_id == public_id, ctx.viewer.sees(_IMPORTS.c.client)
    )
    row = tx.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("There is no import with this id")
    return row


def export_refusals(ctx: SubscriberContext, public_id: str) -> Iterator[str]:
    """Yield the refused cells as a CSV file, some thousand lines at a time.

    Raises NotFound at once, also for an import whose refusals were deleted.
    """
    row = view_import(ctx, public_id)
    if row.purged_at is not None:
        raise NotFound("What this import refused has been deleted")
    return _write_refusals(ctx, row.id)


def _write_refusals(ctx: SubscriberContext, import_id: int) -> Iterator[str]:
    yield write_lines([_HEADING])
    key = tuple_(_REFUSALS.c.line, _REFUSALS.c.position)
    query = select(_REFUSALS).where(_REFUSALS.c.import_id == import_id).order_by(*key).limit(_PAGE)
    last = (0, 0)
    while True:
        with ctx.db.read() as tx:
            rows = tx.execute(query.where(key > tuple_(*last))).all()
        yield write_lines((row.line, row.header, row.cell, row.reason) for row in rows)
        if len(rows) < _PAGE:
            return
        last = rows[-1].line, rows[-1].position


def purge_imports(ctx: SubscriberContext) -> int:
    """Delete the files and refusals of imports that ended long ago.  Returns how many imports.

    An import that waits for its file is cancelled as long after its creation.
    """
    before = ctx.now() - timedelta(days=ctx.rules.import_kept_days)
    abandoned = select(_IMPORTS.c.public_id).where(
        _IMPORTS.c.completed_at.is_(None),
        _IMPORTS.c.status == ImportStatus.WAITING,
        _IMPORTS.c.created_at < before,
    )
    with ctx.db.read() as tx:
        public_ids = tx.execute(abandoned.limit(_PURGED_AT_ONCE)).scalars().all()
    for public_id in public_ids:
        with contextlib.suppress(Conflict):  # its file has come meanwhile
            cancel_import(ctx, public_id)
    return purge_completed(ctx, before=before)


def purge_completed(ctx: SubscriberContext, *, before: datetime) -> int:
    """Delete the files and refusals of at most 100 imports that ended before.  Returns how many."""
    query = select(_IMPORTS.c.id).where(
        _IMPORTS.c.purged_at.is_(None), _IMPORTS.c.completed_at < before
    )
    with ctx.db.read() as tx:
        ids = tx.execute(query.order_by(_IMPORTS.c.id).limit(_PURGED_AT_ONCE)).scalars().all()
    for import_id in ids:
        _delete_all(ctx, import_id)
        purged = update(_IMPORTS).where(_IMPORTS.c.id == import_id).values(purged_at=ctx.now())
        with ctx.db.write() as tx:
            tx.execute(purged)
    return len(ids)


def delete_some_chunks(tx: Connection, import_id: int) -> bool:
    """Delete a few chunks of a file.  Returns True if there were any."""
    some = select(_CHUNKS.c.id).where(_CHUNKS.c.import_id == import_id).limit(_CHUNKS_AT_ONCE)
    return tx.execute(delete(_CHUNKS).where(_CHUNKS.c.id.in_(some))).rowcount > 0


def _delete_all(ctx: SubscriberContext, import_id: int) -> None:
    """Delete the chunks and the refusals of an import, some in each transaction."""
    for delete_some in (delete_some_chunks, _delete_some_refusals):
        while True:
            with ctx.db.write() as tx:
                if not delete_some(tx, import_id):
                    break


def _delete_some_refusals(tx: Connection, import_id: int) -> bool:
    ours = _REFUSALS.c.import_id == import_id
    lines = select(_REFUSALS.c.line).where(ours).order_by(_REFUSALS.c.line).limit(1)
    last = tx.execute(lines.offset(_REFUSALS_AT_ONCE)).scalar()
    some = ours if last is None else ours & (_REFUSALS.c.line <= last)
    return tx.execute(delete(_REFUSALS).where(some)).rowcount > 0
