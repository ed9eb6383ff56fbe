"""Reading a broadcast, and the metrics, in a database with many messages, against one with few.

Goal: at most 1.5 times.  `--messages 10000000` for ten million, which takes minutes to fill and
gigabytes of disk; the default is a million.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import update

from app.metrics.database import DatabaseMetrics
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, BroadcastStatus
from bench.clarion import open_service, opened, time_looks
from bench.measure import show_ratio, show_time, time_in_turn
from bench.sample_broadcast import add_broadcast
from bench.sample_days import add_days

FEW = 10_000
MANY = 1_000_000
# The most recipients that a broadcast may have.
LARGEST = 1_000_000
ROUNDS = 15
LOOKS = 40


def main() -> None:
    """Fill both databases, time the requests, and print the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=MANY)
    many = arguments.parse_args().messages
    with tempfile.TemporaryDirectory(dir=".") as folder:
        few_url = f"sqlite:///{Path(folder).resolve() / 'few.db'}"
        many_url = f"sqlite:///{Path(folder).resolve() / 'many.db'}"
        (small,) = fill(few_url, [FEW])
        sizes = [LARGEST] * (many // LARGEST) or [many]
        largest, *_, alike = fill(many_url, [*sizes, FEW])
        few, full = open_service(few_url), open_service(many_url)
        measure(f"GET /api/broadcasts/{{id}}, among {many} messages", {
            "few": lambda: time_looks(few, f"/api/broadcasts/{small}", LOOKS),
            "alike": lambda: time_looks(full, f"/api/broadcasts/{alike}", LOOKS),
            "largest": lambda: time_looks(full, f"/api/broadcasts/{largest}", LOOKS),
        }, largest=sizes[0])  # fmt: skip
        measure(f"GET …/messages, 100 of them, among {many} messages", {
            "few": lambda: time_looks(few, f"/api/broadcasts/{small}/messages", LOOKS),
            "alike": lambda: time_looks(full, f"/api/broadcasts/{alike}/messages", LOOKS),
            "largest": lambda: time_looks(full, f"/api/broadcasts/{largest}/messages", LOOKS),
        }, largest=sizes[0])  # fmt: skip
        measure_scrapes(few, full, many)
        let_all_wait(many_url)
        print("GET /metrics, read anew, while all of them wait:")
        taken = time_in_turn({"all": lambda: time_scrapes(full)}, rounds=ROUNDS)
        show_time(f"among {many} messages, goal 50 ms", taken["all"], each_of=LOOKS)


def fill(url: str, sizes: list[int]) -> list[str]:
    """Fill a database with broadcasts of these sizes.  Returns their ids."""
    with opened(url) as db:
        started = time.perf_counter()
        ids = [add_broadcast(db, size) for size in sizes]
        add_days(db, sum(sizes), until=datetime.now(UTC).date())
    print(f"{sum(sizes)} messages filled in within {time.perf_counter() - started:.0f} s")
    return ids


def measure(title: str, sides: dict[str, Callable[[], float]], *, largest: int) -> None:
    """Time the sides in turn, and print how they compare."""
    taken = time_in_turn(sides, rounds=ROUNDS)
    print(f"{title}:")
    show_time(f"a broadcast to {FEW}, alone", taken["few"], each_of=LOOKS)
    show_time(f"a broadcast to {FEW} among many", taken["alike"], each_of=LOOKS)
    show_time(f"a broadcast to {largest} among many", taken["largest"], each_of=LOOKS)
    show_ratio("among many / alone", taken["alike"], taken["few"], goal=1.5)
    show_ratio("the largest / alone", taken["largest"], taken["few"], goal=1.5)


def measure_scrapes(few: FlaskClient, full: FlaskClient, many: int) -> None:
    """Time scrapes that read the database anew, and print how they compare."""
    sides = {"few": lambda: time_scrapes(few), "many": lambda: time_scrapes(full)}
    taken = time_in_turn(sides, rounds=ROUNDS)
    print("GET /metrics, read anew:")
    show_time(f"among {FEW} messages", taken["few"], each_of=LOOKS)
    show_time(f"among {many} messages, goal 50 ms", taken["many"], each_of=LOOKS)
    show_ratio("among many / few", taken["many"], taken["few"], goal=1.5)


def let_all_wait(url: str) -> None:
    """Let every batch be as before it was sent."""
    with opened(url) as db, db.write() as tx:
        tx.execute(update(Broadcast).values(status=BroadcastStatus.SENDING, completed_at=None))
        tx.execute(update(Batch).values(state=BatchState.PENDING, sinch_id=None))


def time_scrapes(client: FlaskClient) -> float:
    """Return the seconds that LOOKS scrapes take, none of which finds a reading that was kept."""
    extensions = client.application.extensions
    started = time.perf_counter()
    for _ in range(LOOKS):
        extensions["database_metrics"] = DatabaseMetrics(extensions["clarion"])
        if client.get("/metrics").status_code != HTTPStatus.OK:
            raise RuntimeError("the scrape was refused")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
