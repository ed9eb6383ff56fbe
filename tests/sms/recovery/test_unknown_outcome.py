"""From UNKNOWN to a word: rule R7, and what the list must never be taken for."""

import json
import threading
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from app.sinch.schemas import PreparedBatch
from app.sms.broadcasts.control import (
    cancel_at_sinch,
    cancel_broadcast,
    cancel_duplicate_batches,
    resume_broadcast,
)
from app.sms.dispatch.outcome import SubmitResult
from app.sms.dispatch.submit import submit_batch
from app.sms.models.batch import Batch
from app.sms.models.states import (
    Attention,
    BatchState,
    BroadcastStatus,
    CancelRequestState,
    Outcome,
)
from app.sms.recovery.attention import Decision, find_attention, resolve_batch
from app.sms.recovery.unknown_outcome import reconcile_batch, reconcile_due_batches
from app.worker.jobs import sweep
from tests.callers import PATIENT
from tests.factories import many_numbers
from tests.machine import Machine, Together, record_result
from tests.wire import RawServer, respond

ANN, BOB = "+46701234567", "+46707654321"
_S = BatchState
LIST = "GET /batches"


def _lose(machine, sandbox, *, taken=False, recipients=(ANN,)):
    """The id of a batch whose POST got no answer; its broadcast's."""
    sandbox.order_fault(on="POST /batches", when="after" if taken else "before", do="cut")
    broadcast = machine.store(recipients)
    claim = machine.claim(broadcast_id=broadcast)
    submit_batch(machine.ctx, claim)
    assert machine.batch(claim.batch_id).state is _S.UNKNOWN
    return claim.batch_id, broadcast


def _doubt(machine, **more):
    """Nobody knows any more what became of any batch; Sinch may be asked at once."""
    now = machine.ctx.now()
    doubtful = {
        "state": _S.UNKNOWN,
        "unknown_at": now,
        "next_reconcile_at": now,
        "lease_until": None,
    }
    machine.corrupt(Batch, **doubtful | more)


def _confirm(machine):
    """A batch that Sinch is known to have taken."""
    machine.store([BOB])
    result = machine.submit()
    assert result.outcome is Outcome.ACCEPTED


def _go_on(machine, batch_id, seconds):
    """Ask whenever it is time for so long; the seconds since the loss of each question."""
    unknown_at = machine.batch(batch_id).unknown_at
    end, reconcile_attempts = machine.ctx.now() + timedelta(seconds=seconds), []
    while (at := machine.batch(batch_id).next_reconcile_at) is not None and at <= end:
        machine.clock.advance((at - machine.ctx.now()).total_seconds())
        reconcile_due_batches(machine.ctx)
        reconcile_attempts.append((at - unknown_at).total_seconds())
    return reconcile_attempts


def _wait_for(machine, batch_id):
    """The question that is due next."""
    at = machine.batch(batch_id).next_reconcile_at
    machine.clock.advance((at - machine.ctx.now()).total_seconds())
    reconcile_due_batches(machine.ctx)


def test_what_the_list_shows_is_accepted(either_machine, sandbox):
    machine = either_machine
    batch_id, broadcast = _lose(machine, sandbox, taken=True)

    _wait_for(machine, batch_id)

    batch = machine.batch(batch_id)
    assert (batch.state, batch.sinch_id) == (_S.ACCEPTED, sandbox.batches()[0]["id"])
    assert (batch.next_reconcile_at, batch.attention) == (None, None)
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
    assert machine.counts(broadcast) == {"submitted": 1}
    assert sandbox.posts() == 1


def test_what_it_does_not_show_is_asked_about_and_never_sent_again(either_machine, sandbox):
    machine = either_machine
    _confirm(machine)
    batch_id, broadcast = _lose(machine, sandbox)

    reconcile_attempts = _go_on(machine, batch_id, 4 * 3600)

    assert reconcile_attempts[:8] == [5, 15, 30, 60, 120, 300, 600, 900]
    assert reconcile_attempts[-3:] == [5400, 9000, 12_600]
    batch = machine.batch(batch_id)
    assert (batch.state, batch.attention) == (_S.NEEDS_ATTENTION, Attention.ABSENT)
    assert machine.counts(broadcast) == {"unconfirmed": 1}
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE_NEEDS_ATTENTION
    assert [batch.id for batch in find_attention(machine.ctx)] == [batch_id]
    machine.idle()
    assert sandbox.posts() == 2


def test_it_is_asked_about_until_day_13(machine, sandbox):
    machine = machine.with_rules(reconcile_later_every_s=86_400.0)
    _confirm(machine)
    batch_id, _ = _lose(machine, sandbox)

    reconcile_attempts = _go_on(machine, batch_id, 20 * 86_400)

    assert 13 * 86_400 <= reconcile_attempts[-1] < 14 * 86_400
    assert machine.batch(batch_id).state is _S.NEEDS_ATTENTION


def test_before_fifteen_minutes_nobody_is_called(machine, sandbox):
    _confirm(machine)
    batch_id, _ = _lose(machine, sandbox)

    _go_on(machine, batch_id, 899)

    assert (machine.batch(batch_id).state, machine.batch(batch_id).not_found_count) == (
        _S.UNKNOWN,
        7,
    )


def test_a_list_that_does_not_show_what_was_taken_is_no_witness(machine, sandbox):
    """It lags, or looks at another plan: the batch in question is then not absent either."""
    _confirm(machine)
    batch_id, _ = _lose(machine, sandbox, taken=True)
    sandbox.set(list_delay_s=86_400)

    _go_on(machine, batch_id, 1799)
    before = machine.batch(batch_id).state
    _go_on(machine, batch_id, 150)

    assert before is _S.UNKNOWN
    assert machine.batch(batch_id).attention is Attention.UNREADABLE


def test_where_nothing_was_ever_taken_the_list_is_no_witness(machine, sandbox):
    batch_id, _ = _lose(machine, sandbox)

    _go_on(machine, batch_id, 1800)

    assert machine.batch(batch_id).attention is Attention.UNREADABLE


UNCLEAN = [
    pytest.param({"status": 401}, id="401"),
    pytest.param({"status": 403}, id="403"),
    pytest.param({"status": 404}, id="404"),
    pytest.param({"status": 429, "headers": {"Retry-After": "1"}}, id="429"),
    pytest.param({"status": 302, "headers": {"Location": "/elsewhere"}}, id="302"),
    pytest.param({"status": 500}, id="500"),
    pytest.param({"status": 503, "shape": "html"}, id="503"),
    pytest.param({"do": "cut"}, id="closed"),
    pytest.param({"do": "reset"}, id="reset"),
    pytest.param({"do": "half_body"}, id="half a body"),
    pytest.param({"status": 200, "shape": "html"}, id="HTML"),
    pytest.param({"status": 200, "shape": "empty"}, id="nothing"),
    pytest.param({"status": 204, "shape": "empty"}, id="204"),
    pytest.param({"status": 200, "shape": "no_id"}, id="another object"),
]


@pytest.mark.parametrize("fault", UNCLEAN)
def test_an_unclean_list_says_nothing(machine, sandbox, fault):
    _confirm(machine)
    batch_id, _ = _lose(machine, sandbox, taken=True)
    sandbox.order_fault(on=LIST, times=None, **fault)

    for _ in range(3):
        _wait_for(machine, batch_id)

    batch = machine.batch(batch_id)
    assert (batch.state, batch.reconcile_attempts, batch.not_found_count) == (_S.UNKNOWN, 3, 0)
    sandbox.clear_faults()
    looked = 0
    while machine.batch(batch_id).state is _S.UNKNOWN and looked < 3:  # one may be late
        _wait_for(machine, batch_id)
        looked += 1
    assert machine.batch(batch_id).state is _S.ACCEPTED


def _page(count, *batches):
    return respond("200 OK", json.dumps({"count": count, "batches": list(batches)}).encode())


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param(
            [_page(150, *[{"id": f"A{n}", "to": []} for n in range(100)]), respond("500 Oops")],
            id="the second fails",
        ),
        pytest.param([_page(1, {"id": "A", "to": "nobody"})], id="an item is unreadable"),
        pytest.param([respond("200 OK", b'{"batches": []}')], id="no count"),
    ],
)
def test_a_list_of_which_a_page_is_missing_says_nothing(make_machine, database_url, pages):
    def answer(connection):
        query = parse_qs(urlsplit(server.requests[-1].split()[1].decode()).query)
        page = int(query["page"][0])
        pages[min(page, len(pages) - 1)](connection)

    server = RawServer(answer)
    with server.running():
        machine = make_machine(database_url, server.url)
        machine.store([ANN])
        machine.claim()
        _doubt(machine)
        reconcile_due_batches(machine.ctx)

    batch = machine.batch()
    assert (batch.state, batch.reconcile_attempts, batch.not_found_count) == (_S.UNKNOWN, 1, 0)


def test_a_list_nobody_can_read_for_half_an_hour_calls_an_operator_and_is_asked_on(
    either_machine, sandbox
):
    machine = either_machine
    _confirm(machine)
    batch_id, broadcast = _lose(machine, sandbox, taken=True)
    sandbox.order_fault(on=LIST, times=None, status=401)

    _go_on(machine, batch_id, 1800)

    batch = machine.batch(batch_id)
    assert (batch.state, batch.attention) == (_S.NEEDS_ATTENTION, Attention.UNREADABLE)
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE_NEEDS_ATTENTION
    sandbox.clear_faults()
    _wait_for(machine, batch_id)
    assert machine.batch(batch_id).state is _S.ACCEPTED
    assert machine.batch(batch_id).attention is None
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
    assert sandbox.posts() == 2


@pytest.mark.slow
def test_a_witness_counts_however_late(machine, sandbox):
    _confirm(machine)
    batch_id, broadcast = _lose(machine, sandbox)
    _go_on(machine, batch_id, 2 * 86_400)
    assert machine.batch(batch_id).attention is Attention.ABSENT
    _take(machine, batch_id)

    _wait_for(machine, batch_id)

    assert machine.batch(batch_id).state is _S.ACCEPTED
    assert machine.counts(broadcast) == {"submitted": 1}


def _take(machine, batch_id, recipients=(ANN,)):
    """Sinch takes a batch under this reference, whoever posted it."""
    reference = machine.batch(batch_id).client_reference
    body = {
        "to": list(recipients),
        "from": "+12015550199",
        "body": "x",
        "client_reference": reference,
    }
    prepared = PreparedBatch(
        client_reference=reference, recipients=len(recipients), body=json.dumps(body).encode()
    )
    return machine.ctx.sinch.send_batch(prepared).id


def test_a_batch_that_sinch_has_twice_stops_its_broadcast_and_the_surplus_is_cancelled(
    either_machine, sandbox, capfd
):
    machine = either_machine
    sandbox.set(dispatch_after_s=60, deliver_after_s=120)
    broadcast = machine.store([ANN, BOB], size=1)
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    claim = machine.claim()
    submit_batch(machine.ctx, claim)
    _take(machine, claim.batch_id)

    _wait_for(machine, claim.batch_id)

    first, duplicate_sinch_ids = sandbox.batches()
    batch = machine.batch(claim.batch_id)
    assert (batch.state, batch.sinch_id) == (_S.DUPLICATE, first["id"])
    assert (first["canceled"], duplicate_sinch_ids["canceled"]) == (False, True)
    assert machine.broadcast(broadcast).status is BroadcastStatus.HALTED
    assert machine.counts(broadcast) == {"submitted": 1, "pending": 1}
    assert "sinch has this batch more than once" in capfd.readouterr().err
    machine.idle()
    resume_broadcast(machine.ctx, machine.broadcast(broadcast).public_id, actor="ops")
    machine.submit_all()
    assert machine.states(broadcast) == [_S.DUPLICATE, _S.ACCEPTED]
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE_NEEDS_ATTENTION


def test_a_surplus_that_could_not_be_cancelled_is_tried_again(machine, sandbox):
    sandbox.set(dispatch_after_s=60, deliver_after_s=120)
    batch_id, _ = _lose(machine, sandbox, taken=True)
    _take(machine, batch_id)
    sandbox.order_fault(on="DELETE /batches/{id}", when="before", do="cut")

    _wait_for(machine, batch_id)
    kept = machine.batch(batch_id).duplicate_sinch_ids
    sweep(machine.ctx)

    first, duplicate_sinch_ids = sandbox.batches()
    assert kept == [duplicate_sinch_ids["id"]]
    assert (first["canceled"], duplicate_sinch_ids["canceled"]) == (False, True)
    assert machine.batch(batch_id).duplicate_sinch_ids is None


def test_a_question_put_off_by_a_clock_set_back_is_asked_all_the_same(machine, sandbox):
    batch_id, _ = _lose(machine, sandbox, taken=True)
    machine.clock.set_back(12 * 3600)

    reconcile_due_batches(machine.ctx)

    assert machine.batch(batch_id).state is _S.ACCEPTED


@pytest.mark.parametrize("twice", [False, True])
def test_one_found_after_its_broadcast_was_cancelled_is_to_be_stopped(machine, sandbox, twice):
    batch_id, broadcast = _lose(machine, sandbox, taken=True)
    if twice:
        _take(machine, batch_id)
    cancel_broadcast(machine.ctx, machine.broadcast(broadcast).public_id, actor="ops")

    _wait_for(machine, batch_id)

    batch = machine.batch(batch_id)
    assert batch.state is (_S.DUPLICATE if twice else _S.ACCEPTED)
    assert batch.cancel_request is CancelRequestState.WANTED


def test_a_batch_with_other_recipients_needs_attention_and_is_not_taken_for_ours(machine, sandbox):
    batch_id, _ = _lose(machine, sandbox)
    _take(machine, batch_id, recipients=(ANN, BOB))

    _wait_for(machine, batch_id)

    batch = machine.batch(batch_id)
    assert (batch.state, batch.attention) == (_S.NEEDS_ATTENTION, Attention.MISMATCH)
    assert batch.next_reconcile_at is not None


def test_the_question_reaches_back_to_the_first_attempt_and_a_margin(make_machine, database_url):
    with RawServer(_page(0)).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store([ANN])
        started_at = machine.ctx.now()
        machine.claim()
        machine.clock.advance(3 * 86_400)
        _doubt(machine, unknown_at=started_at)
        reconcile_due_batches(machine.ctx)

    query = parse_qs(urlsplit(server.requests[0].split()[1].decode()).query)
    since = (started_at - timedelta(hours=1)).isoformat(timespec="milliseconds")
    assert query["start_date"] == [since.replace("+00:00", "Z")]
    assert query["client_reference"] == [machine.batch().client_reference]


def test_two_who_ask_at_once_have_asked_once(make_service, either_database):
    """Or two processes that sweep together would halve the time until an operator is called."""
    both_asked = threading.Barrier(2)

    def answer(connection):
        both_asked.wait(30)
        _page(0)(connection)

    with RawServer(answer).running() as server:
        ours = {"DATABASE_URL": either_database, "SINCH_REGION_URL": server.url, **PATIENT}
        machine = Machine.over(make_service(**ours).extensions["clarion"])
        machine.store([ANN])
        claim = machine.claim()
        _doubt(machine)
        Together(*[lambda: reconcile_batch(machine.ctx, claim.batch_id)] * 2).join()

    assert (machine.batch().reconcile_attempts, machine.batch().not_found_count) == (1, 1)


@pytest.mark.parametrize("meanwhile", ["another finds it", "a late answer has it"])
def test_an_id_that_somebody_learns_while_the_list_is_read_is_not_asked_for_again(
    make_machine, database_url, meanwhile
):
    def learn():
        if meanwhile == "another finds it":
            reconcile_batch(machine.ctx, claim.batch_id)
        else:
            record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="B1"))

    def answer(connection):
        if len(server.requests) > 1:
            shown = {"id": "B1", "to": [ANN], "client_reference": claim.reference}
            _page(1, shown)(connection)
            return
        learn()
        _page(0)(connection)

    with RawServer(answer).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store([ANN])
        claim = machine.claim()
        record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED))
        assert machine.batch().next_reconcile_at is not None
        reconcile_batch(machine.ctx, claim.batch_id)

    assert (machine.batch().sinch_id, machine.batch().next_reconcile_at) == ("B1", None)


def test_a_surplus_that_another_sweep_has_stopped_meanwhile_is_not_asked_for_again(
    make_machine, database_url
):
    def answer(connection):
        machine.corrupt(Batch, duplicate_sinch_ids=None)
        respond("500 Oops")(connection)

    with RawServer(answer).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store([ANN])
        machine.claim()
        machine.corrupt(
            Batch, state=_S.DUPLICATE, lease_until=None, sinch_id="B1", duplicate_sinch_ids=["B2"]
        )
        cancel_duplicate_batches(machine.ctx)

    assert machine.batch().duplicate_sinch_ids is None


def test_an_answer_that_arrives_after_an_operator_decided_changes_nothing(
    make_machine, database_url
):
    """The list is slow; meanwhile the batch is sent again."""

    def answer(connection):
        reference = machine.batch().client_reference
        resolve_batch(machine.ctx, reference, Decision.RESEND, actor="ops", note="")
        _page(0)(connection)

    with RawServer(answer).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store([ANN])
        claim = machine.claim()
        _doubt(machine, state=_S.NEEDS_ATTENTION, attention=Attention.ABSENT)
        reconcile_batch(machine.ctx, claim.batch_id)

    batch = machine.batch()
    assert (batch.state, batch.reconcile_attempts, batch.attention) == (_S.PENDING, 0, None)


@pytest.mark.slow
def test_however_slow_the_list_a_sweep_ends_and_nobody_waits_longer_than_35_minutes(
    make_machine, database_url
):
    """Each question costs ten seconds here, and there are far too many of them."""

    def answer(connection):
        machine.clock.advance(10)
        respond("401 Unauthorized")(connection)

    with RawServer(answer).running() as server:
        machine = make_machine(database_url, server.url)
        machine.store(many_numbers(400), size=1)
        started_at = machine.ctx.now()
        _doubt(machine, attempt=1)
        longest_s = 0.0
        while (machine.ctx.now() - started_at).total_seconds() < 34 * 60:
            before = machine.ctx.now()
            sweep(machine.ctx)
            longest_s = max(longest_s, (machine.ctx.now() - before).total_seconds())
            machine.clock.advance(15)

    assert longest_s <= 30
    assert set(machine.states()) == {_S.NEEDS_ATTENTION}
    assert {batch.attention for batch in machine.batches()} == {Attention.UNREADABLE}


def test_what_an_operator_counts_as_sent_of_a_cancelled_broadcast_is_stopped_once_found(
    machine, sandbox
):
    """By a question that was on its way while the operator decided."""
    batch_id, broadcast = _lose(machine, sandbox, taken=True)
    public_id = machine.broadcast(broadcast).public_id
    cancel_broadcast(machine.ctx, public_id, actor="ops")
    machine.corrupt(Batch, state=_S.NEEDS_ATTENTION, attention=Attention.ABSENT)
    reference = machine.batch(batch_id).client_reference
    resolve_batch(machine.ctx, reference, Decision.MARK_SENT, actor="ops", note="Sinch told me")

    reconcile_batch(machine.ctx, batch_id)
    cancel_at_sinch(machine.ctx)

    assert machine.batch(batch_id).sinch_id is not None
    assert machine.batch(batch_id).cancel_request in (
        CancelRequestState.CANCELLED,
        CancelRequestState.TOO_LATE,
    )


@pytest.mark.parametrize(
    ("decision", "state", "counts"),
    [
        (Decision.MARK_SENT, _S.ACCEPTED, {"submitted": 1}),
        (Decision.GIVE_UP, _S.CLOSED_UNSENT, {"abandoned": 1}),
    ],
)
def test_an_operator_ends_it_and_the_books_say_who(machine, sandbox, decision, state, counts):
    _confirm(machine)
    batch_id, broadcast = _lose(machine, sandbox)
    _go_on(machine, batch_id, 900)
    reference = machine.batch(batch_id).client_reference

    resolve_batch(machine.ctx, reference, decision, actor="ops", note="Sinch told me")

    assert machine.batch(batch_id).state is state
    assert machine.batch(batch_id).next_reconcile_at is None
    assert machine.counts(broadcast) == counts
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
    (entry,) = machine.audit()
    assert (entry.actor, entry.action, entry.subject) == ("ops", decision.value, reference)
    assert entry.facts["note"] == "Sinch told me"


def test_only_an_operator_has_it_sent_again(either_machine, sandbox):
    machine = either_machine
    _confirm(machine)
    batch_id, broadcast = _lose(machine, sandbox)
    _go_on(machine, batch_id, 900)
    reference = machine.batch(batch_id).client_reference

    resolve_batch(machine.ctx, reference, Decision.RESEND, actor="ops", note="I accept the risk")
    machine.submit_all()

    assert machine.batch(batch_id).state is _S.ACCEPTED
    assert [attempt.overridden for attempt in machine.attempts(batch_id)] == [True, False]
    assert machine.counts(broadcast) == {"submitted": 1}
    assert sorted(sandbox.recipients()) == sorted([ANN, BOB])
    assert machine.violations() == []


def test_a_clock_set_back_between_does_not_hide_the_batch_from_the_question(machine, sandbox):
    batch_id, _ = _lose(machine, sandbox, taken=True)
    machine.clock.set_back(7200)

    reconcile_batch(machine.ctx, batch_id)

    assert machine.batch(batch_id).state is _S.ACCEPTED
