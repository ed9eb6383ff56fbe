"""Many hostile requests at once: a small broadcast goes out beside them, and memory stays bounded.

HOSTILE in the environment is another number of requests under way; all kinds are then sent, over a
large database.  A line is printed for each kind; it says MISSED if a small broadcast took longer
than GOAL_S, which a busy machine may cause.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from app.db.base import table_of
from app.db.engine import Database
from app.subscribers.models import Subscriber
from bench.sample_broadcast import add_broadcast
from tests.environ import ROOT, clean_environ
from tests.factories import broadcast_to, many_numbers, settings
from tests.journeys.hostile import PEOPLE_ATTRIBUTES, make_kinds
from tests.processes import running

FULL = "HOSTILE" in os.environ
HOSTILE = int(os.environ.get("HOSTILE", "8"))
LASTS_S = 8 if FULL else 2
PEOPLE, MESSAGES = (20_000, 100_000) if FULL else (1_000, 5_000)
GOAL_S, MAX_RSS_MB = 2.0, 700
_USUAL = ("lists", "lists in a tag", "personal quotes", "audiences: quotes", "poison CSV")


@pytest.fixture(scope="module")
def service(sandbox_server, tmp_path_factory):
    folder, url = tmp_path_factory.mktemp("service"), sandbox_server.url
    with running(folder / "output", SINCH_REGION_URL=url, LOG_LEVEL="info") as service:
        yield service


@pytest.fixture(scope="module")
def broadcast(service):
    """The id of a sent broadcast to many, beside many people."""
    db = Database(f"sqlite:///{service.output.parent / 'clarion.db'}")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    people = [
        {
            "public_id": f"{number:026d}",
            "phone": phone,
            "active": True,
            "subscribed_at": at,
            "updated_at": at,
            "attributes": {f"a{place}": f"v{place}" for place in range(PEOPLE_ATTRIBUTES)},
        }
        for number, phone in enumerate(many_numbers(PEOPLE))
    ]
    with db.write() as tx:
        tx.execute(insert(table_of(Subscriber)), people)
    public_id = add_broadcast(db, MESSAGES, client="tests")
    db.close()
    return public_id


@pytest.mark.parametrize("kind", make_kinds("") if FULL else _USUAL)
def test_a_small_broadcast_goes_out_beside_hostile_requests(service, broadcast, sandbox, kind):
    (worker,) = service.workers()
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak of its memory begins anew
    with _attacking(service, kind, broadcast) as attack:
        time.sleep(1)
        waits_s = []
        while attack.poll() is None or not waits_s:
            (number,) = many_numbers(1, start=9_000_000 + len(waits_s))
            sent = service.post(broadcast_to(number, message=f"Beside {kind}"), timeout=60)
            waits_s.append(sent.elapsed.total_seconds())
            assert sent.status_code == 202
            time.sleep(0.2)
        answers = json.load(attack.stdout)
    peak_mb = _read_peak_mb(worker)

    sys.stdout.write(
        f"{kind:<22} {len(waits_s):3} small: {statistics.median(waits_s):5.2f} s, at most "
        f"{max(waits_s):5.2f} s; {peak_mb:4} MB; answers {answers}"
        f"{' MISSED' if max(waits_s) > GOAL_S else ''}\n"
    )
    assert not {"500", "502"} & {*answers}
    assert peak_mb < MAX_RSS_MB


def _attacking(service, kind, broadcast):
    port = service.url.rpartition(":")[2]
    arguments = [port, kind, str(HOSTILE), str(LASTS_S), broadcast]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.hostile", *arguments],
        cwd=ROOT,
        env=clean_environ(settings()),
        stdout=subprocess.PIPE,
    )


def _read_peak_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [line for line in lines if line.startswith("VmHWM")]
    return int(peak.split()[1]) // 1024
