"""Things to do at a time of the sandbox's clock, done by one thread."""

import heapq
import itertools
import threading
from collections.abc import Callable

from app.sandbox.clock import Clock

_LONGEST_SLEEP_S = 60.0


class Scheduler:
    """Runs short jobs in the order they are due; the clock may jump, then call ``wake``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def at(self, due: float, job: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (due, next(self._order), job))
            self._changed.notify()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._due.clear()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next due job; None when it is time to stop."""
        with self._changed:
            while not self._stopping:
                wait_s = self._due[0][0] - self._clock.now() if self._due else _LONGEST_SLEEP_S
                if wait_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(min(wait_s, _LONGEST_SLEEP_S))
        return None
