"""A flood of callbacks against gunicorn: nothing is lost, and nothing that is forged counts.

`make flood` sends a million; `--flood N --flood-seed S` any number, as often as one likes.
"""

import random
import sys
import time
from collections import Counter

import pytest
from sqlalchemy import func, select

from app.db.engine import Database
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.reports import DeliveryCount, Event
from tests.factories import broadcast_to, many_numbers
from tests.flood.flooding import SECRET, Flood, count_messages, read_sent
from tests.load import post_all
from tests.processes import running

# A quarter of a minute on two slow cores.
SIZE = 10_000


@pytest.fixture
def size(request):
    return request.config.getoption("--flood") or SIZE


@pytest.fixture
def seed(request):
    """The same at every run of the test command; drawn, or given, by hand."""
    given = request.config.getoption("--flood-seed")
    by_hand = request.config.getoption("--flood")
    return given or (random.randrange(1_000_000) if by_hand else 1)


@pytest.fixture
def opened():
    """A function that opens a database for a look."""
    made = []

    def open_database(url):
        made.append(Database(url))
        return made[-1]

    yield open_database
    for db in made:
        db.close()


@pytest.mark.parametrize(
    ("kind", "workers", "share"),
    [("sqlite", "1", 1.0), ("sqlite", "2", 0.2), ("postgres", "2", 0.2)],
)
def test_of_a_flood_nothing_is_lost_and_nothing_forged_counts(
    request, sandbox_server, sandbox, tmp_path, opened, size, seed, kind, workers, share
):
    size = int(size * share)
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "SINCH_WEBHOOK_SECRET": SECRET,
        "WEB_CONCURRENCY": workers,
        "LOG_LEVEL": "info",
        # Nobody asks meanwhile: what is told is all that is known.
        "REPORT_WAITS_S": "100000",
        "LIST_INBOUNDS_EVERY_S": "100000",
    }
    url = f"sqlite:///{tmp_path / 'clarion.db'}"
    if kind == "postgres":
        url = settings["DATABASE_URL"] = request.getfixturevalue("postgres").create_database()

    with running(tmp_path / "output", **settings) as service:
        sent = service.post(broadcast_to(*many_numbers(count_messages(size)))).json()
        _wait(lambda: service.get(sent["url"]).json()["status"] == "complete", size)
        db = opened(url)
        flood = Flood(read_sent(db), size=size, seed=seed)
        port = int(service.url.rpartition(":")[2])

        outcome = post_all(port, flood.requests())
        _wait(lambda: _count(db, Event) == 0, size)
        shown = service.get(sent["url"]).json()
        code = service.stop()

    sys.stdout.write(
        f"seed {seed}: {size} callbacks on {len(flood.sent)} messages, {kind}, {workers} "
        f"process(es): {size / outcome.seconds:.0f}/s, the slowest answer in "
        f"{max(outcome.waits_s):.2f} s\n"
    )
    assert outcome.statuses == {200: flood.genuine, 401: flood.forged}
    assert (outcome.cut, code) == (0, 0)
    _compare_books(db, flood, shown)


def _compare_books(db, flood, shown):
    with db.read() as tx:
        rows = tx.execute(select(Message.recipient, Message.status, Message.code))
        assert {row.recipient: (row.status, row.code) for row in rows} == flood.ends
        tallied = tx.execute(
            select(
                DeliveryCount.status, DeliveryCount.code, func.sum(DeliveryCount.messages)
            ).group_by(DeliveryCount.status, DeliveryCount.code)
        )
        counted = Counter(flood.ends.values())
        assert {(row[0], row[1]): row[2] for row in tallied if row[2]} == counted
        assert tx.execute(select(func.sum(Batch.ended))).scalar() == len(flood.sent)
        assert tx.execute(select(Broadcast.all_reported_at)).scalar() is not None
    by_word = Counter(status.value for status, _ in flood.ends.values())
    assert {word: count for word, count in shown["counts"].items() if count} == by_word


def _count(db, table):
    with db.read() as tx:
        return tx.execute(select(func.count()).select_from(table)).scalar()


def _wait(come, size):
    deadline = time.monotonic() + 30 + size / 500
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.1)
