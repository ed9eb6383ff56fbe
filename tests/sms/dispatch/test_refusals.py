"""What Sinch refuses of one client never stops the others, whatever status and code it has."""

import itertools

import pytest

from app.sms.dispatch.circuit_breaker import close_circuit_by_hand, probe_circuit, retry_held
from app.sms.dispatch.claim import Idle, claim_batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState
from app.worker.jobs import sweep
from tests.factories import many_numbers

_S = BatchState
ANY_STATUS = [401, 402, 403, 404, 405, 302]


def _store(machine, client, count=1, *, start=0, text="Hello"):
    """Store a broadcast of a client, in batches of one recipient."""
    broadcast = machine.store(many_numbers(count, start=start), size=1, text=text)
    machine.corrupt(Broadcast, Broadcast.id == broadcast, client=client)
    return broadcast


def _refuse(sandbox, status, *, all_texts=False, **more):
    """Refuse the texts with the word Poison, or all."""
    more |= {} if all_texts else {"body_has": "Poison"}
    sandbox.order_fault(on="POST /batches", status=status, code="unheard_of", **more)


def _go_on(machine, *, minutes, step_s=15.0):
    """Sweep and submit for a time, as the workers do."""
    for _ in range(int(minutes * 60 / step_s)):
        sweep(machine.ctx)
        machine.submit_all()
        machine.clock.advance(step_s)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "either_database"),
    [*((status, "sqlite") for status in ANY_STATUS), (ANY_STATUS[0], "postgres")],
    indirect=["either_database"],
)
def test_a_client_whose_sender_is_refused_does_not_keep_another_waiting(
    either_machine, sandbox, status
):
    machine = either_machine
    _refuse(sandbox, status, times=None)
    poison = _store(machine, "shop", 3, text="Poison")
    machine.submit_all()
    waited = []

    for number in range(8):
        other = _store(machine, "crm", 1, start=100 + number)
        begun = machine.ctx.now()
        while machine.states(other) != [_S.ACCEPTED]:
            _go_on(machine, minutes=0.25)
        waited.append((machine.ctx.now() - begun).total_seconds())

    # Until Sinch has served another client, nothing tells this refusal from one of our account.
    assert waited[0] <= 60
    assert max(waited[1:]) <= 15
    assert set(machine.states(poison)) <= {_S.HELD, _S.PENDING}
    assert machine.gates().circuit is None
    assert machine.violations() == []


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 302])
def test_the_refused_client_is_tried_less_and_less_and_goes_out_once_it_is_mended(
    machine, sandbox, status
):
    _refuse(sandbox, status, times=None)
    poison = _store(machine, "shop", 5, text="Poison")
    other = _store(machine, "crm", start=100)
    _go_on(machine, minutes=120, step_s=60)
    posts = sandbox.posts()
    sandbox.clear_faults()

    _go_on(machine, minutes=20, step_s=60)

    assert posts < 25
    assert machine.states(other) == [_S.ACCEPTED]
    assert machine.states(poison) == [_S.ACCEPTED] * 5
    assert len(sandbox.recipients()) == len(set(sandbox.recipients())) == 6


@pytest.mark.parametrize("status", [403, 404, 405])
def test_when_another_client_is_refused_too_it_concerns_all(machine, sandbox, status):
    _refuse(sandbox, status, all_texts=True, times=None)
    _store(machine, "shop")
    _store(machine, "crm", start=100)

    machine.submit()
    opened_by_one = machine.gates().circuit
    machine.submit()

    assert opened_by_one is None
    assert machine.gates().circuit["status"] == status


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404, 405])
def test_when_a_probe_is_refused_too_it_concerns_all(machine, sandbox, status):
    _refuse(sandbox, status, all_texts=True, times=None)
    _store(machine, "shop")
    machine.submit()
    sandbox.order_fault(on="GET /batches", status=status, times=None)

    _go_on(machine, minutes=1)

    assert machine.gates().circuit["status"] == status
    assert machine.states() == [_S.HELD]
    sandbox.clear_faults()
    _go_on(machine, minutes=20, step_s=60)
    assert machine.states() == [_S.ACCEPTED]


def test_the_trial_is_never_of_the_same_batch_twice_running(either_machine, sandbox):
    machine = either_machine
    _refuse(sandbox, 401, all_texts=True, times=None)
    for number, client in enumerate(["shop", "shop", "crm"]):
        _store(machine, client, 2, start=10 * number)
    machine.submit_all()

    tried = _try(machine, times=6)

    assert all(one.batch_id != two.batch_id for one, two in itertools.pairwise(tried))
    clients = [machine.broadcast(claim.broadcast_id).client for claim in tried]
    assert clients == ["crm", "shop"] * 3


def test_a_batch_alone_is_tried_again_when_there_is_no_other(machine, sandbox):
    _refuse(sandbox, 401, times=2, all_texts=True)
    broadcast = _store(machine, "shop")
    machine.submit_all()

    _go_on(machine, minutes=5)

    assert machine.states(broadcast) == [_S.ACCEPTED]


def test_another_that_is_waiting_for_its_trial_is_not_overtaken_by_a_new_request(machine, sandbox):
    _refuse(sandbox, 401, all_texts=True)
    _store(machine, "shop")
    machine.submit()
    waiting = _store(machine, "crm", start=10)
    machine.clock.advance(machine.ctx.rules.probe_every_s)
    assert probe_circuit(machine.ctx)

    new = _store(machine, "shop", start=20)

    assert isinstance(claim_batch(machine.ctx, broadcast_id=new), Idle)
    assert machine.claim().broadcast_id == waiting


def test_an_operator_lets_what_is_held_alone_try_at_once(machine, sandbox):
    _refuse(sandbox, 403, times=1)
    broadcast = _store(machine, "shop", text="Poison")
    machine.submit()
    assert machine.states() == [_S.HELD]

    assert close_circuit_by_hand(machine.ctx, actor="ops")
    machine.submit_all()

    assert machine.states(broadcast) == [_S.ACCEPTED]
    assert not close_circuit_by_hand(machine.ctx, actor="ops")


def test_a_clock_set_back_does_not_hold_it_for_as_long(machine, sandbox):
    _refuse(sandbox, 403, times=1)
    _store(machine, "shop", text="Poison")
    machine.submit()

    machine.clock.set_back(86_400)

    assert retry_held(machine.ctx) == 1


@pytest.mark.slow
def test_what_is_held_alone_ends_with_its_broadcast(machine, sandbox):
    _refuse(sandbox, 403, times=None)
    broadcast = machine.store(many_numbers(2), size=1, text="Poison", expire_s=600)
    machine.submit()

    _go_on(machine, minutes=15)

    assert machine.states(broadcast) == [_S.EXPIRED] * 2


def _try(machine, *, times):
    """Let batches try while the circuit is open; the claims."""
    claims = []
    for _ in range(times):
        machine.clock.advance((machine.gates().probe_at - machine.ctx.now()).total_seconds())
        assert probe_circuit(machine.ctx)
        claims.append(machine.claim())
        machine.submit_claim(claims[-1])
    return claims
