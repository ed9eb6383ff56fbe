"""When things happened to a broadcast: from its request to the last end of a message."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from app.sms.lifecycle.counts import Sums
from app.sms.lifecycle.latency import percentile

# Of those delivered so far.
_SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def draw_timeline(broadcast: Row[Any], sums: Sums) -> dict[str, Any]:
    """The times of a broadcast; None for what has not happened."""
    return {
        "created_at": broadcast.created_at,
        "first_submitted_at": broadcast.first_submitted_at,
        "last_submitted_at": sums.last_accepted_at,
        "delivered": {name: _find_time(broadcast, sums, share) for name, share in _SHARES.items()},
        "finished_at": broadcast.finished_at,
        "settled_at": broadcast.settled_at,
    }


def _find_time(broadcast: Row[Any], sums: Sums, share: float) -> datetime | None:
    """When this share had been delivered, within a twentieth of the time it took."""
    waited_s = percentile(sums.delays, share)
    if waited_s is None:
        return None
    start: datetime = broadcast.send_at or broadcast.created_at
    return start + timedelta(seconds=waited_s)
