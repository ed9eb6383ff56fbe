"""Imports as whoever orders them sees them: made, looked at, cancelled, forgotten."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

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
# A piece holds a million characters, and SQLite's other writers wait meanwhile.
_PIECES_AT_ONCE = 4
_REFUSALS_AT_ONCE = 5_000
_HEADING = ("line", "column", "cell", "reason")

_IMPORTS, _PIECES = table_of(Import), table_of(ImportChunk)
_REFUSALS = table_of(ImportRefusal)
# Made once: to make a statement costs several times what it takes to run one.
_ADD = insert(_IMPORTS)
_BY_PUBLIC_ID = select(_IMPORTS).where(_IMPORTS.c.public_id == bindparam("this"))
_HOLD = _BY_PUBLIC_ID.with_for_update()
_CANCEL = (
    update(_IMPORTS)
    .where(_IMPORTS.c.id == bindparam("this"))
    .values(
        status=ImportStatus.CANCELLED,
        completed_at=bindparam("now"),
        lease=None,
        leased_until=None,
        upload=None,
    )
)
_REFUSALS_AFTER = (
    select(_REFUSALS)
    .where(_REFUSALS.c.import_id == bindparam("of"))
    .where(
        (_REFUSALS.c.line > bindparam("line"))
        | ((_REFUSALS.c.line == bindparam("line")) & (_REFUSALS.c.position > bindparam("position")))
    )
    .order_by(_REFUSALS.c.line, _REFUSALS.c.position)
    .limit(_PAGE)
)
_OLD = (
    select(_IMPORTS.c.id)
    .where(_IMPORTS.c.purged_at.is_(None))
    .where(_IMPORTS.c.completed_at < bindparam("before"))
    .order_by(_IMPORTS.c.id)
    .limit(100)
)
_ABANDONED = (
    select(_IMPORTS.c.public_id)
    .where(_IMPORTS.c.completed_at.is_(None), _IMPORTS.c.status == ImportStatus.WAITING)
    .where(_IMPORTS.c.created_at < bindparam("before"))
    .limit(100)
)
_SOME_PIECES = (
    select(_PIECES.c.id).where(_PIECES.c.import_id == bindparam("of")).limit(_PIECES_AT_ONCE)
)
_DROP_PIECES = delete(_PIECES).where(_PIECES.c.id.in_(bindparam("these", expanding=True)))
_SOME_REFUSALS = (
    select(_REFUSALS.c.line)
    .where(_REFUSALS.c.import_id == bindparam("of"))
    .order_by(_REFUSALS.c.line)
    .limit(1)
    .offset(_REFUSALS_AT_ONCE)
)
_DROP_REFUSALS = delete(_REFUSALS).where(
    _REFUSALS.c.import_id == bindparam("of"), _REFUSALS.c.line < bindparam("line")
)
_DROP_ALL_REFUSALS = delete(_REFUSALS).where(_REFUSALS.c.import_id == bindparam("of"))
_FORGOTTEN = (
    update(_IMPORTS).where(_IMPORTS.c.id == bindparam("this")).values(purged_at=bindparam("now"))
)


def create_import(ctx: SubscriberContext, options: ImportOptions, *, client: str) -> Row[Any]:
    """A new import, which waits for its file.  Raises BadInput for a consent of the future."""
    now = ctx.now()
    if options.consent and options.consent.at and options.consent.at > now:
        reason = "In the future"
        raise BadInput(f"consent.at: {reason}", fields={"consent": {"at": [f"{reason}."]}})
    if options.country is None:
        options = replace(options, country=ctx.rules.default_country)
    public_id = make_id(now)
    with ctx.db.write() as tx:
        values = {
            "public_id": public_id,
            "client": client,
            "status": ImportStatus.WAITING,
            "options": options.to_json(),
            "created_at": now,
        }
        tx.execute(_ADD, values)
        return tx.execute(_BY_PUBLIC_ID, {"this": public_id}).one()


def view_import(ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """One import as it stands.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _find(tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first())


def list_imports(
    ctx: SubscriberContext, *, limit: int, cursor: int | None = None
) -> Page[Row[Any]]:
    """List imports, newest first."""
    query = select(_IMPORTS).order_by(_IMPORTS.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(_IMPORTS.c.id < cursor)
    with ctx.db.read() as tx:
        return make_page(tx.execute(query).all(), limit)


def cancel_import(ctx: SubscriberContext, public_id: str) -> Row[Any]:
    """Take no more of its rows; those that were taken stay.

    Raises NotFound, and Conflict where it has ended, or is all or nothing and being written.
    """
    with ctx.db.write() as tx:
        row = lock_import(tx, public_id)
        writes = row.status is ImportStatus.WRITING
        if row.completed_at or (writes and row.options["mode"] == Mode.ALL_OR_NOTHING):
            reason = "has ended" if row.completed_at else "is being written, all of it"
            raise Conflict(f"The import {reason}", status=row.status.value)
        tx.execute(_CANCEL, {"this": row.id, "now": ctx.now()})
        return tx.execute(_BY_PUBLIC_ID, {"this": public_id}).one()


def lock_import(tx: Connection, public_id: str) -> Row[Any]:
    """An import that nobody else changes until this transaction ends.  Raises NotFound."""
    return _find(tx.execute(_HOLD, {"this": public_id}).first())


def export_refusals(ctx: SubscriberContext, public_id: str) -> Iterator[str]:
    """The cells that were refused as a CSV file, a piece at a time.

    Raises NotFound before the first piece, for one whose refusals were deleted, too.
    """
    row = view_import(ctx, public_id)
    if row.purged_at is not None:
        raise NotFound("What this import refused has been deleted")
    return _write_refusals(ctx, row.id)


def _write_refusals(ctx: SubscriberContext, import_id: int) -> Iterator[str]:
    yield write_lines([_HEADING])
    line, position = 0, 0
    while True:
        asked = {"of": import_id, "line": line, "position": position}
        with ctx.db.read() as tx:
            rows = tx.execute(_REFUSALS_AFTER, asked).all()
        yield write_lines((row.line, row.header, row.cell, row.reason) for row in rows)
        if len(rows) < _PAGE:
            return
        line, position = rows[-1].line, rows[-1].position


def purge_imports(ctx: SubscriberContext) -> int:
    """Delete the files and refusals of imports that ended long enough ago; of how many.

    One whose file never came is cancelled as long after it was made.
    """
    before = ctx.now() - timedelta(days=ctx.rules.import_kept_days)
    with ctx.db.read() as tx:
        abandoned = tx.execute(_ABANDONED, {"before": before}).scalars().all()
    for public_id in abandoned:
        with contextlib.suppress(Conflict):  # its file has come after all
            cancel_import(ctx, public_id)
    return purge_completed(ctx, before=before)


def purge_completed(ctx: SubscriberContext, *, before: datetime) -> int:
    """Delete the files and refusals of imports that ended before; of how many, at most 100."""
    with ctx.db.read() as tx:
        ids = tx.execute(_OLD, {"before": before}).scalars().all()
    for import_id in ids:
        _drop_pieces(ctx, import_id)
        _drop_refusals(ctx, import_id)
        with ctx.db.write() as tx:
            tx.execute(_FORGOTTEN, {"this": import_id, "now": ctx.now()})
    return len(ids)


def delete_some_chunks(tx: Connection, import_id: int) -> bool:
    """Delete a few pieces of a file; whether there were any."""
    these = tx.execute(_SOME_PIECES, {"of": import_id}).scalars().all()
    if these:
        tx.execute(_DROP_PIECES, {"these": list(these)})
    return bool(these)


def _drop_pieces(ctx: SubscriberContext, import_id: int) -> None:
    dropped = True
    while dropped:
        with ctx.db.write() as tx:
            dropped = delete_some_chunks(tx, import_id)


def _drop_refusals(ctx: SubscriberContext, import_id: int) -> None:
    while True:
        with ctx.db.write() as tx:
            line = tx.execute(_SOME_REFUSALS, {"of": import_id}).scalar()
            if line is None:
                tx.execute(_DROP_ALL_REFUSALS, {"of": import_id})
                return
            tx.execute(_DROP_REFUSALS, {"of": import_id, "line": line})


def _find(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NotFound("There is no import with this id")
    return row
