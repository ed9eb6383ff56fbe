"""Jobs at a time of the sandbox's clock, run by one thread."""

import heapq
import itertools
import threading
from collections.abc import Callable

from app.sandbox.clock import Clock

_MAX_SLEEP_S = 60.0


class Scheduler:
    """Runs short jobs in the order they are due.  Call `wake` after the clock was moved."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sandbox-scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def schedule(self, due: float, job: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._jobs, (due, next(self._sequence), job))
            self._changed.notify()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._jobs.clear()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._wait_for_job()) is not None:
            job()

    def _wait_for_job(self) -> Callable[[], None] | None:
        """Wait for the next due job; None when the scheduler stops."""
        with self._changed:
            while not self._stopping:
                wait_s = self._jobs[0][0] - self._clock.now() if self._jobs else _MAX_SLEEP_S
                if wait_s <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(min(wait_s, _MAX_SLEEP_S))
        return None
