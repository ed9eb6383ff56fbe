"""Loops of background threads: work when woken, log failures, end within a time limit."""

import threading
import time
from collections.abc import Callable

from loguru import logger

from app.db.schema import WrongDatabase, log_wrong_database

# After a failure; the database may be unavailable.
_PAUSE_S = 2.0


class Loop(threading.Thread):
    """A thread that works, and works again whenever it is woken.

    `work` returns after how many seconds to work again without a wake-up: 0 for at once, None for
    never.  A failure is logged and does not end the thread.  The first time comes after `delay_s`,
    if None with the first wake-up.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], float | None],
        *,
        stopping: threading.Event | None = None,
        delay_s: float | None = 0,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._delay_s = work, delay_s
        self._stopping = stopping or threading.Event()
        self._woken = threading.Event()

    def wake(self) -> None:
        """Have the thread work now.  Returns at once."""
        self._woken.set()

    def run(self) -> None:
        self._woken.wait(self._delay_s)
        while True:
            self._woken.clear()
            # Read after `clear`, because `stop_claiming` sets `_stopping` before it wakes us.
            if self._stopping.is_set():
                return
            try:
                pause_s = self._work()
            except Exception as e:
                log_failure(e)
                self._stopping.wait(_PAUSE_S)
            else:
                if pause_s != 0:
                    self._woken.wait(pause_s)


class Loops:
    """Loops that start and stop together, with all `others`."""

    def __init__(self, *others: "Loops") -> None:
        self._others = others
        self._stopping = threading.Event()
        self._threads: list[Loop] = []

    def add(self, name: str, work: Callable[[], float | None], *, delay_s: float = 0) -> Loop:
        """Add a loop.  Returns it, to be woken."""
        loop = Loop(name, work, stopping=self._stopping, delay_s=delay_s)
        self._threads.append(loop)
        return loop

    def start(self) -> None:
        for loops in (self, *self._others):
            for thread in loops._threads:
                thread.start()

    def stop_claiming(self) -> None:
        """Have the threads start nothing more.  Returns at once."""
        for loops in (self, *self._others):
            loops._stopping.set()
            for thread in loops._threads:
                thread.wake()

    def stop(self, *, within_s: float = 12.0) -> bool:
        """Have the threads finish their POSTs and end.  Returns True if all of them did in time."""
        self.stop_claiming()
        deadline = time.monotonic() + within_s
        threads = [thread for loops in (self, *self._others) for thread in loops._threads]
        for thread in threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


def log_failure(error: Exception) -> None:
    """Log the failure of background work, one that lasts once a minute."""
    if isinstance(error, WrongDatabase):
        log_wrong_database(error)
    else:
        logger.opt(exception=error).error("background work failed; it will be tried again")
