"""A STOP that comes while the process is dead, or stands still, holds in all that is claimed later.

At each crash point the process ends with a batch to the person in its hands.  The STOP is posted as
Sinch posts it: again and again until it is answered.  Then all starts anew, an operator sends what
is uncertain once more, and a client sends to the same people.
"""

import itertools
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.factories import AUTH, broadcast_to
from tests.kills.judging import is_settled
from tests.kills.mortal import mortal, wait_until
from tests.reporting import inbound
from tests.signing import sign

ANN, BOB = "+46701234567", "+46707654321"
SECRET = "a secret that Sinch shares with the tests"
STOP = inbound(ANN, "STOP", received_at=None)
KEY = {"Idempotency-Key": "the same"}
# A deadline of a test that hangs, and of nothing else: a busy machine takes minutes.
SOON_S = 300.0
# Without answers of ours to the STOP: they go to who stopped.
QUIET = {"SINCH_WEBHOOK_SECRET": SECRET, "OPT_OUT_REPLIES": "off"}
# Frozen between its sweeps a process holds no lock.
FREEZABLE = {"SWEEP_EVERY_S": "60"}
# A list that was always empty proves nothing: soon an operator is asked instead.
ASKED_SOON = {"LEASE_S": "0.8", "UNREADABLE_AFTER_S": "3"}
# How often Ann has the text of the batch that was in hand: what was at Sinch before stays there.
HAD = {"C0": 0, "C1": 0, "C3": 0, "C4": 1, "C5": 1, "C6": 1, "C9": 1}
# In the test command each point on one of the databases, by hand on both.
KINDS = itertools.cycle((("sqlite",), ("postgres",)))
BOTH = ("sqlite", "postgres")
PLACES = [
    (point, kind)
    for point, kinds in zip((*HAD, "C8"), KINDS, strict=False)
    for kind in (BOTH if "KILLS" in os.environ else kinds)
]


@pytest.fixture
def service(request, sinch, kind, tmp_path):
    if kind == "sqlite":
        url = request.getfixturevalue("database_url")
    else:
        url = request.getfixturevalue("postgres").create_database()
    rules = {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": url}
    with mortal(tmp_path, **rules, **QUIET, **ASKED_SOON) as service:
        yield service
        service.kill()
        assert service.violations() == []


def send(service, **headers):
    body = broadcast_to(ANN, BOB)
    return service.service.post(body, headers=AUTH | headers, timeout=2 * SOON_S)


def post_stop(service):
    """As Sinch does it: until it is answered, whoever is dead meanwhile."""

    def is_answered():
        return requests.post(
            f"{service.url}/webhooks/sinch",
            data=STOP,
            headers=sign(STOP, secret=SECRET) | {"Content-Type": "application/json"},
            timeout=10,
        ).ok

    wait_until(is_answered, within_s=SOON_S, why="the STOP is answered")


def settle(service):
    """Wait until all has ended, with an operator who has what is uncertain sent again."""

    def is_over():
        for reference in service.attention():
            service.resolve(reference, "resend")
        return is_settled(service) and not service.attention()

    wait_until(is_over, within_s=SOON_S, why="all has ended")


@pytest.mark.parametrize(("point", "kind"), [each for each in PLACES if each[0] != "C8"])
def test_a_stop_to_a_dead_process_holds(service, sinch, point):
    service.start(FAILPOINT=f"{point}:1")
    with pytest.raises(requests.ConnectionError):
        send(service, **KEY)
    post_stop(service)
    service.kill()
    service.start()

    send(service, **KEY)
    settle(service)
    send(service)
    settle(service)

    assert sinch.copies()[ANN] == HAD[point]
    assert sinch.copies()[BOB] == 2


@pytest.mark.parametrize("kind", [kind for point, kind in PLACES if point == "C8"])
def test_a_stop_while_a_claim_stands_still_holds(service, sinch):
    watcher = service.start()
    with watcher.twin(FAILPOINT="C8:1", **FREEZABLE) as frozen, ThreadPoolExecutor() as threads:
        waiting = threads.submit(send, frozen)
        wait_until(watcher.has_claimed, within_s=SOON_S, why="it is claimed")
        post_stop(watcher)
        wait_until(watcher.attention, within_s=SOON_S, why="an operator is asked")
        for pid in frozen.workers():
            os.kill(pid, signal.SIGCONT)
        waiting.result(SOON_S)

    settle(watcher)
    send(watcher)
    settle(watcher)

    assert sinch.copies() == {BOB: 2}
