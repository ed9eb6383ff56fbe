"""The sandbox's clock: the machine's time plus an offset that tests move forward."""

import math
import time
from datetime import UTC, datetime

# Room for offsets and three more days at both ends of the range of datetime.
_EARLIEST_YEAR, _LATEST_YEAR = 1, 9999


class Clock:
    """Unix time that can be moved forward, so that a test need not wait for three days."""

    def __init__(self) -> None:
        self._offset_s = 0.0

    def now(self) -> float:
        """Return Unix seconds in whole milliseconds, as answers print them.

        A client that asks for a printed time finds exactly the batch that it was printed on.
        """
        return math.floor((time.time() + self._offset_s) * 1000) / 1000

    def advance(self, seconds: float) -> None:
        self._offset_s += seconds

    def reset(self) -> None:
        self._offset_s = 0.0


def format_time(unix_s: float) -> str:
    """Format Unix seconds as ISO 8601 in UTC with milliseconds.

    >>> format_time(1772366405.25)
    '2026-03-01T12:00:05.250Z'
    """
    time_utc = datetime.fromtimestamp(round(unix_s, 3), UTC)
    return time_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Return the Unix seconds of an ISO 8601 time; without an offset it counts as UTC.

    Raises ValueError.

    >>> parse_time("2026-03-01T12:00:05.25") == parse_time("2026-03-01T13:00:05.250+01:00")
    True
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    if not _EARLIEST_YEAR < parsed.year < _LATEST_YEAR:
        raise ValueError(f"out of range: {text}")
    return parsed.timestamp()
