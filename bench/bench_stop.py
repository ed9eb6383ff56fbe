"""STOPs during a broadcast: the time from the callback's first byte until no claim has the number.

A broadcast in small batches is being sent while Sinch reports on it over other connections.
Recipients of later batches text STOP.  After the 2xx no claim may include the number; batches
claimed before may still be posted.  The bench checks the claims in the table of attempts, and the
posts at the stand-in.  The goal is a second for 99 of 100.
"""

import contextlib
import http.client
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, text

from bench.bench_million import make_body
from bench.clarion import KEY, make_settings, opened
from bench.measure import free_port, serving
from tests.factories import INSTANCE
from tests.postgres import running_postgres
from tests.reporting import inbound, report
from tests.signing import sign

SECRET = "a secret that Sinch shares with the bench"
PEOPLE, STOPS = 200_000, 500
# Planned at this pace a batch has 50 recipients; sent without a pace, claims are frequent.
RATE = 25
REPORTS_PER_SECOND = 200
GOAL_S = 1.0
_CLAIMED = text(
    "SELECT m.recipient, a.started_at FROM messages m JOIN attempts a ON a.batch_id = m.batch_id"
)


@dataclass(slots=True)
class Stop:
    """One STOP: when its first byte left and its 2xx arrived, in monotonic and wall-clock time."""

    number: str
    began: float
    answered: float
    answered_at: datetime


def main() -> None:
    """Measure on SQLite and on PostgreSQL; an argument sets the number of people."""
    people = int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE
    with tempfile.TemporaryDirectory(dir=".") as folder:
        measure("SQLite", f"sqlite:///{Path(folder).resolve() / 'clarion.db'}", people)
    with running_postgres() as server:
        measure("PostgreSQL", server.create_database(), people)


def measure(name: str, database_url: str, people: int) -> None:
    """Send a broadcast, text STOPs, and print the result."""
    ports = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(database_url, instance_id=INSTANCE),
        _running(ports, database_url, Path(folder) / "posts", people) as posts_file,
    ):
        ended = threading.Event()
        reporter = threading.Thread(target=_report, args=(ports[0], ended, people))
        reporter.start()
        try:
            stops = list(_stop_people(ports[0], people))
            time.sleep(5)
        finally:
            ended.set()
            reporter.join()
        last = _read_last_posts(posts_file)
        claimed = _read_claims(database_url)
    show(name, stops, claimed, last)


@contextlib.contextmanager
def _running(ports: tuple[int, int], database_url: str, posts: Path, people: int) -> Iterator[Path]:
    """Run a service that has just begun to send.  Yields the file of its posts."""
    settings = make_settings(
        database_url,
        sinch=ports[1],
        PORT=str(ports[0]),
        INSTANCE_ID=INSTANCE,
        SINCH_WEBHOOK_SECRET=SECRET,
        REPORT_WAITS_S="100000",
        LIST_INBOUNDS_EVERY_S="100000",
        OPT_OUT_REPLIES="off",
    )
    gunicorn = ["-m", "gunicorn", "wsgi:app"]
    pace = {"SINCH_MESSAGES_PER_SECOND": str(RATE)}
    with serving(["-m", "bench.stand_in", str(ports[1]), str(posts)], ports[1]):
        with serving(gunicorn, ports[0], **settings, **pace):
            _post(ports[0], "/api/broadcast", make_body(people), {"X-API-Key": KEY})
        with serving(gunicorn, ports[0], **settings):
            yield posts


def _stop_people(port: int, people: int) -> Iterator[Stop]:
    """Text STOP from people of the later half, one after the other, for some ten seconds."""
    dice = random.Random(1)
    chosen = dice.sample(range(people // 2, people), STOPS)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for index, person in enumerate(chosen):
        number = f"+4670{person:07d}"
        raw = inbound(number, "STOP", name=f"01STOP{index}", received_at=None)
        time.sleep(dice.uniform(0, 0.04))
        began = time.monotonic()
        _send(connection, "/webhooks/sinch", raw, sign(raw, secret=SECRET))
        yield Stop(number, began, time.monotonic(), datetime.now(UTC))
    connection.close()


def _report(port: int, ended: threading.Event, people: int) -> None:
    """Send Sinch's reports of the broadcast's messages, also of those not posted yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    person = 0
    while not ended.wait(1 / REPORTS_PER_SECOND):
        number = f"+4670{person % people:07d}"
        raw = report(number, "Delivered", batch="01JX0000000000000000000001")
        _send(connection, "/webhooks/sinch", raw, sign(raw, secret=SECRET))
        person += 1
    connection.close()


def _post(port: int, path: str, body: bytes, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    _send(connection, path, body, headers)
    connection.close()


def _send(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> None:
    connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 202):
        raise RuntimeError(f"{path}: {answer.status} {body[:300]!r}")


def _read_last_posts(posts: Path) -> dict[str, float]:
    """Return the time of each number's last POST, from the stand-in's file."""
    last: dict[str, float] = {}
    for line in posts.read_text().splitlines():
        at, _, numbers = line.partition(" ")
        last |= dict.fromkeys(numbers.split(","), float(at))
    return last


def _read_claims(database_url: str) -> dict[str, datetime]:
    """Return the time at which each number's batch was claimed."""
    engine = create_engine(database_url)
    with engine.connect() as tx:
        claims = {number: _as_time(at) for number, at in tx.execute(_CLAIMED)}
    engine.dispose()
    return claims


def _as_time(at: datetime | str) -> datetime:
    parsed = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def show(
    name: str, stops: list[Stop], claimed: dict[str, datetime], last: dict[str, float]
) -> None:
    """Print the times, and the numbers claimed or posted after the answer."""
    late = [stop for stop in stops if (at := claimed.get(stop.number)) and at > stop.answered_at]
    posted = [last[stop.number] - stop.began for stop in stops if stop.number in last]
    after = [last[stop.number] - stop.answered for stop in stops if stop.number in last]
    to_answer = sorted(stop.answered - stop.began for stop in stops)
    to_effect = sorted(
        max(stop.answered, last.get(stop.number, 0.0)) - stop.began for stop in stops
    )
    print(f"{name}: {len(stops)} STOPs beside {len(last)} recipients posted:")
    for what, taken in (("to its 2xx", to_answer), ("to the last POST with it", to_effect)):
        p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
        shown = f"p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  most {taken[-1] * 1e3:7.1f} ms"
        print(f"  STOP {what:<28} {shown}  goal: p99 below {GOAL_S:.0f} s")
    late_posts = sum(wait > 0 for wait in after)
    print(f"  posted to before or meanwhile: {len(posted)}, after the 2xx: {late_posts}")
    print(f"  claimed after the 2xx: {len(late)}  goal: none")
    if late:
        raise SystemExit("a number was claimed after the answer to its STOP")


if __name__ == "__main__":
    main()
