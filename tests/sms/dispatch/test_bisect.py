"""A batch refused for a number in it is halved until that number stands alone."""

import pytest

from app.sms.dispatch.outcome import SubmitResult
from app.sms.models.batch import Batch
from app.sms.models.states import BatchState, BroadcastStatus, Outcome
from tests.factories import many_numbers
from tests.machine import record_result
from tests.picky import Picky

_S = BatchState


@pytest.fixture
def picky_machine(make_machine, database_url):
    """A function that submits a broadcast to a picky Sinch: the machine and the broadcast's id."""

    def submit(sinch, numbers, **more):
        with sinch.server.running():
            machine = make_machine(database_url, sinch.server.url)
            broadcast = machine.store(numbers, **more)
            machine.submit_all()
        return machine, broadcast

    return submit


@pytest.mark.parametrize("places", [(0,), (999,), (500,), (1, 2, 998)], ids=str)
def test_only_the_bad_numbers_among_a_thousand_are_left_out(picky_machine, places):
    numbers = many_numbers(1000)
    bad = [numbers[place] for place in places]
    sinch = Picky(*bad)

    machine, broadcast = picky_machine(sinch, numbers)

    assert sorted(sinch.recipients()) == sorted(set(numbers) - set(bad))
    assert machine.counts(broadcast) == {"submitted": 1000 - len(bad), "rejected": len(bad)}
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
    assert sinch.posts <= 1 + len(bad) * 2 * 10


def test_every_message_belongs_to_the_batch_that_stands_in_the_end(picky_machine):
    numbers = many_numbers(20)
    sinch = Picky(numbers[3])

    machine, broadcast = picky_machine(sinch, numbers)

    homes = machine.homes(broadcast)
    batches = {batch.id: batch for batch in machine.batches()}
    assert sorted(homes) == numbers
    assert batches[homes[numbers[3]]].state is _S.REJECTED
    assert {batches[home].state for number, home in homes.items() if number != numbers[3]} == {
        _S.ACCEPTED
    }
    assert _S.SPLIT in machine.states()


def test_on_postgresql_it_ends_alike(make_machine, postgres):
    numbers = many_numbers(1000)
    bad = [numbers[1], numbers[2], numbers[998]]
    sinch = Picky(*bad)
    with sinch.server.running():
        machine = make_machine(postgres.create_database(), sinch.server.url)
        broadcast = machine.store(numbers)
        machine.submit_all()

    homes = machine.homes(broadcast)
    states = {batch.id: batch.state for batch in machine.batches()}
    assert sorted(sinch.recipients()) == sorted(set(numbers) - set(bad))
    assert [number for number in numbers if states[homes[number]] is _S.REJECTED] == bad
    assert machine.counts(broadcast) == {"submitted": 997, "rejected": 3}


def test_each_half_has_a_reference_of_its_own_that_would_be_made_again(picky_machine):
    numbers = many_numbers(16)
    sinch = Picky(numbers[0])

    machine, _ = picky_machine(sinch, numbers)

    batches = machine.batches()
    assert len({batch.client_reference for batch in batches}) == len(batches)
    assert {sent["client_reference"] for sent in sinch.taken} == {
        batch.client_reference for batch in batches if batch.state is _S.ACCEPTED
    }
    assert [(batch.start, batch.size, batch.level) for batch in batches] == [
        (0, 16, 0), (0, 8, 1), (8, 8, 1), (0, 4, 2), (4, 4, 2), (0, 2, 3), (2, 2, 3), (0, 1, 4),
        (1, 1, 4),
    ]  # fmt: skip


def test_halves_take_the_values_of_their_own_recipients_alone(picky_machine):
    numbers = many_numbers(8)
    sinch = Picky(numbers[0])

    picky_machine(sinch, numbers)

    for sent in sinch.taken:
        assert len(sent["to"]) == len(set(sent["to"]))
    assert [sent["to"] for sent in sinch.taken] == [numbers[4:], numbers[2:4], [numbers[1]]]


def test_when_all_are_bad_everybody_is_rejected_by_name(picky_machine):
    numbers = many_numbers(8)
    sinch = Picky(*numbers)

    machine, broadcast = picky_machine(sinch, numbers)

    assert machine.counts(broadcast) == {"rejected": 8}
    assert machine.broadcast(broadcast).status is BroadcastStatus.REFUSED
    assert sinch.posts == 15


@pytest.mark.slow
def test_when_every_piece_is_refused_the_halving_ends_early(picky_machine):
    numbers = many_numbers(1000)
    sinch = Picky(*numbers)

    machine, broadcast = picky_machine(sinch, numbers)

    assert machine.counts(broadcast) == {"rejected": 1000}
    assert sinch.posts == 127  # not 1,999


def test_too_large_a_payload_is_halved_too(make_machine, database_url):
    sinch = Picky(*many_numbers(1), status="413 Payload Too Large", body=b"<html>")
    with sinch.server.running():
        machine = make_machine(database_url, sinch.server.url)
        machine.store(many_numbers(4))
        machine.submit_all()

    assert sinch.recipients() == [*many_numbers(2, start=2), *many_numbers(1, start=1)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": "syntax_constraint_violation", "text": "body: too long"}',
        b'{"code": "syntax_invalid_json", "text": "no"}',
        b"<html>",
        b"",
    ],
)
def test_what_every_half_would_be_refused_for_is_not_halved(make_machine, database_url, body):
    sinch = Picky(*many_numbers(4), body=body)
    with sinch.server.running():
        machine = make_machine(database_url, sinch.server.url)
        machine.store(many_numbers(4))
        machine.submit_all()

    assert sinch.posts == 1
    assert machine.states() == [_S.REJECTED]


def test_at_the_tenth_level_it_ends(make_machine, database_url):
    sinch = Picky(*many_numbers(4))
    with sinch.server.running():
        machine = make_machine(database_url, sinch.server.url)
        machine.store(many_numbers(4))
        machine.corrupt(Batch, level=10)
        machine.submit_all()

    assert sinch.posts == 1
    assert machine.states() == [_S.REJECTED]


def test_a_half_that_is_lost_does_not_touch_the_other(make_machine, database_url, sandbox):
    machine = make_machine(database_url)
    broadcast = machine.store(many_numbers(4))
    sandbox.order_fault(
        on="POST /batches", status=400, code="syntax_invalid_parameter_format", text="to"
    )
    machine.submit()
    sandbox.order_fault(on="POST /batches", when="after", do="cut")

    machine.submit_all()

    assert machine.states() == [_S.SPLIT, _S.UNKNOWN, _S.ACCEPTED]
    assert machine.counts(broadcast) == {"unconfirmed": 2, "submitted": 2}


def test_a_refusal_that_comes_after_the_lease_halves_nothing(make_machine, database_url):
    machine = make_machine(database_url)
    machine.store(many_numbers(4))
    claim = machine.claim()
    machine.corrupt(
        Batch,
        state=_S.UNKNOWN,
        lease_until=None,
        unknown_at=machine.ctx.now(),
        next_reconcile_at=machine.ctx.now(),
    )

    record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.REJECTED))

    assert machine.states() == [_S.UNKNOWN]
