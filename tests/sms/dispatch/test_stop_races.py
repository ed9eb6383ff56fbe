"""STOPs and claims at the same moment: whichever commit comes first, the number is not sent to.

What a commit saw is told by its place among all commits, taken while its locks are held.
"""

import itertools
import json
import random
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import event

from app.clock import Clock
from app.sms.broadcasts.store import accept_broadcast
from app.sms.dispatch.claim import Idle, claim_burst
from app.sms.request.model import BroadcastRequest
from app.subscribers.models import Cause
from app.webhooks.incoming.store import CallbackStore
from tests.conftest import examples
from tests.databases import is_write
from tests.factories import many_numbers
from tests.machine import Together
from tests.people import suppress
from tests.reporting import inbound

# Claims by three and STOPs by three, dozens of each at once.
ROUNDS = examples(2)
PEOPLE = 60
_CLAIMED = "SELECT m.recipient FROM messages m JOIN attempts a ON a.batch_id = m.batch_id"


class Commits:
    """Numbers the commits of writes, each while its transaction still holds its locks."""

    def __init__(self, engine):
        self._count = itertools.count(1)
        self._own = threading.local()
        # With the number of the commit of its claim, if each commit is to look.
        self.claimed = None
        event.listen(engine, "commit", self._note)

    def _note(self, connection):
        if not is_write(connection):
            return
        self._own.last = next(self._count)
        if self.claimed is not None:
            for (number,) in connection.exec_driver_sql(_CLAIMED):
                self.claimed.setdefault(number, self._own.last)

    @property
    def last(self):
        """The number of this thread's last commit."""
        return self._own.last

    def now(self):
        """A number behind that of every commit so far."""
        return next(self._count)


class Race:
    """Three claim while three stop; `stopped` and `claimed` are by number of the commit."""

    def __init__(self, ctx, numbers, seed):
        self._ctx = ctx
        self._commits = Commits(ctx.db.engine)
        self._intake = CallbackStore(ctx, on_stored=lambda: None)
        self._seed = seed
        self.stopped, self.claimed = {}, {}
        dice = random.Random(seed)
        order = dice.sample(numbers, len(numbers))
        self._stoppers = [
            (self._text_stop, order[0::3]),
            (self._text_stop, order[1::3]),
            (self._suppress, order[2::3]),
        ]

    def run(self):
        self._race([self._make_claimer(place) for place in range(3)])

    def run_single_sends(self, numbers):
        """The same beside requests of one text to one of the numbers each, by eight threads."""
        self._commits.claimed = self.claimed
        self._race([self._make_sender(numbers[place::8]) for place in range(8)])

    def _race(self, senders):
        stops = [self._make_stopper(place) for place in range(len(self._stoppers))]
        Together(*stops, *senders).join()
        event.remove(self._ctx.db.engine, "commit", self._commits._note)

    def _make_stopper(self, place):
        stop, numbers = self._stoppers[place]
        dice = random.Random(self._seed + place)

        def stop_all():
            for number in numbers:
                time.sleep(dice.choice((0, 0, 0.001, 0.01)))
                self.stopped[number] = stop(number)

        return stop_all

    def _text_stop(self, number):
        # Others may commit it: that was before it is answered.
        self._intake.store(inbound(number, "STOP", name=f"IN{number[1:]}"))
        return self._commits.now()

    def _suppress(self, number):
        people = self._ctx.subscriber_context
        with self._ctx.db.write() as tx:
            suppress(tx, people, number, cause=Cause.MANUAL, actor="op", at=people.now())
        return self._commits.last

    def _make_claimer(self, place):
        ctx = replace(self._ctx, worker=f"claimer{place}")
        dice = random.Random(self._seed + 10 + place)

        def claim_all():
            while True:
                found = claim_burst(ctx, max_batches=dice.choice((1, 1, 3)))
                if not isinstance(found, Idle):
                    at = self._commits.last
                    sent_to = [number for claim in found for number in json.loads(claim.body)["to"]]
                    self.claimed |= dict.fromkeys(sent_to, at)
                elif self._is_done():
                    return
                elif not found.again:
                    time.sleep(0.005)

        return claim_all

    def _make_sender(self, numbers):
        def send_all():
            for number in numbers:
                request = BroadcastRequest(recipients=[number], text="Hello")
                accept_broadcast(self._ctx, request, client="tests")

        return send_all

    def _is_done(self):
        """Nothing waits any more; Idle may also mean that others were quicker."""
        with self._ctx.db.read() as tx:
            return not tx.exec_driver_sql("SELECT 1 FROM batches WHERE state = 'pending'").first()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_nobody_stopped_is_in_a_claim_that_is_committed_later(either_machine, round_):
    machine = replace(either_machine, ctx=replace(either_machine.ctx, clock=Clock()))
    numbers = many_numbers(PEOPLE)
    broadcast = machine.store(numbers, size=2)

    race = Race(machine.ctx, numbers, seed=round_)
    race.run()

    late = {n: (race.stopped[n], at) for n, at in race.claimed.items() if race.stopped[n] < at}
    assert late == {}
    assert len(race.claimed) > PEOPLE / 10
    assert len(race.claimed) < PEOPLE
    counts = machine.counts(broadcast)
    assert counts["suppressed"] == PEOPLE - len(race.claimed)
    assert machine.violations() == []


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_nobody_stopped_is_in_a_single_send_that_is_committed_later(either_machine, round_):
    ctx = replace(either_machine.ctx, clock=Clock())
    numbers = many_numbers(PEOPLE)

    race = Race(ctx, numbers, seed=round_)
    race.run_single_sends(numbers)

    late = {n: (race.stopped[n], at) for n, at in race.claimed.items() if race.stopped[n] < at}
    assert late == {}
    assert 0 < len(race.claimed) < PEOPLE
    assert replace(either_machine, ctx=ctx).violations() == []
