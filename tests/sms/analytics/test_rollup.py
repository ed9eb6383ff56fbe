"""The sums by day follow what becomes of messages, whatever comes between."""

import itertools
import random
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, text

from app.clock import Clock
from app.failpoints import failpoints
from app.sms.analytics.rollup import SELECT_DIRTY, roll_up_batches
from app.sms.dispatch.outcome import SubmitResult
from app.sms.lifecycle.latency import latency_bucket
from app.sms.models.batch import Batch, Message
from app.sms.models.daily import DailyCount
from app.sms.models.reports import Inbound
from app.sms.models.states import BatchState, Outcome
from app.worker.jobs import roll_up
from app.worker.threads import BackgroundThreads
from tests.factories import many_numbers
from tests.machine import Together, record_result
from tests.reporting import inbound, read_all, report, tell
from tests.rollups import (
    daily_counts,
    daily_delays,
    daily_inbounds,
    miscounts,
    roll_up_now,
    wait_for_noon,
)

ANN, BOB, CLO = "+46701234567", "+46707654321", "+12025550123"
_DAY = timedelta(days=1)


def _accepted(machine, recipients=(ANN,), *, name="01SINCHBATCH", **how):
    """The batch, taken by Sinch under this id, of a new broadcast."""
    broadcast = machine.store(recipients, **how)
    claim = machine.claim(broadcast_id=broadcast)
    record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=name))
    return machine.batch(claim.batch_id)


def _at(machine, seconds):
    return (machine.ctx.now() + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def _today(machine):
    return machine.ctx.now().date()


@pytest.fixture
def strike_at():
    """A function that has something happen, by default an error, at the next pass of a place."""

    def arm(place, act=lambda: 1 / 0):
        failpoints.arm(place, act=act)

    yield arm
    failpoints.arm(None)


def test_messages_are_counted_by_day_country_status_and_code(either_machine):
    machine = either_machine
    wait_for_noon(machine)
    _accepted(machine, [ANN, BOB, CLO], text="é" * 200)
    today = _today(machine)
    tell(machine.ctx, report(ANN, "Delivered", at=_at(machine, 7)), report(CLO, "Failed", 153))

    roll_up_now(machine)

    assert daily_counts(machine.ctx) == {
        (today, "SE", "delivered", 0): 1,
        (today, "SE", "submitted", -1): 1,
        (today, "US", "failed", 153): 1,
    }
    assert daily_delays(machine.ctx) == {(today, "SE", latency_bucket(7)): 1}
    assert [row.parts for row in read_all(machine.ctx, DailyCount)] == [2, 2, 2]
    assert miscounts(machine.ctx) == []
    assert not machine.batch().rollup_dirty


def test_day_and_wait_are_those_from_sinch_s_taking_it(machine):
    wait_for_noon(machine)
    broadcast = machine.store([ANN], expire_s=3 * _DAY.total_seconds())
    machine.clock.advance(_DAY.total_seconds())
    claim = machine.claim(broadcast_id=broadcast)
    record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01LATE"))
    tell(machine.ctx, report(ANN, "Delivered", batch="01LATE", at=_at(machine, 40)))

    roll_up_now(machine)

    assert daily_delays(machine.ctx) == {(_today(machine), "SE", latency_bucket(40)): 1}


def test_a_delivery_without_sinch_s_time_took_until_we_heard_of_it(machine):
    wait_for_noon(machine)
    _accepted(machine)
    machine.clock.advance(100)
    tell(machine.ctx, report(ANN, "Delivered", at=None))

    roll_up_now(machine)

    assert daily_delays(machine.ctx) == {(_today(machine), "SE", latency_bucket(100)): 1}


@pytest.mark.parametrize(
    "state", [each for each in BatchState if each not in ("accepted", "duplicate")]
)
def test_what_sinch_did_not_take_is_not_counted(machine, state):
    machine.store([ANN])
    machine.corrupt(Batch, state=state, rollup_dirty=True)

    roll_up_now(machine)

    assert daily_counts(machine.ctx) == {}
    machine.corrupt(Batch, state=BatchState.PENDING)


def test_a_report_moves_a_message_in_the_sums(either_machine):
    machine = either_machine
    wait_for_noon(machine)
    _accepted(machine, [ANN, BOB])
    roll_up_now(machine)
    today = _today(machine)
    assert daily_counts(machine.ctx) == {(today, "SE", "submitted", -1): 2}

    tell(machine.ctx, report(BOB, "Expired", 406))
    roll_up_now(machine)

    assert daily_counts(machine.ctx) == {
        (today, "SE", "expired", 406): 1,
        (today, "SE", "submitted", -1): 1,
    }


def test_a_late_report_moves_yesterday_s_row(either_machine):
    machine = either_machine
    wait_for_noon(machine)
    _accepted(machine)
    yesterday = _today(machine)
    roll_up_now(machine)
    machine.clock.advance(_DAY.total_seconds())
    _accepted(machine, [BOB], name="01OTHER")

    tell(machine.ctx, report(ANN, "Delivered", at=_at(machine, 0)))
    roll_up_now(machine)

    assert daily_counts(machine.ctx) == {
        (yesterday, "SE", "delivered", 0): 1,
        (_today(machine), "SE", "submitted", -1): 1,
    }
    [(day, _, bucket)] = daily_delays(machine.ctx)
    assert (day, bucket) == (yesterday, latency_bucket(_DAY.total_seconds() + 61))
    assert miscounts(machine.ctx) == []


def test_counting_again_adds_nothing(either_machine):
    machine = either_machine
    _accepted(machine, [ANN, BOB])
    tell(machine.ctx, report(ANN, "Delivered"))
    roll_up_now(machine)
    before = daily_counts(machine.ctx), daily_delays(machine.ctx)

    machine.corrupt(Batch, rollup_dirty=True)
    roll_up_now(machine)

    assert (daily_counts(machine.ctx), daily_delays(machine.ctx)) == before
    assert miscounts(machine.ctx) == []


# Of these, only a message's own last end counts.
_COURSE = (("Queued", 400), ("Dispatched", 401), ("Failed", 153), ("Delivered", 0))


@pytest.mark.slow
def test_every_order_of_reports_and_roll_ups_ends_in_the_same_sums(machine):
    wait_for_noon(machine)
    found = set()
    for number, order in enumerate(itertools.permutations(_COURSE)):
        before = daily_counts(machine.ctx), daily_delays(machine.ctx)
        name = f"01COURSE{number}"
        batch = _accepted(machine, [CLO], name=name)
        for status, code in order:
            at = (batch.accepted_at + timedelta(seconds=9)).isoformat()
            tell(machine.ctx, report(CLO, status, code, batch=name, at=at))
            roll_up_now(machine)
        counts, delays = (
            _subtract(now, then)
            for now, then in zip(
                (daily_counts(machine.ctx), daily_delays(machine.ctx)), before, strict=True
            )
        )
        found.add((counts, delays))
    assert found == {
        ((("US", "delivered", 0, 1),), (("US", latency_bucket(9), 1),)),
    }
    assert miscounts(machine.ctx) == []


def _subtract(now, then):
    """What was added, without its day."""
    added = {place[1:]: now[place] - then.get(place, 0) for place in now}
    return tuple((*place, count) for place, count in sorted(added.items()) if count)


@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_of_reports_and_roll_ups_ends_in_the_same_sums(either_machine, seed):
    machine = either_machine
    wait_for_noon(machine)
    dice = random.Random(seed)
    numbers = [ANN, BOB, CLO, *many_numbers(20)]
    broadcasts = [machine.store(numbers, size=5) for _ in range(2)]
    for claim in iter(lambda: _claim_or_none(machine), None):
        name = f"01BATCH{claim.batch_id}"
        record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=name))
    told, expected = [], 0
    for broadcast in broadcasts:
        for who, home in machine.homes(broadcast).items():
            status, code = dice.choice([("Delivered", 0), ("Failed", 150), ("Unknown", 0)])
            expected += status == "Delivered"
            end = report(who, status, code, batch=f"01BATCH{home}", at=_at(machine, 3))
            told += [end] * dice.choice([1, 2])
    dice.shuffle(told)

    while told:
        some = dice.randrange(1, 30)
        tell(machine.ctx, *told[:some])
        del told[:some]
        if dice.random() < 0.7:
            roll_up_now(machine)
        assert list(miscounts(machine.ctx)) == []
    roll_up_now(machine)

    counts = daily_counts(machine.ctx)
    assert sum(counts.values()) == 2 * len(numbers)
    assert sum(n for place, n in counts.items() if place[2] == "delivered") == expected
    assert sum(daily_delays(machine.ctx).values()) == expected
    assert {place[2] for place in counts} == {"delivered", "failed", "unknown"}
    assert miscounts(machine.ctx) == []


def _claim_or_none(machine):
    return machine.claim() if BatchState.PENDING in machine.states() else None


def test_a_crash_between_changes_nothing(either_machine, strike_at):
    machine = either_machine
    _accepted(machine, [ANN, BOB])
    roll_up_now(machine)
    tell(machine.ctx, report(ANN, "Delivered"), inbound(ANN, "stop"))
    before = daily_counts(machine.ctx), daily_delays(machine.ctx), machine.batch()

    for place in ("R1", "R2"):
        strike_at(place)
        with pytest.raises(ZeroDivisionError):
            roll_up_now(machine)
        if place == "R1":
            after = daily_counts(machine.ctx), daily_delays(machine.ctx), machine.batch()
            assert after == before
            assert machine.batch().rollup_dirty
        assert daily_inbounds(machine.ctx) == {}
    roll_up_now(machine)

    assert sorted(daily_counts(machine.ctx).values()) == [1, 1]
    assert list(daily_inbounds(machine.ctx).values()) == [(1, 1)]
    assert miscounts(machine.ctx) == []


def test_a_flood_of_reports_does_not_count_a_batch_each_time(machine):
    batch = _accepted(machine, [ANN, BOB])
    roll_up_now(machine)

    tell(machine.ctx, report(ANN, "Delivered"))
    machine.clock.advance(5)
    assert roll_up_batches(machine.ctx) == 0
    machine.clock.advance(6)
    assert roll_up_batches(machine.ctx) == 1
    assert machine.batch(batch.id).rollup_contribution["counts"][0][:2] == ["SE", "delivered"]


def test_a_clock_that_was_set_back_does_not_keep_it_waiting(machine):
    _accepted(machine)
    roll_up_now(machine)
    machine.corrupt(Batch, rollup_dirty=True)

    machine.clock.set_back(7 * 86_400)

    assert roll_up_batches(machine.ctx) == 1


def test_a_pass_takes_all_that_changed_in_several_transactions(either_machine):
    machine = either_machine
    numbers = many_numbers(450)
    broadcast = machine.store(numbers, size=1)
    now = machine.ctx.now()
    accepted = {"state": BatchState.ACCEPTED, "accepted_at": now, "rollup_dirty": True}
    machine.corrupt(Batch, Batch.broadcast_id == broadcast, **accepted)

    assert roll_up_batches(machine.ctx) == 450

    assert sum(daily_counts(machine.ctx).values()) == 450
    assert miscounts(machine.ctx) == []
    machine.corrupt(Batch, Batch.broadcast_id == broadcast, rollup_dirty=True)
    assert roll_up_batches(machine.ctx) == 0  # that was a pass: now there is a pause
    machine.corrupt(Batch, state=BatchState.PENDING)


def test_it_begins_nothing_once_it_is_to_stop(machine):
    _accepted(machine)

    assert roll_up_batches(machine.ctx, stop=lambda: True) == 0

    assert daily_counts(machine.ctx) == {}


def test_threads_roll_up_by_themselves(machine):
    rules = replace(machine.ctx.rules, sweep_every_s=0.05)
    ctx = replace(machine.ctx, rules=rules, clock=Clock())
    threads = BackgroundThreads(ctx, senders=1)
    machine.store([ANN, BOB])

    threads.start()

    deadline = time.monotonic() + 20
    while sum(daily_counts(ctx).values()) != 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    threads.stop(within_s=10)
    assert sum(daily_counts(ctx).values()) == 2


def test_roll_ups_at_once_and_reports_between_count_each_message_once(either_machine):
    machine = either_machine
    numbers = many_numbers(300)
    machine.store(numbers, size=10)
    for claim in iter(lambda: _claim_or_none(machine), None):
        name = f"01BATCH{claim.batch_id}"
        record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=name))
    homes = machine.homes(machine.batches()[0].broadcast_id)
    told = [report(who, "Delivered", batch=f"01BATCH{home}") for who, home in homes.items()]

    def hear():
        for start in range(0, len(told), 30):
            tell(machine.ctx, *told[start : start + 30])

    def roll():
        for _ in range(10):
            roll_up_now(machine)

    Together(hear, roll, roll).join()
    roll_up_now(machine)

    assert [place[2] for place in daily_counts(machine.ctx)] == ["delivered"]
    assert sum(daily_counts(machine.ctx).values()) == 300
    assert miscounts(machine.ctx) == []


def test_of_two_that_roll_up_at_once_one_waits(either_machine, strike_at):
    machine = either_machine
    broadcast = machine.store(many_numbers(300), size=1)
    now = machine.ctx.now()
    accepted = {"state": BatchState.ACCEPTED, "accepted_at": now, "rollup_dirty": True, "ended": 1}
    delivered = {"status": "delivered", "code": 0, "status_at": now, "recorded_at": now}
    machine.corrupt(Batch, Batch.broadcast_id == broadcast, **accepted)
    machine.corrupt(Message, Message.broadcast_id == broadcast, **delivered)
    # Other counts than those of the first two hundred; waiting times are together.
    machine.corrupt(Message, Message.batch_id > machine.batches()[199].id, code=1)
    others = []

    def go_on_later():
        others.append(Together(lambda: roll_up_batches(machine.ctx)))
        time.sleep(0.5)

    strike_at("R1", go_on_later)
    roll_up_batches(machine.ctx)
    others[0].join()

    assert sum(daily_delays(machine.ctx).values()) == 300
    assert miscounts(machine.ctx) == []
    machine.corrupt(Batch, state=BatchState.PENDING, ended=0)
    machine.corrupt(Message, status=None)


def test_changed_batches_are_found_by_their_index(either_machine):
    machine = either_machine
    machine.store(many_numbers(60), size=1)
    db = machine.ctx.db
    compiled = SELECT_DIRTY.params(after=0, limit=9).compile(db.engine)
    values = compiled.params
    places = compiled.positiontup

    with db.write() as tx:
        if db.is_sqlite:
            values = tuple(values[name] for name in places)
        else:
            # As it is once there are many; so few batches are read one after another.
            tx.execute(text("SET LOCAL enable_seqscan = off"))
        explain = "EXPLAIN QUERY PLAN " if db.is_sqlite else "EXPLAIN "
        plan = " ".join(str(row) for row in tx.exec_driver_sql(explain + str(compiled), values))

    assert "ix_batches_rollup_dirty" in plan


def test_texts_from_phones_are_counted_once_and_opt_outs_apart(either_machine):
    machine = either_machine
    wait_for_noon(machine)
    _accepted(machine)
    words = ("STOP", " stop\n", "Unsubscribe", "stopall", "cancel", "End", "quit", "stop it")
    others = ("the bus stop", "see you at the end", "", "thanks", "x" * 500)
    texts = [inbound(ANN, word, name=f"01IN{n}") for n, word in enumerate((*words, *others))]

    for some in (texts[:5], texts[:5], texts[3:]):
        tell(machine.ctx, *some)
        roll_up_now(machine)

    today = _today(machine)
    assert daily_inbounds(machine.ctx) == {(today, "tests"): (len(texts), len(words))}


def test_a_text_that_answers_nobody_s_broadcast_is_nobody_s(machine):
    tell(machine.ctx, inbound(ANN, "STOP"))

    roll_up_now(machine)

    [((_, client), counted)] = daily_inbounds(machine.ctx).items()
    assert (client, counted) == ("", (1, 1))


def test_a_binary_text_is_no_stop_word(machine):
    tell(machine.ctx, inbound(ANN, "STOP", type="mo_binary", udh="00"))

    roll_up_now(machine)

    assert list(daily_inbounds(machine.ctx).values()) == [(1, 0)]


@pytest.mark.slow
def test_many_texts_are_counted_in_several_transactions(machine):
    for start in range(0, 400, 25):
        texts = [inbound(ANN, "hi", name=f"01IN{n}") for n in range(start, start + 25)]
        tell(machine.ctx, *texts)
    with machine.ctx.db.write() as tx:
        tx.execute(
            text(
                "INSERT INTO inbounds (sinch_id, kind, sender, recipient, body, recorded_at) "
                "SELECT 'more' || a.id || '-' || b.id, 'mo_text', '', '', 'hi', a.recorded_at "
                "FROM inbounds a, inbounds b WHERE b.id < 7"
            )
        )

    roll_up_now(machine)

    assert list(daily_inbounds(machine.ctx).values()) == [(400 * 7, 0)]


def test_texts_that_come_after_the_newest_were_deleted_are_counted(machine):
    for deleted in range(2):
        tell(machine.ctx, inbound(ANN, "hi", name=f"01IN{deleted}"))
        roll_up_now(machine)
        with machine.ctx.db.write() as tx:
            tx.execute(delete(Inbound))
        roll_up_now(machine)

    assert sum(count for count, _ in daily_inbounds(machine.ctx).values()) == 2


def test_a_text_committed_behind_a_later_one_is_counted(make_machine, postgres):
    """On PostgreSQL the number of a text that is not committed yet may be the lower one."""
    machine = make_machine(postgres.create_database())
    add = text(
        "INSERT INTO inbounds (sinch_id, kind, sender, recipient, body, recorded_at) "
        "VALUES (:name, 'mo_text', '', '', 'hi', now())"
    )

    with machine.ctx.db.write() as slow:
        slow.execute(add, {"name": "slow"})
        with machine.ctx.db.write() as quick:
            quick.execute(add, {"name": "quick"})
        rolling = Together(lambda: roll_up(machine.ctx))
        _wait_for_lock(machine, "inbounds")
    rolling.join()

    assert [count for count, _ in daily_inbounds(machine.ctx).values()] == [2]


def _wait_for_lock(machine, table):
    """Until somebody waits for the rest of the world to be done with a table."""
    waiting = text("SELECT relation::regclass::text FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with machine.ctx.db.read() as tx:
            if table in tx.execute(waiting).scalars().all():
                return
        time.sleep(0.02)
    raise AssertionError(f"nobody waits for {table}")


def test_the_checks_see_what_is_wrong(machine):
    _accepted(machine, [ANN, BOB])
    roll_up_now(machine)
    assert miscounts(machine.ctx) == []

    machine.corrupt(DailyCount, messages=3)
    assert any("messages of" in each for each in miscounts(machine.ctx))
    machine.corrupt(DailyCount, messages=-2)
    assert any("below 0" in each for each in miscounts(machine.ctx))
    machine.corrupt(DailyCount, messages=2, parts=9)
    assert any("parts of" in each for each in miscounts(machine.ctx))
    machine.corrupt(DailyCount, parts=2)
    machine.corrupt(Batch, rollup_contribution=None)
    assert any("is counted, not" in each for each in miscounts(machine.ctx))
