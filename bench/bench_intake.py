"""Sinch's signed reports through gunicorn into the database, against a view that does nothing.

Both sides run under one gunicorn configuration, get equal bytes over as many connections, and take
turns.  Ours checks the signature, commits, answers, and records reports while more arrive; the goal
is half the rate of the view that does nothing, on either database.
"""

import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select

from app.db.engine import Database
from app.sandbox.server import SandboxServer
from app.sms.models.reports import DeliveryCount, Event
from bench.bench_million import send_and_wait
from bench.clarion import make_settings, opened
from bench.measure import free_port, serving, show_time, time_in_turn
from tests.factories import INSTANCE
from tests.flood.flooding import read_sent
from tests.load import make_post, post_all
from tests.postgres import running_postgres
from tests.reporting import report
from tests.signing import sign

SECRET = "a secret that Sinch shares with the bench"
EVENTS, ROUNDS, CONNECTIONS = 4_000, 7, 32
GOAL = 0.5
_SANDBOX = {
    "SINCH_SERVICE_PLAN_ID": "sandbox",
    "SINCH_API_TOKEN": "sandbox",
    "INSTANCE_ID": INSTANCE,
}
# Keep the service from polling Sinch meanwhile.
_QUIET = {"REPORT_WAITS_S": "100000", "LIST_INBOUNDS_EVERY_S": "100000"}


def main() -> None:
    """Measure on SQLite and on PostgreSQL; an argument sets the number of rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(dir=".") as folder:
        measure("SQLite", f"sqlite:///{Path(folder).resolve() / 'clarion.db'}", rounds=rounds)
    with running_postgres() as server:
        measure("PostgreSQL", server.create_database(), rounds=rounds)


def measure(name: str, database_url: str, *, rounds: int) -> None:
    """Time rounds of reports on messages that were really sent, and print the ratio."""
    ports = free_port(), free_port()
    with (
        SandboxServer() as sandbox,
        opened(database_url, instance_id=INSTANCE) as db,
        running(ports, database_url, sandbox),
    ):
        send_and_wait(ports[0], EVENTS * (rounds + 1), text="Pickup moved to 08:30")
        reports = make_reports(db)
        same = sign_all(reports[:EVENTS])
        recorded: list[float] = []
        taken = time_in_turn(
            {
                "intake": lambda: time_intake(ports[0], db, reports, recorded),
                "bare": lambda: post_all(ports[1], same, connections=CONNECTIONS).seconds,
            },
            rounds=rounds,
        )
        with db.read() as tx:
            counted = tx.execute(select(func.sum(DeliveryCount.messages))).scalar()
    if counted != EVENTS * (rounds + 1):
        raise RuntimeError(f"only {counted} messages are counted")
    show(name, taken, recorded[1:])


@contextlib.contextmanager
def running(ports: tuple[int, int], database_url: str, sandbox: SandboxServer) -> Iterator[None]:
    """The service, and the bare view, under the same gunicorn with the same settings."""
    port = int(sandbox.url.rpartition(":")[2])
    settings = make_settings(database_url, sinch=port, SINCH_WEBHOOK_SECRET=SECRET, **_QUIET)
    ours, bare = (settings | _SANDBOX | {"PORT": str(number)} for number in ports)
    with (
        serving(["-m", "gunicorn", "wsgi:app"], ports[0], **ours),
        serving(["-m", "gunicorn", "bench.bare_flask:app"], ports[1], **bare),
    ):
        yield


def make_reports(db: Database) -> list[bytes]:
    """Return a final report of each message that was sent, shuffled."""
    made = [
        report(sent.recipient, "Delivered", batch=sent.sinch_id, reference=sent.reference)
        for sent in read_sent(db)
    ]
    random.Random(1).shuffle(made)
    return made


def sign_all(reports: list[bytes]) -> list[bytes]:
    """Return the signed requests of these reports."""
    return [make_post("/webhooks/sinch", raw, sign(raw, secret=SECRET)) for raw in reports]


def time_intake(port: int, db: Database, reports: list[bytes], recorded: list[float]) -> float:
    """Return the seconds until the next reports are acknowledged; append those until recorded."""
    requests = sign_all([reports.pop() for _ in range(EVENTS)])
    started = time.perf_counter()
    outcome = post_all(port, requests, connections=CONNECTIONS)
    if outcome.statuses != {200: EVENTS}:
        raise RuntimeError(f"not every report was taken: {outcome.statuses}")
    while count_waiting(db):
        time.sleep(0.05)
    recorded.append(time.perf_counter() - started)
    return outcome.seconds


def count_waiting(db: Database) -> int:
    """Return the number of events that are not applied yet."""
    with db.read() as tx:
        return tx.execute(select(func.count()).select_from(Event)).scalar_one()


def show(name: str, taken: dict[str, list[float]], recorded: list[float]) -> None:
    """Print both rates and their ratio, round by round."""
    print(f"{name}: {EVENTS} signed reports a round, over {CONNECTIONS} connections:")
    show_time("Clarion, until the 200 after the commit", taken["intake"], each_of=EVENTS)
    show_time("Clarion, until all of them are recorded", recorded, each_of=EVENTS)
    show_time("bare Flask view that does nothing", taken["bare"], each_of=EVENTS)
    ratios = sorted(b / a for a, b in zip(taken["intake"], taken["bare"], strict=True))
    middle = ratios[len(ratios) // 2]
    shown = f"{middle:6.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(f"  {'rate of Clarion / rate of the bare view':<44} {shown}  goal: at least {GOAL}")


if __name__ == "__main__":
    main()
