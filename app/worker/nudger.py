"""Telling Celery's workers that there is something to do, without a request waiting for it."""

import threading
import time

from app.sms.tasks import nudge_workers

# So many requests a second as may come, so few nudges.
_PAUSE_S = 0.05
# While the broker is away.
_BREATH_S = 2.0


class Nudger:
    """One thread of a web process that talks to the broker, however slow or dead that is."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """There may be something to do; returns at once."""
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(_PAUSE_S if nudge_workers() else _BREATH_S)
