"""Pause, resume and cancel: in every status, against workers at work, and at Sinch."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from app.db.audit import AuditEntry
from app.sms.dispatch.burst import submit_next
from app.sms.dispatch.claim import Claim, claim_batch
from app.sms.dispatch.submit import submit_batch
from app.worker.jobs import plan_next, sweep
from tests.background import context_of, plan_all, work_off
from tests.callers import PATIENT, Caller, id_of
from tests.factories import in_hours, many_numbers
from tests.shifting import shift_clock

ANN = "+46701234567"
HOUR_S = 3600.0


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


@pytest.fixture(autouse=True)
def _slow_carrier(sandbox):
    """What Sinch has accepted waits there for a while, so that it can be cancelled."""
    sandbox.set(dispatch_after_s=600, deliver_after_s=1200)


def _claim(service):
    claim = claim_batch(context_of(service))
    assert isinstance(claim, Claim)
    return claim


def _begin_one_in_hand(service):
    """A caller, its broadcast of two batches, and the claim of the first."""
    caller = Caller(service)
    made = caller.send(*many_numbers(1500))
    plan_all(service)
    return caller, made, _claim(service)


def _audit(service, subject):
    query = select(AuditEntry.__table__).where(AuditEntry.subject == subject)
    with context_of(service).db.read() as tx:
        return [
            (row.actor, row.action, row.facts["from"], row.facts["to"])
            for row in tx.execute(query.order_by(AuditEntry.id))
        ]


def _counts(caller, broadcast):
    counts = caller.show(broadcast)["counts"]
    return {word: count for word, count in counts.items() if count}


def _begin(status, service, caller, sandbox):
    """A broadcast that has come to this status."""
    if status in ("scheduled", "missed_start"):
        made = caller.send(*many_numbers(5), send_at=in_hours(hours=1))
        if status == "missed_start":
            shift_clock(service, 3 * HOUR_S)
            sweep(context_of(service))
        return made
    if status == "expired":
        made = caller.send(*many_numbers(1001), expire_at=in_hours(hours=1))
        plan_all(service)
        shift_clock(service, 2 * HOUR_S)
        sweep(context_of(service))
        return made
    if status == "refused":
        sandbox.order_fault(on="POST /batches", status=400, code="syntax_constraint_violation")
        return caller.send(ANN)
    if status == "complete":
        return caller.send(ANN)
    made = caller.send(*many_numbers(2500))
    if status == "sending":
        plan_all(service)
        submit_next(context_of(service))
    if status == "paused":
        caller.act("pause", made)
    if status == "cancelled":
        caller.act("cancel", made)
    return made


@pytest.mark.parametrize(
    ("status", "what", "becomes"),
    [
        ("scheduled", "pause", "paused"),
        ("scheduled", "resume", "scheduled"),
        ("scheduled", "cancel", "cancelled"),
        ("missed_start", "pause", None),
        ("missed_start", "resume", "queued"),
        ("missed_start", "cancel", "cancelled"),
        ("queued", "pause", "paused"),
        ("queued", "resume", "queued"),
        ("queued", "cancel", "cancelled"),
        ("sending", "pause", "paused"),
        ("sending", "resume", "sending"),
        ("sending", "cancel", "cancelled"),
        ("paused", "pause", "paused"),
        ("paused", "resume", "queued"),
        ("paused", "cancel", "cancelled"),
        ("complete", "pause", None),
        ("complete", "resume", None),
        ("complete", "cancel", "cancelled"),
        ("refused", "pause", None),
        ("refused", "resume", None),
        ("refused", "cancel", None),
        ("expired", "pause", None),
        ("expired", "resume", None),
        ("expired", "cancel", None),
        ("cancelled", "pause", None),
        ("cancelled", "resume", None),
        ("cancelled", "cancel", "cancelled"),
    ],
)
def test_what_each_does_in_each_status(service, caller, sandbox, status, what, becomes):
    made = _begin(status, service, caller, sandbox)
    assert caller.show(made)["status"] == status

    answer = caller.act(what, made)

    if becomes is None:
        assert answer.status_code == 409
        assert answer.get_json()["status"] == status
        assert status in answer.get_json()["error"]
        assert caller.show(made)["status"] == status
    else:
        assert answer.status_code == 200
        # Estimates move on with the clock.
        estimated = {"progress": None}
        assert answer.get_json() | estimated == caller.show(made) | estimated
        assert answer.get_json()["status"] == becomes
    view = caller.show(made)
    assert sum(view["counts"].values()) == view["recipients"]


@pytest.mark.parametrize("what", ["pause", "resume", "cancel"])
@pytest.mark.parametrize("broadcast", ["0" * 26, "x", "%27", "a" * 500])
def test_an_unknown_broadcast_is_told_as_such(caller, what, broadcast):
    answer = caller.act(what, broadcast)

    assert answer.status_code == 404
    assert "no such broadcast" in answer.get_json()["error"].lower()


def test_who_did_what_is_kept_once_for_each_change(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*many_numbers(1001))

    for what in ("pause", "pause", "resume", "resume", "cancel", "cancel"):
        assert caller.act(what, made).status_code == 200

    assert _audit(either_service, id_of(made)) == [
        ("tests", "pause", "queued", "paused"),
        ("tests", "resume", "paused", "queued"),
        ("tests", "cancel", "queued", "cancelled"),
    ]


def test_a_cancellation_may_say_why_in_the_audit(caller, service, sandbox):
    made = caller.send(*many_numbers(1001))
    path = f"/api/broadcasts/{id_of(made)}/cancel"

    refused = caller.post(path, {"note": "x" * 501})
    stopped = caller.post(path, {"note": " Wrong opening time "})

    assert refused.status_code == 400
    assert "note" in refused.get_json()["fields"]
    assert stopped.get_json()["status"] == "cancelled"
    with service.extensions["clarion"].db.read() as tx:
        facts = tx.execute(select(AuditEntry.facts).where(AuditEntry.action == "cancel")).scalar()
    assert facts["note"] == "Wrong opening time"


def test_nothing_is_claimed_while_paused_and_the_rest_goes_out_when_resumed(
    either_service, sandbox
):
    caller, numbers = Caller(either_service), many_numbers(2500)
    made = caller.send(*numbers)
    plan_all(either_service)
    submit_next(context_of(either_service))
    caller.act("pause", made)

    work_off(either_service)
    paused = sandbox.recipients()
    caller.act("resume", made)
    work_off(either_service)

    assert paused == numbers[:1000]
    assert sandbox.recipients() == numbers
    assert caller.show(made)["status"] == "complete"


def test_a_pause_does_not_undo_the_batch_in_hand(either_service, sandbox):
    caller, made, claim = _begin_one_in_hand(either_service)

    caller.act("pause", made)
    submit_batch(context_of(either_service), claim)

    assert _counts(caller, made) == {"submitted": 1000, "pending": 500}
    assert caller.show(made)["status"] == "paused"


def test_a_paused_one_whose_last_batch_was_in_hand_completes(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*many_numbers(1001))
    plan_all(either_service)
    submit_next(context_of(either_service))
    claim = _claim(either_service)

    caller.act("pause", made)
    submit_batch(context_of(either_service), claim)

    assert caller.show(made)["status"] == "complete"


def test_after_a_cancel_was_answered_nothing_more_is_claimed(either_service, sandbox):
    """Three workers are at it while it is cancelled, from another connection."""
    caller = Caller(either_service)
    made = caller.send(*many_numbers(12_000))
    plan_all(either_service)
    answered, late, stop = threading.Event(), [], threading.Event()

    def work():
        while not stop.is_set():
            cancelled_before = answered.is_set()
            found = claim_batch(context_of(either_service))
            if isinstance(found, Claim):
                late.extend([found] if cancelled_before else [])
                submit_batch(context_of(either_service), found)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for worker in workers:
        worker.start()
    while not sandbox.posts():
        pass

    answer = caller.act("cancel", made)
    answered.set()
    threading.Event().wait(0.3)
    stop.set()
    for worker in workers:
        worker.join(30)

    assert answer.status_code == 200
    assert late == []
    sweep(context_of(either_service))
    counts = _counts(caller, made)
    assert counts["submitted"] == len(sandbox.recipients())
    assert counts["submitted"] + counts.get("cancelled", 0) == 12_000
    assert caller.show(made)["completed_at"] is not None


def test_a_batch_in_hand_that_did_not_go_is_cancelled_with_the_rest(either_service, sandbox):
    caller, made, claim = _begin_one_in_hand(either_service)
    sandbox.order_fault(on="POST /batches", status=429)

    caller.act("cancel", made)
    submit_batch(context_of(either_service), claim)
    work_off(either_service)

    assert _counts(caller, made) == {"cancelled": 1500}
    assert sandbox.recipients() == []


def test_a_batch_in_hand_that_did_go_is_cancelled_at_sinch(either_service, sandbox):
    caller, made, claim = _begin_one_in_hand(either_service)

    caller.act("cancel", made)
    submit_batch(context_of(either_service), claim)
    sweep(context_of(either_service))

    assert _counts(caller, made) == {"submitted": 1000, "cancelled": 500}
    assert [batch["canceled"] for batch in sandbox.batches()] == [True]
    assert caller.show(made)["stopped_at_sinch"] == 1000


def test_a_batch_found_later_at_sinch_is_cancelled_there(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*many_numbers(1500))
    plan_all(either_service)
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    submit_next(context_of(either_service))
    caller.act("cancel", made)
    assert _counts(caller, made) == {"unconfirmed": 1000, "cancelled": 500}

    shift_clock(either_service, 60)
    sweep(context_of(either_service))

    assert _counts(caller, made) == {"submitted": 1000, "cancelled": 500}
    assert [batch["canceled"] for batch in sandbox.batches()] == [True]


def test_the_audience_that_was_not_cut_yet_is_cancelled_and_counted(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(*many_numbers(21_500), "nobody", skip_invalid=True)
    plan_next(context_of(either_service))
    submit_next(context_of(either_service))

    caller.act("cancel", made)
    work_off(either_service)

    assert _counts(caller, made) == {"submitted": 1000, "cancelled": 20_500, "invalid": 1}
    assert len(sandbox.recipients()) == 1000


@pytest.mark.parametrize(
    ("fault", "stopped"),
    [
        pytest.param(None, 1, id="taken"),
        pytest.param({"when": "after", "status": 409}, 1, id="409, but it is cancelled"),
        pytest.param({"when": "before", "status": 409}, 0, id="409, too late"),
        pytest.param({"when": "after", "do": "cut"}, 1, id="answer lost"),
    ],
)
def test_what_sinch_says_of_a_cancel_is_read_again(service, caller, sandbox, fault, stopped):
    made = caller.send(ANN)
    if fault:
        sandbox.order_fault(on="DELETE /batches/{id}", **fault)

    answer = caller.act("cancel", made)

    assert answer.status_code == 200
    assert answer.get_json()["stopped_at_sinch"] == stopped
    assert answer.get_json()["counts"]["submitted"] == 1
    sweep(context_of(service))
    asked = [each for each in sandbox.requests() if each["operation"].startswith("DELETE")]
    assert len(asked) == 1


def test_sinch_is_asked_again_until_it_answers(service, caller, sandbox):
    made = caller.send(ANN)
    sandbox.order_fault(on="*", status=500, times=None)
    assert caller.act("cancel", made).get_json()["stopped_at_sinch"] == 0

    sandbox.clear_faults()
    sweep(context_of(service))

    assert caller.show(made)["stopped_at_sinch"] == 1
    assert [batch["canceled"] for batch in sandbox.batches()] == [True]


def test_sinch_is_not_asked_for_ever(service, caller, sandbox):
    made = caller.send(ANN, expire_at=in_hours(hours=1))
    sandbox.order_fault(on="*", status=500, times=None)
    caller.act("cancel", made)

    shift_clock(service, 2 * HOUR_S)
    sweep(context_of(service))
    before = len(sandbox.requests())
    sweep(context_of(service))

    assert len(sandbox.requests()) == before


@pytest.mark.slow
def test_a_silent_sinch_does_not_keep_who_cancels_waiting(make_service, sandbox):
    service = make_service(**PATIENT)
    caller = Caller(service)
    made = caller.send(*many_numbers(6000))
    work_off(service)
    sandbox.order_fault(on="*", do="hang", delay_s=30, times=None)
    started = datetime.now(UTC)

    answer = caller.act("cancel", made)

    assert answer.status_code == 200
    assert (datetime.now(UTC) - started).total_seconds() < 12
    sandbox.clear_faults()


def test_more_batches_than_one_look_takes_are_all_cancelled_at_sinch(make_service, sandbox):
    service = make_service(SINCH_MESSAGES_PER_SECOND="100000", **PATIENT)
    caller = Caller(service)
    made = [caller.send(*many_numbers(8, start=8 * n)) for n in range(3)]

    for each in made:
        caller.act("cancel", each)
    sweep(context_of(service))

    assert [batch["canceled"] for batch in sandbox.batches()] == [True] * 3


def test_a_completed_one_that_sinch_must_have_sent_by_now_is_not_cancelled(
    service, caller, sandbox
):
    made = caller.send(ANN, expire_at=in_hours(hours=1))

    shift_clock(service, 2 * HOUR_S)
    answer = caller.act("cancel", made)

    assert answer.status_code == 409
    assert caller.show(made)["status"] == "complete"
