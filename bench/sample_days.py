"""Sample daily counters: a fixed number of days, senders and countries for any number of messages.

Messages are shared out by one distribution, so that fewer messages fill fewer rows.
"""

from collections import Counter
from datetime import date, timedelta
from math import exp
from statistics import NormalDist

from sqlalchemy import insert

from app.db.base import table_of
from app.db.engine import Database
from app.sms.lifecycle.latency import latency_bucket, pack
from app.sms.models.daily import DailyCount, DailyDelay

DAYS = 30
SENDERS = ("+12015550199", "Clarion")
COUNTRIES = ("SE", "NO", "DE", "US")
CELLS = DAYS * len(SENDERS) * len(COUNTRIES)

# Shares of final statuses, in thousandths.
_ENDS = {
    ("delivered", 0): 935,
    ("failed", 150): 20,
    ("failed", 153): 20,
    ("rejected", 408): 3,
    ("expired", 406): 10,
    ("failed", 257): 5,
    ("unknown", -1): 5,
    ("submitted", 401): 2,
}
# Half arrive within the median, two in three within a factor of three of it.
_MEDIAN_S, _SPREAD = 5.0, 1.1


def add_days(db: Database, messages: int, *, until: date) -> tuple[int, int]:
    """Insert the counters of the days until `until`.

    Returns how many rows of counts and of delays.
    """
    per_cell, remaining = divmod(messages, CELLS)
    counts, delays = [], []
    cells = [
        {"day": until - timedelta(days=n), "client": "bench", "tag": "", "sender": s, "country": c}
        for n in range(DAYS)
        for s in SENDERS
        for c in COUNTRIES
    ]
    for number, cell in enumerate(cells):
        ends = _share_out(per_cell + (number < remaining), number)
        counts += [
            cell | {"status": status, "code": code, "messages": n, "parts": n}
            for (status, code), n in ends.items()
        ]
        delays.append(cell | {"delays": pack(_spread(ends["delivered", 0]))})
    with db.write() as tx:
        tx.execute(insert(table_of(DailyCount)), counts)
        tx.execute(insert(table_of(DailyDelay)), delays)
    return len(counts), len(delays)


def _share_out(messages: int, cell: int) -> Counter[tuple[str, int]]:
    """Share messages out to final statuses; remainders go to a status in some of the cells."""
    ends = Counter[tuple[str, int]]()
    for index, (end, share) in enumerate(_ENDS.items()):
        whole, rest = divmod(messages * share, 1000)
        ends[end] = whole + ((cell * 7 + index * 13) % 100 * 10 < rest)
    return +ends


def _spread(messages: int) -> Counter[int]:
    """Return the number of messages by latency bucket."""
    normal = NormalDist(0, _SPREAD)
    waits = (
        _MEDIAN_S * exp(normal.inv_cdf((number + 0.5) / messages)) for number in range(messages)
    )
    return Counter(map(latency_bucket, waits))
