"""Throttled error log: a sentence at most once a minute, however often the error occurs."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from loguru import logger

EVERY_S = 60.0


class ThrottledLog:
    """One error sentence.  The first occurrence is logged at once; `times` counts later ones."""

    def __init__(self, sentence: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._sentence = sentence
        self._clock = clock
        self._lock = threading.Lock()
        self._times = 0
        self._logged_at: float | None = None

    def log(self, **facts: Any) -> None:
        """Count an occurrence, and log the sentence with these facts unless logged lately."""
        with self._lock:
            self._times += 1
            now = self._clock()
            if self._logged_at is not None and now - self._logged_at < EVERY_S:
                return
            times, self._times, self._logged_at = self._times, 0, now
        logger.bind(times=times, **facts).error(self._sentence)
