"""A clock that moves only when a test says so."""

import threading
from datetime import UTC, datetime, timedelta

from app.clock import Clock


class ManualClock(Clock):
    """Starts at the machine's own time; whoever sleeps moves it on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = datetime.now(UTC)
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds

    def set(self, moment: datetime) -> None:
        """Make it so late; never earlier than it is."""
        self.advance((moment - self._now).total_seconds())

    def set_back(self, seconds: float) -> None:
        """What an administrator does to the time of day; the other clock does not notice."""
        with self._lock:
            self._now -= timedelta(seconds=seconds)
