"""Writers that wait for each other: commits that threads share, and turns at SQLite's one place.

The first thread that comes during a commit leads the next group: it waits for its turn, closes the
group, and writes for all that joined.  Under load a commit serves many threads; a single one never
waits.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError, TimeoutError

from app.logs import mark_outage

Error = TypeVar("Error", bound=SQLAlchemyError)
Item = TypeVar("Item")
Result = TypeVar("Result")

# A commit costs more than several requests, so it is worth waiting for more of them.
_GATHER_S = 0.005
_PAUSE_S = 0.001
GIVE_WAY_S = 0.005
# A process that waits for another one tries again after this time.
_POLL_S = 0.0005
# After this time it tries without being the next one.
_NEXT_WITHIN_S = 1.0


class _Group(Generic[Item, Result]):
    """Items for one transaction, and the result or the error of each, in their order."""

    def __init__(self, ended: threading.Event) -> None:
        self.items: list[Item] = []
        self.results: list[Result | None] = []
        self.errors: list[BaseException | None] = []
        self.ended = ended

    def succeed(self, results: Sequence[Result]) -> None:
        self.results, self.errors = list(results), [None] * len(results)

    def fail(self, error: BaseException) -> None:
        self.results, self.errors = [None] * len(self.items), [error] * len(self.items)


class SharedWrites(Generic[Item, Result]):
    """One kind of transaction, which writes any number of items at once.

    `begin` opens a transaction; `write` returns a result for each item.  If it raises for several
    items, each is written in a transaction of its own, so that an error concerns its item alone.  A
    thread waits at most `within_s`.  With `gather` a leader waits some milliseconds for more
    threads if the last group had several.
    """

    # What threads wait for.
    make_lock: Callable[[], Any] = threading.Lock
    make_event: Callable[[], Any] = threading.Event

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Connection]],
        write: Callable[[Connection, Sequence[Item]], Sequence[Result]],
        *,
        within_s: float | None = None,
        gather: bool = False,
    ) -> None:
        self._begin, self._write, self._within_s, self._gather = begin, write, within_s, gather
        self._joining = threading.Lock()
        self._turn = self.make_lock()
        self._next = _Group[Item, Result](self.make_event())
        self._several = False

    def write(self, item: Item) -> Result:
        """Write an item.  Returns its result once it is committed.

        Raises what the transaction raises, and TimeoutError after `within_s`: the item may still be
        committed.
        """
        with self._joining:
            group = self._next
            number = len(group.items)
            group.items.append(item)
        if number == 0:
            self._lead(group)
        elif not group.ended.wait(self._within_s):
            raise _mark(TimeoutError("waited too long for a commit"))
        error = group.errors[number]
        if error is not None:
            raise error
        return cast(Result, group.results[number])

    def _lead(self, group: _Group[Item, Result]) -> None:
        has_turn = False
        try:
            has_turn = self._turn.acquire(timeout=-1 if self._within_s is None else self._within_s)
            if not has_turn:
                raise _mark(TimeoutError("waited too long for other commits"))
            if self._gather and self._several:
                _wait_for_more(group.items)
            self._write_group(group)
        except BaseException as e:
            self._close(group)
            group.fail(e)
        finally:
            if has_turn:
                self._turn.release()
            group.ended.set()

    def _write_group(self, group: _Group[Item, Result]) -> None:
        is_writing = False
        try:
            with self._begin() as tx:
                self._close(group)
                is_writing = True
                results = self._write(tx, group.items)
                is_writing = False
            group.succeed(results)
        except Exception:
            # An error of the commit itself does not tell whether it took place.
            if not is_writing or len(group.items) == 1:
                raise
            self._write_one_by_one(group)

    def _write_one_by_one(self, group: _Group[Item, Result]) -> None:
        for item in group.items:
            result, error = None, None
            try:
                with self._begin() as tx:
                    (result,) = self._write(tx, [item])
            except Exception as e:
                error = e
            group.results.append(result)
            group.errors.append(error)

    def _close(self, group: _Group[Item, Result]) -> None:
        with self._joining:
            if self._next is group:
                self._next = _Group(self.make_event())
                self._several = len(group.items) > 1


def _wait_for_more(items: Sequence[Any]) -> None:
    """Wait while more items keep joining, for at most _GATHER_S."""
    deadline, seen = time.monotonic() + _GATHER_S, 0
    while seen < len(items) and time.monotonic() < deadline:
        seen = len(items)
        time.sleep(_PAUSE_S)


class WriteTurns:
    """The turns at SQLite's one place for a writer.

    A process's threads wait here instead of polling the file.  SQLite would let the writers of
    other processes sleep for up to a tenth of a second and then try again, in no order: two
    processes would send no more than one.

    A lock in strict order would leave the place empty while the next thread wakes up, so any thread
    may take it, but gives way to an urgent one.  Every second turn is open to all: a flood of
    urgent writers keeps no other one away.
    """

    def __init__(self, path: str, within_s: float) -> None:
        """`path` is that of the database; a turn comes `within_s` seconds or not at all."""
        self._within_s = within_s
        self._processes = _ProcessTurns(path)
        self._place = threading.Lock()
        self._counting = threading.Lock()
        self._urgent = 0
        self._last_was_urgent = False

    @contextlib.contextmanager
    def take(self, *, urgent: bool) -> Iterator[None]:
        """Wait for the place.  Raises OperationalError."""
        deadline = time.monotonic() + self._within_s
        self._count(urgent)
        try:
            self._enter(deadline)
            while self._urgent and not urgent and not self._last_was_urgent:
                self._place.release()
                time.sleep(GIVE_WAY_S)
                self._enter(deadline)
        finally:
            self._count(-urgent)
        self._last_was_urgent = urgent
        try:
            with self._processes.take(deadline):
                yield
        finally:
            self._place.release()

    def close(self) -> None:
        """Close the files of the turns."""
        self._processes.close()

    def _enter(self, deadline: float) -> None:
        if not self._place.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise _make_locked("waited too long for other writers")

    def _count(self, change: int) -> None:
        if change:
            with self._counting:
                self._urgent += change


class _ProcessTurns:
    """The turns of processes: locks on two files beside the database, which end with a process.

    A process that waits for the place holds the lock of the next one, so that one that has just
    written comes behind it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: list[int] = []

    @contextlib.contextmanager
    def take(self, deadline: float) -> Iterator[None]:
        """Wait for the place, until a time of the monotonic clock.  Raises OperationalError."""
        files = self._files or self._open()
        if not files:
            yield
            return
        place, following = files
        # A process that is frozen while it is the next one must not stop all others.
        is_next = _try_lock(following, min(deadline, time.monotonic() + _NEXT_WITHIN_S))
        try:
            if not _try_lock(place, deadline):
                raise _make_locked("waited too long for the writers of other processes")
        finally:
            if is_next:
                fcntl.flock(following, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(place, fcntl.LOCK_UN)

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []

    def _open(self) -> list[int]:
        """Open the files.  Returns none if that fails: SQLite says itself what is wrong."""
        try:
            for suffix in ("writer", "next"):
                file = os.open(f"{self._path}-{suffix}", os.O_CREAT | os.O_RDWR, 0o600)
                self._files.append(file)
                # A command of root must not lock the service out.
                if os.geteuid() == 0 and os.path.exists(self._path):
                    owner = os.stat(self._path)
                    os.fchown(file, owner.st_uid, owner.st_gid)
        except OSError:
            self.close()
        return self._files


def _make_locked(reason: str) -> OperationalError:
    """Return the error that SQLite has for this, which all callers know."""
    error = sqlite3.OperationalError(f"database is locked: {reason}")
    return _mark(OperationalError("BEGIN IMMEDIATE", None, error))


def _mark(error: Error) -> Error:
    """Mark an error that this module makes as an outage: it comes for each that waits."""
    mark_outage(error, "the database is unavailable", str(getattr(error, "orig", error)))
    return error


def _try_lock(file: int, deadline: float) -> bool:
    """Wait for the lock of a file.  Returns False if it did not come in time."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True
