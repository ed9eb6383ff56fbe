"""kill -9 behind a 2xx: what Sinch was told is kept, is kept."""

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections import deque

from sqlalchemy import func, select

from app.db.engine import Database
from app.sms.models.batch import Message
from app.sms.models.reports import Event
from app.sms.models.statuses import MessageStatus
from tests.factories import broadcast_to, many_numbers
from tests.flood.flooding import PATH, SECRET, read_sent
from tests.processes import running
from tests.reporting import report
from tests.signing import sign

KILLS = 3
MESSAGES = 3_000


class Sender:
    """Tells one end after another over kept connections, and notes which were acknowledged."""

    def __init__(self, port, left):
        self.port, self.left = port, left
        self.acknowledged = []
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(8)]
        for thread in self.threads:
            thread.start()

    def wait(self):
        for thread in self.threads:
            thread.join(90)

    def _run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.suppress(OSError, http.client.HTTPException, IndexError):
            while True:
                message = self.left.pop()
                try:
                    self._tell(connection, message)
                except BaseException:
                    self.left.append(message)
                    raise
        connection.close()

    def _tell(self, connection, message):
        raw = report(
            message.recipient, "Delivered", batch=message.sinch_id, reference=message.reference
        )
        connection.request("POST", PATH, raw, sign(raw, secret=SECRET))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        self.acknowledged.append(message.recipient)


def test_what_was_acknowledged_is_booked_though_the_process_was_killed(
    sandbox_server, sandbox, tmp_path, either_database
):
    draw = random.Random(1)
    db = Database(either_database)
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "DATABASE_URL": either_database,
        "SINCH_WEBHOOK_SECRET": SECRET,
        "REPORT_WAITS_S": "100000",
        "LIST_INBOUNDS_EVERY_S": "100000",
    }
    with running(tmp_path / "output", **settings) as service:
        sent = service.post(broadcast_to(*many_numbers(MESSAGES))).json()
        _wait(lambda: service.get(sent["url"]).json()["status"] == "complete")
    left, acknowledged, unbooked = deque(read_sent(db)), [], []

    for _ in range(KILLS):
        with running(tmp_path / "output", **settings) as service:
            sender = Sender(int(service.url.rpartition(":")[2]), left)
            _wait(lambda sender=sender: len(sender.acknowledged) > draw.randrange(50, 400))
            os.killpg(service.process.pid, signal.SIGKILL)
            sender.wait()
        acknowledged += sender.acknowledged
        unbooked.append(_count_events(db))
    with running(tmp_path / "output", **settings):
        _wait(lambda: _count_events(db) == 0)
    with db.read() as tx:
        booked = tx.execute(
            select(Message.recipient).where(Message.status == MessageStatus.DELIVERED)
        )
        reached = set(booked.scalars())
    db.close()

    assert set(acknowledged) <= reached
    assert KILLS * 50 <= len(acknowledged) < MESSAGES
    assert max(unbooked) > 0  # some kills came between the answer and the booking
    # Of those that were told in vain, at most what was under way at a kill is known.
    assert len(reached - set(acknowledged)) <= KILLS * len(sender.threads)


def _count_events(db):
    with db.read() as tx:
        return tx.execute(select(func.count()).select_from(Event)).scalar()


def _wait(come, within_s=60):
    deadline = time.monotonic() + within_s
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.02)
