"""What is set aside of a batch that an operator had sent again: it may have been sent before."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.config import SubscriberRules
from app.sms.broadcasts.control import cancel_broadcast
from app.sms.models.batch import Batch
from app.sms.models.states import Attention, BatchState, Category
from app.sms.recovery.attention import Decision, resolve_batch
from tests.factories import many_numbers
from tests.people import add_people, stop

_S = BatchState
NUMBERS = many_numbers(3)


@pytest.fixture
def machine(either_machine):
    return either_machine


def _send_twice(machine, sandbox, between, **order):
    """A broadcast of which an answer is lost, and which an operator then has sent again."""
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    broadcast = machine.store(NUMBERS, **order)
    machine.submit()
    machine.corrupt(Batch, state=_S.NEEDS_ATTENTION, attention=Attention.ABSENT)
    reference = machine.batch().client_reference
    resolve_batch(machine.ctx, reference, Decision.RESEND, actor="ops", note="")
    between()
    machine.submit_all()
    return broadcast


def test_who_stops_before_a_second_attempt_may_have_had_the_first(machine, sandbox):
    broadcast = _send_twice(machine, sandbox, lambda: stop(machine.ctx, *NUMBERS[:2]))

    assert machine.counts(broadcast) == {"submitted": 1, "abandoned": 2}
    assert sandbox.recipients() == [*NUMBERS, NUMBERS[2]]
    assert machine.violations() == []


def test_so_may_all_of_them(machine, sandbox):
    broadcast = _send_twice(machine, sandbox, lambda: stop(machine.ctx, *NUMBERS))

    assert machine.counts(broadcast) == {"abandoned": 3}
    assert machine.violations() == []


def test_who_waits_for_the_day_may_have_had_it_though_it_is_cancelled_then(machine, sandbox):
    soon = machine.ctx.now() + timedelta(hours=1)
    quiet = SubscriberRules(quiet_hours={"SE": (soon.time(), (soon - timedelta(hours=2)).time())})
    add_people(machine.ctx, NUMBERS, time_zone="UTC")
    object.__setattr__(machine.ctx, "subscriber_rules", replace(quiet, marketing_per_day=0))

    broadcast = _send_twice(
        machine,
        sandbox,
        lambda: (machine.clock.advance(7200), stop(machine.ctx, NUMBERS[0])),
        category=Category.MARKETING,
    )
    assert machine.counts(broadcast)["pending"] == 2
    cancel_broadcast(machine.ctx, machine.broadcast(broadcast).public_id, actor="ops")

    assert machine.counts(broadcast) == {"abandoned": 3}
    assert machine.violations() == []
