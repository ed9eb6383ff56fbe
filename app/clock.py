"""Clock that tests can replace."""

import time
from datetime import UTC, datetime
from functools import partial

# No place is further from UTC.
LARGEST_OFFSET_HOURS = 14


class Clock:
    """The clock of the machine.

    now        the time of day, aware UTC; it may be set back or forth
    monotonic  seconds that never go back
    sleep      waits for seconds
    """

    now = staticmethod(partial(datetime.now, UTC))
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


def is_skipped(local: datetime) -> bool:
    """Return True for a time of a day and a zone that its clocks skip: they go forward then.

    >>> from zoneinfo import ZoneInfo
    >>> is_skipped(datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Stockholm")))
    True
    """
    try:
        shown = local.astimezone(UTC).astimezone(local.tzinfo)
    except OverflowError:
        return False
    return shown.replace(tzinfo=None) != local.replace(tzinfo=None)


# A stored time that is further ahead means that the clock was set back.
CLOCK_SLACK_S = 60.0
