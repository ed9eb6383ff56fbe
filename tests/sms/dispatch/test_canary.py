"""Canaries: a first part is sent, and its outcome decides about the rest."""

import pytest
from sqlalchemy import select

from app.sms.broadcasts.control import pause_broadcast, resume_broadcast
from app.sms.caps.caps import CapName, set_cap
from app.sms.dispatch.canary import judge_canaries
from app.sms.models.batch import Batch, Message
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from app.sms.models.states import Attention, BatchState, ExclusionReason
from app.sms.request.model import CanaryRules
from tests.callers import Caller
from tests.factories import many_numbers
from tests.people import stop
from tests.reporting import report, tell

NUMBERS = many_numbers(50)
FIRST = 10


@pytest.fixture
def machine(either_machine):
    return either_machine


@pytest.fixture
def broadcast(machine, sandbox):
    """A broadcast whose canary of ten is at Sinch."""
    broadcast = machine.store(NUMBERS, size=8, canary=CanaryRules(FIRST, wait_minutes=30))
    machine.submit_all()
    assert sandbox.recipients() == NUMBERS[:FIRST]
    return broadcast


def _report(machine, statuses, numbers=NUMBERS):
    """Let Sinch report on the first messages."""
    batch_of = {
        phone: batch.sinch_id
        for batch in machine.batches()
        if batch.state is BatchState.ACCEPTED
        for phone in _list_recipients(machine, batch)
    }
    tell(
        machine.ctx,
        *(
            report(phone, status, batch=batch_of[phone])
            for phone, status in zip(numbers, statuses, strict=False)
        ),
    )


def _list_recipients(machine, batch):
    with machine.ctx.db.read() as tx:
        query = select(Message.recipient).where(Message.batch_id == batch.id)
        return tx.execute(query).scalars().all()


def _canary(machine, broadcast):
    return machine.broadcast(broadcast).options["canary"]


def test_the_rest_waits_until_the_first_have_ended_well(machine, sandbox, broadcast):
    waiting = [batch for batch in machine.batches() if batch.state is BatchState.PENDING]
    assert waiting[0].exclusion_reason is ExclusionReason.CANARY
    assert sum(batch.size for batch in waiting) == 40
    assert judge_canaries(machine.ctx) == 0

    _report(machine, ["Delivered"] * FIRST)
    assert judge_canaries(machine.ctx) == 1
    machine.submit_all()

    assert sorted(sandbox.recipients()) == sorted(NUMBERS)
    assert _canary(machine, broadcast)["outcome"] == "good"
    assert _canary(machine, broadcast)["sent"] == FIRST
    assert judge_canaries(machine.ctx) == 0


def test_after_the_time_those_without_a_report_are_not_waited_for(machine, sandbox, broadcast):
    machine.clock.advance(29 * 60)
    assert judge_canaries(machine.ctx) == 0
    machine.clock.advance(2 * 60)

    assert judge_canaries(machine.ctx) == 1
    machine.submit_all()

    assert len(sandbox.recipients()) == 50


@pytest.mark.parametrize("failed", [0, 1])
def test_too_many_that_failed_pause_it_and_a_person_resumes_it(machine, sandbox, broadcast, failed):
    bad = ["Failed"] * failed
    _report(machine, [*bad, *["Delivered"] * (FIRST - failed)])

    assert judge_canaries(machine.ctx) == 1
    machine.submit_all()

    row = machine.broadcast(broadcast)
    assert len(sandbox.recipients()) == (FIRST if failed else 50)
    assert row.status == ("paused" if failed else "complete")
    assert _canary(machine, broadcast)["failed"] == failed
    if failed:
        resume_broadcast(machine.ctx, row.public_id, actor="ops")
        machine.submit_all()
        assert sorted(sandbox.recipients()) == sorted(NUMBERS)


def test_a_canary_that_a_cap_cut_short_is_judged_once_it_has_all_its_recipients(machine, sandbox):
    cap = CapName(ALL, CapPeriod.DAY, CapUnit.PARTS)
    set_cap(machine.ctx, cap, 4, actor="ops")
    broadcast = machine.store(NUMBERS, size=8, canary=CanaryRules(FIRST, wait_minutes=30))
    machine.submit_all()
    assert sandbox.recipients() == NUMBERS[:4]
    _report(machine, ["Delivered"] * 4)

    assert judge_canaries(machine.ctx) == 0
    set_cap(machine.ctx, cap, 1_000, actor="ops")
    machine.submit_all()
    first = sandbox.recipients()
    _report(machine, ["Delivered"] * FIRST, first)

    assert len(set(first)) == FIRST
    assert judge_canaries(machine.ctx) == 1
    assert _canary(machine, broadcast)["sent"] == FIRST


def test_too_many_who_opt_out_pause_it(machine, sandbox, broadcast):
    machine.clock.advance(60)
    stop(machine.ctx, NUMBERS[3])
    _report(machine, ["Delivered"] * FIRST)

    assert judge_canaries(machine.ctx) == 1

    assert machine.broadcast(broadcast).status == "paused"
    assert _canary(machine, broadcast)["opted_out"] == 1


def test_a_canary_whose_outcome_is_in_doubt_decides_nothing(machine, sandbox):
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    machine.store(NUMBERS, canary=CanaryRules(FIRST))
    machine.submit_all()
    assert BatchState.UNKNOWN in machine.states()
    machine.clock.advance(3 * 3600)

    assert judge_canaries(machine.ctx) == 0
    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:FIRST]


def test_a_broadcast_that_was_paused_and_resumed_goes_on_with_its_canary(
    machine, sandbox, broadcast
):
    public_id = machine.broadcast(broadcast).public_id
    pause_broadcast(machine.ctx, public_id, actor="ops")
    _report(machine, ["Delivered"] * FIRST)
    assert judge_canaries(machine.ctx) == 0
    resume_broadcast(machine.ctx, public_id, actor="ops")

    assert judge_canaries(machine.ctx) == 1
    machine.submit_all()

    assert len(sandbox.recipients()) == 50


def test_a_canary_that_a_person_has_to_decide_about_is_not_taken_for_good(machine, sandbox):
    machine.store(NUMBERS, size=50, canary=CanaryRules(FIRST))
    machine.submit()
    tried = next(batch for batch in machine.batches() if batch.attempt)
    machine.corrupt(
        Batch,
        Batch.id == tried.id,
        state=BatchState.NEEDS_ATTENTION,
        attention=Attention.ABSENT,
        sinch_id=None,
        accepted_at=None,
    )
    machine.clock.advance(3 * 3600)

    assert judge_canaries(machine.ctx) == 0
    machine.submit_all()

    assert sandbox.recipients() == NUMBERS[:FIRST]


def test_a_canary_is_asked_for_and_shown_over_http(service, sandbox):
    caller = Caller(service)

    answer = caller.send(*NUMBERS[:3], canary={"recipients": 2})
    wrong = caller.send(*NUMBERS[:3], canary={"recipients": 0, "wait_minutes": 5000})

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "queued"
    assert sandbox.posts() == 0
    assert caller.show(answer)["canary"] == {
        "recipients": 2,
        "wait_minutes": 30,
        "max_failed_percent": 5.0,
        "max_opt_out_percent": 2.0,
    }
    assert wrong.status_code == 400
    assert set(wrong.get_json()["fields"]["canary"]) == {"recipients", "wait_minutes"}
