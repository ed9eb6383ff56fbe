"""An error told at most once a minute, however often it happens."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from loguru import logger

EVERY_S = 60.0


class ThrottledLog:
    """One sentence for the log.  The first time it is told at once; then `times` says how often
    it has happened since it was told last."""

    def __init__(self, sentence: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._sentence = sentence
        self._clock = clock
        self._lock = threading.Lock()
        self._times = 0
        self._told_at: float | None = None

    def ring(self, **facts: Any) -> None:
        """It has happened; `facts` are those of this time."""
        with self._lock:
            self._times += 1
            now = self._clock()
            if self._told_at is not None and now - self._told_at < EVERY_S:
                return
            times, self._times, self._told_at = self._times, 0, now
        logger.bind(times=times, **facts).error(self._sentence)
