"""What holds all sending back: the busy gate, the circuit, the pace."""

import threading
import time
from dataclasses import replace

import pytest

from app.clock import Clock
from app.sms.broadcasts.control import pause_broadcast, resume_broadcast
from app.sms.dispatch.burst import submit_next
from app.sms.dispatch.circuit_breaker import close_circuit_by_hand, probe_circuit
from app.sms.dispatch.claim import Claim, claim_batch
from app.sms.dispatch.outcome import SubmitResult
from app.sms.dispatch.submit import expire_leases
from app.sms.lifecycle.gates import close_busy
from app.sms.models.states import BatchState, Category, Outcome
from tests.factories import many_numbers
from tests.machine import Together, record_result
from tests.people import add_people

ANN, BOB = "+46701234567", "+46707654321"
_S = BatchState
_BUSY = SubmitResult(outcome=Outcome.NOT_SENT)
_REFUSED = SubmitResult(outcome=Outcome.HELD)
_TAKEN = SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01JX0000000000000000000001")
_UNKNOWN = SubmitResult(outcome=Outcome.UNKNOWN)


def _wished(seconds):
    return SubmitResult(outcome=Outcome.NOT_SENT, retry_after_s=seconds)


def _wait_s(machine):
    """How long nothing may be claimed from now."""
    until = machine.gates().find_obstacle(machine.ctx.now())
    return 0 if until is None else (until - machine.ctx.now()).total_seconds()


def test_sinchs_wish_is_honoured_to_the_second(either_machine, sandbox):
    machine = either_machine
    machine.store([ANN])
    sandbox.order_fault(on="POST /batches", status=429, headers={"Retry-After": "120"})

    machine.submit()

    assert _wait_s(machine) == 120
    machine.clock.advance(119.9)
    machine.idle()
    machine.clock.advance(0.1)
    machine.submit()
    assert sandbox.recipients() == [ANN]
    assert sandbox.posts() == 2


@pytest.mark.parametrize(("wish", "wait_s"), [("0", 1), ("900", 900), ("86400", 900)])
def test_a_wish_is_at_least_a_second_and_at_most_fifteen_minutes(
    make_machine, database_url, sandbox, wish, wait_s
):
    machine = make_machine(database_url)
    machine.store([ANN])
    sandbox.order_fault(on="POST /batches", status=429, headers={"Retry-After": wish})

    machine.submit()

    assert _wait_s(machine) == wait_s


def test_whoever_hands_on_the_wish_the_gate_has_a_bound_of_its_own(machine):
    machine.store([ANN])

    record_result(machine.ctx, machine.claim(), _wished(86_400))

    assert _wait_s(machine) == 900


def test_without_a_wish_the_ceiling_doubles_up_to_a_minute(machine):
    machine.store([ANN])
    waits = []

    for _ in range(8):
        record_result(machine.ctx, machine.claim(), _BUSY)
        waits.append(_wait_s(machine))
        machine.clock.advance(waits[-1])

    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_the_wait_is_drawn_from_one_second_up_to_the_ceiling(machine):
    drawn = []
    ctx = replace(machine.ctx, jitter=lambda low, high: drawn.append((low, high)) or low)
    machine.store([ANN])

    for _ in range(3):
        record_result(ctx, machine.claim(), _BUSY)
        machine.clock.advance(1)

    assert drawn == [(1, 2), (1, 4), (1, 8)]


def test_a_batch_that_is_taken_makes_the_waits_begin_anew(machine, sandbox):
    machine.store([ANN, BOB], size=1)
    for _ in range(4):
        record_result(machine.ctx, machine.claim(), _BUSY)
        machine.clock.advance(60)

    machine.submit()
    record_result(machine.ctx, machine.claim(), _BUSY)

    assert _wait_s(machine) == 2


def test_one_gate_holds_every_worker_and_every_broadcast(machine):
    machine.store([ANN])
    machine.store([BOB], priority=9)

    record_result(machine.ctx, machine.claim(), _wished(30))

    assert machine.worker("another").idle().not_before == machine.ctx.seconds_from_now(30)


def test_many_refused_at_once_count_as_one(machine):
    """Ten in flight say the same thing: the wait must not be that of the tenth in a row."""
    machine.store(many_numbers(10), size=1)
    claims = [machine.claim() for _ in range(10)]

    for claim in claims:
        record_result(machine.ctx, claim, _BUSY)

    assert _wait_s(machine) == 2


def test_a_failure_in_flight_does_not_shorten_what_sinch_wished(machine):
    machine.store([ANN, BOB], size=1)
    first, second = machine.claim(), machine.claim()
    record_result(machine.ctx, first, _wished(300))

    record_result(machine.ctx, second, _BUSY)

    assert _wait_s(machine) == 300


def test_a_batch_in_flight_that_is_taken_does_not_shorten_what_sinch_wished(machine):
    machine.store(many_numbers(3), size=1)
    record_result(machine.ctx, machine.claim(), _wished(1))
    machine.clock.advance(1)
    first, second = machine.claim(), machine.claim()
    record_result(machine.ctx, first, _wished(300))

    record_result(machine.ctx, second, _TAKEN)

    assert _wait_s(machine) == 300


def test_a_longer_wish_replaces_a_shorter_one(machine):
    machine.store([ANN, BOB], size=1)
    first, second = machine.claim(), machine.claim()
    record_result(machine.ctx, first, _wished(10))

    record_result(machine.ctx, second, _wished(20))

    assert _wait_s(machine) == 20


def test_a_clock_set_back_far_opens_the_gate(machine, sandbox):
    machine.store([ANN])
    record_result(machine.ctx, machine.claim(), _wished(60))

    machine.clock.set_back(3600)

    machine.submit()
    assert sandbox.recipients() == [ANN]


def test_a_clock_set_back_a_little_holds_it_for_no_more_than_that_longer(machine):
    machine.store([ANN])
    record_result(machine.ctx, machine.claim(), _wished(60))

    machine.clock.set_back(120)

    assert _wait_s(machine) == 180


def test_while_sinch_is_busy_nobody_asks_the_database_in_a_loop(machine):
    """Whoever finds nothing is told when to come back, and by then it may go."""
    machine.store([ANN])
    record_result(machine.ctx, machine.claim(), _wished(5))

    until = submit_next(machine.ctx)

    assert until == machine.ctx.seconds_from_now(5)


def test_a_storm_of_429_costs_sinch_a_handful_of_posts(machine, sandbox):
    machine.store([ANN])
    sandbox.order_fault(on="POST /batches", status=429, times=None)
    started = machine.ctx.now()

    while (machine.ctx.now() - started).total_seconds() < 600:
        found = submit_next(machine.ctx)
        if found is not True:
            machine.clock.advance((found - machine.ctx.now()).total_seconds())

    assert 10 <= sandbox.posts() <= 20
    assert machine.states() == [_S.PENDING]


def test_two_verdicts_at_once_are_both_counted(make_machine, postgres):
    machine = make_machine(postgres.create_database())

    def close(retry_after_s):
        with machine.ctx.db.write() as tx:
            close_busy(
                tx,
                machine.ctx.rules,
                now=machine.ctx.now(),
                retry_after_s=retry_after_s,
                jitter=machine.ctx.jitter,
            )

    for _ in range(20):
        machine.clock.advance(1000)
        Together(lambda: close(600), lambda: close(None), lambda: close(5)).join()

        assert _wait_s(machine) == 600


def test_one_refusal_stops_everybody(machine, sandbox):
    machine.store([ANN])
    machine.store([BOB], priority=9)
    sandbox.set(token="another")

    machine.submit()

    assert machine.worker("another").idle().not_before == machine.ctx.seconds_from_now(60)
    assert machine.gates().circuit["status"] == 401
    assert sandbox.posts() == 1


def test_an_open_circuit_survives_a_restart(machine, make_machine, database_url):
    machine.store([ANN, BOB], size=1)
    record_result(machine.ctx, machine.claim(), _REFUSED)

    make_machine(database_url).idle()


def test_those_in_flight_when_it_opened_do_not_make_the_next_probe_later(machine):
    machine.store(many_numbers(4), size=1)
    claims = [machine.claim() for _ in range(4)]
    record_result(machine.ctx, claims[0], _REFUSED)
    first_probe = machine.gates().probe_at

    machine.clock.advance(5)
    for claim in claims[1:]:
        record_result(machine.ctx, claim, _REFUSED)

    assert machine.gates().probe_at == first_probe
    assert machine.gates().circuit_count == 1
    assert machine.states() == [_S.HELD] * 4


def test_one_in_flight_that_is_taken_does_not_close_it(machine):
    """It may have been on its way before the account was blocked."""
    machine.store(many_numbers(3), size=1)
    first, second = machine.claim(), machine.claim()
    record_result(machine.ctx, first, _REFUSED)

    record_result(machine.ctx, second, _TAKEN)

    machine.idle()


def _opened(machine, recipients=3):
    """A broadcast one of whose batches was just refused; its id."""
    broadcast = machine.store(many_numbers(recipients), size=1)
    record_result(machine.ctx, machine.claim(), _REFUSED)
    return broadcast


def test_it_is_probed_at_its_time_and_not_before(machine, sandbox):
    _opened(machine)
    machine.clock.advance(machine.ctx.rules.probe_every_s - 0.1)
    probe_circuit(machine.ctx)
    before = len(sandbox.requests())
    machine.clock.advance(0.1)

    assert probe_circuit(machine.ctx)

    assert before == 0
    assert [batch["operation"] for batch in sandbox.requests()] == ["GET /batches"]


def test_a_red_probe_leaves_it_open(machine, sandbox):
    _opened(machine)
    sandbox.set(token="another")
    machine.clock.advance(machine.ctx.rules.probe_every_s)

    assert not probe_circuit(machine.ctx)

    machine.idle()
    assert machine.gates().probe_at == machine.ctx.seconds_from_now(machine.ctx.rules.probe_every_s)


def _half_opened(machine):
    """A broadcast under a circuit that lets one batch try; its id."""
    broadcast = _opened(machine)
    machine.clock.advance(machine.ctx.rules.probe_every_s)
    assert probe_circuit(machine.ctx)
    return broadcast


def test_behind_a_green_probe_one_batch_tries_alone(machine, sandbox):
    _half_opened(machine)

    trial = machine.claim()

    assert trial.on_trial
    machine.idle()
    assert machine.gates().trial == trial.batch_id


def test_a_trial_that_is_taken_closes_it_and_lets_go_all_that_was_held(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store(many_numbers(6), size=1)
    for claim in [machine.claim() for _ in range(4)]:
        record_result(machine.ctx, claim, _REFUSED)
    machine.clock.advance(machine.ctx.rules.probe_every_s)
    probe_circuit(machine.ctx)

    machine.submit_all()

    assert machine.gates().circuit is None
    assert machine.states() == [_S.ACCEPTED] * 6
    assert machine.counts(broadcast) == {"submitted": 6}
    assert sorted(sandbox.recipients()) == many_numbers(6)


def test_a_trial_whose_payload_is_refused_closes_it_too(machine):
    """Sinch has looked at the payload: it takes our calls."""
    _half_opened(machine)

    record_result(machine.ctx, machine.claim(), SubmitResult(outcome=Outcome.REJECTED))

    assert machine.gates().circuit is None


def test_each_trial_refused_makes_the_next_probe_later_up_to_fifteen_minutes(machine, sandbox):
    _opened(machine)
    waits = []

    for _ in range(7):
        waits.append((machine.gates().probe_at - machine.ctx.now()).total_seconds())
        machine.clock.advance(waits[-1])
        assert probe_circuit(machine.ctx)
        record_result(machine.ctx, machine.claim(), _REFUSED)

    assert waits == [30, 60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize("result", [_BUSY, _UNKNOWN], ids=["busy", "unknown"])
def test_a_trial_without_a_word_lets_another_try(machine, result):
    _half_opened(machine)
    record_result(machine.ctx, machine.claim(), result)
    machine.clock.advance(2)

    assert machine.claim().on_trial


def test_a_trial_whose_worker_died_is_freed_with_its_lease(either_machine):
    machine = either_machine
    _half_opened(machine)
    lost = machine.claim()
    machine.clock.advance(machine.ctx.rules.lease_s)
    expire_leases(machine.ctx)
    machine.idle()

    probe_circuit(machine.ctx)

    again = machine.claim()
    assert again.on_trial
    assert again.batch_id != lost.batch_id


def test_a_trial_that_was_given_up_does_not_end_the_one_that_followed(machine):
    _half_opened(machine)
    lost = machine.claim()
    machine.clock.advance(machine.ctx.rules.lease_s)
    expire_leases(machine.ctx)
    probe_circuit(machine.ctx)
    machine.claim()

    record_result(machine.ctx, lost, _UNKNOWN)

    machine.idle()


@pytest.mark.parametrize("result", [_BUSY, _UNKNOWN], ids=["busy", "unknown"])
def test_a_trial_does_not_open_what_an_operator_has_closed_meanwhile(machine, result):
    _half_opened(machine)
    trial = machine.claim()
    close_circuit_by_hand(machine.ctx, actor="ops")

    record_result(machine.ctx, trial, result)

    assert machine.gates().circuit is None


def test_a_trial_refused_after_an_operator_closed_it_opens_it_again(machine):
    _half_opened(machine)
    trial = machine.claim()
    close_circuit_by_hand(machine.ctx, actor="ops")

    record_result(machine.ctx, trial, _REFUSED)

    machine.idle()


def test_when_all_is_held_and_the_trial_ends_in_doubt_the_next_one_tries(either_machine):
    machine = either_machine
    machine.store([ANN, BOB], size=1)
    for claim in (machine.claim(), machine.claim()):
        record_result(machine.ctx, claim, _REFUSED)
    machine.clock.advance(machine.ctx.rules.probe_every_s)
    probe_circuit(machine.ctx)
    record_result(machine.ctx, machine.claim(), _UNKNOWN)

    probe_circuit(machine.ctx)

    assert machine.claim().on_trial


def test_the_one_to_try_is_of_a_broadcast_that_may_be_sent(machine):
    paused = machine.store([ANN])
    active = machine.store([BOB])
    for claim in (machine.claim(), machine.claim()):
        record_result(machine.ctx, claim, _REFUSED)
    pause_broadcast(machine.ctx, machine.broadcast(paused).public_id, actor="ops")
    machine.clock.advance(machine.ctx.rules.probe_every_s)

    probe_circuit(machine.ctx)

    assert machine.claim().broadcast_id == active


def test_a_broadcast_paused_just_before_its_trial_does_not_keep_the_circuit_open(machine):
    first = machine.store([ANN])
    second = machine.store([BOB])
    for claim in (machine.claim(), machine.claim()):
        record_result(machine.ctx, claim, _REFUSED)
    machine.clock.advance(machine.ctx.rules.probe_every_s)
    probe_circuit(machine.ctx)
    pause_broadcast(machine.ctx, machine.broadcast(first).public_id, actor="ops")

    probe_circuit(machine.ctx)

    assert machine.claim().broadcast_id == second


def test_an_operator_closes_it_at_once_and_the_books_say_who(machine, sandbox):
    _opened(machine)

    assert close_circuit_by_hand(machine.ctx, actor="ops")

    machine.submit_all()
    assert machine.states() == [_S.ACCEPTED] * 3
    assert [(entry.actor, entry.action, entry.subject) for entry in machine.audit()] == [
        ("ops", "close", "circuit")
    ]
    assert not close_circuit_by_hand(machine.ctx, actor="ops")


def test_what_was_held_waits_with_a_paused_broadcast(machine, sandbox):
    broadcast = _opened(machine)
    public_id = machine.broadcast(broadcast).public_id
    pause_broadcast(machine.ctx, public_id, actor="ops")
    close_circuit_by_hand(machine.ctx, actor="ops")

    machine.submit_all()
    assert sandbox.posts() == 0
    resume_broadcast(machine.ctx, public_id, actor="ops")
    machine.submit_all()

    assert sorted(sandbox.recipients()) == many_numbers(3)


def test_a_clock_set_back_does_not_put_the_probe_off_for_as_long(machine):
    _opened(machine)

    machine.clock.set_back(86_400)

    assert probe_circuit(machine.ctx)


def test_only_one_of_many_workers_gets_the_trial(make_machine, postgres):
    machine = make_machine(postgres.create_database())
    machine.store(many_numbers(60), size=1)
    record_result(machine.ctx, machine.claim(), _REFUSED)

    for _ in range(10):
        machine.clock.advance(900)
        assert probe_circuit(machine.ctx)
        found = Together(*[lambda: claim_batch(machine.ctx)] * 4).join()

        (trial,) = [claim for claim in found if isinstance(claim, Claim)]
        record_result(machine.ctx, trial, _REFUSED)


def test_what_is_refused_while_a_trial_closes_the_circuit_is_not_left_behind(
    make_machine, postgres
):
    """Either the trial sees it held and lets it go, or it opens the circuit again."""
    machine = make_machine(postgres.create_database())
    machine.store(many_numbers(60), size=1)
    for _ in range(6):
        late = machine.claim()
        record_result(machine.ctx, machine.claim(), _REFUSED)
        machine.clock.advance(900)
        probe_circuit(machine.ctx)
        trial = machine.claim()

        Together(
            lambda trial=trial: record_result(machine.ctx, trial, _TAKEN),
            lambda late=late: record_result(machine.ctx, late, _REFUSED),
        ).join()

        assert _S.HELD not in machine.states() or machine.gates().circuit is not None
        close_circuit_by_hand(machine.ctx, actor="ops")


def _drain(machine, seconds, *, step_s=0.05):
    """Claim whatever may be, for so long; parts claimed and when, in seconds from the start."""
    started = machine.ctx.now()
    claimed = []
    while (elapsed_s := (machine.ctx.now() - started).total_seconds()) < seconds:
        while isinstance(found := claim_batch(machine.ctx), Claim):
            parts = machine.broadcast(found.broadcast_id).parts * found.size
            claimed.append((elapsed_s, parts, found.broadcast_id))
            record_result(machine.ctx, found, _TAKEN)
        machine.clock.advance(step_s)
    return claimed


@pytest.mark.parametrize("text", ["Short", "x" * 400], ids=["one part", "three parts"])
def test_at_no_time_more_than_the_rate_and_the_allowance_was_claimed(
    make_machine, database_url, text
):
    machine = make_machine(database_url, messages_per_second=20.0, pace_ahead_s=2.0)
    machine.store(many_numbers(600), text=text)

    claimed = _drain(machine, 20)

    total = 0
    for elapsed_s, parts, _ in claimed:
        total += parts
        assert total <= 20 * (elapsed_s + 2 * 2.0)
    assert total >= 20 * 19  # nor much less


def test_without_a_rate_nothing_waits(machine):
    machine.store(many_numbers(30), size=1)

    assert len(_drain(machine, 0.01, step_s=1)) == 30


def test_only_a_few_seconds_of_traffic_are_ever_in_sinchs_queue(make_machine, database_url):
    machine = make_machine(database_url, messages_per_second=10.0)
    machine.store(many_numbers(300))

    for _ in range(50):
        while isinstance(found := claim_batch(machine.ctx), Claim):
            record_result(machine.ctx, found, _TAKEN)
        ahead = machine.gates().free_at - machine.ctx.now()
        assert ahead.total_seconds() <= 2 * machine.ctx.rules.pace_ahead_s
        machine.clock.advance(0.3)


@pytest.mark.slow
def test_a_transactional_text_overtakes_a_running_campaign_within_seconds(
    make_machine, database_url
):
    machine = make_machine(database_url, messages_per_second=10.0)
    add_people(machine.ctx, many_numbers(900))
    machine.store(many_numbers(900), category=Category.MARKETING)
    _drain(machine, 10)
    urgent = machine.store([ANN])

    after = _drain(machine, 4)

    assert after[0][2] == urgent
    assert after[0][0] <= 2.1


@pytest.mark.slow
def test_a_paused_campaign_stops_with_what_is_in_the_queue(make_machine, database_url):
    machine = make_machine(database_url, messages_per_second=10.0)
    campaign = machine.store(many_numbers(500))
    _drain(machine, 5)
    ahead = machine.gates().free_at - machine.ctx.now()

    pause_broadcast(machine.ctx, machine.broadcast(campaign).public_id, actor="ops")

    assert _drain(machine, 30) == []
    assert ahead.total_seconds() <= 4


def test_after_a_quiet_time_no_more_than_the_allowance_goes_at_once(make_machine, database_url):
    machine = make_machine(database_url, messages_per_second=10.0)
    machine.store(many_numbers(20))
    _drain(machine, 10)
    machine.clock.advance(86_400)
    machine.store(many_numbers(300, start=1000))

    parts = sum(parts for _, parts, _ in _drain(machine, 0.01))

    assert parts <= 10 * 2 * 2


def test_a_batch_greater_than_the_allowance_is_paid_for_before_the_next(make_machine, database_url):
    """Cut before there was a rate, or under a higher one."""
    machine = make_machine(database_url)
    machine.store(many_numbers(1000), text="x" * 400)
    machine.store([ANN], text="Short")
    paced = machine.with_rules(messages_per_second=10.0)
    record_result(paced.ctx, paced.claim(), _TAKEN)

    paced.clock.advance(100)

    assert paced.idle().not_before == paced.ctx.seconds_from_now(300 - 100 - 2)


def test_a_clock_set_back_does_not_stall_the_pace(make_machine, database_url):
    machine = make_machine(database_url, messages_per_second=10.0)
    machine.store(many_numbers(400))
    _drain(machine, 2)

    machine.clock.set_back(1800)

    assert _drain(machine, 1) != []


def test_a_clock_set_forth_gives_no_more_than_the_allowance(make_machine, database_url):
    machine = make_machine(database_url, messages_per_second=10.0)
    machine.store(many_numbers(400))
    _drain(machine, 2)

    machine.clock.advance(7200)

    assert sum(parts for _, parts, _ in _drain(machine, 0.01)) <= 40


@pytest.mark.slow
def test_several_workers_share_one_pace(make_machine, either_database):
    """Real time, several connections: the bucket is in the database, not in the process."""
    rate, workers, seconds = 40.0, 4, 2.0
    base = make_machine(either_database, messages_per_second=rate, pace_ahead_s=0.5)
    others = [make_machine(either_database) for _ in range(workers - 1)]
    base.store(many_numbers(600))
    contexts = [
        replace(machine.ctx, rules=base.ctx.rules, clock=Clock()) for machine in (base, *others)
    ]
    claimed, lock, end = [], threading.Lock(), time.monotonic() + seconds

    def work(ctx):
        while time.monotonic() < end:
            found = claim_batch(ctx)
            if isinstance(found, Claim):
                with lock:
                    claimed.append(found.size)
                record_result(ctx, found, _TAKEN)
            else:
                time.sleep(0.02)

    started = time.monotonic()
    Together(*(lambda ctx=ctx: work(ctx) for ctx in contexts)).join()
    elapsed_s = time.monotonic() - started

    assert sum(claimed) <= rate * (elapsed_s + 2 * 0.5) + 1
    assert sum(claimed) >= rate * seconds / 2
