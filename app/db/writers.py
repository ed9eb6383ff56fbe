"""Transactions that threads share: one commit for all who wait for one.

The first thread that comes during a commit leads the next group: it waits for its turn, closes the
group, and writes for all that joined.  Under load a commit serves many threads; a single one never
waits.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError

Item = TypeVar("Item")
Result = TypeVar("Result")

# A commit costs more than several requests, so it is worth waiting for more of them.
_GATHER_S = 0.005
_PAUSE_S = 0.001


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
            raise TimeoutError("waited too long for a commit")
        error = group.errors[number]
        if error is not None:
            raise error
        return cast(Result, group.results[number])

    def _lead(self, group: _Group[Item, Result]) -> None:
        has_turn = False
        try:
            has_turn = self._turn.acquire(timeout=-1 if self._within_s is None else self._within_s)
            if not has_turn:
                raise TimeoutError("waited too long for other commits")
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
