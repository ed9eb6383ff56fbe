"""Ordinary use, with one call to Sinch in a hundred going wrong: counts are right, nothing grows.

`make soak MINUTES=30` goes on for as long, with a line of figures each minute; DATABASE=postgresql
and CELERY=1 have it on PostgreSQL, and with Celery's worker and beat.
"""

import statistics
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from app.accounts.roles import Role
from app.accounts.users import create_user
from app.clock import Clock
from app.db.engine import Database
from app.sms.models.broadcast import Broadcast
from tests.accounts.people import give_password
from tests.factories import AUTH, KEY
from tests.kills.judging import is_settled
from tests.kills.mortal import PATIENT, mortal, wait_until
from tests.soak.books import (
    accepted_by_broadcast,
    find_sent_after_stop,
    find_twice,
    find_wrong_counts,
)
from tests.soak.traffic import USER, Traffic
from tests.soak.watch import Watch, describe, find_growth
from tests.wire import unused_port

CELERYS_LAST_LINE = "worker: Warm shutdown (MainProcess)"
SECRET = "a secret that signs callbacks in a soak"
# One call in a hundred meets one of these, and the first hundred of batches meet each once.
FAULTS = [
    {"when": "after", "do": "cut"},  # taken, the answer lost
    {"when": "before", "do": "cut"},
    {"when": "after", "do": "hang", "delay_s": 5},
    {"when": "before", "do": "hang", "delay_s": 5},
    {"when": "before", "status": 500, "shape": "html"},
    {"when": "after", "status": 503},
    {"when": "before", "status": 429, "headers": {"Retry-After": "1"}},
    {"do": "half_body"},
]
SETTINGS = {
    **PATIENT,
    "WEB_CONCURRENCY": "2",
    "WEB_THREADS": "8",
    "LOG_LEVEL": "info",
    "SINCH_READ_TIMEOUT_S": "3",
    "SINCH_WEBHOOK_SECRET": SECRET,
    "REPORT_WAITS_S": "5,5,10",
    "SWEEP_EVERY_S": "2",
    "MARKETING_PER_DAY": "20",
}


@pytest.fixture
def db(database_url):
    db = Database(database_url)
    yield db
    db.close()


@pytest.mark.timeout(0)
def test_counts_are_right_and_nothing_grows(
    sinch, database_url, db, celery, tmp_path, minutes, seed
):
    say(f"SOAK_SEED={seed}")
    port, folder = unused_port(), tmp_path / "temporary"
    folder.mkdir()
    settings = SETTINGS | {
        "API_KEYS": f"tests[* clients:all]:{KEY}",
        "SINCH_REGION_URL": sinch.url,
        "DATABASE_URL": database_url,
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "QUIET_HOURS": make_quiet_hours(minutes),
        "TMPDIR": str(folder),
        "METRICS_DIR": str(folder / "metrics"),
    }
    create_user(db, Clock(), USER, Role.ADMIN, actor="tests")
    give_password(db, USER)
    spoil(sinch, port, seed)

    if celery:
        settings |= {name: celery.settings[name] for name in ("BACKGROUND", "REDIS_URL")}
        celery.settings |= settings
    with mortal(tmp_path, **settings) as service:
        service.start()
        hands = [celery.start_worker(), celery.start_beat()] if celery else []

        def list_processes():
            return service.processes() + [
                pid for hand in hands for pid in (hand.process.pid, *hand.children())
            ]

        watch = Watch(list_processes, Path(f"{make_url(database_url).database}-wal"), folder)
        traffic = Traffic(service, sinch, seed)
        with traffic.flowing(), watch.watching():
            go_on(minutes, traffic, watch)
        say(f"done: {dict(traffic.done)}, faults met: {sum(met(sinch).values())}")
        end_all(service, sinch, db)

        accepted = accepted_by_broadcast(sinch, db)
        shown = service.books()
        say(f"{len(shown)} broadcasts, {sinch.copies().total()} texts")
        assert traffic.unexpected == []
        assert find_twice(accepted) == []
        assert find_sent_after_stop(accepted, traffic.opted_out, db) == []
        assert find_wrong_counts(shown, accepted, sinch) == []
        assert service.violations() == []
        assert find_growth(watch.samples) == []
        assert [hand.stop() for hand in hands] == [0] * len(hands)
        assert service.stop() == 0
    output = service.output() + (celery.output() if celery else "")
    assert find_unusual_lines(output) == []


def say(line):
    """Print a line, which is shown when the test fails, and by `make soak` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def make_quiet_hours(minutes):
    """Return hours that are quiet in Denmark all the time, and in Norway until the middle."""

    def clock(zone, **later):
        return f"{datetime.now(ZoneInfo(zone)) + timedelta(**later):%H:%M}"

    since = clock("Europe/Oslo", hours=-2)
    opens = clock("Europe/Oslo", minutes=minutes / 2 + 1)
    return f"DK={since}-{clock('Europe/Oslo', hours=6)},NO={since}-{opens},*=00:00-00:00"


def spoil(sinch, port, seed):
    """Order the faults of Sinch and of its callbacks."""
    sinch.control.set(
        seed=seed,
        hmac_secret=SECRET,
        inbound_url=f"http://127.0.0.1:{port}/webhooks/sinch",
        outcome_probabilities={"Failed": 0.02},
        callback_delay_s=0.5,
        callback_copies=2,
        callback_lost_probability=0.01,
        retry_base_s=1,
    )
    for place, fault in enumerate(FAULTS):
        sinch.control.order_fault(on="POST /batches", skip=5 + 7 * place, **fault)
        often = 0.01 / len(FAULTS)
        sinch.control.order_fault(on="*", times=None, probability=often, **fault)


def go_on(minutes, traffic, watch):
    """Wait while all is in use; each minute say what was done and what is held."""
    until, said = time.monotonic() + 60 * minutes, time.monotonic()
    while (now := time.monotonic()) < until:
        time.sleep(min(1, until - now))
        if now - said >= 60 or now + 1 >= until:
            said = now
            waits = sorted(traffic.waits_s[-200:]) or [0.0]
            say(
                f"{60 * minutes - (until - now):5.0f} s: {describe(watch.samples[-1])}, "
                f"{traffic.done.total()} done, a text takes {statistics.median(waits):.3f} s, "
                f"unexpected {traffic.unexpected[-3:]}"
            )


def met(sinch):
    """Return how often each fault was met."""
    return {str(fault["id"]): fault["hits"] for fault in sinch.control.faults()}


def end_all(service, sinch, db):
    """Let Sinch be well, wait for all that is under way, and cancel what waits for the morning."""
    sinch.control.clear_faults()
    sinch.control.set(callback_lost_probability=0, callback_copies=1)
    wait_until(lambda: decide_absent(service, sinch), within_s=120, why="all is known")
    for broadcast in service.books():
        if broadcast["counts"]["pending"]:
            url = f"{service.url}/api/broadcasts/{broadcast['broadcast_id']}/cancel"
            assert requests.post(url, headers=AUTH, json={}, timeout=60).ok
    wait_until(lambda: is_settled(service), within_s=120, why="nothing is under way")
    unreported = select(func.count()).where(
        Broadcast.all_reported_at.is_(None), Broadcast.completed_at.is_not(None)
    )

    def is_reported():
        with db.read() as tx:
            return tx.execute(unreported).scalar_one() == 0

    wait_until(is_reported, within_s=180, why="all is reported")


def decide_absent(service, sinch):
    """Send again what Sinch surely has not.  Returns True once no outcome is open."""
    known = sinch.references()
    for reference in service.attention():
        if reference not in known:
            service.resolve(reference, "resend")
    return service.states().keys().isdisjoint(("sending", "unknown", "needs_attention"))


def find_unusual_lines(output):
    """Return lines of the log that are no JSON, or have a traceback."""
    lines = [line for line in output.splitlines() if line not in ("", CELERYS_LAST_LINE)]
    return [line for line in lines if line[:1] != "{" or "Traceback" in line or "exception" in line]
