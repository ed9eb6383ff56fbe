"""Wake-ups for Celery's workers, sent by a thread of the web process."""

import threading
import time
from collections.abc import Callable

# One wake-up serves all requests of this time.
_PAUSE_S = 0.05
# After the broker took no wake-up.
_RETRY_S = 2.0


class Waker:
    """A thread that sends wake-ups, so that no request waits for a slow or dead broker.

    `send_wake_up` returns False if the broker did not take the wake-up.
    """

    def __init__(self, send_wake_up: Callable[[], bool]) -> None:
        self._send_wake_up = send_wake_up
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have a wake-up sent.  Returns at once."""
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(_PAUSE_S if self._send_wake_up() else _RETRY_S)
