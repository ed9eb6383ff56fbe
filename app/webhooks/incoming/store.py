"""Storage of callbacks: many in one commit, each acknowledged after its commit.

The first callback during a commit leads the next group: it waits for its turn, closes the group
and commits all callbacks that joined.  If the last group had several callbacks, the leader waits
some milliseconds for more.  Under load a commit serves many callbacks; a single one never waits.

A STOP takes effect with the commit: no batch claimed after its acknowledgement goes to that number.
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

# A callback is answered within this time, stored or not.
WITHIN_S = 20.0
# A commit costs more than several requests, so it is worth waiting for more of them.
_GATHER_S = 0.005
_PAUSE_S = 0.001


class NotStored(Exception):
    """The event was not committed in time: Sinch has to send it again."""


class _Group:
    """Events for one commit, and its result."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.ended = threading.Event()
        self.stored = False
        self.error: Exception | None = None


class CallbackStore:
    """Stores raw events for any number of threads; calls `on_stored` after each commit."""

    def __init__(
        self, ctx: Context, *, on_stored: Callable[[], object], within_s: float = WITHIN_S
    ) -> None:
        self._ctx, self._on_stored, self._within_s = ctx, on_stored, within_s
        self._joining = threading.Lock()
        self._turn = threading.Lock()
        self._next = _Group()
        self._several = False

    def store(self, raw: bytes) -> None:
        """Return once the event is committed.  Raises NotStored if that fails or is late."""
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
        with self._ctx.db.write(urgent=True) as tx:
            suppress_at_once(tx, self._ctx, events)
            _insert_events(tx, now, events)


def _gather(group: _Group) -> None:
    """Wait while more events keep joining, for at most _GATHER_S."""
    deadline, seen = time.monotonic() + _GATHER_S, 0
    while seen < len(group.events) and time.monotonic() < deadline:
        seen = len(group.events)
        time.sleep(_PAUSE_S)


def _insert_events(tx: Connection, now: datetime, events: Sequence[bytes]) -> None:
    """Insert all events in one statement.

    Between single rows SQLite's driver releases the GIL, and a busy process returns it only after
    milliseconds.
    """
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
