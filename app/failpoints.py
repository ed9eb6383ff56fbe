"""Failpoints: `FAILPOINT=C3:2` kills the process when it reaches C3 the second time.

The names are the crash points of docs/failure-model.md; at C8 the process freezes instead.  Only
the test environment accepts the setting.  Without it a failpoint costs one look-up in a dictionary.
"""

import os
import signal
import threading
from collections.abc import Callable

# What is reached while no failpoint is armed: there is no action for any name.
_pass_by: Callable[[str], None] = dict[str, None]().get


class Failpoints:
    """The armed failpoint, if any, and its action.  `reach(name)` is each pass of one."""

    def __init__(self) -> None:
        self.reach = _pass_by
        self._lock = threading.Lock()
        self._name: str | None = None
        self._remaining = 0
        self._act: Callable[[], None] = kill_process

    def arm(self, name: str | None, passes: int = 1, act: Callable[[], None] | None = None) -> None:
        """Run `act`, by default the failure model's action, at the `passes`-th pass of `name`."""
        default = freeze_process if name == "C8" else kill_process
        with self._lock:
            self._name, self._remaining, self._act = name, passes, act or default
            self.reach = _pass_by if name is None else self._count

    def _count(self, name: str) -> None:
        """Count a pass of this failpoint, and act if it is the armed one."""
        if name != self._name:
            return
        with self._lock:
            self._remaining -= 1
            due = self._remaining == 0
        if due:
            self._act()


def kill_process() -> None:
    """End this process like kill -9: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze_process() -> None:
    """Stop this process until it receives SIGCONT."""
    # To this thread: another thread might take a signal to the process while this one goes on.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


failpoints = Failpoints()
