"""Progress: places in the queue are those in which workers serve, and estimates add up."""

from app.config.keys import OWN_CLIENT
from app.sms.broadcasts.control import pause_broadcast
from app.sms.broadcasts.progress import Progress
from app.sms.broadcasts.views import view_broadcast
from app.sms.dispatch.outcome import SubmitResult
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import Outcome
from tests.factories import many_numbers
from tests.machine import record_result


def test_a_queue_has_places_and_estimates_that_follow_each_other(machine):
    paced = machine.with_rules(messages_per_second=10.0)
    first, second = machine.store(many_numbers(100)), machine.store(many_numbers(60))
    urgent = machine.store(many_numbers(20), priority=9)
    now = machine.ctx.now()

    seen = [_progress(paced, each) for each in (urgent, first, second)]

    assert [each.queue_position for each in seen] == [1, 2, 3]
    assert [(each.starts_at - now).total_seconds() for each in seen] == [0, 2, 12]
    assert [(each.finishes_at - now).total_seconds() for each in seen] == [2, 12, 18]
    # Without the setting the pace is not known before something was sent.
    unknown = _progress(machine, second)
    assert (unknown.queue_position, unknown.starts_at, unknown.finishes_at) == (3, None, None)
    assert _progress(machine, urgent).starts_at == now


def test_the_pace_of_a_broadcast_is_that_of_its_last_minutes(machine):
    broadcast = machine.store(many_numbers(1_000), size=100)
    for number in range(3):
        claim = machine.claim()
        taken = SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=f"01TAKEN{number}")
        record_result(machine.ctx, claim, taken)
        machine.clock.advance(10)

    progress = _progress(machine, broadcast)

    assert progress.queue_position == 1
    assert progress.per_second == 10
    assert progress.starts_at == machine.broadcast(broadcast).first_submitted_at
    assert (progress.finishes_at - machine.ctx.now()).total_seconds() == 70


def test_what_waits_for_something_else_has_no_place(machine):
    broadcast = machine.store(many_numbers(10))
    paused = machine.broadcast(broadcast)
    pause_broadcast(machine.ctx, paused.public_id, actor="tests")
    other = machine.store(many_numbers(10), text="another")

    assert _progress(machine, broadcast) == Progress()
    assert _progress(machine, other).queue_position == 1


def test_an_automatic_reply_takes_its_time_but_no_place(machine):
    paced = machine.with_rules(messages_per_second=1.0)
    reply, broadcast = machine.store(many_numbers(1)), machine.store(many_numbers(10))
    machine.corrupt(Broadcast, Broadcast.id == reply, client=OWN_CLIENT)

    progress = _progress(paced, broadcast)

    assert progress.queue_position == 1
    assert (progress.starts_at - machine.ctx.now()).total_seconds() == 1


def _progress(machine, broadcast_id):
    public_id = machine.broadcast(broadcast_id).public_id
    return view_broadcast(machine.ctx, public_id).progress
