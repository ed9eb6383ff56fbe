"""Operations on imports: create, view, list, cancel, export the refusals, purge."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from app.csv_cells import write_lines
from app.db.base import table_of
from app.db.old_rows import Stop, never
from app.errors import BadInput, Conflict, NotFound
from app.ids import make_id
from app.pagination import Page, read_newest, read_pages
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.denials import delete_some_denials
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
_PURGED_AT_ONCE = 100
_HEADING = ("line", "column", "cell", "reason")

_IMPORTS, _CHUNKS = table_of(Import), table_of(ImportChunk)
_REFUSALS = table_of(ImportRefusal)


def create_import(
    ctx: SubscriberContext,
    options: ImportOptions,
    *,
    client: str,
    created_by: str | None = None,
    file_name: str | None = None,
) -> Row[Any]:
    """Create an import that waits for its file.

    Raises BadInput for a consent of the future, and Conflict if too many imports have not ended.
    """
    now = ctx.now()
    public_id = make_id(now)
    created = insert(_IMPORTS).values(
        public_id=public_id,
        client=client,
        created_by=created_by,
        file_name=file_name,
        status=ImportStatus.WAITING,
        options=complete_options(ctx, options).to_json(),
        created_at=now,
    )
    with ctx.db.write() as tx:
        tx.execute(created)
        require_quota(tx, ctx, client)
        return _find(tx, ctx, public_id)


def complete_options(ctx: SubscriberContext, options: ImportOptions) -> ImportOptions:
    """Return options with the default country.  Raises BadInput for a consent of the future."""
    if options.consent and options.consent.at and options.consent.at > ctx.now():
        reason = "In the future"
        raise BadInput(f"consent.at: {reason}", fields={"consent": {"at": [f"{reason}."]}})
    return replace(options, country=options.country or ctx.rules.default_country)


def require_quota(tx: Connection, ctx: SubscriberContext, client: str) -> None:
    """Raise Conflict if unfinished imports, or their files' bytes, are more than they may be."""
    rules = ctx.rules
    query = select(_IMPORTS.c.client, func.count(), func.sum(_IMPORTS.c.bytes))
    unfinished = query.where(_IMPORTS.c.completed_at.is_(None)).group_by(_IMPORTS.c.client)
    rows = tx.execute(unfinished).all()
    own = [row for row in rows if row.client == client]
    for counted, whose, files, max_bytes in (
        (own, "CLIENT", rules.import_client_files, rules.import_client_bytes),
        (rows, "TOTAL", rules.import_total_files, rules.import_total_bytes),
    ):
        scope = "of this client" if whose == "CLIENT" else "of all clients"
        if sum(count for _, count, _ in counted) > files:
            raise Conflict(
                f"{files} imports {scope} have not ended, which is the maximum "
                f"(IMPORT_{whose}_FILES): wait until some end, or cancel some"
            )
        if sum(stored for _, _, stored in counted) > max_bytes:
            raise Conflict(
                f"The files of unfinished imports {scope} would have more than {max_bytes} bytes, "
                f"the maximum (IMPORT_{whose}_BYTES): wait until some end, or cancel some"
            )


def view_import(ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """Return one import.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _find(tx, ctx, public_id)


def list_imports(
    ctx: SubscriberContext, *, limit: int, cursor: int | None = None
) -> Page[Row[Any]]:
    """List imports, newest first."""
    query = select(_IMPORTS).where(ctx.viewer.sees(_IMPORTS.c.client))
    with ctx.db.read() as tx:
        return read_newest(tx, query, _IMPORTS.c.id, cursor=cursor, limit=limit)


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
        ended = _find(tx, ctx, public_id)
    delete_file(ctx, ended.id)
    return ended


def lock_import(tx: Connection, ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """Return an import, locked until the transaction ends.  Raises NotFound."""
    return _find(tx, ctx, public_id, lock=True)


def _find(
    tx: Connection, ctx: SubscriberContext, public_id: str, *, lock: bool = False
) -> Row[Any]:
    row = ctx.viewer.find(tx, _IMPORTS, public_id, lock=lock)
    if row is None:
        raise NotFound("There is no import with this id")
    return row


def export_refusals(
    ctx: SubscriberContext, public_id: str, *, warnings: bool = False
) -> Iterator[str]:
    """Yield the refused cells as a CSV file, some thousand lines at a time.

    With `warnings` yields the cells of rows that were taken with a warning instead.
    Raises NotFound at once, also for an import whose refusals were deleted.
    """
    row = view_import(ctx, public_id)
    if row.purged_at is not None:
        raise NotFound("What this import refused has been deleted")
    return _write_cells(ctx, row.id, warnings=warnings)


def list_refusals(ctx: SubscriberContext, public_id: str, *, limit: int) -> Sequence[Row[Any]]:
    """Return the first refused cells of an import, by line.  Raises NotFound."""
    ours = _REFUSALS.c.import_id == view_import(ctx, public_id).id, ~_REFUSALS.c.is_warning
    query = select(_REFUSALS).where(*ours).order_by(_REFUSALS.c.line, _REFUSALS.c.position)
    with ctx.db.read() as tx:
        return tx.execute(query.limit(limit)).all()


def _write_cells(ctx: SubscriberContext, import_id: int, *, warnings: bool) -> Iterator[str]:
    yield write_lines([_HEADING])
    key = _REFUSALS.c.line, _REFUSALS.c.position
    ours = _REFUSALS.c.import_id == import_id, _REFUSALS.c.is_warning == warnings
    for rows in read_pages(ctx.db, select(_REFUSALS).where(*ours), *key, size=_PAGE):
        yield write_lines((row.line, row.header, row.cell, row.reason) for row in rows)


def purge_imports(ctx: SubscriberContext, *, stop: Stop = never) -> int:
    """Delete the refusals of imports that ended long ago, until `stop` returns True.

    Returns how many imports.  One that waits for its file is cancelled as long after its creation.
    Files that a crash left behind an import's end are deleted, too.
    """
    before = ctx.now() - timedelta(days=ctx.rules.import_kept_days)
    abandoned = select(_IMPORTS.c.public_id).where(
        _IMPORTS.c.completed_at.is_(None),
        _IMPORTS.c.status == ImportStatus.WAITING,
        _IMPORTS.c.created_at < before,
    )
    left_behind = select(_IMPORTS.c.id).where(
        _IMPORTS.c.completed_at.is_not(None),
        _IMPORTS.c.purged_at.is_(None),
        exists(select(_CHUNKS.c.id).where(_CHUNKS.c.import_id == _IMPORTS.c.id)),
    )
    with ctx.db.read() as tx:
        public_ids = tx.execute(abandoned.limit(_PURGED_AT_ONCE)).scalars().all()
        ids = tx.execute(left_behind.limit(_PURGED_AT_ONCE)).scalars().all()
    for import_id in ids:
        delete_file(ctx, import_id)
    for public_id in public_ids:
        with contextlib.suppress(Conflict):  # its file has come meanwhile
            cancel_import(ctx, public_id)
    return purge_completed(ctx, before=before, stop=stop)


def count_old_imports(ctx: SubscriberContext) -> int:
    """Return how many imports ended long enough ago to be deleted with their refusals."""
    before = ctx.now() - timedelta(days=ctx.rules.import_kept_days)
    query = select(func.count()).where(
        _IMPORTS.c.purged_at.is_(None), _IMPORTS.c.completed_at < before
    )
    with ctx.db.read() as tx:
        return int(tx.execute(query).scalar_one())


def purge_completed(ctx: SubscriberContext, *, before: datetime, stop: Stop = never) -> int:
    """Delete files and refusals of imports that ended `before`.  Returns how many imports."""
    query = select(_IMPORTS.c.id).where(
        _IMPORTS.c.purged_at.is_(None), _IMPORTS.c.completed_at < before
    )
    purged = 0
    while not stop():
        with ctx.db.read() as tx:
            import_id = tx.execute(query.order_by(_IMPORTS.c.id).limit(1)).scalar()
        if import_id is None:
            break
        delete_file(ctx, import_id)
        done = update(_IMPORTS).where(_IMPORTS.c.id == import_id).values(purged_at=ctx.now())
        with ctx.db.write() as tx:
            tx.execute(delete(_REFUSALS).where(_REFUSALS.c.import_id == import_id))
            tx.execute(done)
        purged += 1
    return purged


def delete_some_chunks(tx: Connection, import_id: int) -> bool:
    """Delete a few chunks of a file.  Returns True if there were any."""
    some = select(_CHUNKS.c.id).where(_CHUNKS.c.import_id == import_id).limit(_CHUNKS_AT_ONCE)
    return tx.execute(delete(_CHUNKS).where(_CHUNKS.c.id.in_(some))).rowcount > 0


def delete_file(ctx: SubscriberContext, import_id: int) -> None:
    """Delete the file of an import that has ended, and what it denies, some in each transaction.

    The denials go first: a crash leaves chunks, by which `purge_imports` finds the rest.
    """
    row = select(_IMPORTS.c.id).where(_IMPORTS.c.id == import_id)
    ended = row.where(_IMPORTS.c.completed_at.is_not(None))
    deleted = True
    while deleted:
        with ctx.db.write() as tx:
            deleted = tx.execute(ended).first() is not None and (
                delete_some_denials(tx, import_id) or delete_some_chunks(tx, import_id)
            )
