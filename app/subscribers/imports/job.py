"""The job of an import: some rows at a time, each time all of them or none.

A worker holds a lease and writes only while it holds it.  The rows, the counts and the number of
lines done are committed together.  After a crash another worker goes on after the last commit, so
no row is processed twice.
"""

import contextlib
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Update, insert, or_, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from app.db.base import table_of
from app.failpoints import failpoints
from app.ids import make_id
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.models import (
    Import,
    ImportChunk,
    ImportOptions,
    ImportRefusal,
    ImportStatus,
)
from app.subscribers.imports.rows import WHOLE_ROW, ParsedRows, RejectedCell, RowParser
from app.subscribers.lists.columns import ColumnMapping
from app.subscribers.lists.reader import RowReader
from app.subscribers.profiles.upsert import EntryOutcome, UpsertResult, write_entries

# Rows of one transaction; fewer where they take long, since SQLite's other writers wait meanwhile.
ROWS_AT_ONCE = 2_000
_MIN_ROWS_AT_ONCE = 250
_LONG_S, _SHORT_S = 0.08, 0.04
SLICE_S = 2.0
_LEASE = timedelta(seconds=10)
_MAX_DEADLOCKS = 5
_COUNTS = ("rows", "created", "updated", "unchanged", "merged", "refused")

_IMPORTS, _CHUNKS = table_of(Import), table_of(ImportChunk)


class LeaseLost(Exception):
    """Another worker has the import, or it was cancelled.  Nothing was written."""


def work_imports(
    ctx: SubscriberContext, *, stop: Callable[[], bool] = lambda: False, for_s: float = SLICE_S
) -> bool:
    """Work on a free import for a while or until `stop`.  Returns True if there was one."""
    import_id = _find_next(ctx)
    if import_id is None:
        return False
    deadline = time.monotonic() + for_s
    for _ in work_import(ctx, import_id, stop=lambda: stop() or time.monotonic() > deadline):
        pass
    return True


def has_imports(ctx: SubscriberContext) -> bool:
    """Return True if an import is unfinished and no worker holds it."""
    return _find_next(ctx) is not None


def work_import(
    ctx: SubscriberContext, import_id: int, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[int]:
    """Work on one import, if it is free, until its end or `stop`.

    Yields the number of lines done by each commit.  An import that cannot be processed ends as
    failed.  An error of the database is raised, and the import goes on later.
    """
    lease = make_id(ctx.now())
    job = _take_lease(ctx, import_id, lease)
    if job is None:
        return
    try:
        yield from _work(ctx, job, lease, stop)
    except LeaseLost:
        logger.bind(import_id=job.public_id).info("an import was taken over or cancelled")
    except (OperationalError, InterfaceError, GeneratorExit):
        _release(ctx, import_id, lease)
        raise
    except Exception as e:
        logger.bind(import_id=job.public_id).opt(exception=e).error("an import failed")
        error = "The import could not be processed; the service's log says why."
        with contextlib.suppress(LeaseLost), ctx.db.write() as tx:
            _finish(tx, ctx, import_id, lease, ImportStatus.FAILED, error)
    else:
        _release(ctx, import_id, lease)


def _is_free(ctx: SubscriberContext) -> Any:
    leased_until = _IMPORTS.c.leased_until
    return (
        _IMPORTS.c.completed_at.is_(None)
        & _IMPORTS.c.status.in_((ImportStatus.CHECKING, ImportStatus.WRITING))
        & or_(leased_until.is_(None), leased_until < ctx.now())
    )


def _find_next(ctx: SubscriberContext) -> int | None:
    query = select(_IMPORTS.c.id).where(_is_free(ctx)).order_by(_IMPORTS.c.id).limit(1)
    with ctx.db.read() as tx:
        return tx.execute(query).scalar()


def _take_lease(ctx: SubscriberContext, import_id: int, lease: str) -> Row[Any] | None:
    """Return the import, now leased; None if another worker holds it or it has ended."""
    free = (_IMPORTS.c.id == import_id) & _is_free(ctx)
    values = {"lease": lease, "leased_until": ctx.now() + _LEASE}
    with ctx.db.write() as tx:
        if tx.execute(update(_IMPORTS).where(free).values(values)).rowcount != 1:
            return None
        return _read(tx, import_id)


def _read(tx: Connection, import_id: int) -> Row[Any]:
    return tx.execute(select(_IMPORTS).where(_IMPORTS.c.id == import_id)).one()


def _update_leased(import_id: int, lease: str) -> Update:
    return update(_IMPORTS).where(_IMPORTS.c.id == import_id, _IMPORTS.c.lease == lease)


def _release(ctx: SubscriberContext, import_id: int, lease: str) -> None:
    """Give up the lease, so that no worker waits for its end."""
    released = _update_leased(import_id, lease).values(lease=None, leased_until=None)
    with contextlib.suppress(OperationalError, InterfaceError), ctx.db.write() as tx:
        tx.execute(released)


def _work(
    ctx: SubscriberContext, job: Row[Any], lease: str, stop: Callable[[], bool]
) -> Iterator[int]:
    """Do both passes, or what remains of them."""
    if job.status is ImportStatus.CHECKING:
        checking = _Pass(ctx, job, lease, writes=False)
        while not checking.ended and not stop():
            yield checking.step()
        if not checking.ended:
            return
        with ctx.db.read() as tx:
            job = _read(tx, job.id)
        if job.status is not ImportStatus.WRITING:
            return
    writing = _Pass(ctx, job, lease, writes=True)
    while not writing.ended and not stop():
        yield writing.step()


class _Pass:
    """One pass through the file.  A pass that only checks rolls its writes back."""

    def __init__(self, ctx: SubscriberContext, job: Row[Any], lease: str, *, writes: bool) -> None:
        self._ctx = ctx
        self._job = job
        self._lease = lease
        self._writes = writes
        self._mapping = ColumnMapping.from_json(job.column_mapping)
        options = ImportOptions.from_json(job.options)
        self._parser = RowParser(self._mapping, options, zone=ctx.rules.default_zone, now=ctx.now())
        self._limit = _MIN_ROWS_AT_ONCE
        self._line = job.lines_done
        self._rows = RowReader(
            self._load_lines(self._line + 1),
            delimiter=self._mapping.delimiter,
            first_line=self._line + 1,
        )
        self.ended = False

    def step(self) -> int:
        """Process some rows.  Returns the number of lines done.  Raises LeaseLost."""
        parsed = self._parser.parse(self._rows.read(self._limit))
        before, self._line = self._line, self._rows.next_line - 1
        for attempt in range(1, _MAX_DEADLOCKS + 1):
            try:
                self._adapt_limit(self._commit(parsed))
                break
            except OperationalError as e:
                if not _is_deadlock(e) or attempt == _MAX_DEADLOCKS:
                    raise
        failpoints.reach("I1")
        self.ended = self._is_at_end
        return int(self._line - before)

    @property
    def _is_at_end(self) -> bool:
        return bool(self._line >= self._job.lines)

    def _adapt_limit(self, taken_s: float) -> None:
        if taken_s > _LONG_S:
            self._limit = max(_MIN_ROWS_AT_ONCE, self._limit // 2)
        elif taken_s < _SHORT_S:
            self._limit = min(ROWS_AT_ONCE, self._limit * 2)

    def _load_lines(self, line: int) -> Iterator[str]:
        """Yield the lines of the file from this one on."""
        while line <= self._job.lines:
            query = select(_CHUNKS.c.first_line, _CHUNKS.c.text).where(
                _CHUNKS.c.import_id == self._job.id, _CHUNKS.c.first_line <= line
            )
            with self._ctx.db.read() as tx:
                chunk = tx.execute(query.order_by(_CHUNKS.c.first_line.desc()).limit(1)).one()
            lines = io.StringIO(chunk.text.decode()).readlines()[line - chunk.first_line :]
            yield from lines
            line += len(lines)

    def _commit(self, parsed: ParsedRows) -> float:
        """Write rows, counts and progress.  Returns the seconds that SQLite's lock was held."""
        ctx = self._ctx
        with ctx.db.write() as tx:
            started = time.monotonic()
            self._update(tx, leased_until=ctx.now() + _LEASE)
            result = self._write(tx, parsed)
            self._record(tx, parsed, result)
            if self._is_at_end:
                self._end(tx)
            failpoints.reach("I0")
        return time.monotonic() - started

    def _write(self, tx: Connection, parsed: ParsedRows) -> UpsertResult:
        savepoint = tx.begin_nested()
        result = write_entries(
            tx,
            self._ctx,
            [row.entry for row in parsed.entries.values()],
            actor=self._job.client,
            channel="import",
            file_stamp=self._job.stamp,
        )
        if self._writes:
            savepoint.commit()
        else:
            savepoint.rollback()
        return result

    def _record(self, tx: Connection, parsed: ParsedRows, result: UpsertResult) -> None:
        rejected = parsed.rejected + [
            RejectedCell(parsed.entries[phone].line, WHOLE_ROW, "", "", reason)
            for phone, reason in result.errors.items()
        ]
        if rejected:
            rows = [{"import_id": self._job.id, **asdict(cell)} for cell in rejected]
            tx.execute(insert(table_of(ImportRefusal)), rows)
        counts = _count(parsed, result)
        added = {name: getattr(_IMPORTS.c, name) + counts[name] for name in _COUNTS}
        self._update(tx, lines_done=self._line, **added)

    def _end(self, tx: Connection) -> None:
        """End the pass: the import is complete, refused, or goes on to be written."""
        ctx, job = self._ctx, self._job
        if self._writes:
            _finish(tx, ctx, job.id, self._lease, ImportStatus.COMPLETE)
        elif _read(tx, job.id).refused:
            _finish(tx, ctx, job.id, self._lease, ImportStatus.REFUSED)
        else:
            self._update(
                tx,
                status=ImportStatus.WRITING,
                lines_done=self._mapping.first_line - 1,
                phase_at=ctx.now(),
                **dict.fromkeys(_COUNTS, 0),
            )

    def _update(self, tx: Connection, **values: Any) -> None:
        """Change the row of the import.  Raises LeaseLost."""
        changed = _update_leased(self._job.id, self._lease).values(values)
        if tx.execute(changed).rowcount != 1:
            raise LeaseLost


def _count(parsed: ParsedRows, result: UpsertResult) -> Counter[str]:
    """Return the numbers of rows by outcome; of a number's rows one creates or updates."""
    counts = Counter(rows=parsed.rows, refused=parsed.refused)
    for phone, outcome in result.outcomes.items():
        rows = parsed.entries[phone].rows
        if outcome in (EntryOutcome.CREATED, EntryOutcome.UPDATED):
            counts[outcome.value] += 1
            counts[EntryOutcome.MERGED.value] += rows - 1
        else:
            counts[outcome.value] += rows
    return counts


def _finish(
    tx: Connection,
    ctx: SubscriberContext,
    import_id: int,
    lease: str,
    status: ImportStatus,
    error: str | None = None,
) -> None:
    """End the import.  Raises LeaseLost."""
    finished = _update_leased(import_id, lease).values(
        status=status, error=error, completed_at=ctx.now(), lease=None, leased_until=None
    )
    if tx.execute(finished).rowcount != 1:
        raise LeaseLost


def _is_deadlock(error: OperationalError) -> bool:
    """Return True if PostgreSQL ended this transaction because two waited for each other."""
    return getattr(error.orig, "sqlstate", None) in ("40P01", "40001")
