"""Polling: a region of a page that does not change is read less and less often."""

_SLOWEST_S = 30.0
_GROWTH = 1.5


def slow_down(waited_s: float, least_s: float) -> float:
    """Return the seconds to wait next, after a look that found nothing new.

    >>> slow_down(0.0, 5.0), slow_down(7.5, 5.0), slow_down(29.0, 5.0)
    (7.5, 11.2, 30.0)
    """
    return round(min(max(waited_s, least_s) * _GROWTH, _SLOWEST_S), 1)
