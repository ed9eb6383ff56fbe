"""Each invariant can fail: a row is spoilt by hand, and the sentence says which."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from app.config import read_config
from app.logs import configure_logging
from app.sms.context import make_context
from app.sms.dispatch.outcome import SubmitResult
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import Attention, BatchState, BroadcastStatus, Outcome
from app.sms.operations.invariants import find_violations
from app.worker.jobs import run_maintenance
from tests.factories import many_numbers, settings
from tests.machine import Machine, record_result

_S = BatchState
_LONG_AGO = timedelta(hours=2)


@pytest.fixture
def make_doomed():
    """A function that makes a machine whose books need not balance in the end."""
    made = []

    def make(database_url):
        made.append(make_context(read_config(settings(DATABASE_URL=database_url))))
        return Machine.over(made[-1])

    yield make
    for ctx in made:
        ctx.sinch.close()
        ctx.db.close()


@pytest.fixture
def machine(make_doomed, database_url):
    """Over a broadcast of three batches of two, the first of them claimed."""
    return _prepare(make_doomed(database_url))


def _prepare(machine):
    machine.store(many_numbers(6), size=2)
    machine.claim()
    assert machine.violations() == []
    return machine


def _repeat(machine, outcome, **more):
    """A second attempt of the first batch, behind one that ended like this."""
    machine.corrupt(Attempt, outcome=outcome, **more)
    machine.add(
        Attempt,
        batch_id=1,
        number=2,
        started_at=machine.ctx.now(),
        payload_hash=b"",
        worker="w",
        overridden=False,
    )


def _batch(machine, number=1, **values):
    machine.corrupt(Batch, Batch.id == number, **values)


def _ago(machine, seconds):
    return machine.ctx.seconds_from_now(-seconds)


# What is spoilt, and what is said of it.
SPOILT = {
    "counts that are not those asked for": (
        lambda m: (m.corrupt(Batch, state=_S.EXPIRED), m.corrupt(Broadcast, recipients=5)),
        r"broadcast \w{26}: {'pending': -1, .*} is not 5",
    ),
    "a piece of an audience that is gone": (
        lambda m: m.corrupt(Chunk, Chunk.number == 2, size=1),
        r"broadcast \w{26}: 5 of its 6 recipients are stored",
    ),
    "a piece cut twice": (
        lambda m: m.corrupt(Broadcast, planned=2),
        r"broadcast \w{26}: 4 planned, 6 in batches",
    ),
    "an attempt repeated while nobody knows what became of it": (
        lambda m: _repeat(m, None),
        r"batch 1: attempt 1 \(None\) was repeated",
    ),
    "an attempt repeated in doubt": (
        lambda m: _repeat(m, Outcome.UNKNOWN),
        r"batch 1: attempt 1 \(unknown\) was repeated",
    ),
    "an attempt repeated that was taken": (
        lambda m: _repeat(m, Outcome.ACCEPTED),
        r"batch 1: attempt 1 \(accepted\) was repeated",
    ),
    "an attempt repeated that was refused for good": (
        lambda m: _repeat(m, Outcome.REJECTED),
        r"batch 1: attempt 1 \(rejected\) was repeated",
    ),
    "a lease that nobody ends": (
        lambda m: _batch(m, lease_until=_ago(m, 61)),
        r"batch 1: sending for too long",
    ),
    "a doubt that nobody is called for": (
        lambda m: _batch(
            m, 2, state=_S.UNKNOWN, unknown_at=_ago(m, 35 * 60 + 1), next_reconcile_at=m.ctx.now()
        ),
        r"batch 2: unknown for too long",
    ),
    "sending without a lease": (
        lambda m: _batch(m, lease_until=None),
        r"batch 1: sending with columns that do not fit",
    ),
    "a lease without sending": (
        lambda m: _batch(m, 2, lease_until=m.ctx.now()),
        r"batch 2: pending with columns that do not fit",
    ),
    "in doubt since nobody knows when": (
        lambda m: _batch(m, 2, state=_S.UNKNOWN, next_reconcile_at=m.ctx.now()),
        r"batch 2: unknown with columns that do not fit",
    ),
    "in doubt and never asked about": (
        lambda m: _batch(m, 2, state=_S.UNKNOWN, unknown_at=m.ctx.now()),
        r"batch 2: unknown with columns that do not fit",
    ),
    "an operator called for no reason": (
        lambda m: _batch(m, 2, state=_S.NEEDS_ATTENTION),
        r"batch 2: needs_attention with columns that do not fit",
    ),
    "pending although Sinch has it": (
        lambda m: _batch(m, 2, sinch_id="01JX0000000000000000000001"),
        r"batch 2: pending with columns that do not fit",
    ),
    "complete with an open batch": (
        lambda m: m.corrupt(Broadcast, status=BroadcastStatus.COMPLETE),
        r"broadcast \w{26}: completed with an open batch",
    ),
    "finished with an open batch": (
        lambda m: m.corrupt(Broadcast, completed_at=m.ctx.now()),
        r"broadcast \w{26}: completed with an open batch",
    ),
    "a message in another's batch": (
        lambda m: m.corrupt(Message, Message.recipient == many_numbers(1)[0], batch_id=2),
        r"batch [12]: [13] messages for 2 recipients",
    ),
    "messages of nobody": (
        lambda m: m.corrupt(Message, Message.batch_id == 3, batch_id=99),
        r"batch 3: None messages for 2 recipients",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_spoilt_is_said(machine, name):
    spoil, sentence = SPOILT[name]

    spoil(machine)

    found = machine.violations()
    assert any(re.fullmatch(sentence, violation) for violation in found), found


def test_each_is_said_on_postgresql_too(make_doomed, postgres):
    """One after another in one database: making one for each would cost more than the rest."""
    machine = _prepare(make_doomed(postgres.create_database()))
    attempts = iter(range(3, 100))

    for name, (spoil, sentence) in SPOILT.items():
        if name.startswith("an attempt repeated"):
            machine.corrupt(Attempt, Attempt.number == 2, number=next(attempts))
        spoil(machine)

        found = machine.violations()
        assert any(re.fullmatch(sentence, violation) for violation in found), (name, found)
        _mend(machine)


def _mend(machine):
    """As it was before, but for attempts that are over."""
    machine.corrupt(Broadcast, recipients=6, planned=3, status="sending", completed_at=None)
    machine.corrupt(Chunk, size=2)
    empty = {"unknown_at": None, "next_reconcile_at": None, "attention": None, "sinch_id": None}
    machine.corrupt(Batch, state=_S.PENDING, lease_until=None, **empty)
    _batch(machine, state=_S.SENDING, lease_until=machine.ctx.seconds_from_now(60))
    for place, number in enumerate(many_numbers(6)):
        machine.corrupt(Message, Message.recipient == number, batch_id=1 + place // 2)
    machine.corrupt(Attempt, outcome=Outcome.NOT_SENT)


@pytest.mark.parametrize(
    "allowed",
    [
        pytest.param(lambda m: _repeat(m, Outcome.NOT_SENT), id="behind one that was not sent"),
        pytest.param(lambda m: _repeat(m, Outcome.HELD), id="behind one that was held"),
        pytest.param(
            lambda m: _repeat(m, Outcome.UNKNOWN, overridden=True), id="on an operator's word"
        ),
        pytest.param(lambda m: _batch(m, lease_until=_ago(m, 59)), id="a lease just over"),
        pytest.param(
            lambda m: _batch(
                m, 2, state=_S.UNKNOWN, unknown_at=_ago(m, 34 * 60), next_reconcile_at=m.ctx.now()
            ),
            id="a doubt that is not too old",
        ),
    ],
)
def test_what_is_allowed_is_not_said(machine, allowed):
    allowed(machine)

    assert machine.violations() == []


def test_a_broadcast_with_halves_balances(machine):
    claim = machine.claim()
    _batch(machine, claim.batch_id, state=_S.REJECTED, lease_until=None)

    assert machine.violations() == []


def test_each_minute_what_is_wrong_is_logged(machine, capfd):
    configure_logging("INFO")
    machine.corrupt(Broadcast, recipients=5)

    run_maintenance(machine.ctx)

    logged = capfd.readouterr().err
    assert "a consistency check failed" in logged
    assert "6 of its 5 recipients are stored" in logged


def test_the_quick_look_leaves_out_what_ended_long_ago(make_doomed, database_url):
    machine = make_doomed(database_url)
    machine.store(many_numbers(1))
    taken = SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01JX0000000000000000000001")
    record_result(machine.ctx, machine.claim(), taken)
    machine.corrupt(Broadcast, recipients=0)
    soon = find_violations(machine.ctx, thorough=False)
    machine.clock.advance(_LONG_AGO.total_seconds())

    late = find_violations(machine.ctx, thorough=False)

    assert soon != []
    assert late == []
    assert machine.violations() != []


def test_a_smaller_time_to_call_makes_the_doubt_too_old_sooner(machine):
    _batch(
        machine,
        2,
        state=_S.UNKNOWN,
        unknown_at=_ago(machine, 400),
        next_reconcile_at=machine.ctx.now(),
        attention=Attention.ABSENT,
    )
    quick = replace(machine.ctx, rules=replace(machine.ctx.rules, unreadable_after_s=60.0))

    assert find_violations(machine.ctx) == []
    assert find_violations(quick) == ["batch 2: unknown for too long"]
