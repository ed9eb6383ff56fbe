"""Caps: what they leave is decided in the transaction that claims, and never exceeded."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.db.base import table_of
from app.errors import BadInput
from app.sms.broadcasts.idempotency import RequestKey
from app.sms.broadcasts.store import accept_broadcast
from app.sms.caps.budget import lock_counter
from app.sms.caps.caps import CapName, describe_caps, remove_cap, set_cap
from app.sms.caps.past import count_past, read_past
from app.sms.caps.prices import replace_prices
from app.sms.dispatch.claim import Idle, claim_batch, claim_in
from app.sms.dispatch.submit import submit_batch, submit_inline
from app.sms.models.batch import Batch
from app.sms.models.cap import ALL, CapCounter, CapPeriod, CapUnit
from app.sms.models.reports import OutboxEvent
from app.sms.models.states import Attention, BatchState, ExclusionReason
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.request.model import BroadcastRequest
from app.text.segments import measure_text
from app.webhooks.outgoing.endpoints import create_endpoint
from app.webhooks.outgoing.http_client import WebhookHttpClient
from tests.factories import many_numbers
from tests.people import stop

NUMBERS = many_numbers(8)
HOUR_PARTS = (CapPeriod.HOUR, CapUnit.PARTS)
DAY_PARTS = (CapPeriod.DAY, CapUnit.PARTS)


@pytest.fixture
def machine(either_machine):
    """A machine whose hour has just begun, and whose day is not about to end."""
    now = either_machine.clock.now()
    noon = now.replace(hour=12, minute=1, second=0, microsecond=0)
    either_machine.clock.set(noon if noon > now else noon + timedelta(days=1))
    return either_machine


def _cap(machine, amount, period=CapPeriod.HOUR, unit=CapUnit.PARTS, *, client=ALL):
    set_cap(machine.ctx, CapName(client, period, unit), amount, actor="ops")


def _left(machine):
    return [cap["left"] for cap in describe_caps(machine.ctx, "tests", None)]


def test_what_exceeds_a_cap_waits_for_the_next_hour(machine, sandbox):
    _cap(machine, 5)
    broadcast = machine.store(NUMBERS)

    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:5]
    assert machine.counts(broadcast) == {"submitted": 5, "pending": 3}
    (waiting,) = [batch for batch in machine.batches() if batch.state is BatchState.PENDING]
    assert waiting.exclusion_reason is ExclusionReason.CAP_REACHED
    assert waiting.not_before == machine.clock.now().replace(minute=0) + timedelta(hours=1)
    assert machine.idle().not_before == waiting.not_before
    machine.clock.set(waiting.not_before)
    machine.submit_all()
    assert sandbox.recipients() == NUMBERS
    assert _left(machine) == [2]
    assert machine.violations() == []


def test_raising_a_cap_sends_exactly_the_rest_at_once(machine, sandbox):
    _cap(machine, 2)
    _cap(machine, 5, CapPeriod.DAY)
    broadcast = machine.store(NUMBERS, size=3)
    machine.submit_all()
    assert len(sandbox.recipients()) == 2

    _cap(machine, 100)
    machine.submit_all()
    assert len(sandbox.recipients()) == 5
    remove_cap(machine.ctx, CapName(ALL, *DAY_PARTS), actor="ops")
    machine.submit_all()

    assert sorted(sandbox.recipients()) == sorted(NUMBERS)
    assert machine.counts(broadcast) == {"submitted": 8}
    assert machine.violations() == []


def test_a_text_of_two_parts_counts_twice(machine, sandbox):
    _cap(machine, 7)
    machine.store(NUMBERS, text="a" * 200)

    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:3]
    assert _left(machine) == [1]


def test_a_cap_of_nothing_sends_nothing(machine, sandbox):
    _cap(machine, 0)
    machine.store(NUMBERS)

    machine.submit_all()

    assert sandbox.posts() == 0


def test_a_cap_of_another_client_limits_nothing(machine, sandbox):
    _cap(machine, 1, client="other")
    machine.store(NUMBERS)

    machine.submit_all()

    assert sandbox.recipients() == NUMBERS


def test_of_two_caps_the_narrower_counts_and_both_are_used(machine, sandbox):
    _cap(machine, 6)
    _cap(machine, 4, CapPeriod.DAY, client="tests")
    machine.store(NUMBERS)

    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:4]
    assert _left(machine) == [2, 0]
    (waiting,) = [batch for batch in machine.batches() if batch.state is BatchState.PENDING]
    assert waiting.not_before == machine.clock.now().replace(hour=0, minute=0) + timedelta(days=1)


def test_costs_are_counted_by_country_and_unpriced_ones_as_the_dearest(machine, sandbox):
    swedish, norwegian, danish = "+46701234567", "+4740612345", "+4520123456"
    replace_prices(machine.ctx, "EUR", {"SE": 30_000, "NO": 50_000}, actor="ops")
    _cap(machine, 129_999, CapPeriod.DAY, CapUnit.COST)
    machine.store([swedish, norwegian, danish])

    machine.submit_all()

    assert sandbox.recipients() == [swedish, norwegian]
    assert _left(machine) == [49_999]


def test_prices_that_a_cap_needs_cannot_all_be_removed(machine, sandbox):
    replace_prices(machine.ctx, "EUR", {"*": 30_000}, actor="ops")
    _cap(machine, 0, CapPeriod.DAY, CapUnit.COST)

    with pytest.raises(BadInput):
        replace_prices(machine.ctx, "EUR", {}, actor="ops")
    machine.store(NUMBERS)
    machine.submit_all()

    assert sandbox.recipients() == []


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 401}])
def test_a_batch_that_is_tried_again_counts_once(machine, sandbox, fault):
    _cap(machine, 8)
    sandbox.order_fault(on="POST /batches", **fault)
    machine.store(NUMBERS)

    machine.submit_all()
    machine.clock.advance(60)
    machine.submit_all()

    assert _left(machine) == [0]


def test_a_cap_that_is_removed_while_a_batch_is_deferred_by_it_lets_the_batch_go(machine, sandbox):
    _cap(machine, 0)
    machine.store(NUMBERS[:1])
    machine.submit_all()
    broadcast = machine.store(NUMBERS[1:])
    name = CapName(ALL, CapPeriod.HOUR, CapUnit.PARTS)
    remover = threading.Thread(target=remove_cap, args=(machine.ctx, name), kwargs={"actor": "ops"})

    with machine.ctx.db.write() as tx:
        claim_in(tx, machine.ctx, broadcast_id=broadcast)
        remover.start()
        remover.join(0.5)
    remover.join(60)
    machine.submit_all()

    assert sandbox.recipients() == NUMBERS


def test_what_was_sent_in_the_period_before_a_cap_was_set_counts(machine, sandbox):
    machine.store(NUMBERS[:3])
    machine.submit_all()
    machine.clock.advance(120)  # counted before the transaction that sets the cap
    machine.store(NUMBERS[3:5], text="a" * 200)
    machine.submit_all()

    _cap(machine, 9)
    _cap(machine, 9, client="other")
    machine.store(NUMBERS[5:])
    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:7]
    assert _left(machine) == [0]


def test_what_was_sent_in_an_earlier_hour_counts_for_the_day_alone(machine, sandbox):
    machine.store(NUMBERS[:3])
    machine.submit_all()
    machine.clock.advance(3600)

    _cap(machine, 10, CapPeriod.DAY)
    _cap(machine, 10, CapPeriod.HOUR)

    assert _left(machine) == [7, 10]


def test_costs_of_before_count(machine, sandbox):
    replace_prices(machine.ctx, "EUR", {"SE": 30_000, "NO": 50_000}, actor="ops")
    machine.store(["+46701234567", "+4740612345"])
    machine.submit_all()

    _cap(machine, 100_000, CapPeriod.DAY, CapUnit.COST)

    assert _left(machine) == [20_000]


def test_a_batch_that_was_tried_before_a_cap_was_set_counts_once(machine, sandbox):
    sandbox.order_fault(on="POST /batches", status=429)
    machine.store(NUMBERS)
    machine.submit()

    _cap(machine, 8)
    machine.clock.advance(60)
    machine.submit_all()

    assert [batch.exclusion_reason for batch in machine.batches()] == [None]
    assert _left(machine) == [0]


def test_a_cap_that_is_set_while_threads_claim_counts_all_that_they_claimed(machine, sandbox):
    numbers = many_numbers(60)
    broadcasts = [machine.store(numbers[start : start + 3]) for start in range(0, 60, 3)]

    def work(broadcast_id):
        while not isinstance(claim := claim_batch(machine.ctx, broadcast_id=broadcast_id), Idle):
            submit_batch(machine.ctx, claim)

    threads = [threading.Thread(target=work, args=(key,)) for key in broadcasts]
    for thread in threads[:10]:
        thread.start()
    _cap(machine, 1_000)
    for thread in threads[10:]:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(sandbox.recipients()) == sorted(numbers)
    assert _left(machine) == [1_000 - 60]


def test_a_claim_that_takes_minutes_counts_against_a_cap_that_is_set_meanwhile(machine, sandbox):
    slow = machine.store(NUMBERS[:3])
    setter = threading.Thread(target=_cap, args=(machine, 5))

    with machine.ctx.db.write() as tx:
        claim = claim_in(tx, machine.ctx, broadcast_id=slow)
        machine.clock.advance(180)
        setter.start()
        setter.join(0.5)
        assert setter.is_alive()
    setter.join(60)
    submit_batch(machine.ctx, claim)
    machine.store(NUMBERS[3:])
    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:5]
    assert _left(machine) == [0]


@pytest.mark.parametrize("minutes", [-20, 0, 20])
def test_what_another_machine_claims_while_the_past_is_counted_counts_whatever_its_clock_says(
    machine, sandbox, minutes
):
    machine.clock.advance(29 * 60)
    now = machine.clock.now()
    machine.store(NUMBERS[:3], size=2)
    machine.submit()
    past = read_past(machine.ctx, ALL, *HOUR_PARTS)

    machine.clock.advance(minutes * 60)
    machine.store(NUMBERS[3:])
    machine.submit_all()
    with machine.ctx.db.write() as tx:
        count_past(tx, ALL, *HOUR_PARTS, past, now)
        counted = tx.execute(select(CapCounter.parts)).scalar_one()

    assert sandbox.recipients() == NUMBERS
    assert counted == len(NUMBERS)


def test_a_claim_that_is_not_committed_when_the_cap_is_set_counts(machine, sandbox):
    slow = machine.store(NUMBERS[:3])
    past = read_past(machine.ctx, ALL, *HOUR_PARTS)
    counted = []

    def count():
        with machine.ctx.db.write() as tx:
            count_past(tx, ALL, *HOUR_PARTS, past, machine.clock.now())
            counted.append(tx.execute(select(CapCounter.parts)).scalar_one())

    setter = threading.Thread(target=count)
    with machine.ctx.db.write() as tx:
        claim_in(tx, machine.ctx, broadcast_id=slow)
        setter.start()
        setter.join(0.3)
    setter.join(60)

    assert counted == [3]


def test_a_cap_that_is_set_waits_for_a_broadcast_that_is_being_stored_and_a_stop_does_not(machine):
    stored, may_end = threading.Event(), threading.Event()

    def describe(_):
        stored.set()
        may_end.wait(60)
        return {}

    def store():
        request = BroadcastRequest(
            recipients=NUMBERS, text="Hi", size=measure_text("Hi"), send_at=later
        )
        accept_broadcast(machine.ctx, request, client="tests", key=key, describe=describe)

    if machine.ctx.db.is_sqlite:
        return  # all that is written waits
    later = machine.ctx.seconds_from_now(3_600)
    key = RequestKey("order-1", b"1" * 32)
    storing = threading.Thread(target=store)
    stopping = threading.Thread(target=stop, args=(machine.ctx, NUMBERS[0]))
    setting = threading.Thread(target=_cap, args=(machine, 5))
    storing.start()
    assert stored.wait(60)
    stopping.start()
    stopping.join(60)
    setting.start()
    setting.join(0.3)
    alive = [thread.is_alive() for thread in (storing, stopping, setting)]
    may_end.set()
    setting.join(60)

    assert alive == [True, False, True]
    assert _left(machine) == [5]


def test_an_operators_resend_counts_again(machine, sandbox):
    _cap(machine, 20)
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    machine.store(NUMBERS)
    machine.submit()
    machine.corrupt(Batch, state=BatchState.NEEDS_ATTENTION, attention=Attention.ABSENT)

    resolve_batch(
        machine.ctx, machine.batch().client_reference, Decision.RESEND, actor="ops", note=""
    )
    machine.submit_all()

    assert len(sandbox.recipients()) == 16
    assert _left(machine) == [4]


def test_clients_are_told_once_that_a_cap_is_nearly_and_fully_used(machine, sandbox):
    create_endpoint(
        machine.ctx,
        WebhookHttpClient(production=False),
        client="tests",
        url="http://127.0.0.1:9999/clarion",
        event_types=["cap.neared", "cap.reached"],
        sees_numbers=True,
    )
    _cap(machine, 5, client="tests")
    for numbers in (NUMBERS[:3], NUMBERS[3:4], NUMBERS[4:7], NUMBERS[7:]):
        machine.store(numbers)
        machine.submit_all()

    with machine.ctx.db.read() as tx:
        events = tx.execute(select(table_of(OutboxEvent))).all()
    assert [event.event_type for event in events] == ["cap.neared", "cap.reached"]
    assert events[1].facts["left"] == 0
    assert events[1].facts["broadcast_id"] == machine.broadcast(3).public_id
    assert sandbox.recipients() == NUMBERS[:5]


def test_other_clients_hear_of_a_cap_of_all_and_of_no_broadcast(machine, sandbox):
    url, client = "http://127.0.0.1:9999/clarion", WebhookHttpClient(production=False)
    named = {"client": "other", "url": url, "event_types": ["cap.reached"], "sees_numbers": True}
    create_endpoint(machine.ctx, client, **named)
    _cap(machine, 0)
    machine.store(NUMBERS)
    machine.submit_all()

    with machine.ctx.db.read() as tx:
        (event,) = tx.execute(select(table_of(OutboxEvent))).all()

    assert (event.client, event.facts["broadcast_id"]) == (None, None)


def test_a_request_that_has_to_wait_for_a_cap_is_answered_at_once(machine, sandbox):
    _cap(machine, 0)
    request = BroadcastRequest(recipients=NUMBERS, text="Hi", size=measure_text("Hi"))
    accepted = accept_broadcast(machine.ctx, request, client="tests")
    stored_at = machine.clock.monotonic()

    assert submit_inline(machine.ctx, accepted.id, accepted.first) is None

    assert machine.clock.monotonic() == stored_at
    assert machine.counts(accepted.id) == {"pending": 8}


def test_a_claim_under_a_cap_that_is_used_up_waits_for_no_other(machine, sandbox):
    _cap(machine, 5)
    machine.store(NUMBERS[:5])
    machine.submit_all()
    machine.store(NUMBERS[5:])
    if machine.ctx.db.is_sqlite:
        return  # its writers take turns
    claimed = []
    thread = threading.Thread(target=lambda: claimed.append(claim_batch(machine.ctx)))
    with machine.ctx.db.write() as tx:
        lock_counter(tx, (ALL, CapPeriod.HOUR), machine.clock.now())

        thread.start()
        thread.join(60)

        assert [type(claim) for claim in claimed] == [Idle]
    thread.join(60)
    assert [batch.exclusion_reason for batch in machine.batches()][-1] == "cap_reached"


def test_threads_that_claim_at_once_never_exceed_a_cap(machine, sandbox):
    _cap(machine, 37)
    numbers = many_numbers(60)
    broadcasts = [machine.store(numbers[start : start + 3]) for start in range(0, 60, 3)]
    start_together = threading.Barrier(len(broadcasts))

    def work(broadcast_id=None):
        while not isinstance(claim := claim_batch(machine.ctx, broadcast_id=broadcast_id), Idle):
            submit_batch(machine.ctx, claim)

    def work_together(broadcast_id):
        start_together.wait(60)
        work(broadcast_id)

    threads = [threading.Thread(target=work_together, args=(key,)) for key in broadcasts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(set(sandbox.recipients())) == len(sandbox.recipients()) == 37
    _cap(machine, 1_000)
    work()
    assert sorted(sandbox.recipients()) == sorted(numbers)
    assert machine.violations() == []
