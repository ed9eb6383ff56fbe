"""The job of an import: some rows at a time, each time all of them or none.

A worker holds a lease and writes only while it holds it.  The rows, the counts and the number of
lines done are committed together.  After a crash another worker goes on after the last commit, so
no row is processed twice.
"""

import contextlib
import io
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Update, func, insert, or_, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from app.db.base import table_of
from app.db.engine import repeat_on_conflict
from app.db.old_rows import Stop, never
from app.errors import BadInput
from app.failpoints import failpoints
from app.ids import make_id
from app.subscribers.audiences.audience import find_unknown_tags
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.denials import find_denials, has_denials, record_denials
from app.subscribers.imports.models import (
    Import,
    ImportChunk,
    ImportOptions,
    ImportRefusal,
    ImportStatus,
)
from app.subscribers.imports.rows import WHOLE_ROW, ParsedRows, RejectedCell, RowParser
from app.subscribers.imports.service import delete_file
from app.subscribers.lists.columns import ColumnMapping
from app.subscribers.lists.permissions import Permission
from app.subscribers.lists.reader import RowReader
from app.subscribers.profiles.upsert import EntryOutcome, UpsertResult, write_entries
from app.subscribers.tags.assignments import MAX_NEW_TAGS

# Rows of one transaction; fewer where they take long, since SQLite's other writers wait meanwhile.
ROWS_AT_ONCE = 2_000
_FIRST_ROWS, _MIN_ROWS_AT_ONCE = 250, 25
_LONG_S, _SHORT_S = 0.08, 0.04
_ROWS_SCANNED_AT_ONCE, _CHUNKS_SCANNED_AT_ONCE = 10_000, 5
SLICE_S = 2.0
_LEASE = timedelta(seconds=10)
# Workers in a row that may end without a commit: a file that kills them does not come back.
MAX_DEATHS = 5
# Refused cells that are kept; of the others only the rows are counted.
MAX_REFUSALS_KEPT = 10_000
TOO_MANY_NEW_TAGS = (
    f"It would bring more than {MAX_NEW_TAGS} new tags: create them first, or ignore the column."
)
_COUNTS = ("rows", "created", "updated", "unchanged", "merged", "refused", "landlines")

_IMPORTS, _CHUNKS, _REFUSALS = table_of(Import), table_of(ImportChunk), table_of(ImportRefusal)
_ALL_TURNS = _IMPORTS.alias()
_NEXT_TURN = select(func.max(_ALL_TURNS.c.turn) + 1).scalar_subquery()
_TURNS = (
    select(_IMPORTS.c.client, func.max(_IMPORTS.c.turn).label("turn"))
    .group_by(_IMPORTS.c.client)
    .subquery("turns")
)


class LeaseLost(Exception):
    """Another worker has the import, or it was cancelled.  Nothing was written."""


def work_imports(ctx: SubscriberContext, *, stop: Stop = never, for_s: float = SLICE_S) -> bool:
    """Work on a free import for a while or until `stop`.  Returns True if there was one.

    A turn is at least one commit.  Clients take turns, and so do the imports of a client.
    """
    import_id = _find_next(ctx)
    if import_id is None:
        return False
    deadline = time.monotonic() + for_s
    with contextlib.closing(work_import(ctx, import_id, stop=stop)) as steps:
        for _ in steps:
            if time.monotonic() > deadline:
                break
    return True


def work_import(ctx: SubscriberContext, import_id: int, *, stop: Stop = never) -> Generator[int]:
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
        _fail(ctx, job, lease, e)
        _release(ctx, import_id, lease)
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
    """Return the free import that waited longest, of the client whose turn is longest ago."""
    query = select(_IMPORTS.c.id).join(_TURNS, _TURNS.c.client == _IMPORTS.c.client)
    query = query.where(_is_free(ctx)).order_by(_TURNS.c.turn, _IMPORTS.c.turn, _IMPORTS.c.id)
    with ctx.db.read() as tx:
        return tx.execute(query.limit(1)).scalar()


def _take_lease(ctx: SubscriberContext, import_id: int, lease: str) -> Row[Any] | None:
    """Return the import, now leased; None if another worker holds it, or it has ended.

    A lease that ran out is that of a worker that died; after too many the import ends as failed.
    """
    free = (_IMPORTS.c.id == import_id) & _is_free(ctx)
    with ctx.db.write() as tx:
        row = tx.execute(select(_IMPORTS).where(free).with_for_update()).first()
        if row is None:
            return None
        deaths = row.deaths + (row.lease is not None)
        values = {"lease": lease, "leased_until": ctx.now() + _LEASE, "deaths": deaths}
        leased = update(_IMPORTS).where(_IMPORTS.c.id == import_id)
        tx.execute(leased.values(turn=_NEXT_TURN, **values))
        if deaths < MAX_DEATHS:
            return _read(tx, import_id)
        error = (
            f"{deaths} workers ended, one after the other, when they had done {row.lines_done} "
            "lines: look at the lines after that. Rows that were written stay."
        )
        _finish(tx, ctx, import_id, lease, ImportStatus.FAILED, error)
    logger.bind(import_id=row.public_id, deaths=deaths, lines_done=row.lines_done).error(
        "an import was given up: its workers died; look at its file"
    )
    return None


def _read(tx: Connection, import_id: int) -> Row[Any]:
    return tx.execute(select(_IMPORTS).where(_IMPORTS.c.id == import_id)).one()


def _update_leased(import_id: int, lease: str) -> Update:
    return update(_IMPORTS).where(_IMPORTS.c.id == import_id, _IMPORTS.c.lease == lease)


def _release(ctx: SubscriberContext, import_id: int, lease: str) -> None:
    """Give up the lease at once, and delete the file if the import has ended."""
    released = _update_leased(import_id, lease).values(lease=None, leased_until=None)
    with contextlib.suppress(OperationalError, InterfaceError):
        with ctx.db.write() as tx:
            tx.execute(released)
        delete_file(ctx, import_id)


def _fail(ctx: SubscriberContext, job: Row[Any], lease: str, error: Exception) -> None:
    """End the import as failed, unless it was taken over or cancelled."""
    reason = "The import could not be processed; the service's log says why."
    if isinstance(error, BadInput):
        reason = error.sentence
    try:
        with ctx.db.write() as tx:
            _finish(tx, ctx, job.id, lease, ImportStatus.FAILED, reason)
    except LeaseLost:
        logger.bind(import_id=job.public_id).info("an import was taken over or cancelled")
    else:
        logger.bind(import_id=job.public_id).opt(exception=error).error("an import failed")


def _work(ctx: SubscriberContext, job: Row[Any], lease: str, stop: Stop) -> Iterator[int]:
    """Do the passes, or what remains of them."""
    scan = _DenialScan(ctx, job, lease)
    while not scan.ended and not stop():
        yield scan.step()
    if not scan.ended:
        return
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


class _DenialScan:
    """The first pass through the file: whom any row of it denies texts or marketing.

    Chunks in which no row can are passed over: splitting them into cells is a third of the work.
    """

    def __init__(self, ctx: SubscriberContext, job: Row[Any], lease: str) -> None:
        self._ctx = ctx
        self._job = job
        self._lease = lease
        self._parser = _make_parser(ctx, job)
        line = max(job.lines_scanned + 1, ColumnMapping.from_json(job.column_mapping).first_line)
        self._chunks = _find_chunks(ctx, job)
        self._quiet: dict[int, bool] = {}
        self._rows = _open_rows(ctx, job, line)
        self.ended = line > job.lines or not self._parser.may_find_denials

    def step(self) -> int:
        """Record the denials of some rows.  Returns the number of lines.  Raises LeaseLost."""
        ctx, before, denied = self._ctx, self._rows.next_line, dict[str, Permission]()
        quiet_until = self._find_quiet_end(before)
        if quiet_until > before:
            self._rows = _open_rows(ctx, self._job, quiet_until)
        else:
            denied = self._parser.find_denials(self._rows.read(_ROWS_SCANNED_AT_ONCE))
        lines = self._rows.next_line - 1
        self.ended = lines >= self._job.lines
        with ctx.db.write() as tx:
            until = ctx.now() + _LEASE
            begun = {"phase_at": ctx.now()} if self.ended else {}
            scanned = {"lines_scanned": lines, "leased_until": until, "deaths": 0, **begun}
            _change(tx, self._job.id, self._lease, scanned)
            record_denials(tx, self._job.id, denied)
            failpoints.reach("I0")
        failpoints.reach("I1")
        return lines + 1 - before

    def _find_quiet_end(self, line: int) -> int:
        """Return the line up to which no row denies anything, as far as is looked.

        The last row of a chunk may go on in the next one, so that has to be quiet, too.
        """
        first = bisect_right(self._chunks, line) - 1
        for chunk in self._chunks[first : first + _CHUNKS_SCANNED_AT_ONCE]:
            if chunk not in self._quiet:
                lines = "".join(_load_chunk(self._ctx, self._job, chunk))
                self._quiet[chunk] = not self._parser.may_deny(lines)
            if not self._quiet[chunk]:
                return line
            line = max(line, chunk)
        is_end = first + _CHUNKS_SCANNED_AT_ONCE >= len(self._chunks)
        return self._job.lines + 1 if is_end else line


class _Pass:
    """One pass through the file.  A pass that only checks rolls its writes back."""

    def __init__(self, ctx: SubscriberContext, job: Row[Any], lease: str, *, writes: bool) -> None:
        self._ctx = ctx
        self._job = job
        self._lease = lease
        self._writes = writes
        self._mapping = ColumnMapping.from_json(job.column_mapping)
        self._parser = _make_parser(ctx, job)
        self._limit = _FIRST_ROWS
        self._new_tags: list[str] = job.new_tags or []
        self._line = job.lines_done
        self._rows = _open_rows(ctx, job, self._line + 1)
        with ctx.db.read() as tx:
            self._has_denials = has_denials(tx, job.id)
        self.ended = False

    def step(self) -> int:
        """Process some rows.  Returns the number of lines done.  Raises LeaseLost."""
        parsed = self._parser.parse(self._rows.read(self._limit))
        before, self._line = self._line, self._rows.next_line - 1
        self._adapt_limit(repeat_on_conflict(lambda: self._commit(parsed)))
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

    def _commit(self, parsed: ParsedRows) -> float:
        """Write rows, counts and progress.  Returns the seconds that SQLite's lock was held."""
        ctx = self._ctx
        with ctx.db.write() as tx:
            started = time.monotonic()
            self._update(tx, leased_until=ctx.now() + _LEASE)
            if self._has_denials:
                self._parser.deny(parsed, find_denials(tx, self._job.id, parsed.entries))
            self._bound_new_tags(tx, parsed)
            result = self._write(tx, parsed)
            self._record(tx, parsed, result)
            if self._is_at_end:
                self._end(tx)
            failpoints.reach("I0")
        return time.monotonic() - started

    def _bound_new_tags(self, tx: Connection, parsed: ParsedRows) -> None:
        """Refuse the rows whose tags would be more new ones than a file may bring."""
        tags = {tag for row in parsed.entries.values() for tag in row.entry.tags or ()}
        unknown = find_unknown_tags(tx, sorted(tags.difference(self._new_tags)))
        room = MAX_NEW_TAGS - len(self._new_tags)
        self._new_tags = self._new_tags + unknown[:room]
        for phone, row in list(parsed.entries.items()):
            if unknown[room:] and not set(unknown[room:]).isdisjoint(row.entry.tags or ()):
                cell = RejectedCell(row.line, WHOLE_ROW, "", "", TOO_MANY_NEW_TAGS)
                parsed.rejected.append(cell)
                parsed.refused += row.rows
                del parsed.entries[phone]

    def _write(self, tx: Connection, parsed: ParsedRows) -> UpsertResult:
        # SQLite keeps the pages of a savepoint as they were, so that only a check has one.
        savepoint = None if self._writes else tx.begin_nested()
        result = write_entries(
            tx,
            self._ctx,
            [row.entry for row in parsed.entries.values()],
            actor=self._job.client,
            channel="import",
            file_stamp=self._job.stamp,
        )
        if savepoint:
            savepoint.rollback()
        return result

    def _record(self, tx: Connection, parsed: ParsedRows, result: UpsertResult) -> None:
        rejected = parsed.rejected + [
            RejectedCell(parsed.entries[phone].line, WHOLE_ROW, "", "", reason)
            for phone, reason in result.errors.items()
        ]
        self._keep_cells(tx, rejected, is_warning=False)
        taken = parsed.entries.keys() - result.errors.keys()
        # Of rows that are only checked, none is imported.
        landlines = [cell for phone, cell in parsed.landlines if phone in taken and self._writes]
        self._keep_cells(tx, landlines, is_warning=True)
        counts = _count(parsed, result) + Counter(landlines=len(landlines))
        added = {name: getattr(_IMPORTS.c, name) + counts[name] for name in _COUNTS}
        self._update(tx, lines_done=self._line, deaths=0, new_tags=self._new_tags, **added)

    def _keep_cells(self, tx: Connection, cells: list[RejectedCell], *, is_warning: bool) -> None:
        """Keep the first cells of rows that are refused, or taken with a warning."""
        if not cells:
            return
        ours = _REFUSALS.c.import_id == self._job.id, _REFUSALS.c.is_warning == is_warning
        query = select(func.count()).select_from(_REFUSALS).where(*ours)
        room = MAX_REFUSALS_KEPT - tx.execute(query).scalar_one()
        kept = {"import_id": self._job.id, "is_warning": is_warning}
        rows = [kept | asdict(cell) for cell in cells[:room]]
        if rows:
            tx.execute(insert(_REFUSALS), rows)

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
        _change(tx, self._job.id, self._lease, values)


def _change(tx: Connection, import_id: int, lease: str, values: Mapping[str, Any]) -> None:
    """Change the row of an import.  Raises LeaseLost."""
    if tx.execute(_update_leased(import_id, lease).values(values)).rowcount != 1:
        raise LeaseLost


def _make_parser(ctx: SubscriberContext, job: Row[Any]) -> RowParser:
    mapping, options = (
        ColumnMapping.from_json(job.column_mapping),
        ImportOptions.from_json(job.options),
    )
    return RowParser(mapping, options, zone=ctx.rules.default_zone, now=ctx.now())


def _open_rows(ctx: SubscriberContext, job: Row[Any], line: int) -> RowReader:
    delimiter = job.column_mapping["delimiter"]
    return RowReader(_load_lines(ctx, job, line), delimiter=delimiter, first_line=line)


def _load_lines(ctx: SubscriberContext, job: Row[Any], line: int) -> Iterator[str]:
    """Yield the lines of the file from this one on."""
    while line <= job.lines:
        lines = _load_chunk(ctx, job, line)
        yield from lines
        line += len(lines)


def _load_chunk(ctx: SubscriberContext, job: Row[Any], line: int) -> Sequence[str]:
    """Return the lines of a chunk from this one on."""
    query = select(_CHUNKS.c.first_line, _CHUNKS.c.text).where(
        _CHUNKS.c.import_id == job.id, _CHUNKS.c.first_line <= line
    )
    with ctx.db.read() as tx:
        chunk = tx.execute(query.order_by(_CHUNKS.c.first_line.desc()).limit(1)).one()
    return io.StringIO(chunk.text.decode()).readlines()[line - chunk.first_line :]


def _find_chunks(ctx: SubscriberContext, job: Row[Any]) -> Sequence[int]:
    """Return the first line of each chunk of the file."""
    query = select(_CHUNKS.c.first_line).where(_CHUNKS.c.import_id == job.id)
    with ctx.db.read() as tx:
        return tx.execute(query.order_by(_CHUNKS.c.first_line)).scalars().all()


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
    ended = {"status": status, "error": error, "completed_at": ctx.now()}
    _change(tx, import_id, lease, {**ended, "lease": None, "leased_until": None})
