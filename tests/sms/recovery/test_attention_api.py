"""What an operator is shown and may decide, over HTTP: GET …/attention, POST …/resolve."""

import pytest
from sqlalchemy import select, update

import app.auth
from app.db.audit import AuditEntry
from app.sms.models.batch import Attempt, Batch
from app.sms.models.states import Attention, BatchState
from app.sms.recovery.attention import find_attention
from tests.background import work_off
from tests.callers import PATIENT, Caller, id_of
from tests.factories import many_numbers

ANN = "+46701234567"


@pytest.fixture
def service(make_service, either_database, sandbox):
    return make_service(DATABASE_URL=either_database, **PATIENT)


@pytest.fixture
def caller(service):
    return Caller(service)


@pytest.fixture
def troubled(service, caller, sandbox):
    """A function that makes a broadcast whose batch nobody knows about: its reference and id."""

    def make(*recipients, reason=Attention.ABSENT):
        sandbox.order_fault(on="POST /batches", when="before", do="cut")
        made = caller.send(*(recipients or (ANN,)))
        path = f"/api/broadcasts/{id_of(made)}/messages"
        reference = caller.get(path).get_json()["messages"][0]["client_reference"]
        # What hours of asking come to.
        moved = update(Batch).where(Batch.client_reference == reference)
        with service.extensions["clarion"].db.write() as tx:
            end = {"state": BatchState.NEEDS_ATTENTION, "attention": reason}
            tx.execute(moved.values(end | {"reconcile_attempts": 40, "not_found_count": 38}))
        return reference, id_of(made)

    return make


def _resolve(caller, reference, decision, note="looked in Sinch's dashboard"):
    body = {"decision": decision, "note": note}
    return caller.post(f"/api/batches/{reference}/resolve", body)


def _rows(service, table, *order):
    with service.extensions["clarion"].db.read() as tx:
        return list(tx.execute(select(table.__table__).order_by(*order)))


def test_how_many_wait_is_told_also_of_those_not_shown(service, caller, troubled):
    references = [troubled(number)[0] for number in many_numbers(3)]

    shown = find_attention(service.extensions["clarion"], limit=2)

    assert [(row.client_reference, row.waiting) for row in shown] == [
        (references[0], 3),
        (references[1], 3),
    ]
    assert caller.get("/api/batches/attention").get_json()["waiting"] == 3
    for reference in references:
        _resolve(caller, reference, "give_up")
    assert caller.get("/api/batches/attention").get_json() == {"waiting": 0, "batches": []}


def test_what_waits_for_a_decision_is_shown_without_whom_it_is_to(caller, troubled):
    reference, broadcast = troubled(*many_numbers(3))

    answer = caller.get("/api/batches/attention")

    assert answer.status_code == 200
    (shown,) = answer.get_json()["batches"]
    assert shown.pop("unknown_since")
    assert shown == {
        "client_reference": reference,
        "broadcast_id": broadcast,
        "client": "tests",
        "recipients": 3,
        "reason": "absent",
        "lookups": 40,
        "not_found_count": 38,
    }
    assert "+4670" not in answer.text


def test_the_oldest_comes_first_and_what_is_decided_is_gone(caller, troubled):
    first, second = troubled(ANN)[0], troubled(ANN, reason=Attention.MISMATCH)[0]
    shown = caller.get("/api/batches/attention").get_json()["batches"]

    _resolve(caller, first, "give_up")

    assert [item["client_reference"] for item in shown] == [first, second]
    left = caller.get("/api/batches/attention").get_json()["batches"]
    assert [(item["client_reference"], item["reason"]) for item in left] == [(second, "mismatch")]


@pytest.mark.parametrize(
    ("decision", "state", "word", "posts"),
    [("mark_sent", "accepted", "submitted", 1), ("give_up", "closed_unsent", "abandoned", 1)],
)
def test_an_end_is_an_end(service, caller, troubled, sandbox, decision, state, word, posts):
    reference, broadcast = troubled()

    answer = _resolve(caller, reference, decision)
    work_off(service)

    assert answer.status_code == 200
    assert answer.get_json() == {"client_reference": reference, "state": state}
    view = caller.show(broadcast)
    assert (view["status"], view["counts"][word]) == ("complete", 1)
    assert sandbox.posts() == posts


def test_a_resend_is_posted_once_more_and_the_ledger_says_on_whose_word(
    service, caller, troubled, sandbox
):
    reference, broadcast = troubled()

    answer = _resolve(caller, reference, "resend")
    reopened = caller.show(broadcast)["status"]
    work_off(service)

    assert answer.get_json() == {"client_reference": reference, "state": "pending"}
    assert reopened in ("sending", "queued")
    assert sandbox.posts() == 2
    assert sandbox.recipients() == [ANN]
    assert [batch["client_reference"] for batch in sandbox.batches()] == [reference]
    assert caller.show(broadcast)["status"] == "complete"
    ledger = _rows(service, Attempt, Attempt.number)
    assert [(row.number, row.outcome, row.overridden) for row in ledger] == [
        (1, "unknown", True),
        (2, "accepted", False),
    ]


@pytest.mark.parametrize("decision", ["mark_sent", "resend", "give_up"])
def test_every_decision_is_kept_with_who_and_why(service, caller, troubled, decision):
    reference, _ = troubled()

    _resolve(caller, reference, decision, note="  asked Sinch's support, ticket 7  ")

    (entry,) = _rows(service, AuditEntry, AuditEntry.id)
    assert (entry.actor, entry.action, entry.subject) == ("tests", decision, reference)
    assert entry.facts["note"] == "asked Sinch's support, ticket 7"


_UNDECIDED = [
    ({"decision": "resend"}, "note"),
    ({"decision": "resend", "note": ""}, "note"),
    ({"decision": "resend", "note": "   "}, "note"),
    ({"decision": "resend", "note": "n" * 501}, "note"),
    ({"decision": "resend", "note": "a\0b"}, "note"),
    ({"decision": "resend", "note": 7}, "note"),
    ({"note": "why"}, "decision"),
    ({"decision": "again", "note": "why"}, "decision"),
    ({"decision": "resend", "note": "why", "force": True}, "force"),
]


def test_without_a_decision_and_a_reason_nothing_is_done(service, caller, troubled, sandbox):
    reference, _ = troubled()

    for body, field in _UNDECIDED:
        answer = caller.post(f"/api/batches/{reference}/resolve", body)

        assert answer.status_code == 400, body
        assert [*answer.get_json()["fields"]] == [field], body
    work_off(service)
    assert sandbox.posts() == 1
    assert _rows(service, AuditEntry, AuditEntry.id) == []


def test_an_unknown_batch_is_told_as_such(caller):
    for reference in ("cl-000000000000000000000000", "x", "%00", "é"):
        assert _resolve(caller, reference, "give_up").status_code == 404, reference


@pytest.mark.parametrize("decision", ["mark_sent", "resend", "give_up"])
def test_what_needs_no_decision_gets_none(caller, sandbox, decision):
    caller.send(ANN)
    (batch,) = sandbox.batches()

    answer = _resolve(caller, batch["client_reference"], decision)

    assert answer.status_code == 409
    assert answer.get_json()["state"] == "accepted"
    assert sandbox.posts() == 1


@pytest.mark.parametrize("second", ["mark_sent", "resend", "give_up"])
def test_of_two_decisions_the_first_counts(caller, troubled, second):
    reference, _ = troubled()
    _resolve(caller, reference, "give_up")

    assert _resolve(caller, reference, second).status_code == 409


def test_of_a_cancelled_broadcast_nothing_is_sent_again(service, caller, troubled, sandbox):
    reference, broadcast = troubled()
    caller.act("cancel", broadcast)

    answer = _resolve(caller, reference, "resend")
    work_off(service)

    assert answer.status_code == 409
    assert "cancelled" in answer.get_json()["error"]
    assert sandbox.posts() == 1
    assert _resolve(caller, reference, "give_up").status_code == 200
    assert caller.show(broadcast)["status"] == "cancelled"


@pytest.mark.parametrize(("method", "path"), [("GET", "attention"), ("POST", "cl-1/resolve")])
def test_only_operators_may(service, method, path):
    http, url = service.test_client(), f"/api/batches/{path}"

    assert http.open(url, method=method).status_code == 401
    endpoint, _ = service.url_map.bind("localhost").match(url, method=method)
    scope = getattr(service.view_functions[endpoint], app.auth.SCOPE_MARK)
    assert scope == "batches:operate"
