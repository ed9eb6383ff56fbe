"""What there is to do, as the database tells it."""

import functools
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.sms.audience.lookup import CLOCK_DOUBT
from tests.simulation.world import START

# Parts of a sweep: those that wait for a moment, and those that each sweep tries again.
_TIMED = (
    "lease_until",
    "send_at",
    "expires_at",
    "held_until",
    "next_reconcile_at",
    "next_report_at",
)
_UNTIMED = ("restoring", "wishes", "stragglers", "unsettled")
# In restore mode an audience is looked up if its time comes within what our clock may be off.
_DOUBT_S = CLOCK_DOUBT.total_seconds()
# As long as one of these is so, not all has ended.
_OPEN_ENDS = ("unfinished", "wishes", "events_at", "unreported", "unsettled")

_QUERY = """
SELECT
 (SELECT 1 FROM batches b JOIN broadcasts r ON r.id = b.broadcast_id
   WHERE b.state = 'pending' AND r.status IN ('queued', 'sending')) AS pending,
 (SELECT 1 FROM broadcasts
   WHERE completed_at IS NULL AND (planned < chunks AND NOT resolving AND status <> 'cancelled'
     OR resolving AND status IN ('queued', 'sending'))) AS unplanned,
 (SELECT min(coalesce(r.send_at, '2000-01-01')) FROM broadcasts r JOIN gates g
     ON g.name = 'restore' AND r.id <= json_extract(g.facts, '$.last_broadcast_id')
   WHERE r.completed_at IS NULL AND r.resolving AND r.status <> 'cancelled') AS in_doubt_at,
 (SELECT min(lease_until) FROM batches WHERE state = 'sending') AS lease_until,
 (SELECT min(next_reconcile_at) FROM batches WHERE next_reconcile_at IS NOT NULL)
   AS next_reconcile_at,
 (SELECT min(not_before) FROM batches WHERE state = 'held'
   AND (SELECT facts IS NULL FROM gates WHERE name = 'circuit')) AS held_until,
 (SELECT min(send_at) FROM broadcasts WHERE status = 'scheduled') AS send_at,
 (SELECT min(expires_at) FROM broadcasts r WHERE completed_at IS NULL
   AND (resolving AND status <> 'cancelled' OR planned = chunks
     AND EXISTS (SELECT 1 FROM batches b WHERE b.broadcast_id = r.id
       AND b.state IN ('pending', 'held')))) AS expires_at,
 (SELECT facts IS NOT NULL FROM gates WHERE name = 'circuit') AS circuit,
 (SELECT facts IS NOT NULL FROM gates WHERE name = 'restore') AS restoring,
 (SELECT 1 FROM batches WHERE cancel_request = 'wanted' AND sinch_id IS NOT NULL) AS wishes,
 (SELECT 1 FROM broadcasts r WHERE completed_at IS NULL
   AND (planned = chunks AND NOT resolving OR status = 'cancelled')
   AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.broadcast_id = r.id
     AND b.state IN ('pending', 'sending', 'held', 'unknown'))) AS stragglers,
 (SELECT count(*) FROM batches WHERE state = 'needs_attention') AS attention,
 (SELECT count(*) FROM batches WHERE state IN ('held', 'sending', 'pending')) AS waiting,
 (SELECT min(coalesce(not_before, '2000-01-01')) FROM events WHERE dead_letter_reason IS NULL)
   AS events_at,
 (SELECT min(next_report_at) FROM batches WHERE next_report_at IS NOT NULL) AS next_report_at,
 (SELECT count(*) FROM batches WHERE next_report_at IS NOT NULL AND sinch_id IS NOT NULL)
   AS unreported,
 (SELECT count(*) FROM broadcasts r WHERE completed_at IS NOT NULL AND all_reported_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.broadcast_id = r.id
     AND (b.state = 'needs_attention'
       OR b.state IN ('accepted', 'duplicate') AND b.ended < b.size))) AS unsettled,
 (SELECT count(*) FROM broadcasts WHERE completed_at IS NULL) AS unfinished
"""


@dataclass(frozen=True, slots=True)
class Glance:
    """One look; moments are our own clock's, in seconds from the start of the simulated time."""

    pending: bool
    unplanned: bool
    attention: bool
    is_open: bool
    events_at: float | None
    lookup_at: float | None  # of an audience that a restored database may have been sent to
    moments: Mapping[str, float]  # of the timed parts
    next_moment: float | None  # of the first of them
    untimed: tuple[str, ...]


def glance(raw: sqlite3.Connection) -> Glance:
    """What stands in the database now."""
    cursor = raw.cursor()
    cursor.row_factory = sqlite3.Row
    seen = cursor.execute(_QUERY).fetchone()
    moments = {name: _to_seconds(seen[name]) for name in _TIMED if seen[name]}
    untimed = [name for name in _UNTIMED if seen[name]]
    if seen["waiting"] and seen["circuit"]:
        untimed.append("circuit")
    return Glance(
        pending=bool(seen["pending"]),
        unplanned=bool(seen["unplanned"]),
        attention=bool(seen["attention"]),
        is_open=any(seen[name] for name in _OPEN_ENDS),
        events_at=_to_seconds(seen["events_at"]) if seen["events_at"] else None,
        lookup_at=_to_seconds(seen["in_doubt_at"]) - _DOUBT_S if seen["in_doubt_at"] else None,
        moments=moments,
        next_moment=min(moments.values(), default=None),
        untimed=tuple(untimed),
    )


@functools.lru_cache(1024)
def _to_seconds(text: str) -> float:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - START).total_seconds()
