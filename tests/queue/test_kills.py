"""kill -9 at workers, their processes and the broker, and three Sinch calls in ten go wrong."""

import contextlib
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import many_numbers
from tests.kills.judging import check_books, is_settled
from tests.kills.mortal import Clients, mortal, wait_until
from tests.kills.test_random_kills import calm_down, disturb, order_faults, tell
from tests.queue.crew import IN_CELERY


@pytest.mark.timeout(0)
def test_nobody_gets_a_text_twice_or_never(
    make_crew, postgres, sinch, broker, tmp_path, size, seed
):
    tell(f"KILLS_SEED={seed}")
    dice, calm_s = random.Random(seed), 90.0 + 20 * size
    crew = make_crew(postgres.create_database(), SWEEP_EVERY_S="1")
    crew.start_beat()
    workers = [crew.start_worker(), crew.start_worker()]
    with mortal(tmp_path, **IN_CELERY | crew.settings) as service:
        service.start()
        clients = Clients(service.url, make_order, pause_s=0.05)
        order_faults(sinch.control, seed)

        with clients.sending(threads=2):
            until = time.monotonic() + 6 * size
            while time.monotonic() < until:
                disturb(sinch.control, dice)
                kill_somebody(crew, workers, broker, dice)
                time.sleep(dice.uniform(0.2, 0.6))
                if dice.random() < 0.05:
                    postgres.restart("immediate")
            postgres.restart("immediate")
            time.sleep(1)

        calm_down(sinch.control)
        wait_until(clients.insist, within_s=calm_s, why="every client has its answer")

        def is_quiet():
            watch_over(crew, workers)
            return is_settled(service)

        wait_until(is_quiet, within_s=calm_s, why="nothing is under way")
        wait_until(
            lambda: not set(service.attention()) & set(sinch.references()),
            within_s=calm_s,
            why="what Sinch has is not taken for uncertain",
        )
        absent = service.attention()
        taken = sinch.references().total()
        tell(f"{len(clients.orders)} orders, {taken} batches accepted, {len(absent)} absent,")
        tell(f"{len(crew.hands)} lives, answers {dict(clients.codes)}")
        check_books(service, clients, sinch.copies())

        for reference in absent:
            service.resolve(reference, "resend")
        wait_until(is_quiet, within_s=calm_s, why="what was absent went out")
        check_books(service, clients, sinch.copies())
        assert service.attention() == []


def make_order(number):
    """Half of them too large for a request, half of them for later: all are the workers'."""
    start = number * 3000
    if number % 2:
        return {"recipients": many_numbers(1100, start=start), "message": "to many"}
    soon = datetime.now(UTC) + timedelta(seconds=2)
    numbers = many_numbers(1 + number % 3, start=start)
    return {"recipients": numbers, "message": "to few", "send_at": soon.isoformat()}


def watch_over(crew, workers):
    """Start workers again that ended: as Celery's do where one of their pool dies as it starts."""
    for number, worker in enumerate(workers):
        if worker.process.poll() is not None:
            workers[number] = crew.call_worker()


def kill_somebody(crew, workers, broker, dice):
    watch_over(crew, workers)
    place = dice.randrange(len(workers))
    lot = dice.random()
    if lot < 0.5:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for pid in workers[place].children()[:1]:
                os.kill(pid, signal.SIGKILL)
    elif lot < 0.85:
        workers[place].kill()
        workers[place] = crew.call_worker()
    elif lot < 0.95:
        broker.forget_everything()
    else:
        broker.kill()
        time.sleep(0.3)
        broker.start()
