"""Turns of the processes that write to one SQLite file."""

import contextlib
import fcntl
import os
import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from app.db.writers import WriteTurns
from app.logs import find_outage


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "clarion.db"
    path.touch()
    return str(path)


@pytest.fixture
def make_turns(path):
    """A function that returns the turns of one more process: a lock belongs to its open file."""
    with contextlib.ExitStack() as stack:

        def make_turns(within_s=20.0):
            turns = WriteTurns(path, within_s)
            stack.callback(turns.close)
            return turns

        yield make_turns


def _wait_until_one_waits(path):
    file = os.open(f"{path}-next", os.O_RDWR)
    deadline = time.monotonic() + 20
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            break
        fcntl.flock(file, fcntl.LOCK_UN)
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.close(file)


def test_a_process_that_has_just_written_comes_behind_one_that_waits(path, make_turns):
    quick, other, order = make_turns(), make_turns(), []

    def write():
        with other.take(urgent=False):
            order.append("other")

    for _ in range(5):
        waiting = threading.Thread(target=write)
        with quick.take(urgent=False):
            order.append("quick")
            waiting.start()
            _wait_until_one_waits(path)
        with quick.take(urgent=False):
            order.append("quick again")
        waiting.join()

    assert order == ["quick", "other", "quick again"] * 5


def test_a_process_that_keeps_the_place_is_waited_for_only_so_long(make_turns):
    frozen, patient = make_turns(), make_turns(within_s=0.05)
    with frozen.take(urgent=False):
        for _ in range(2):
            with pytest.raises(OperationalError, match="locked") as late, patient.take(urgent=True):
                pytest.fail("two at once")
            # One line a minute says so, without a stack.
            assert find_outage(late.value)
    with patient.take(urgent=True):
        pass


def test_a_process_that_is_frozen_while_it_waits_stops_no_other(path, make_turns):
    one, other = make_turns(), make_turns(within_s=20)
    with one.take(urgent=False):
        pass
    waiting = os.open(f"{path}-next", os.O_RDWR)
    fcntl.flock(waiting, fcntl.LOCK_EX)

    with other.take(urgent=False):
        pass

    os.close(waiting)


def test_a_place_is_free_after_an_error(make_turns):
    one, other = make_turns(), make_turns(within_s=5)
    with pytest.raises(ZeroDivisionError), one.take(urgent=False):
        raise ZeroDivisionError
    with other.take(urgent=False):
        pass


def test_sqlite_alone_keeps_order_where_no_file_can_be_made(tmp_path):
    turns = WriteTurns(str(tmp_path / "missing" / "clarion.db"), 5)
    with turns.take(urgent=False):
        pass
    turns.close()
