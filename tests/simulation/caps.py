"""Caps on what the clients of some runs send in an hour, and what must hold of them.

Their dice are their own: a run without caps is as it was before there were any.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from app.config.scopes import DEFAULT_SCOPES
from app.db.viewer import NO_WALL, Viewer
from app.keys.store import KeyOptions, create_key
from app.sms.caps.caps import CapName, set_cap
from app.sms.context import Context
from app.sms.models.cap import ALL, KEY, CapPeriod, CapUnit
from tests.simulation.database import SimulatedDatabase
from tests.simulation.world import SimulatedClock, World

# Of all runs.
_SHARE = 0.12
_CLIENT, _HOUR_S = "client", 3600.0
_AMOUNTS = (0, 1, 2, 4, 8)
_ENOUGH = 10_000
# So long after an hour began, what waited for it has gone or waits for the next.
_WAITED_S, _OVERDUE_S = 600.0, 300.0

_IS_OF = "(c.client = '*' OR c.client = r.client OR c.client = 'key:' || r.key_id)"
# A batch counts once in an hour, however often it is tried.
_USED = f"""
SELECT c.client, c.amount, k.started_at,
 (SELECT sum(b.size * r.parts) FROM batches b JOIN broadcasts r ON r.id = b.broadcast_id
   WHERE {_IS_OF} AND EXISTS (SELECT 1 FROM attempts a
     WHERE a.batch_id = b.id AND a.started_at >= k.started_at)) AS used
FROM caps c JOIN cap_counters k ON k.client = c.client AND k.period = c.period
WHERE (SELECT count(*) FROM attempts a JOIN batches b ON b.id = a.batch_id
  JOIN broadcasts r ON r.id = b.broadcast_id
  WHERE b.id = ? AND {_IS_OF} AND a.started_at >= k.started_at) = 1
"""
# After a cap is set, what waited for it is looked at anew; if Sinch refused another batch of its
# broadcast meanwhile, only when that one is tried again.
_WRONG_WAITS = """
SELECT b.id, b.state, b.not_before FROM batches b WHERE b.exclusion_reason = 'cap_reached'
AND (b.state = 'held' OR b.state = 'pending' AND strftime('%M%f', b.not_before) <> '0000.000'
 AND b.not_before > ? AND NOT EXISTS (SELECT 1 FROM batches h WHERE h.state = 'held'
  AND h.broadcast_id = b.broadcast_id AND h.not_before = b.not_before))
"""
_OVERDUE = """
SELECT b.id, b.not_before FROM batches b JOIN broadcasts r ON r.id = b.broadcast_id
WHERE b.state = 'pending' AND b.exclusion_reason = 'cap_reached' AND b.not_before < ?
AND r.status IN ('queued', 'sending')
AND NOT EXISTS (SELECT 1 FROM gates WHERE name IN ('circuit', 'restore') AND facts IS NOT NULL)
"""

Do = Callable[[str, Callable[[Context], object]], None]


class Caps:
    """The caps of a run, if it has any; `viewer` is the key that its clients come with."""

    _db: SimulatedDatabase

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = SimulatedClock(world)
        self._jumps = "jump" in world.faults.odds
        self._random = Random(f"caps {world.seed}")
        self.drawn = self._random.random() < _SHARE or "caps" in world.faults.odds
        self.viewer: Viewer = NO_WALL
        self._owners: tuple[str, ...] = ()
        self._raise_at: dict[str, float] = {}
        # After our clock was set back a batch may have attempts in an hour and before it, or end
        # before it began: a cap that is set later counts some of them in an earlier hour.
        self._latest, self._was_set_back = self._clock.now(), False
        self._set_late: set[str] = set()
        self._is_calm = False

    def enter(self, db: SimulatedDatabase) -> None:
        """Make the key, in the empty database of the run."""
        self._db = db
        if self.drawn:
            options = KeyOptions(DEFAULT_SCOPES)
            row, _ = create_key(db, self._clock, _CLIENT, options, actor="operator")
            self.viewer = Viewer(_CLIENT, key_id=row.id)
            key = f"{KEY}{row.id}"
            self._owners = self._random.choice(((ALL,), (_CLIENT,), (key,), (ALL, key)))

    def plan(self, ctx: Context, do: Do) -> None:
        """Set them, now or when something was sent already, and perhaps to something else later."""
        random = self._random
        for owner in self._owners:
            if random.random() < 0.7:
                self._set(ctx, owner, random.choice(_AMOUNTS))
            else:
                self._set_later(do, owner, random.uniform(0, 300))
            if random.random() < 0.4:
                self._set_later(do, owner, random.uniform(0, 3600))

    def _set_later(self, do: Do, owner: str, after_s: float) -> None:
        amount = self._random.choice(_AMOUNTS)

        def change() -> None:
            if not self._is_calm:
                do("cap", lambda ctx: self._set(ctx, owner, amount))

        self._world.seconds_from_now(after_s, change)

    def calm_down(self) -> None:
        """From now on they are only raised: at once, or once their hour has gone by."""
        self._is_calm = True
        to_next_hour_s = _HOUR_S - self._world.time % _HOUR_S
        for owner in self._owners:
            after_s = self._random.choice((0.0, to_next_hour_s + _WAITED_S))
            self._raise_at[owner] = self._world.time + after_s
            self._world.seconds_from_now(after_s, lambda: None)

    def raise_due(self, do: Do) -> None:
        """Raise caps; what waited for an hour that has begun must have gone, or wait again."""
        for owner in [each for each, at in self._raise_at.items() if at <= self._world.time]:
            del self._raise_at[owner]
            overdue = _write(self._clock.now() - timedelta(seconds=_OVERDUE_S))
            if not self._jumps:
                for batch_id, not_before in self._db.raw.execute(_OVERDUE, (overdue,)):
                    self._world.fail(f"batch {batch_id} waits for a cap since {not_before}")
            do("cap", lambda ctx, owner=owner: self._set(ctx, owner, _ENOUGH))

    def _set(self, ctx: Context, owner: str, amount: int) -> None:
        self._world.note(f"cap of {owner}: {amount}")
        self._note_time()
        name = CapName(owner, CapPeriod.HOUR, CapUnit.PARTS)
        try:
            set_cap(ctx, name, amount, actor="operator")
        finally:
            # The clock may be set back before the cap looks at what was sent.
            self._note_time()
            if self._was_set_back:
                self._set_late.add(owner)

    def _note_time(self) -> None:
        now = self._clock.now()
        self._was_set_back |= now < self._latest
        self._latest = max(now, self._latest)

    def judge(self, batch_id: int, name: str) -> None:
        """A commit has just claimed this batch: no cap that it counts against is exceeded."""
        if not self.drawn:
            return
        self._note_time()
        hour = _write(self._clock.now().replace(minute=0, second=0, microsecond=0))
        for owner, amount, started_at, used in self._db.raw.execute(_USED, (batch_id,)):
            if used > amount and owner not in self._set_late:
                self._world.fail(f"{name}: {used} parts over the cap of {owner}, {amount}")
            if started_at != hour and not self._jumps:
                self._world.fail(f"{name}: counted in the hour of {started_at}, it is {hour}")

    def judge_waits(self) -> None:
        """What waits for a cap is pending, until an hour begins."""
        if self.drawn:
            now = _write(self._clock.now())
            for batch_id, state, not_before in self._db.raw.execute(_WRONG_WAITS, (now,)):
                self._world.fail(f"batch {batch_id} waits for a cap: {state}, {not_before}")


def _write(time: datetime) -> str:
    """Return a time as the database has it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
