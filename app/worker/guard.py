"""Background threads: log failures instead of ending the thread, and join within a time limit."""

import threading
import time
from collections.abc import Callable, Sequence

from loguru import logger

from app.db.schema import WrongDatabase

# After a failure; the database may be unavailable.
_PAUSE_S = 2.0


def run_guarded(work: Callable[[], object], *, stopping: threading.Event) -> object:
    """Run `work`.  Returns its result, or False after a failure, which is logged.

    After a failure the thread pauses, unless `stopping` is set.
    """
    try:
        return work()
    except Exception as e:
        log_failure(e)
    stopping.wait(_PAUSE_S)
    return False


def log_failure(error: Exception) -> None:
    """Log the failure of background work."""
    if isinstance(error, WrongDatabase):
        logger.bind(reason=str(error)).critical("nothing is sent from this database")
    else:
        logger.opt(exception=error).error("background work failed; it will be tried again")


def join_all(threads: Sequence[threading.Thread], *, within_s: float) -> bool:
    """Wait until the threads have ended.  Returns True if all of them did in time."""
    deadline = time.monotonic() + within_s
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
