"""A million recipients in one request, against the least the same work can cost.

The limit, measured in the same run and added up: `json.loads` of the body, one pattern pass over
the numbers, raw sqlite3 rows of the same messages in one transaction, and a bare `http.client`
loop that posts the same bodies to the same stand-in.  The share of the 202 is what has to be done
before it: the parse, the pass, and raw rows of the audience as it is stored.

Goals: the 202 in 1.5 times its share, the last batch accepted in 2 times the limit, at most 350 MB
at the peak, and a recipient among a million at most 1.2 times the time of one among 10,000.
"""

import contextlib
import http.client
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.phone.e164 import remove_duplicates, sort_entries
from app.sinch.schemas import OutgoingBatch, write_batch
from bench.clarion import KEY, running_clarion
from bench.measure import free_port, serving, show_ratio, show_time

TEXT = "Pickup moved to 08:30"
MILLION, FEW = 1_000_000, 10_000
BATCH = 1_000
ROUNDS = 3
MAX_MEMORY_MB = 350
_TABLE = (
    "CREATE TABLE messages (broadcast_id INTEGER NOT NULL, recipient TEXT NOT NULL, "
    "batch_id INTEGER NOT NULL, PRIMARY KEY (broadcast_id, recipient)) WITHOUT ROWID"
)


def main() -> None:
    """Measure the limit and the service in turn."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    sinch = free_port()
    with serving(["-m", "bench.stand_in", str(sinch)], sinch):
        taken: dict[str, list[float]] = {}
        memory: list[float] = []
        for number in range(rounds):
            for name, seconds in measure_limit(sinch).items():
                taken.setdefault(name, []).append(seconds)
            with running_clarion(sinch) as (port, pid):
                few = send_and_wait(port, FEW, text=f"{TEXT} few {number}")
                many = send_and_wait(port, MILLION, text=f"{TEXT} {number}")
                memory.append(read_peak_mb(pid))
            taken.setdefault("accepted", []).append(many[0])
            taken.setdefault("sent", []).append(many[1])
            taken.setdefault("few", []).append(few[1])
    show(taken, memory)


def show(taken: dict[str, list[float]], memory: list[float]) -> None:
    """Print the parts, the ratios and the goals."""
    share = add(taken["parse"], taken["pattern"], taken["audience rows"])
    limit = add(taken["parse"], taken["pattern"], taken["message rows"], taken["posts"])
    print(f"POST /api/broadcast, {MILLION} recipients in one request:")
    for name in ("parse", "pattern", "audience rows", "message rows", "posts"):
        show_time(f"limit: {name}", taken[name], each_of=1)
    show_time("Clarion, until the durable 202", taken["accepted"], each_of=1)
    show_time("Clarion, until the last batch is accepted", taken["sent"], each_of=1)
    show_time(f"Clarion, {FEW} recipients, until accepted", taken["few"], each_of=1)
    show_ratio("202 / its share", taken["accepted"], share, goal=1.5)
    show_ratio("end to end / limit", taken["sent"], limit, goal=2)
    scaled = [seconds * MILLION / FEW for seconds in taken["few"]]
    show_ratio("a recipient among a million / 10,000", taken["sent"], scaled, goal=1.2)
    print(f"  peak memory {statistics.median(memory):.0f} MB  goal: at most {MAX_MEMORY_MB} MB")


def add(*parts: list[float]) -> list[float]:
    """Return the sum of the parts of each round."""
    return [sum(seconds) for seconds in zip(*parts, strict=True)]


def make_body(count: int, text: str = TEXT) -> bytes:
    """Return the body of a request to `count` numbers."""
    numbers = [f"+4670{n:07d}" for n in range(count)]
    return json.dumps({"recipients": numbers, "message": text}).encode()


def measure_limit(sinch: int) -> dict[str, float]:
    """Return the seconds of each part of the limit."""
    raw = make_body(MILLION)
    entries = json.loads(raw)["recipients"]
    bodies = [
        write_batch(
            OutgoingBatch(
                recipients=entries[start : start + BATCH],
                text=TEXT,
                sender="+12015550199",
                client_reference="cl-" + "0" * 24,
            )
        )
        for start in range(0, MILLION, BATCH)
    ]
    return {
        "parse": clock(lambda: json.loads(raw)),
        "pattern": clock(lambda: remove_duplicates(sort_entries(entries).numbers)),
        "audience rows": clock(lambda: insert_audience(entries)),
        "message rows": clock(lambda: insert_messages(entries)),
        "posts": clock(lambda: post_bodies(sinch, bodies)),
    }


def clock(work: Callable[[], object]) -> float:
    """Return the seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextlib.contextmanager
def raw_database(table: str) -> Iterator[sqlite3.Connection]:
    """Open a new database as durable as ours, within a transaction."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        connection = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute(table)
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
        connection.close()


def insert_messages(entries: list[str]) -> None:
    """Insert the message rows in one transaction."""
    with raw_database(_TABLE) as connection:
        rows = ((number, n // BATCH) for n, number in enumerate(entries))
        connection.executemany("INSERT INTO messages VALUES (1, ?, ?)", rows)


def insert_audience(entries: list[str]) -> None:
    """Insert the audience as chunks of text, in one transaction."""
    with raw_database("CREATE TABLE chunks (number INTEGER PRIMARY KEY, text TEXT)") as connection:
        rows = (
            (start, "\n".join(entries[start : start + BATCH]))
            for start in range(0, len(entries), BATCH)
        )
        connection.executemany("INSERT INTO chunks VALUES (?, ?)", rows)


def post_bodies(port: int, bodies: list[bytes]) -> None:
    """Post bodies one after another on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json"}
    for body in bodies:
        connection.request("POST", "/xms/v1/plan/batches", body, headers)
        connection.getresponse().read()
    connection.close()


def send_and_wait(port: int, count: int, *, text: str) -> tuple[float, float]:
    """Send a broadcast.  Returns the seconds until the 202, and until all batches are accepted."""
    body = make_body(count, text)
    started = time.perf_counter()
    answer = call(port, "POST", "/api/broadcast", body)
    accepted_s = time.perf_counter() - started
    while call(port, "GET", answer["url"])["status"] != "complete":
        time.sleep(0.05)
    return accepted_s, time.perf_counter() - started


def call(port: int, method: str, path: str, body: bytes | None = None) -> Any:
    """Return the JSON answer of the service."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    decoded = json.loads(answer.read())
    connection.close()
    if answer.status not in (200, 202):
        raise RuntimeError(f"{method} {path}: {answer.status} {decoded}")
    return decoded


def read_peak_mb(pid: int) -> float:
    """Return the peak memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
