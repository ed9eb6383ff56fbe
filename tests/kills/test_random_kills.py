"""kill -9 about every 0.4 s, and three Sinch calls in ten go wrong: nobody twice, nobody lost."""

import contextlib
import random
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.factories import many_numbers
from tests.kills.judging import check_books, is_settled
from tests.kills.mortal import Clients, mortal, wait_until

# Of a hundred posts so many meet this.
FAULTS = [
    (6, {"when": "after", "do": "cut"}),  # taken, the answer lost
    (3, {"when": "before", "do": "cut"}),
    (2, {"when": "before", "do": "reset"}),
    (3, {"when": "after", "status": 503}),
    (3, {"when": "before", "status": 500, "shape": "html"}),
    (4, {"when": "before", "status": 429}),
    (2, {"when": "after", "do": "hang", "delay_s": 1}),
    (2, {"when": "before", "do": "hang", "delay_s": 1}),
    (3, {"do": "half_body"}),
    (1, {"when": "after", "status": 201, "shape": "no_id"}),
    (0.5, {"when": "before", "status": 400, "code": "syntax_constraint_violation"}),
    (0.5, {"when": "before", "status": 401}),
]
QUESTIONS = [
    (8, {"when": "after", "do": "cut"}),
    (8, {"when": "before", "status": 503}),
    (8, {"when": "before", "status": 429}),
]


@pytest.mark.timeout(0)
def test_nobody_gets_a_text_twice_or_never(sinch, either_database, tmp_path, size, seed):
    tell(f"KILLS_SEED={seed}")
    dice, calm_s = random.Random(seed), 90.0 + 2 * size
    settings = {
        "SINCH_REGION_URL": sinch.url,
        "DATABASE_URL": either_database,
        "WEB_CONCURRENCY": "3",
    }
    with mortal(tmp_path, **settings) as service:
        service.start()
        clients = Clients(service.url, make_order, pause_s=0.02)
        order_faults(sinch.control, seed)

        with clients.sending(threads=8):
            until = time.monotonic() + 8 * size
            while time.monotonic() < until:
                disturb(sinch.control, dice)
                kill_somebody(service, dice)
                time.sleep(dice.uniform(0.2, 0.6))

        wait_until(lambda: calm_down(sinch.control), within_s=calm_s, why="sinch is well again")
        if size > 1:  # the first requests with their keys count as running for a while
            wait_until(clients.insist, within_s=calm_s, why="every client has its answer")
        assert set(clients.codes) <= {202, 400, 409, 502}
        wait_until(lambda: is_settled(service), within_s=calm_s, why="nothing is under way")
        wait_until(
            lambda: not set(service.attention()) & set(sinch.references()),
            within_s=calm_s,
            why="what Sinch has is not taken for uncertain",
        )
        tell(f"{len(clients.orders)} orders, {clients.cut} cut, answers {dict(clients.codes)}")
        check_books(service, clients, sinch.copies())

        absent = 0
        for _ in range(size):  # the list of them is a page
            for reference in service.attention():
                service.resolve(reference, "resend")
                absent += 1
            wait_until(lambda: is_settled(service), within_s=calm_s, why="what was absent went out")
        tell(f"{absent} batches were absent, {sinch.references().total()} accepted")
        check_books(service, clients, sinch.copies())
        assert service.attention() == []
        assert service.stop() == 0
        assert service.violations() == []


def tell(line):
    """Shown where the test fails, and with `pytest -s`."""
    sys.stdout.write(line + "\n")


def make_order(number):
    """Small ones within the request, small ones for later, and now and then many thousand."""
    dice = random.Random(number)
    start = number * 3000
    if number % 20 == 7:
        return {"recipients": many_numbers(2500, start=start), "message": "to many"}
    order = {"recipients": many_numbers(dice.randint(1, 3), start=start), "message": "to few"}
    if number % 3 == 0:
        soon = datetime.now(UTC) + timedelta(seconds=dice.uniform(2, 4))
        order["send_at"] = soon.isoformat()
    return order


def order_faults(control, seed):
    control.set(seed=seed)
    for on, faults in (("POST /batches", FAULTS), ("GET /batches", QUESTIONS)):
        left = 100.0
        for percent, fault in faults:
            # Each is tried on what the ones before have spared.
            control.order_fault(on=on, times=None, probability=percent / left, **fault)
            left -= percent


def disturb(control, dice):
    """Let the list lag, now less, now more than the service waits, or refuse connections."""
    lag_s, refused = dice.choice([0, 0, 0.3, 3]), dice.random() < 0.1
    with contextlib.suppress(requests.ConnectionError):  # it refuses us, too
        control.set(list_delay_s=lag_s)
        if refused:
            control.refuse(0.3)


def kill_somebody(service, dice):
    lot = dice.random()
    if lot < 0.75:
        service.kill_workers(lambda pids: dice.sample(pids, k=min(1, len(pids))))
    elif lot < 0.9:
        service.kill_workers()
    else:
        service.kill()
        assert service.violations() == []
        service.start()


def calm_down(control):
    control.clear_faults()
    return control.set(list_delay_s=0)
