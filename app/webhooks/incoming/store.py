"""Callbacks into the table of events: many in one commit, none acknowledged before its own.

Whoever comes first while another group is being committed leads the next one: it waits for its
turn, closes the group, and commits all that joined meanwhile.  Where the last group was of several
it waits for as long as more keep coming, some milliseconds.  So under load a commit serves many,
and a single callback waits for nobody.

A STOP among them takes effect with the commit: no batch claimed behind its acknowledgement goes to
that number.
"""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import ARRAY, Connection, LargeBinary, TextClause, bindparam, text

from app.db.types import UtcTime
from app.sms.context import Context
from app.sms.inbound.opt_out import suppress_at_once

# A caller hears no later whether its event was stored.
WITHIN_S = 20.0
# A commit costs more than several requests do: more of them share it.
_GATHER_S = 0.005
_PAUSE_S = 0.001


class NotStored(Exception):
    """The database did not take the event in time: nothing is promised, it has to come again."""


class _Group:
    """Events for one commit, and what came of it."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.ended = threading.Event()
        self.stored = False
        self.error: Exception | None = None


class CallbackStore:
    """The way of raw events into the database of `ctx`, for any number of threads.

    `on_stored` is called behind each commit.
    """

    def __init__(
        self, ctx: Context, *, on_stored: Callable[[], object], within_s: float = WITHIN_S
    ) -> None:
        self._ctx, self._on_stored, self._within_s = ctx, on_stored, within_s
        self._joining = threading.Lock()
        self._turn = threading.Lock()
        self._next = _Group()
        self._several = False

    def store(self, raw: bytes) -> None:
        """Return once the event is committed.  Raises NotStored when that fails or takes long."""
        with self._joining:
            group = self._next
            leads = not group.events
            group.events.append(raw)
        if leads:
            self._lead(group)
        else:
            group.ended.wait(self._within_s)
        if not group.stored:
            raise NotStored("no commit in time") from group.error

    def _lead(self, group: _Group) -> None:
        """Commit a group when its turn comes."""
        has_turn = self._turn.acquire(timeout=self._within_s)
        if has_turn and self._several:
            _gather(group)
        with self._joining:
            self._next = _Group()
            self._several = len(group.events) > 1
        try:
            if has_turn:
                self._commit(group.events)
                group.stored = True
        except Exception as e:
            group.error = e
        finally:
            if has_turn:
                self._turn.release()
            group.ended.set()
        if group.stored:
            self._on_stored()

    def _commit(self, events: Sequence[bytes]) -> None:
        self._ctx.require_own_database()
        now = self._ctx.now()
        with self._ctx.db.write() as tx:
            suppress_at_once(tx, self._ctx, events)
            _insert_events(tx, now, events)


def _gather(group: _Group) -> None:
    """Wait for as long as more keep coming, but only a moment."""
    deadline, seen = time.monotonic() + _GATHER_S, 0
    while seen < len(group.events) and time.monotonic() < deadline:
        seen = len(group.events)
        time.sleep(_PAUSE_S)


def _insert_events(tx: Connection, now: datetime, events: Sequence[bytes]) -> None:
    """All of them in one statement: row by row, SQLite's driver lets other threads in between, and
    a busy process gives each turn back only after milliseconds."""
    if tx.dialect.name == "sqlite":
        numbered = {f"e{number}": raw for number, raw in enumerate(events)}
        tx.execute(_make_sqlite_insert(len(events)), {"now": now, **numbered})
    else:
        tx.execute(_POSTGRES_INSERT, {"now": now, "events": list(events)})


@cache
def _make_sqlite_insert(count: int) -> TextClause:
    rows = ", ".join(f"(:now, :e{number}, 0)" for number in range(count))
    statement = text(f"INSERT INTO events (received_at, raw, tries) VALUES {rows}")  # noqa: S608
    return statement.bindparams(bindparam("now", type_=UtcTime()))


_POSTGRES_INSERT = text(
    "INSERT INTO events (received_at, raw, tries) SELECT :now, raw, 0 FROM unnest(:events) AS raw"
).bindparams(bindparam("now", type_=UtcTime()), bindparam("events", type_=ARRAY(LargeBinary)))
