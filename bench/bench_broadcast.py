"""A broadcast through gunicorn to a Sinch without latency, against its lower limits.

The limits, each measured in the same run: (a) the same gunicorn serving a bare Flask view that
parses the body and answers JSON; (b) a bare `requests` loop that posts the same bytes to the same
stand-in.  A broadcast does both, and (c) commits twice, once before the POST and once after it,
so their sum is its floor.
"""

import json
import sqlite3
import tempfile
import time
from pathlib import Path

import requests

from app.sinch.schemas import OutgoingBatch, write_batch
from bench.clarion import KEY, running_clarion
from bench.measure import (
    free_port,
    make_request,
    serving,
    show_ratio,
    show_time,
    time_in_turn,
    time_requests,
)

TEXT = "Pickup moved to 08:30"
ROUNDS = 7


def main() -> None:
    """Measure one recipient and a thousand."""
    sinch, bare = free_port(), free_port()
    bare_command = ["-m", "gunicorn", "--config", "python:bench.bare_gunicorn"]
    with (
        serving(["-m", "bench.stand_in", str(sinch)], sinch),
        running_clarion(sinch) as (clarion, _),
        serving([*bare_command, "-b", f"127.0.0.1:{bare}", "bench.bare_flask:app"], bare),
    ):
        for recipients, count in ((1, 400), (1000, 60)):
            measure(recipients, count=count, ports=(sinch, clarion, bare))


def measure(recipients: int, *, count: int, ports: tuple[int, int, int]) -> None:
    """Time `count` broadcasts a round, and print the ratios."""
    sinch, clarion, bare = ports
    numbers = [f"+4670{n:07d}" for n in range(recipients)]
    fields = {"recipients": numbers, "message": TEXT, "allow_duplicate": True}
    body = json.dumps(fields).encode()
    request = make_request("/api/broadcast", body, X_API_Key=KEY)
    batch = write_batch(
        OutgoingBatch(
            recipients=numbers, text=TEXT, sender="+12015550199", client_reference="cl-" + "0" * 24
        )
    )
    taken = time_in_turn(
        {
            "clarion": lambda: sum(time_requests(clarion, request, count=count, status=b"202")),
            "flask": lambda: sum(time_requests(bare, request, count=count, status=b"202")),
            "requests": lambda: time_posts(sinch, batch, count=count),
            "commits": lambda: time_commits(2 * count),
        },
        rounds=ROUNDS,
    )
    floor = [
        sum(parts)
        for parts in zip(taken["flask"], taken["requests"], taken["commits"], strict=True)
    ]
    print(f"POST /api/broadcast, {recipients} recipient(s), one after another:")
    show_time("Clarion, key to batch id", taken["clarion"], each_of=count)
    show_time("(a) gunicorn and bare Flask", taken["flask"], each_of=count)
    show_time("(b) bare requests loop, same bytes", taken["requests"], each_of=count)
    show_time("(c) two bare sqlite3 commits", taken["commits"], each_of=count)
    show_ratio("Clarion / (a)", taken["clarion"], taken["flask"], goal=None)
    show_ratio("Clarion / (b)", taken["clarion"], taken["requests"], goal=None)
    show_ratio("Clarion / ((a) + (b) + (c))", taken["clarion"], floor, goal=None)


def time_posts(port: int, body: bytes, *, count: int) -> float:
    """Return the seconds of `count` posts with one requests session."""
    url = f"http://127.0.0.1:{port}/xms/v1/plan/batches"
    headers = {"Authorization": "Bearer token", "Content-Type": "application/json"}
    with requests.Session() as session:
        session.trust_env = False
        started = time.perf_counter()
        for _ in range(count):
            session.post(url, data=body, headers=headers, timeout=10).json()
        return time.perf_counter() - started


def time_commits(count: int) -> float:
    """Return the seconds of `count` commits of one row, as durable as ours."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        connection = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY)")
        started = time.perf_counter()
        for _ in range(count):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows DEFAULT VALUES")
            connection.execute("COMMIT")
        taken = time.perf_counter() - started
        connection.close()
        return taken


if __name__ == "__main__":
    main()
