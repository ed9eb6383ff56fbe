"""A broker that is away, silent, or has forgotten everything: time is lost, never a text."""

import contextlib
import itertools
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.factories import broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.queue.crew import UNHURRIED, slow_down

# A request that waited for the broker would wait that long beside the storing of its numbers.
WAIT_S = 2.0


@pytest.mark.parametrize("trouble", ["dead", "frozen"])
def test_no_request_waits_for_a_broker_and_a_sweep_finds_what_no_nudge_told(
    make_crew, database_url, sinch, broker, trouble
):
    crew = make_crew(database_url, SWEEP_EVERY_S="1").start_web()
    crew.start_worker()
    crew.start_beat()
    accepted = []
    usual_s = post_each(crew, range(3), accepted)

    with troubled(broker, trouble):
        troubled_s = post_each(crew, range(3, 6), accepted)

    assert troubled_s < usual_s + WAIT_S
    assert [each.status_code for each in accepted] == [202] * 6
    crew.wait_until_complete(*accepted, within_s=90)
    assert set(sinch.copies().values()) == {1}


def test_no_request_waits_for_a_broker_that_takes_no_connection(make_crew, database_url, sinch):
    with full_listener() as port:
        crew = make_crew(database_url, REDIS_URL=f"redis://127.0.0.1:{port}/0").start_web()
        accepted = []
        assert post_each(crew, range(5), accepted) < WAIT_S
        assert [each.status_code for each in accepted] == [202] * 5


def post_each(crew, places, accepted):
    """Post broadcasts to 2,000 people each.  Returns the median of their seconds."""
    waits = []
    for place in places:
        started = time.monotonic()
        numbers = many_numbers(2_000, start=2_000 * place)
        accepted.append(crew.post(broadcast_to(*numbers, message=f"number {place}")))
        waits.append(time.monotonic() - started)
    return statistics.median(waits)


def test_a_broker_that_forgets_and_dies_in_the_middle_costs_no_text(
    make_crew, postgres, sinch, broker
):
    crew = make_crew(postgres.create_database()).start_web()
    crew.start_worker()
    crew.start_beat()
    slow_down(sinch, 0.1)
    numbers = many_numbers(40_000)
    accepted = crew.post(broadcast_to(*numbers))
    wait_until(lambda: len(sinch.copies()) > 2_000, within_s=90, why="it has begun")

    broker.forget_everything()
    time.sleep(0.5)
    broker.forget_everything()
    broker.kill()
    time.sleep(1)
    broker.start()

    crew.wait_until_complete(accepted, within_s=90)
    assert sinch.copies() == dict.fromkeys(numbers, 1)


def test_redis_killed_under_traffic_makes_no_answer_an_error_and_no_text_go_twice(
    make_crew, postgres, sinch, broker
):
    """Redis counts the limits, too: an error for a text that is out would be sent again."""
    crew = make_crew(postgres.create_database(), **UNHURRIED, SWEEP_EVERY_S="1").start_web()
    crew.start_beat()
    workers = [crew.start_worker()]
    traffic = Traffic(crew)

    with traffic.flowing(threads=4):
        for _ in range(3):
            traffic.wait_for_more(20)
            broker.kill()
            traffic.wait_for_more(20)
            broker.start()
    if workers[0].process.poll() is not None:  # kombu may end it: docs/scaling.md
        crew.start_worker()
    many = crew.post(broadcast_to(*many_numbers(2_000, start=1_000_000), message="to many"))

    crew.wait_until_complete(many, within_s=90)
    assert traffic.codes.keys() == {202}
    assert set(sinch.copies()) == {*traffic.numbers, *many_numbers(2_000, start=1_000_000)}
    assert set(sinch.copies().values()) == {1}


class Traffic:
    """Clients that send one text after the other, each to a number of its own."""

    def __init__(self, crew):
        self.crew, self.codes, self.numbers = crew, Counter(), []
        self._next, self._stopping = itertools.count(), threading.Event()

    @contextlib.contextmanager
    def flowing(self, threads) -> Iterator[None]:
        running = [threading.Thread(target=self._send) for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in running:
                thread.join(60)

    def wait_for_more(self, answers):
        before = self.codes.total()
        wait_until(
            lambda: self.codes.total() >= before + answers, within_s=90, why="clients have answers"
        )

    def _send(self):
        while not self._stopping.is_set():
            number = next(self._next)
            (phone,) = many_numbers(1, start=number)
            self.numbers.append(phone)
            answer = self.crew.post(broadcast_to(phone, message=f"number {number}"))
            self.codes[answer.status_code] += 1


@contextlib.contextmanager
def troubled(broker, trouble) -> Iterator[None]:
    if trouble == "frozen":
        with broker.frozen():
            yield
        return
    broker.kill()
    yield
    broker.start()


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """A port whose line of waiting connections is full: the kernel lets nobody in."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]
