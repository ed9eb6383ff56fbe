"""Places where a test ends the process: `FAILPOINT=C3:2` kills at the second pass of C3.

The names are the crash points of the failure model; at C8 the process freezes instead.  Without
that setting, which only the test environment takes, a place costs one comparison.
"""

import os
import signal
import threading
from collections.abc import Callable


class Failpoints:
    """Which place acts, and how often it is passed before; `act` is what happens there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name: str | None = None
        self._left = 0
        self._act: Callable[[], None] = kill_process

    def arm(self, name: str | None, passes: int = 1, act: Callable[[], None] | None = None) -> None:
        """Have `act`, by default the model's, happen at the `passes`-th pass of `name`."""
        fate = freeze_process if name == "C8" else kill_process
        with self._lock:
            self._name, self._left, self._act = name, passes, act or fate

    def reach(self, name: str) -> None:
        """This place is passed."""
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            due = self._left == 0
        if due:
            self._act()


def kill_process() -> None:
    """End this process as kill -9 does: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze_process() -> None:
    """Stop this process until somebody sends SIGCONT."""
    # To the thread: sent to the process, another might take it while this one goes on.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


failpoints = Failpoints()
