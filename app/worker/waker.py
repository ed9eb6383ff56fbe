"""Telling Celery's workers that there is something to do, without a request waiting for it."""

import threading
import time
from collections.abc import Callable

# So many requests a second as may come, so few nudges.
_PAUSE_S = 0.05
# While the broker is away.
_BREATH_S = 2.0


class Waker:
    """One thread of a web process that talks to the broker, however slow or dead that is.

    `tell` publishes the nudge; False when the broker did not take it.
    """

    def __init__(self, tell: Callable[[], bool]) -> None:
        self._tell = tell
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake_workers(self) -> None:
        """There may be something to do; returns at once."""
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(_PAUSE_S if self._tell() else _BREATH_S)
