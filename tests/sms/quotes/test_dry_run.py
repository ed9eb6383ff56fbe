from dataclasses import replace

import pytest

from app.sms.quotes.dry_run import DryRunCheck, cross_check
from app.sms.request.model import BroadcastRequest
from app.text.segments import measure_text
from tests.factories import many_numbers
from tests.wire import unused_port

ANN, BOB = "+46701234567", "+46707654321"


def order(text, *recipients, **more):
    return BroadcastRequest(recipients=recipients, text=text, size=measure_text(text), **more)


def test_sinch_counts_the_parts_as_we_do_and_sends_nothing(machine, sandbox):
    asked = order("Hi ${name}! " + "x" * 140, ANN, BOB, "+46701111111")
    asked = replace(
        asked, parameters={"name": {ANN: "Ann", BOB: "Robert the Magnificent", "default": "Żaneta"}}
    )

    found = cross_check(machine.ctx, asked)

    assert found == DryRunCheck(recipients=3, parts=1 + 2 + 3, our_parts=1 + 2 + 3)
    assert sandbox.posts() == 0


def test_sinch_is_asked_about_a_first_batch_only(machine, sandbox):
    found = cross_check(machine.ctx, order("Hi", *many_numbers(1_500)))

    assert (found.recipients, found.parts, found.our_parts) == (1_000, 1_000, 1_000)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"do": "answer", "status": 429}, "Sinch is busy: try again later."),
        ({"do": "answer", "status": 400}, "Sinch rejects this text (HTTP 400"),
        ({"do": "answer", "status": 401}, "Sinch accepts nothing from this account"),
        ({"do": "answer", "status": 500}, "Sinch gave no usable answer."),
        ({"do": "cut"}, "Sinch gave no usable answer."),
    ],
)
def test_what_sinch_fails_to_say_is_told_in_words(machine, sandbox, fault, said):
    sandbox.order_fault(on="POST /batches/dry_run", when="before", times=9, **fault)

    found = cross_check(machine.ctx, order("Hi", ANN, BOB))

    assert (found.recipients, found.parts, found.our_parts) == (None, None, 2)
    assert found.problem.startswith(said)
    assert ANN not in found.problem


def test_a_sinch_that_cannot_be_reached_is_told_in_words(make_machine, database_url):
    machine = make_machine(database_url, f"http://127.0.0.1:{unused_port()}")

    found = cross_check(machine.ctx, order("Hi", ANN))

    assert found == DryRunCheck(our_parts=1, problem="Sinch cannot be reached.")


def test_sinch_is_not_asked_about_nobody(machine, sandbox):
    found = cross_check(machine.ctx, order("Hi"))

    assert found.problem == "No recipient is left to ask Sinch about."
    assert sandbox.requests() == []
