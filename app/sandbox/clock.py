"""The sandbox's time: the machine's, plus what a tester has skipped."""

import math
import time
from datetime import UTC, datetime

# Room for offsets and three more days at both ends of what datetime can hold.
_EARLIEST_YEAR, _LATEST_YEAR = 1, 9999


class Clock:
    """Unix seconds that can be moved forward, so that three days need not be waited for."""

    def __init__(self) -> None:
        self._offset_s = 0.0

    def now(self) -> float:
        """Whole milliseconds, as answers print them: a time read there finds its batch again."""
        return math.floor((time.time() + self._offset_s) * 1000) / 1000

    def advance(self, seconds: float) -> None:
        self._offset_s += seconds

    def reset(self) -> None:
        self._offset_s = 0.0


def format_time(at: float) -> str:
    """ISO 8601 in UTC with milliseconds.

    >>> format_time(1772366405.25)
    '2026-03-01T12:00:05.250Z'
    """
    moment = datetime.fromtimestamp(round(at, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_minute(at: float) -> str:
    """The whole minute, as operators date their statuses.

    >>> format_minute(1772366465.25)
    '2026-03-01T12:01:00Z'
    """
    return datetime.fromtimestamp(at // 60 * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> float:
    """Unix seconds of an ISO 8601 time; without an offset it is UTC.  ValueError otherwise.

    >>> parse_time("2026-03-01T12:00:05.25") == parse_time("2026-03-01T13:00:05.250+01:00")
    True
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not _EARLIEST_YEAR < moment.year < _LATEST_YEAR:
        raise ValueError(f"out of range: {text}")
    return moment.timestamp()
