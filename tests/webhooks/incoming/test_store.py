"""Many threads hand events over: few commits, and nobody goes on before its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.clock import Clock
from app.db.engine import Database
from app.webhooks.incoming.store import CallbackStore, NotStored
from tests.background import context_of
from tests.databases import count_writes
from tests.machine import Together
from tests.webhooks.incoming.conftest import read_events

_LOCK = {"sqlite": "SELECT 1", "postgresql": "LOCK TABLE events IN EXCLUSIVE MODE"}


@pytest.fixture
def service(make_service, either_database):
    return make_service(DATABASE_URL=either_database)


@pytest.fixture
def ctx(service):
    return context_of(service)


@pytest.fixture
def make_intake(ctx):
    """A function that makes an intake that notes each commit it tells of."""

    def make(**more):
        intake = CallbackStore(ctx, on_stored=lambda: told.append(1), **more)
        intake.told = told
        return intake

    told = []
    return make


@contextmanager
def nobody_else_may_write(ctx):
    """As long as another process takes over some long transaction."""
    other = Database(ctx.db.engine.url.render_as_string(hide_password=False))
    try:
        with other.write() as tx:
            tx.execute(text(_LOCK[tx.dialect.name]))
            yield
    finally:
        other.close()


def wait_until(come, within_s=60):
    deadline = time.monotonic() + within_s
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_event_of_many_threads_is_kept_in_far_fewer_commits(service, ctx, make_intake):
    intake, commits = make_intake(), count_writes(ctx.db)
    raws = [f"event {number}".encode() for number in range(1000)]

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(intake.store, raws))

    assert sorted(read_events(service)) == sorted(raws)
    assert len(intake.told) == len(commits) < 500


def test_an_event_alone_waits_for_nobody(service, make_intake):
    intake = make_intake()

    intake.store(b"alone")

    assert read_events(service) == [b"alone"]
    assert len(intake.told) == 1


def test_who_hands_an_event_over_goes_on_only_behind_its_commit(service, ctx, make_intake):
    intake = make_intake()
    stored = []

    def store(number):
        intake.store(b"%d" % number)
        stored.append(read_events(service))

    with nobody_else_may_write(ctx):
        threads = [threading.Thread(target=store, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert stored == []
    for thread in threads:
        thread.join(60)

    assert len(stored) == 5
    assert all(len(seen) >= 1 for seen in stored)
    assert sorted(read_events(service)) == [b"0", b"1", b"2", b"3", b"4"]


def test_what_waits_while_a_commit_lasts_is_committed_together(service, ctx, make_intake):
    intake = make_intake()

    with nobody_else_may_write(ctx):
        threads = [threading.Thread(target=intake.store, args=(b"x",)) for _ in range(20)]
        for thread in threads:
            thread.start()
        commits = count_writes(ctx.db)
        time.sleep(1.0)
    for thread in threads:
        thread.join(60)

    assert len(read_events(service)) == 20
    assert len(commits) <= 2  # of the one that was waiting, and of all that came meanwhile


def test_when_a_commit_fails_nobody_of_it_is_told_that_it_is_kept(service, ctx, make_intake):
    intake = make_intake()
    intake.store(b"before")
    with ctx.db.write() as tx:
        tx.execute(text("ALTER TABLE events RENAME TO elsewhere"))

    def store():
        with pytest.raises(NotStored) as failed:
            intake.store(b"lost")
        assert failed.value.__cause__ is not None

    Together(*[store] * 10).join()
    with ctx.db.write() as tx:
        tx.execute(text("ALTER TABLE elsewhere RENAME TO events"))
    intake.store(b"behind")

    assert read_events(service) == [b"before", b"behind"]


class _Gates(Clock):
    """A clock that lets somebody look only while its gate is open."""

    def __init__(self):
        self.gates = [threading.Event(), threading.Event()]
        self.looks = 0

    def now(self):
        self.looks += 1
        self.gates[self.looks - 1].wait(10)
        return super().now()


def test_who_is_in_a_commit_that_does_not_end_does_not_wait_for_ever(ctx):
    clock = _Gates()
    intake = CallbackStore(replace(ctx, clock=clock), on_stored=lambda: None, within_s=2)
    refused = []

    def store(raw):
        try:
            intake.store(raw)
        except NotStored:
            refused.append(raw)

    threads = [threading.Thread(target=store, args=(raw,)) for raw in (b"1", b"2", b"3")]
    threads[0].start()
    wait_until(lambda: clock.looks == 1)
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.1)
    clock.gates[0].set()
    wait_until(lambda: len(refused) == 1)

    assert clock.looks == 2  # they share the commit that hangs
    clock.gates[1].set()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 1


def test_nobody_waits_for_longer_than_the_patience_of_a_sender(service, ctx, make_intake):
    intake = make_intake(within_s=0.3)
    outcomes = []

    def store(raw):
        began = time.monotonic()
        try:
            intake.store(raw)
            outcomes.append("kept")
        except NotStored:
            outcomes.append(time.monotonic() - began < 10)

    with nobody_else_may_write(ctx):
        threads = [threading.Thread(target=store, args=(b"%d" % n,)) for n in range(6)]
        threads[0].start()
        time.sleep(0.1)  # the first is in the middle of its commit
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: len(outcomes) == 5)
        assert outcomes == [True] * 5
    for thread in threads:
        thread.join(60)
    intake.store(b"behind")

    assert outcomes[5] == "kept"
    assert b"behind" in read_events(service)
