"""A real SQLite file, emptied between seeds, whose transactions fail as a database may fail."""

import atexit
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from app.db.engine import Database
from app.db.writers import SharedWrites
from tests.databases import migrate
from tests.simulation.world import World

_MEMORY = Path("/dev/shm")
_GATES = "UPDATE gates SET until_at = NULL, tries = 0, facts = NULL"
_LATER_FACTS = "DELETE FROM metadata WHERE name IN ('inbounds_listed', 'suppression_key')"
# What a database has before anything happens in it.
_KEPT = {"alembic_version", "metadata", "gates"}
_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'consent_events'"
_TURN_S = 0.001
_LONGEST_TURN_S = 1.0
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


class Trouble(OperationalError):
    """The database's own error, made by the simulation."""

    def __init__(self, when: str) -> None:
        super().__init__(f"({when})", None, sqlite3.OperationalError(when))


class KeptConnections:
    """An engine's connections, not given back in between: that takes longer than what they do."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: list[Connection] = []

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """One whose transaction, if any, is rolled back at the end."""
        connection = self._idle.pop() if self._idle else self._engine.connect()
        try:
            yield connection
        finally:
            connection.rollback()
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            connection.close()


def _wait_while(world: World, must_wait: Callable[[], bool]) -> None:
    """Look again more and more seldom: the task that is waited for may be frozen for minutes."""
    turn_s = _TURN_S
    while must_wait():
        world.wait(turn_s)
        turn_s = min(2 * turn_s, _LONGEST_TURN_S)


class _Lock:
    """Held by a task of the simulated world, where others go on meanwhile."""

    def __init__(self, world: World) -> None:
        self._world, self._held = world, False

    def acquire(self, timeout: float) -> bool:
        _wait_while(self._world, lambda: self._held)
        self._held = True
        return True

    def release(self) -> None:
        self._held = False


class _Event:
    """What tasks of the simulated world wait for."""

    def __init__(self, world: World) -> None:
        self._world, self._is_set = world, False

    def set(self) -> None:
        self._is_set = True

    def wait(self, timeout: float | None) -> bool:
        _wait_while(self._world, lambda: not self._is_set)
        return True


def _share_in(world: World) -> type[SharedWrites[Any, Any]]:
    """The transactions that tasks of this world share."""

    class Shared(SharedWrites[Any, Any]):
        make_lock = staticmethod(lambda: _Lock(world))
        make_event = staticmethod(lambda: _Event(world))

    return Shared


class SimulatedDatabase(Database):
    """The database of one process of seeds; each seed enters its own world."""

    _reading: Any

    def __init__(self) -> None:
        base = str(_MEMORY) if _MEMORY.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="clarion-simulation-", dir=base))
        atexit.register(self.close)
        path = self._folder / "clarion.db"
        migrate(f"sqlite:///{path}")
        super().__init__(f"sqlite:///{path}", pool_size=2)
        self._reading = KeptConnections(self._reading)
        self.verified = True
        event.listen(self.engine, "connect", self._throw_its_dice)
        self.raw = sqlite3.connect(path, isolation_level=None)
        self.raw.execute("PRAGMA foreign_keys = 0")
        # The ledger of consent only grows otherwise, and could not be emptied.
        for (name,) in self.raw.execute(_TRIGGERS).fetchall():
            self.raw.execute(f"DROP TRIGGER {name}")
        self._emptied = sorted({name for (name,) in self.raw.execute(_TABLES)} - _KEPT)
        # Of those that changed something.
        self.commits = 0
        self._world: World
        self._observe: Callable[[], None]

    def _throw_its_dice(self, connection: sqlite3.Connection, _: object) -> None:
        """Let SQLite's own chance follow from the seed, too."""
        connection.create_function("random", 0, lambda: self._world.random.getrandbits(62))

    def enter(self, world: World, observe: Callable[[], None]) -> None:
        """Begin a seed with no rows; `observe` is called behind every change."""
        self._world, self._observe = world, observe
        self._shared_by: dict[tuple[Any, int], SharedWrites[Any, Any]] = {}
        self.raw.execute("BEGIN IMMEDIATE")
        for table in self._emptied:
            self.raw.execute(f"DELETE FROM {table}")
        self.raw.execute(_GATES)
        self.raw.execute(_LATER_FACTS)
        self.raw.execute("COMMIT")

    @contextlib.contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Connection]:
        world = self._world
        world.cross()
        quiet = world.current is None
        if not quiet and world.faults.strike(world.random, "db_begin"):
            raise Trouble("cannot begin")
        with super().write(urgent=urgent) as tx:
            driver: Any = tx.connection.driver_connection
            changes = driver.total_changes
            yield tx
            if not quiet and world.faults.strike(world.random, "db_rollback"):
                raise Trouble("cannot commit")
        # A quarter of all transactions change nothing: then there is nothing new to see.
        if driver.total_changes != changes:
            self.commits += 1
            self._observe()
        if not quiet and world.faults.strike(world.random, "db_lost"):
            raise Trouble("committed, but nobody is told")

    def share(self, write: Callable[..., Any]) -> SharedWrites[Any, Any]:
        """Each simulated process shares its own transactions."""
        key = write, self._world.current.process if self._world.current else 0
        if key not in self._shared_by:
            self._shared_by[key] = _share_in(self._world)(self.write, write)
        return self._shared_by[key]

    @contextlib.contextmanager
    def read(self, *, within_s: float | None = None) -> Iterator[Connection]:
        """As the real one, without its deadline: the simulation knows no time but its own."""
        world = self._world
        world.cross()
        if world.current is not None and world.faults.strike(world.random, "db_read"):
            raise Trouble("cannot read")
        with super().read() as tx:
            yield tx

    def copy(self) -> sqlite3.Connection:
        """A backup."""
        kept = sqlite3.connect(":memory:")
        self.raw.backup(kept)
        return kept

    def put_back(self, kept: sqlite3.Connection) -> None:
        """Restore from a backup."""
        kept.backup(self.raw)

    def close(self) -> None:
        self.raw.close()
        self._reading.close()
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)
