"""One POST and what its answer makes of a batch: rules R1 to R5, and the whole table of answers."""

import json
import socket
import time
from functools import partial
from hashlib import sha256

import pytest
from sqlalchemy import update

from app.sms.broadcasts.control import cancel_broadcast
from app.sms.dispatch.claim import Claim, claim_batch, claim_burst
from app.sms.dispatch.outcome import SubmitResult
from app.sms.dispatch.submit import expire_leases, post_batch, submit_batch, submit_burst
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import (
    Attention,
    BatchState,
    BroadcastStatus,
    CancelRequestState,
    Outcome,
)
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.recovery.unknown_outcome import reconcile_batch
from tests.factories import many_numbers
from tests.machine import Together, record_result
from tests.wire import RawServer, respond, send_raw, unused_port

ANN, BOB = "+46701234567", "+46707654321"
_S = BatchState

PAYLOAD_REFUSED = [400, 413, 415, 422]
EVERYTHING_REFUSED = [401, 402, 300, 301, 302, 303, 307, 308]
PERHAPS_THE_PAYLOAD_REFUSED = [403, 404, 405]
UNCLEAR = [408, 409, 410, 418, 451, 500, 501, 502, 503, 504, 507, 520, 599]


def _order(sandbox, **fault):
    sandbox.order_fault(**{"on": "POST /batches", "when": "before"} | fault)


def _bodies(server):
    return [
        request.partition(b"\r\n\r\n")[2] for request in server.requests if request[:4] == b"POST"
    ]


def test_the_attempt_is_on_record_before_its_first_byte_leaves(make_machine, either_database):
    seen = []

    def look(connection):
        seen.append((machine.batch(), machine.attempts()))
        respond("201 Created", b'{"id": "01JX0000000000000000000001"}')(connection)

    with RawServer(look).running() as server:
        machine = make_machine(either_database, server.url)
        machine.store([ANN])

        machine.submit()

    ((batch, attempts),) = seen
    assert (batch.state, batch.attempt) == (_S.SENDING, 1)
    assert batch.lease_until == machine.ctx.now() + machine.ctx.lease
    assert [(attempt.number, attempt.outcome, attempt.ended_at) for attempt in attempts] == [
        (1, None, None)
    ]
    assert attempts[0].worker == machine.ctx.worker


def test_what_arrives_is_what_the_ledger_has_the_hash_of(make_machine, either_database):
    with RawServer(respond("201 Created", b"{}")).running() as server:
        machine = make_machine(either_database, server.url)
        machine.store(many_numbers(7), size=3, text="å€ \N{THUMBS UP SIGN}")

        machine.submit_all()

    arrived = [sha256(body).digest() for body in _bodies(server)]
    assert len(arrived) == 3
    assert [attempt.payload_hash for attempt in machine.attempts()] == arrived


def test_a_batch_keeps_its_payload_and_its_reference_over_all_its_attempts(
    make_machine, database_url
):
    with RawServer(respond("429 Too Many Requests", b"{}")).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store([ANN, BOB])

        for _ in range(3):
            machine.submit()
            machine.clock.advance(61)

    bodies = _bodies(server)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert json.loads(bodies[0])["client_reference"] == machine.batch().client_reference
    assert [attempt.number for attempt in machine.attempts()] == [1, 2, 3]


def test_a_reference_is_short_and_says_nothing_of_anybody(machine, sandbox):
    numbers = many_numbers(40)
    machine.store(numbers, size=10, text="Dear Ann")

    machine.submit_all()

    references = [batch["client_reference"] for batch in sandbox.batches()]
    assert len(set(references)) == 4
    for reference in references:
        assert len(reference) <= 64
        assert reference.startswith("cl-")
        assert [number for number in numbers if number[3:] in reference] == []
        assert "Ann" not in reference


def test_taken_is_accepted(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store([ANN, BOB])

    result = machine.submit()

    batch, (attempt,) = machine.batch(), machine.attempts()
    assert result.outcome is Outcome.ACCEPTED
    assert (batch.state, batch.sinch_id) == (_S.ACCEPTED, sandbox.batches()[0]["id"])
    assert (batch.lease_until, batch.next_reconcile_at) == (None, None)
    assert (attempt.outcome, attempt.ended_at) == (Outcome.ACCEPTED, machine.ctx.now())
    assert machine.counts(broadcast) == {"submitted": 2}
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("shape", ["empty", "html", "not_json", "no_id"])
def test_taken_without_a_usable_id_is_accepted_and_its_id_looked_up(
    make_machine, database_url, sandbox, status, shape
):
    machine = make_machine(database_url)
    machine.store([ANN])
    _order(sandbox, when="after", status=status, shape=shape)

    machine.submit()
    before = machine.batch()
    machine.clock.advance(5)
    reconcile_batch(machine.ctx, before.id)

    assert (before.state, before.sinch_id) == (_S.ACCEPTED, None)
    assert before.next_reconcile_at is not None
    assert machine.batch().sinch_id == sandbox.batches()[0]["id"]
    assert machine.batch().next_reconcile_at is None
    assert sandbox.posts() == 1


@pytest.mark.parametrize("status", PAYLOAD_REFUSED)
def test_a_payload_refused_is_rejected_and_nobody_else_waits(machine, sandbox, status):
    broadcast = machine.store([ANN, BOB])
    _order(sandbox, status=status, code="syntax_constraint_violation", text="too long")
    if status == 413:
        machine.corrupt(Batch, level=10)  # else it would be halved

    machine.submit()

    (attempt,) = machine.attempts()
    assert machine.states() == [_S.REJECTED]
    assert (attempt.outcome, attempt.http_status) == (Outcome.REJECTED, status)
    assert machine.counts(broadcast) == {"rejected": 2}
    assert machine.broadcast(broadcast).status is BroadcastStatus.REFUSED
    assert machine.broadcast(broadcast).refusal["status"] == status
    assert machine.gates().find_obstacle(machine.ctx.now()) is None


@pytest.mark.parametrize("status", EVERYTHING_REFUSED)
def test_a_refusal_of_everything_holds_the_batch_and_all_others(machine, sandbox, status):
    broadcast = machine.store([ANN, BOB], size=1)
    _order(sandbox, status=status, headers={"Location": "/elsewhere"})

    machine.submit()

    attempt = machine.attempts()[0]
    assert machine.states() == [_S.HELD, _S.PENDING]
    assert (attempt.outcome, attempt.http_status) == (Outcome.HELD, status)
    assert machine.counts(broadcast) == {"held": 1, "pending": 1}
    assert machine.gates().circuit["status"] == status
    machine.idle()
    assert sandbox.posts() == 1


@pytest.mark.parametrize("status", PERHAPS_THE_PAYLOAD_REFUSED)
def test_what_may_be_the_payloads_fault_holds_its_broadcast_alone(either_machine, sandbox, status):
    machine = either_machine
    refused = machine.store([ANN, BOB], size=1)
    other = machine.store(many_numbers(1))
    _order(sandbox, status=status, code="a_code_of_tomorrow")

    machine.submit()

    assert machine.states(refused) == [_S.HELD, _S.PENDING]
    assert machine.gates().circuit is None
    assert machine.claim().broadcast_id == other
    assert machine.idle().not_before > machine.ctx.now()
    assert sandbox.posts() == 1


@pytest.mark.parametrize("code", ["illegal_number_type", "unknown_group", "missing_callback_url"])
def test_a_403_on_the_payload_alone_does_not_stop_all_sending(machine, sandbox, code):
    machine.store([ANN])
    _order(sandbox, status=403, code=code, text="no")

    machine.submit()

    assert machine.states() == [_S.REJECTED]
    assert machine.gates().circuit is None


@pytest.mark.parametrize("status", UNCLEAR)
def test_any_other_status_is_unknown_and_not_sent_again(machine, sandbox, status):
    broadcast = machine.store([ANN])
    _order(sandbox, status=status, shape="html")

    machine.submit()
    machine.clock.advance(3600)

    batch, (attempt,) = machine.batch(), machine.attempts()
    assert batch.state is _S.UNKNOWN
    assert attempt.outcome is Outcome.UNKNOWN
    assert (batch.next_reconcile_at - batch.unknown_at).total_seconds() == 5
    assert machine.counts(broadcast) == {"unconfirmed": 1}
    machine.idle()
    assert sandbox.posts() == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"do": "cut"}, id="closed after writing"),
        pytest.param({"do": "reset"}, id="reset after writing"),
        pytest.param({"do": "hang", "delay_s": 1.0}, id="read timeout"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_line_that_breaks_after_writing_leaves_it_unknown(machine, sandbox, fault, when):
    broadcast = machine.store([ANN])
    _order(sandbox, when=when, **fault)

    machine.submit()

    assert machine.states() == [_S.UNKNOWN]
    assert machine.attempts()[0].outcome is Outcome.UNKNOWN
    assert machine.counts(broadcast) == {"unconfirmed": 1}
    machine.idle()
    assert sandbox.posts() == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(send_raw(b"HTTP/1.1 "), id="half a status line"),
        pytest.param(send_raw(b"\x15\x03\x01\x00\x02\x02\x28"), id="a TLS alert"),
        pytest.param(respond("100 Continue"), id="100 and then nothing"),
    ],
)
def test_an_answer_that_is_no_answer_leaves_it_unknown(make_machine, database_url, answer):
    with RawServer(answer).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store([ANN])

        machine.submit()

    assert machine.states() == [_S.UNKNOWN]
    assert len(_bodies(server)) == 1


def _refused_url():
    return f"http://127.0.0.1:{unused_port()}"


def _silent_url():
    """Of a listener whose queue is full: connections neither succeed nor fail."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    _silent_url.kept = [listener, *fillers]
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "make_url",
    [
        pytest.param(_refused_url, id="refused"),
        pytest.param(_silent_url, id="connect timeout"),
    ],
)
def test_without_a_connection_it_is_pending_again_and_everybody_waits(
    make_machine, database_url, make_url
):
    machine = make_machine(database_url, make_url())
    broadcast = machine.store([ANN, BOB], size=1)

    machine.submit()

    (attempt,) = machine.attempts()
    assert machine.states() == [_S.PENDING, _S.PENDING]
    assert (attempt.outcome, attempt.http_status) == (Outcome.NOT_SENT, None)
    assert machine.counts(broadcast) == {"pending": 2}
    assert machine.idle().not_before == machine.ctx.seconds_from_now(2)
    for connection in getattr(_silent_url, "kept", []):
        connection.close()


def test_429_is_pending_again_and_everybody_waits_as_long_as_sinch_wishes(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store([ANN, BOB], size=1)
    _order(sandbox, status=429, headers={"Retry-After": "77"})

    machine.submit()

    (attempt,) = machine.attempts()
    assert machine.states() == [_S.PENDING, _S.PENDING]
    assert (attempt.outcome, attempt.http_status) == (Outcome.NOT_SENT, 429)
    assert machine.counts(broadcast) == {"pending": 2}
    assert machine.idle().not_before == machine.ctx.seconds_from_now(77)
    machine.clock.advance(77)
    machine.submit_all()
    assert machine.states() == [_S.ACCEPTED, _S.ACCEPTED]
    assert [attempt.number for attempt in machine.attempts()] == [1, 2, 1]


def test_a_worker_that_claimed_too_long_ago_writes_no_byte(machine, sandbox):
    machine.store([ANN])
    claim = machine.claim()
    machine.clock.advance(machine.ctx.rules.first_byte_within_s)

    submit_batch(machine.ctx, claim)

    assert sandbox.posts() == 0
    assert machine.states() == [_S.PENDING]
    assert machine.attempts()[0].outcome is Outcome.NOT_SENT
    assert machine.gates().find_obstacle(machine.ctx.now()) is None
    machine.submit()
    assert sandbox.recipients() == [ANN]


def test_a_clock_set_back_gives_no_more_time_for_the_first_byte(machine, sandbox):
    machine.store([ANN])
    claim = machine.claim()
    machine.clock.advance(machine.ctx.rules.first_byte_within_s)
    machine.clock.set_back(3600)

    submit_batch(machine.ctx, claim)

    assert sandbox.posts() == 0


def test_a_lease_of_a_clock_that_was_set_back_since_is_over(machine, sandbox):
    machine.store([ANN])
    machine.claim()
    machine.clock.set_back(600)

    assert expire_leases(machine.ctx) == 1
    assert machine.batch().state is _S.UNKNOWN


def test_a_lease_that_is_over_leaves_the_batch_unknown(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store([ANN])
    machine.claim()
    machine.clock.advance(machine.ctx.rules.lease_s - 0.001)
    early = expire_leases(machine.ctx)
    machine.clock.advance(0.001)

    late = expire_leases(machine.ctx)

    batch = machine.batch()
    assert (early, late) == (0, 1)
    assert (batch.state, batch.lease_until) == (_S.UNKNOWN, None)
    assert batch.next_reconcile_at is not None
    assert machine.attempts()[0].outcome is Outcome.UNKNOWN
    assert machine.counts(broadcast) == {"unconfirmed": 1}
    machine.idle()


ANSWERS = [
    pytest.param({}, id="taken"),
    pytest.param({"status": 429}, id="429"),
    pytest.param({"status": 400, "code": "syntax_constraint_violation"}, id="400"),
    pytest.param({"status": 401}, id="401"),
    pytest.param({"status": 500}, id="500"),
]


@pytest.mark.parametrize("fault", ANSWERS)
def test_the_same_verdict_twice_changes_nothing(machine, sandbox, fault):
    machine.store([ANN])
    if fault:
        _order(sandbox, **fault)
    claim = machine.claim()
    result = submit_batch(machine.ctx, claim)
    before = machine.batches(), machine.attempts(), machine.gates()

    record_result(machine.ctx, claim, result)

    assert (machine.batches(), machine.attempts(), machine.gates()) == before


def test_a_verdict_that_comes_after_the_next_claim_changes_nothing(machine, sandbox):
    machine.store([ANN])
    _order(sandbox, status=429, headers={"Retry-After": "1"})
    first = machine.claim()
    result = submit_batch(machine.ctx, first)
    machine.clock.advance(1)
    second = machine.claim()

    record_result(machine.ctx, first, result)

    assert (machine.batch().state, machine.batch().attempt) == (_S.SENDING, 2)
    assert machine.gates().find_obstacle(machine.ctx.now()) is None
    submit_batch(machine.ctx, second)
    assert machine.states() == [_S.ACCEPTED]


def test_an_answer_after_the_lease_still_counts(either_machine, sandbox):
    machine = either_machine
    machine.store([ANN])
    claim = machine.claim()
    result = post_batch(machine.ctx, claim)
    machine.clock.advance(machine.ctx.rules.lease_s)
    expire_leases(machine.ctx)

    record_result(machine.ctx, claim, result)

    batch = machine.batch()
    assert (batch.state, batch.sinch_id) == (_S.ACCEPTED, sandbox.batches()[0]["id"])
    assert (batch.unknown_at, batch.next_reconcile_at) == (None, None)
    assert machine.attempts()[0].outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    "result",
    [
        SubmitResult(outcome=Outcome.NOT_SENT),
        SubmitResult(outcome=Outcome.HELD),
        SubmitResult(outcome=Outcome.REJECTED),
        SubmitResult(outcome=Outcome.UNKNOWN),
    ],
    ids=lambda result: result.outcome.value,
)
def test_no_other_answer_moves_a_batch_after_its_lease(machine, result):
    machine.store([ANN])
    claim = machine.claim()
    machine.clock.advance(machine.ctx.rules.lease_s)
    expire_leases(machine.ctx)
    before = machine.batch()

    record_result(machine.ctx, claim, result)

    assert machine.batch() == before
    assert machine.gates().find_obstacle(machine.ctx.now()) is None


def _needs_attention(machine):
    """A claim and its answer, which comes so late that an operator has to decide before."""
    machine.store([ANN])
    claim = machine.claim()
    result = post_batch(machine.ctx, claim)
    machine.clock.advance(machine.ctx.rules.lease_s)
    expire_leases(machine.ctx)
    machine.corrupt(Batch, state=_S.NEEDS_ATTENTION, attention=Attention.ABSENT)
    return claim, result


def _decide(machine, decision):
    reference = machine.batch().client_reference
    return resolve_batch(machine.ctx, reference, decision, actor="ops", note="called Sinch")


def test_a_late_answer_counts_even_after_an_operator_allowed_to_send_again(machine, sandbox):
    claim, result = _needs_attention(machine)
    _decide(machine, Decision.RESEND)

    record_result(machine.ctx, claim, result)

    assert machine.states() == [_S.ACCEPTED]
    machine.idle()
    assert sandbox.recipients() == [ANN]


def test_a_late_answer_does_not_disturb_the_attempt_that_an_operator_allowed(
    either_machine, sandbox
):
    machine = either_machine
    first, late = _needs_attention(machine)
    _decide(machine, Decision.RESEND)
    second = machine.claim()

    record_result(machine.ctx, first, late)

    assert (machine.batch().state, machine.batch().attempt) == (_S.SENDING, 2)
    submit_batch(machine.ctx, second)
    assert machine.states() == [_S.ACCEPTED]
    assert [attempt.overridden for attempt in machine.attempts()] == [True, False]
    assert machine.violations() == []


def test_a_batch_taken_after_its_broadcast_was_cancelled_is_to_be_stopped_at_sinch(
    either_machine, sandbox
):
    machine = either_machine
    broadcast = machine.store([ANN, BOB], size=1)
    claim = machine.claim()
    public_id = machine.broadcast(broadcast).public_id
    cancel_broadcast(machine.ctx, public_id, actor="ops")

    submit_batch(machine.ctx, claim)

    assert [(batch.state, batch.cancel_request) for batch in machine.batches()] == [
        (_S.ACCEPTED, CancelRequestState.WANTED),
        (_S.CANCELLED, None),
    ]
    assert machine.broadcast(broadcast).status is BroadcastStatus.CANCELLED


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 401}], ids=["429", "401"])
def test_what_comes_back_unsent_after_a_cancel_is_cancelled(machine, sandbox, fault):
    broadcast = machine.store([ANN])
    claim = machine.claim()
    cancel_broadcast(machine.ctx, machine.broadcast(broadcast).public_id, actor="ops")
    _order(sandbox, **fault)

    submit_batch(machine.ctx, claim)

    assert machine.states() == [_S.CANCELLED]
    assert machine.counts(broadcast) == {"cancelled": 1}


def test_the_last_verdict_of_all_gives_a_broadcast_its_last_word(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store([ANN, BOB], size=1)
    first, second = machine.claim(), machine.claim()

    submit_batch(machine.ctx, first)
    between = machine.broadcast(broadcast)
    submit_batch(machine.ctx, second)

    assert (between.status, between.completed_at) == (BroadcastStatus.SENDING, None)
    after = machine.broadcast(broadcast)
    assert (after.status, after.completed_at) == (BroadcastStatus.COMPLETE, machine.ctx.now())


def test_a_verdict_that_the_database_refuses_for_long_leaves_the_batch_to_its_lease(
    machine, sandbox, tmp_path
):
    machine.store([ANN])
    claim = machine.claim()
    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE attempts RENAME TO elsewhere")
    started = time.monotonic()

    submit_batch(machine.ctx, claim)

    assert time.monotonic() - started < 5  # the clock is the test's own
    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE elsewhere RENAME TO attempts")
    assert machine.states() == [_S.SENDING]
    machine.clock.advance(machine.ctx.rules.lease_s)
    expire_leases(machine.ctx)
    assert machine.states() == [_S.UNKNOWN]
    machine.clock.advance(5)
    reconcile_batch(machine.ctx, claim.batch_id)
    assert machine.states() == [_S.ACCEPTED]
    assert sandbox.posts() == 1


def test_two_refusals_at_once_of_one_broadcast_do_not_wait_for_each_other(make_machine, postgres):
    """Each changes the broadcast that both hold: if they shared it, one would have to give way."""
    machine = make_machine(postgres.create_database())
    broadcast = machine.store(many_numbers(4), size=1)
    claims = [machine.claim() for _ in range(4)]
    refused = SubmitResult(outcome=Outcome.HELD)
    with machine.ctx.db.write() as tx:
        # Nobody begins before all are there.
        tx.execute(update(Broadcast).where(Broadcast.id == broadcast).values(priority=5))
        together = Together(
            *(lambda claim=claim: record_result(machine.ctx, claim, refused) for claim in claims)
        )
        time.sleep(0.3)

    together.join()

    assert machine.states() == [_S.HELD] * 4


def test_of_a_burst_nothing_more_is_begun_once_the_process_shall_end(machine, sandbox):
    machine.store(many_numbers(5), size=1)
    claims = claim_burst(machine.ctx, max_batches=5)

    submit_burst(machine.ctx, claims, stop=lambda: sandbox.posts() == 2)

    assert sandbox.posts() == 2
    assert machine.states() == [_S.ACCEPTED] * 2 + [_S.PENDING] * 3
    assert [attempt.outcome for attempt in machine.attempts()][2:] == [Outcome.NOT_SENT] * 3
    assert machine.gates().find_obstacle(machine.ctx.now()) is None


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 401}], ids=["429", "401"])
def test_of_a_burst_nothing_more_is_begun_behind_a_refusal_of_everything(machine, sandbox, fault):
    machine.store(many_numbers(5), size=1)
    _order(sandbox, skip=1, **fault)

    submit_burst(machine.ctx, claim_burst(machine.ctx, max_batches=5))

    assert sandbox.posts() == 2
    assert machine.states()[0] is _S.ACCEPTED
    assert machine.states()[2:] == [_S.PENDING] * 3


def test_of_a_burst_each_batch_ends_as_its_own_answer_says(either_machine, sandbox):
    machine = either_machine
    broadcast = machine.store(many_numbers(5), size=1)
    _order(sandbox, skip=1, when="after", do="cut")
    _order(sandbox, skip=2, status=400, code="syntax_constraint_violation")

    submit_burst(machine.ctx, claim_burst(machine.ctx, max_batches=5))

    assert machine.counts(broadcast) == {"submitted": 3, "unconfirmed": 1, "rejected": 1}
    assert sandbox.posts() == 5


def test_the_broadcasts_of_others_are_not_touched(machine, sandbox):
    first, second = machine.store([ANN]), machine.store([BOB])

    submit_batch(machine.ctx, machine.claim(broadcast_id=second))

    assert machine.states(first) == [_S.PENDING]
    assert machine.states(second) == [_S.ACCEPTED]
    assert isinstance(claim_batch(machine.ctx, broadcast_id=first), Claim)


def test_of_two_batches_that_end_at_once_one_settles_their_broadcast(
    make_machine, postgres, sandbox
):
    machine = make_machine(postgres.create_database())

    for number in range(20):
        broadcast = machine.store(many_numbers(2, start=2 * number), size=1)
        claims = [machine.claim(broadcast_id=broadcast) for _ in range(2)]
        results = [
            SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=f"id-{claim.batch_id}")
            for claim in claims
        ]
        Together(
            *(
                partial(record_result, machine.ctx, claim, result)
                for claim, result in zip(claims, results, strict=True)
            )
        ).join()

        assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
