"""Workers that are asked to end, as at every deploy."""

import signal
import time

import pytest

from tests.callers import count_taken
from tests.factories import broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.queue.crew import UNHURRIED, slow_down


@pytest.mark.parametrize("group", [False, True], ids=["parent", "whole group"])
def test_on_sigterm_the_posts_in_hand_are_finished_and_no_other_is_begun(
    make_crew, database_url, sinch, group
):
    crew = make_crew(database_url, **UNHURRIED).start_web()
    worker = crew.start_worker()
    slow_down(sinch, 2)
    accepted = crew.post(broadcast_to(*many_numbers(10_000)))
    wait_until(lambda: sinch.control.posts() == 2, within_s=90, why="two posts are in hand")
    started = time.monotonic()

    code = worker.stop(signal.SIGTERM, group=group)

    assert code == 0
    assert time.monotonic() - started < 25
    assert sinch.control.posts() == 2
    counts = crew.show(accepted)["counts"]
    assert (count_taken(counts), counts["pending"], counts["unconfirmed"]) == (2000, 8000, 0)


def test_a_burst_claimed_while_sinch_was_quick_is_not_sent_to_its_end(
    make_crew, database_url, sinch
):
    crew = make_crew(database_url, **UNHURRIED | {"SENDER_THREADS": "1"}).start_web()
    worker = crew.start_worker()
    crew.wait_until_complete(crew.post(broadcast_to(*many_numbers(40_000))))
    quick = sinch.control.posts()
    slow_down(sinch, 2)
    accepted = crew.post(broadcast_to(*many_numbers(20_000), message="And slowly"))
    wait_until(lambda: sinch.control.posts() > quick, within_s=90, why="a post is in hand")

    code = worker.stop()

    assert code == 0
    assert sinch.control.posts() <= quick + 2
    counts = crew.show(accepted)["counts"]
    assert counts["unconfirmed"] == 0
    assert count_taken(counts) + counts["pending"] == 20_000


def test_a_rolling_restart_under_load_loses_no_time_and_no_text(make_crew, postgres, sinch):
    crew = make_crew(postgres.create_database(), **UNHURRIED).start_web()
    crew.start_beat()
    old = [crew.start_worker(), crew.start_worker()]
    slow_down(sinch, 0.1)
    numbers = many_numbers(40_000)
    accepted = crew.post(broadcast_to(*numbers[:20_000]))
    wait_until(lambda: sinch.copies(), within_s=90, why="it has begun")

    codes = []
    for worker in old:
        crew.start_worker()
        codes.append(worker.stop())
    more = crew.post(broadcast_to(*numbers[20_000:], message="And another"))

    crew.wait_until_complete(accepted, more)
    assert codes == [0, 0]
    assert sinch.copies() == dict.fromkeys(numbers, 1)
    assert "unknown" not in crew.output()
