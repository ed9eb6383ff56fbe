"""Time, and tasks that take turns: whoever crosses a border may be overtaken, frozen or killed.

A border is where a process meets something outside of it: a transaction, a call to Sinch, a sleep.
Between two borders a task runs alone, so a run follows from its seed.
"""

import heapq
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from types import MappingProxyType

from greenlet import getcurrent, greenlet

from app.clock import Clock
from tests.simulation.faults import Faults, draw_faults

NONE: Mapping[str, float] = MappingProxyType({})
_REFERENCE = re.compile(r"cl-[0-9a-f]{24}")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Crash(BaseException):
    """The process is gone: no handler of ours may run."""


class Task:
    """Something that a process does, which goes on once its time has come."""

    def __init__(self, kind: str, number: int, process: int, ready_at: float) -> None:
        self.kind = kind
        self.name = f"p{process}.{kind}.{number}"
        self.process = process
        self.ready_at = ready_at
        self.thread: greenlet
        self.crashed: Callable[[], None] | None = None


class World:
    """One seed's time, chance, tasks and trace.

    `time` is the true one, in seconds; our own clock is off by `skew`.  `trouble` is had whatever
    the seed says.
    """

    def __init__(self, seed: int, trouble: Mapping[str, float] = NONE) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.faults: Faults = draw_faults(self.random)
        self.faults.odds.update(trouble)
        self.faults_were = dict(self.faults.odds)
        self.time = 0.0
        self.skew = 0.0
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.failures: list[str] = []
        self.trace: list[tuple[float, str, str]] = []
        # What a client_reference, another in each run, stands for.
        self.names: dict[str, str] = {}
        self._main = getcurrent()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # What happened

    def note(self, what: str) -> None:
        """Keep a line of the trace."""
        self.trace.append((self.time, self.current.name if self.current else "", what))

    def fail(self, what: str) -> None:
        """Something that must not be has happened."""
        self.note(f"FAILURE {what}")
        self.failures.append(what)

    def tell(self, *, last: int = 400) -> str:
        """The trace as text."""
        lines = [f"{at:10.2f} {who:<18} {what}" for at, who, what in self.trace[-last:]]
        return _REFERENCE.sub(lambda m: self.names.get(m[0], "?"), "\n".join(lines))

    # Tasks

    def start(
        self,
        name: str,
        process: int,
        work: Callable[[], object],
        *,
        crashed: Callable[[], None] | None = None,
    ) -> Task:
        """Have a process begin something."""
        self._count += 1
        task = Task(name, self._count, process, self.time)
        task.thread = greenlet(work, self._main)
        task.crashed = crashed
        self.tasks.append(task)
        return task

    def go_on(self, task: Task) -> None:
        """Let a task run to its next border."""
        self.current = task
        try:
            task.thread.switch()
        except Crash:
            self._bury(task)
            self.crash(task.process)
        finally:
            self.current = None
        if task.thread.dead and task in self.tasks:
            self.tasks.remove(task)

    def crash(self, process: int | None = None) -> None:
        """End a process, or all of them, wherever their tasks stand."""
        for task in [each for each in self.tasks if process in (None, each.process)]:
            self.current = task
            try:
                task.thread.throw(Crash)
            except Crash:
                pass
            finally:
                self.current = None
            if not task.thread.dead:
                self.fail(f"{task.name} survived a crash")
            self._bury(task)

    def _bury(self, task: Task) -> None:
        if task in self.tasks:
            self.tasks.remove(task)
            self.trace.append((self.time, task.name, "crashed"))
            if task.crashed:
                task.crashed()

    def cross(self) -> None:
        """A border: others may go first, and time may pass."""
        if self.current is not None:
            self.wait(self.faults.draw_delay(self.random))

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass for this task alone."""
        task = self.current
        if task is None:
            self.time += seconds
            return
        task.ready_at = self.time + seconds
        self._main.switch()

    # Time

    def seconds_from_now(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen by itself, so many seconds from now."""
        self._count += 1
        heapq.heappush(self._events, (self.time + seconds, self._count, event))

    def fire_events(self) -> None:
        """Have everything happen whose time has come."""
        while self._events and self._events[0][0] <= self.time:
            heapq.heappop(self._events)[2]()

    def next_event_at(self) -> float | None:
        """When the next one does."""
        return self._events[0][0] if self._events else None

    def tell_time(self, time: float) -> datetime:
        """A moment of the true time, as a time of day."""
        return START + timedelta(seconds=time)


class SimulatedClock(Clock):
    """Our clock in a world: it may be wrong, its monotonic side never is."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return START + timedelta(seconds=self._world.time + self._world.skew)

    def monotonic(self) -> float:
        return self._world.time

    def sleep(self, seconds: float) -> None:
        self._world.wait(seconds)
