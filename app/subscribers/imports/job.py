"""How an import is worked off: some rows at a time, each time all of them or none.

Whoever works on it holds a lease, and writes only while it still does: how far it has come, the
counts and the rows are committed together.  After a crash another goes on where the last commit
ended; no row is done twice.
"""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

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
from app.subscribers.imports.plan import ImportPlan, plan_entries
from app.subscribers.imports.rows import ParsedRows, RejectedCell, RowParser
from app.subscribers.imports.write import Raced, write_plan
from app.subscribers.lists.columns import ColumnMapping
from app.subscribers.lists.reader import RowReader

# In one transaction; fewer where they take long, since SQLite's other writers wait meanwhile.
ROWS_AT_ONCE = 2_000
_FEWEST_AT_ONCE = 250
_LONG_S, _SHORT_S = 0.08, 0.04
SLICE_S = 2.0
_LEASE = timedelta(seconds=10)
_MOST_RACES = 5
_WORKING = (ImportStatus.CHECKING, ImportStatus.WRITING)
_COUNTS = ("rows", "created", "updated", "unchanged", "merged", "refused")

_IMPORTS, _PIECES = table_of(Import), table_of(ImportChunk)
_REFUSALS = table_of(ImportRefusal)
# Made once: to make a statement costs several times what it takes to run one.
_IS_FREE = or_(_IMPORTS.c.leased_until.is_(None), _IMPORTS.c.leased_until < bindparam("now"))
_IS_WORK = (_IMPORTS.c.completed_at.is_(None), _IMPORTS.c.status.in_(_WORKING), _IS_FREE)
_NEXT = select(_IMPORTS.c.id).where(*_IS_WORK).order_by(_IMPORTS.c.id).limit(1)
_TAKE = (
    update(_IMPORTS)
    .where(_IMPORTS.c.id == bindparam("this"), *_IS_WORK)
    .values(lease=bindparam("ours"), leased_until=bindparam("until"))
)
_THIS = select(_IMPORTS).where(_IMPORTS.c.id == bindparam("this"))
_HELD = update(_IMPORTS).where(
    _IMPORTS.c.id == bindparam("this"), _IMPORTS.c.lease == bindparam("ours")
)
_KEEP_LEASE = _HELD.values(leased_until=bindparam("until"))
_RELEASE = _HELD.values(lease=None, leased_until=None)
_ADVANCE = _HELD.values(
    lines_done=bindparam("done"),
    **{name: getattr(_IMPORTS.c, name) + bindparam(f"more_{name}") for name in _COUNTS},
)
_FINISH = _HELD.values(
    status=bindparam("ending"),
    error=bindparam("why"),
    completed_at=bindparam("at"),
    lease=None,
    leased_until=None,
)
_BEGIN_WRITING = _HELD.values(
    status=ImportStatus.WRITING,
    lines_done=bindparam("done"),
    phase_at=bindparam("at"),
    **dict.fromkeys(_COUNTS, 0),
)
_PIECE_OF = (
    select(_PIECES.c.first_line, _PIECES.c.text)
    .where(_PIECES.c.import_id == bindparam("of"), _PIECES.c.first_line <= bindparam("line"))
    .order_by(_PIECES.c.first_line.desc())
    .limit(1)
)
_REFUSE = insert(_REFUSALS)


class LeaseLost(Exception):
    """Somebody else works on it, or it was cancelled: nothing was written."""


def work_imports(
    ctx: SubscriberContext, *, stop: Callable[[], bool] = lambda: False, for_s: float = SLICE_S
) -> bool:
    """Work on an import that nobody works on, for a while or until `stop`; was there one?"""
    with ctx.db.read() as tx:
        import_id = tx.execute(_NEXT, {"now": ctx.now()}).scalar()
    if import_id is None:
        return False
    deadline = time.monotonic() + for_s
    for _ in work_import(ctx, import_id, stop=lambda: stop() or time.monotonic() > deadline):
        pass
    return True


def has_imports(ctx: SubscriberContext) -> bool:
    """Whether there is an import that nobody works on."""
    with ctx.db.read() as tx:
        return tx.execute(_NEXT, {"now": ctx.now()}).first() is not None


def work_import(
    ctx: SubscriberContext, import_id: int, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[int]:
    """Work on one import, if nobody else does, until it has ended or `stop`.

    Gives the number of lines after each commit.  What cannot be worked off ends as failed; where
    the database is in trouble, its error is raised, and the import goes on later.
    """
    lease = make_id(ctx.now())
    job = _take(ctx, import_id, lease)
    if job is None:
        return
    try:
        yield from _work(ctx, job, lease, stop)
    except LeaseLost:
        logger.bind(import_id=job.public_id).info("an import was taken over or cancelled")
    except (OperationalError, InterfaceError, GeneratorExit):
        _let_go(ctx, import_id, lease)
        raise
    except Exception as e:
        logger.bind(import_id=job.public_id).opt(exception=e).error("an import failed")
        why = "It could not be worked off; the service's log says why."
        with contextlib.suppress(LeaseLost), ctx.db.write() as tx:
            _finish(tx, ctx, import_id, lease, ImportStatus.FAILED, why)
    else:
        _let_go(ctx, import_id, lease)


def _take(ctx: SubscriberContext, import_id: int, lease: str) -> Row[Any] | None:
    """The import, now ours; None where it is somebody else's or has ended."""
    now = ctx.now()
    with ctx.db.write() as tx:
        taken = {"this": import_id, "now": now, "ours": lease, "until": now + _LEASE}
        if tx.execute(_TAKE, taken).rowcount != 1:
            return None
        return tx.execute(_THIS, {"this": import_id}).one()


def _let_go(ctx: SubscriberContext, import_id: int, lease: str) -> None:
    """Others need not wait for the end of the lease."""
    with contextlib.suppress(OperationalError, InterfaceError), ctx.db.write() as tx:
        tx.execute(_RELEASE, {"this": import_id, "ours": lease})


def _work(
    ctx: SubscriberContext, job: Row[Any], lease: str, stop: Callable[[], bool]
) -> Iterator[int]:
    """Both passes, or what is left of them."""
    if job.status is ImportStatus.CHECKING:
        worker = _Pass(ctx, job, lease, writes=False)
        while not worker.ended and not stop():
            yield worker.step()
        if not worker.ended:
            return
        with ctx.db.read() as tx:
            job = tx.execute(_THIS, {"this": job.id}).one()
        if job.status is not ImportStatus.WRITING:
            return
    worker = _Pass(ctx, job, lease, writes=True)
    while not worker.ended and not stop():
        yield worker.step()


class _Pass:
    """One pass through the file, which only checks or also writes."""

    def __init__(self, ctx: SubscriberContext, job: Row[Any], lease: str, *, writes: bool) -> None:
        self._people = ctx
        self._job = job
        self._lease = lease
        self._writes = writes
        self._layout = ColumnMapping.from_json(job.column_mapping)
        options = ImportOptions.from_json(job.options)
        self._sheets = RowParser(self._layout, options, zone=ctx.rules.default_zone, now=ctx.now())
        self._most = _FEWEST_AT_ONCE
        self._rows = RowReader(
            self._load_lines(job.lines_done + 1),
            delimiter=self._layout.delimiter,
            first_line=job.lines_done + 1,
        )
        self._line = job.lines_done
        self.ended = False

    def step(self) -> int:
        """Do some rows; how many lines are done with them.  Raises LeaseLost."""
        rows = self._rows.read(self._most)
        before, self._line = self._line, self._rows.next_line - 1
        for _ in range(_MOST_RACES):
            sheet = self._sheets.read(rows)
            try:
                self._learn(self._commit(sheet))
                break
            except (Raced, IntegrityError):
                continue
            except OperationalError as e:
                if not _is_deadlock(e):
                    raise
        else:
            raise Raced
        failpoints.reach("I1")
        self.ended = self._line >= self._job.lines
        return int(self._line - before)

    def _learn(self, taken_s: float) -> None:
        """A transaction took so long."""
        if taken_s > _LONG_S:
            self._most = max(_FEWEST_AT_ONCE, self._most // 2)
        elif taken_s < _SHORT_S:
            self._most = min(ROWS_AT_ONCE, self._most * 2)

    def _load_lines(self, line: int) -> Iterator[str]:
        """Yield the lines of the file from this one on."""
        while line <= self._job.lines:
            with self._people.db.read() as tx:
                chunk = tx.execute(_PIECE_OF, {"of": self._job.id, "line": line}).one()
            lines = io.StringIO(chunk.text.decode()).readlines()[line - chunk.first_line :]
            yield from lines
            line += len(lines)

    def _commit(self, sheet: ParsedRows) -> float:
        """The seconds for which nobody else could write, in SQLite."""
        ctx, job = self._people, self._job
        with ctx.db.write() as tx:
            started = time.monotonic()
            held = {"this": job.id, "ours": self._lease, "until": ctx.now() + _LEASE}
            if tx.execute(_KEEP_LEASE, held).rowcount != 1:
                raise LeaseLost
            plan = plan_entries(tx, sheet.entries, stamp=job.stamp)
            if self._writes and plan.writes:
                write_plan(tx, ctx, plan, stamp=job.stamp, actor=job.client)
            self._note(tx, sheet, plan)
            if self._line >= self._job.lines:
                self._end(tx)
            failpoints.reach("I0")
        return time.monotonic() - started

    def _note(self, tx: Connection, sheet: ParsedRows, plan: ImportPlan) -> None:
        refusals = [*sheet.refusals, *plan.refusals]
        if refusals:
            tx.execute(_REFUSE, [_as_row(self._job.id, each) for each in refusals])
        more = {
            "rows": sheet.rows,
            "created": plan.created,
            "updated": plan.updated,
            "unchanged": plan.unchanged,
            "merged": plan.merged,
            "refused": sheet.refused + plan.refused,
        }
        counted = {f"more_{name}": more[name] for name in _COUNTS}
        tx.execute(
            _ADVANCE, {"this": self._job.id, "ours": self._lease, "done": self._line, **counted}
        )

    def _end(self, tx: Connection) -> None:
        """The end of a pass: all is done, or can be, or cannot."""
        ctx, job = self._people, self._job
        if self._writes:
            _finish(tx, ctx, job.id, self._lease, ImportStatus.COMPLETE)
            return
        if tx.execute(_THIS, {"this": job.id}).one().refused:
            _finish(tx, ctx, job.id, self._lease, ImportStatus.REFUSED)
            return
        done = self._layout.first_line - 1
        begun = {"this": job.id, "ours": self._lease, "done": done, "at": ctx.now()}
        tx.execute(_BEGIN_WRITING, begun)


def _finish(
    tx: Connection,
    ctx: SubscriberContext,
    import_id: int,
    lease: str,
    ending: ImportStatus,
    error: str | None = None,
) -> None:
    ended = {"this": import_id, "ours": lease, "ending": ending, "why": error, "at": ctx.now()}
    if tx.execute(_FINISH, ended).rowcount != 1:
        raise LeaseLost


def _as_row(import_id: int, refusal: RejectedCell) -> dict[str, Any]:
    return {
        "import_id": import_id,
        "line": refusal.line,
        "position": refusal.position,
        "header": refusal.header,
        "cell": refusal.cell,
        "reason": refusal.reason,
    }


def _is_deadlock(error: OperationalError) -> bool:
    """PostgreSQL has ended one of two that waited for each other: it may try again."""
    return getattr(error.orig, "sqlstate", None) in ("40P01", "40001")
