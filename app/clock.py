"""Time as the state machine sees it, so that tests can give it another."""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The time of day, aware UTC; an administrator may set it back or forth."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow, whatever is done to the time of day."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds)


# A time further ahead than anything of ours is a clock that was set back.
CLOCK_SLACK_S = 60.0
