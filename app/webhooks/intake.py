"""Callbacks into the table of events: many in one commit, none acknowledged before its own.

Whoever comes first while another group is being committed leads the next one: it waits for its
turn, closes the group, and commits all that joined meanwhile.  So under load a commit serves many,
and a single callback waits for nobody.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection

from app.db.base import table_of
from app.sms.context import Context
from app.sms.report_models import Event

# A caller hears no later whether its event was stored.
WITHIN_S = 20.0

_RECEIVED_AT = table_of(Event).c.received_at.type


class NotStored(Exception):
    """The database did not take the event in time: nothing is promised, it has to come again."""


class _Group:
    """Events for one commit, and whether that came about."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.ended = threading.Event()
        self.error: BaseException | None = None


class Intake:
    """The way of raw events into the database of `ctx`; safe for any number of threads.

    `stored` is called behind each commit.
    """

    def __init__(
        self, ctx: Context, *, stored: Callable[[], object], within_s: float = WITHIN_S
    ) -> None:
        self._ctx, self._stored, self._within_s = ctx, stored, within_s
        self._joining = threading.Lock()
        self._turn = threading.Lock()
        self._next = _Group()

    def store(self, raw: bytes) -> None:
        """Return once the event is committed.  Raises NotStored when that fails or takes long."""
        with self._joining:
            group = self._next
            leads = not group.events
            group.events.append(raw)
        if leads:
            self._lead(group)
        elif not group.ended.wait(self._within_s):
            raise NotStored("no commit in time")
        if group.error is not None:
            raise NotStored("no commit") from group.error

    def _lead(self, group: _Group) -> None:
        """Commit a group when its turn comes."""
        came = self._turn.acquire(timeout=self._within_s)
        with self._joining:
            self._next = _Group()
        try:
            if not came:
                raise TimeoutError("the commit before did not end")
            self._commit(group.events)
        except BaseException as e:
            group.error = e
        finally:
            if came:
                self._turn.release()
            group.ended.set()
        if group.error is None:
            self._stored()

    def _commit(self, events: Sequence[bytes]) -> None:
        self._ctx.require_own_database()
        now = self._ctx.now()
        with self._ctx.db.write() as tx:
            insert_events(tx, now, events)
