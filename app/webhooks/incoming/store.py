"""Storage of callbacks: many in one commit, each acknowledged after its commit.

A STOP takes effect with the commit: no batch claimed after its acknowledgement goes to that number.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import ARRAY, Connection, LargeBinary, TextClause, bindparam, text

from app.db.types import UtcTime
from app.db.writers import SharedWrites
from app.sms.context import Context
from app.sms.inbound.opt_out import suppress_at_once

# A callback is answered within this time, stored or not.
WITHIN_S = 20.0


class NotStored(Exception):
    """The event was not committed in time: Sinch has to send it again."""


class CallbackStore:
    """Stores raw events for any number of threads; calls `on_stored` after each commit."""

    def __init__(
        self, ctx: Context, *, on_stored: Callable[[], object], within_s: float = WITHIN_S
    ) -> None:
        self._ctx, self._on_stored, self._within_s = ctx, on_stored, within_s
        self._writes = SharedWrites(
            lambda: ctx.db.write(urgent=True), self._insert, within_s=within_s, gather=True
        )

    def store(self, raw: bytes) -> None:
        """Return once the event is committed.  Raises NotStored if that fails or is late."""
        try:
            self._ctx.require_own_database()
            is_first = self._writes.write(raw)
        except Exception as e:
            raise NotStored("no commit in time") from e
        if is_first:
            self._on_stored()

    def _insert(self, tx: Connection, events: Sequence[bytes]) -> Sequence[bool]:
        """Insert the events of one commit.  Returns True for the first, False for the others."""
        suppress_at_once(tx, self._ctx, events)
        _insert_events(tx, self._ctx.now(), events)
        return [number == 0 for number in range(len(events))]


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
