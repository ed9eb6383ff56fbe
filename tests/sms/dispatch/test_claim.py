"""PENDING to SENDING: who goes first, what holds back, and that nobody goes twice."""

import json
import threading
import time
from contextlib import suppress

import pytest

from app.errors import Conflict
from app.sms.broadcasts.control import cancel_broadcast, pause_broadcast, resume_broadcast
from app.sms.broadcasts.schedule import expire_overdue_broadcasts
from app.sms.dispatch.claim import Claim, claim_batch, claim_burst
from app.sms.dispatch.outcome import SubmitResult
from app.sms.dispatch.submit import submit_batch
from app.sms.lifecycle.finalize import finalize_stale
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import Attention, BatchState, BroadcastStatus, Category, Outcome
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.recovery.unknown_outcome import reconcile_batch
from app.worker.jobs import plan_next, sweep
from tests.factories import many_numbers
from tests.machine import Together, record_result
from tests.people import add_people

ANN, BOB = "+46701234567", "+46707654321"
_S = BatchState
_TAKEN = SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01JX0000000000000000000001")


def _public_id(machine, broadcast):
    return machine.broadcast(broadcast).public_id


def test_the_highest_priority_goes_first_then_the_oldest(either_machine):
    machine = either_machine
    old_low = machine.store([ANN, BOB], size=1, priority=3)
    old_high = machine.store([ANN], priority=8)
    new_high = machine.store([ANN, BOB], size=1, priority=8)
    new_low = machine.store([ANN], priority=3)

    order = [machine.claim().broadcast_id for _ in range(6)]

    assert order == [old_high, new_high, new_high, old_low, old_low, new_low]


def test_a_transactional_text_overtakes_marketing(machine):
    add_people(machine.ctx, many_numbers(3))
    machine.store(many_numbers(3), size=1, category=Category.MARKETING)
    machine.claim()
    urgent = machine.store([ANN])

    assert machine.claim().broadcast_id == urgent


def test_batches_of_a_broadcast_go_in_the_order_they_were_cut(machine):
    machine.store(many_numbers(5), size=1)

    claims = [machine.claim() for _ in range(5)]

    assert [json.loads(claim.body)["to"] for claim in claims] == [[n] for n in many_numbers(5)]


def test_the_first_claim_makes_a_broadcast_sending(machine):
    broadcast = machine.store([ANN])
    before = machine.broadcast(broadcast).status

    machine.claim()

    assert before is BroadcastStatus.QUEUED
    assert machine.broadcast(broadcast).status is BroadcastStatus.SENDING


def test_with_nothing_to_do_there_is_nothing_to_wait_for(machine):
    assert machine.idle().not_before is None


@pytest.mark.parametrize("stop", [pause_broadcast, cancel_broadcast])
def test_what_is_paused_or_cancelled_is_not_claimed(either_machine, stop):
    machine = either_machine
    broadcast = machine.store([ANN, BOB], size=1)
    machine.claim()

    stop(machine.ctx, _public_id(machine, broadcast), actor="ops")

    machine.idle()


def test_what_is_resumed_is_claimed_again(machine):
    broadcast = machine.store([ANN])
    pause_broadcast(machine.ctx, _public_id(machine, broadcast), actor="ops")
    resume_broadcast(machine.ctx, _public_id(machine, broadcast), actor="ops")

    assert machine.claim().broadcast_id == broadcast


def test_what_expires_within_a_second_is_not_worth_a_claim(either_machine, sandbox):
    machine = either_machine
    late = machine.store([ANN], expire_s=60)
    in_time = machine.store([BOB], expire_s=61)
    machine.clock.advance(59.5)

    claim = machine.claim()

    assert claim.broadcast_id == in_time
    assert machine.states(late) == [_S.EXPIRED]
    assert machine.broadcast(late).status is BroadcastStatus.EXPIRED
    assert machine.counts(late) == {"expired": 1}


def test_sinch_is_told_the_expiry_that_the_client_was_told(machine):
    broadcast = machine.store([ANN], expire_s=600)

    body = json.loads(machine.claim().body)

    expires_at = machine.broadcast(broadcast).expires_at
    assert body["expire_at"] == expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("state", ["paused", "missed_start", "held", "queued"])
def test_the_sweep_expires_what_nobody_claims(machine, state):
    broadcast = machine.store([ANN, BOB], size=1, expire_s=60)
    if state == "paused":
        pause_broadcast(machine.ctx, _public_id(machine, broadcast), actor="ops")
    elif state == "missed_start":
        machine.corrupt(Broadcast, status=BroadcastStatus.MISSED_START)
    elif state == "held":
        record_result(machine.ctx, machine.claim(), SubmitResult(outcome=Outcome.HELD))
    machine.clock.advance(60)

    expire_overdue_broadcasts(machine.ctx)

    assert machine.counts(broadcast) == {"expired": 2}
    assert machine.broadcast(broadcast).status is BroadcastStatus.EXPIRED


def test_what_is_in_doubt_does_not_expire(machine):
    broadcast = machine.store([ANN, BOB], size=1, expire_s=60)
    record_result(machine.ctx, machine.claim(), SubmitResult(outcome=Outcome.UNKNOWN))
    machine.clock.advance(60)

    expire_overdue_broadcasts(machine.ctx)

    assert machine.states(broadcast) == [_S.UNKNOWN, _S.EXPIRED]
    assert machine.broadcast(broadcast).completed_at is None


def test_a_burst_is_of_one_broadcast_and_as_long_as_asked_for(either_machine):
    machine = either_machine
    first = machine.store(many_numbers(3), size=1)
    machine.store([ANN])

    bursts = [claim_burst(machine.ctx, max_batches=2) for _ in range(3)]

    assert [[claim.broadcast_id for claim in burst] for burst in bursts] == [
        [first, first],
        [first],
        [first + 1],
    ]
    assert len({claim.batch_id for burst in bursts for claim in burst}) == 4


def test_claimers_at_once_get_different_batches(make_machine, either_database):
    machine = make_machine(either_database)
    machine.store(many_numbers(40), size=1)

    def claim_ten():
        found = []
        while len(found) < 10:
            claim = claim_batch(machine.ctx)
            if isinstance(claim, Claim):
                found.append(claim.batch_id)
        return found

    claimed = Together(*[claim_ten] * 4).join()

    ids = [batch_id for found in claimed for batch_id in found]
    assert len(ids) == len(set(ids)) == 40
    assert len(machine.attempts()) == 40


def test_a_claimer_passes_by_what_another_is_about_to_take(make_machine, postgres):
    """It does not wait for that transaction to end."""
    machine = make_machine(postgres.create_database())
    machine.store([ANN, BOB], size=1)
    first, second = machine.batches()
    with machine.ctx.db.write() as tx:
        tx.execute(Batch.__table__.select().where(Batch.id == first.id).with_for_update())

        assert machine.claim().batch_id == second.id


@pytest.mark.parametrize("stop", [pause_broadcast, cancel_broadcast])
def test_a_stop_that_is_committed_is_never_followed_by_a_claim(make_machine, either_database, stop):
    machine = make_machine(either_database)
    for _ in range(12):
        broadcast = machine.store(many_numbers(12), size=1)
        public_id = _public_id(machine, broadcast)
        stopped = threading.Event()
        late = []

        def claim(broadcast=broadcast, stopped=stopped, late=late):
            for _ in range(4):
                begun_after = stopped.is_set()
                found = claim_batch(machine.ctx, broadcast_id=broadcast)
                if begun_after and isinstance(found, Claim):
                    late.append(found)

        def halt(public_id=public_id, stopped=stopped):
            stop(machine.ctx, public_id, actor="ops")
            taken = [attempt.number for attempt in machine.attempts()]
            stopped.set()
            return len(taken)

        *_, at_the_stop = Together(claim, claim, claim, halt).join()

        assert late == []
        assert len(machine.attempts()) == at_the_stop
        machine.corrupt(
            Batch, Batch.state == _S.SENDING, state=_S.ACCEPTED, lease_until=None, sinch_id="x"
        )
        if stop is pause_broadcast:
            machine.corrupt(Batch, Batch.state == _S.PENDING, state=_S.CANCELLED)
        finalize_stale(machine.ctx)


@pytest.mark.slow
def test_everybody_at_once_makes_no_deadlock_and_the_books_balance(
    make_machine, either_database, capfd
):
    """Claims, results of every kind, cancels, pauses, decisions, plans, questions and sweeps."""
    machine = make_machine(either_database, lease_s=0.2, probe_every_s=0.1)
    broadcasts = [machine.store(many_numbers(12, start=100 * n), size=1) for n in range(4)]
    deadline = time.monotonic() + 50
    ends = {_S.ACCEPTED, _S.REJECTED, _S.CANCELLED}
    claims: list[Claim] = []
    enough = threading.Event()
    numbers = iter(range(10**9))
    results = [
        _TAKEN,
        SubmitResult(outcome=Outcome.NOT_SENT),
        SubmitResult(outcome=Outcome.HELD),
        SubmitResult(outcome=Outcome.UNKNOWN),
        SubmitResult(outcome=Outcome.REJECTED),
        _TAKEN,
    ]

    def again(step):
        def run():
            while not enough.is_set() and time.monotonic() < deadline:
                step()

        return run

    def work():
        found = claim_batch(machine.ctx)
        if isinstance(found, Claim):
            claims.append(found)
            record_result(machine.ctx, found, results[next(numbers) % len(results)])
        else:
            machine.clock.advance(1)

    def steer():
        broadcast = broadcasts[-1 - next(numbers) % 4]
        step = (pause_broadcast, resume_broadcast, resume_broadcast)[next(numbers) % 3]
        with suppress(Conflict):
            step(machine.ctx, _public_id(machine, broadcast), actor="ops")
            if next(numbers) % 20 == 0:
                cancel_broadcast(machine.ctx, _public_id(machine, broadcast), actor="ops")

    def decide():
        batches = machine.batches()
        if len(claims) >= 60 and ends <= {batch.state for batch in batches}:
            enough.set()
        for batch in batches:
            if batch.state is _S.UNKNOWN:
                reconcile_batch(machine.ctx, batch.id, within_s=1)
            elif batch.state is _S.NEEDS_ATTENTION:
                reference = batch.client_reference
                with suppress(Conflict):
                    resolve_batch(machine.ctx, reference, Decision.RESEND, actor="ops", note="")

    def plan():
        number = next(numbers)
        recipients = many_numbers(6, start=10 * number % 9_000_000)
        broadcasts.append(machine.store(recipients, size=1, plan=False))
        while plan_next(machine.ctx):
            time.sleep(0.05)

    Together(
        *[again(work)] * 3,
        again(steer),
        again(decide),
        again(plan),
        again(lambda: sweep(machine.ctx)),
    ).join()

    assert "deadlock" not in capfd.readouterr().err  # a sweep goes on behind an error
    assert machine.violations() == []
    assert ends <= set(machine.states())
    assert len(machine.attempts()) >= 60


def test_an_attempt_that_was_not_proven_unsent_is_never_followed_by_another(machine, sandbox):
    """However often it is swept."""
    machine.store(many_numbers(5), size=1)
    sandbox.order_fault(on="POST /batches", when="after", do="cut", times=None)
    machine.submit_all()
    machine.corrupt(Batch, Batch.id == 1, state=_S.NEEDS_ATTENTION, attention=Attention.ABSENT)

    for _ in range(20):
        machine.clock.advance(15)
        sweep(machine.ctx)
        machine.submit_all()

    assert sandbox.posts() == 5
    assert [attempt.number for attempt in machine.attempts()] == [1] * 5
    assert sorted(sandbox.recipients()) == many_numbers(5)


def test_two_workers_have_names_of_their_own_in_the_ledger(machine, sandbox):
    machine.store([ANN, BOB], size=1)

    submit_batch(machine.ctx, machine.worker("one").claim())
    submit_batch(machine.ctx, machine.worker("two").claim())

    assert [attempt.worker for attempt in machine.attempts()] == ["one", "two"]
