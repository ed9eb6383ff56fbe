"""A broadcast again to those it has not reached: once, to all of them, and to nobody else."""

import itertools
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from app.db.audit import AuditEntry
from app.sms.broadcasts.resend import resend_undelivered
from app.sms.dispatch.burst import submit_next
from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE
from app.sms.messages.list import list_messages
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, Attention, BatchState
from app.sms.models.statuses import NOT_REACHED, MessageStatus
from app.worker.jobs import plan_next
from tests.background import context_of, work_off
from tests.callers import OTHER_KEY, PATIENT, TWO_UNWALLED, Caller, id_of
from tests.endings import end_messages
from tests.factories import AUTH, in_hours, many_numbers
from tests.machine import Together
from tests.people import add_people

NUMBERS = many_numbers(10)
OFF, UNKNOWN_NUMBER = ("Failed", 153), ("Failed", 150)


@pytest.fixture
def either_service(make_service, either_database, sandbox):
    return make_service(DATABASE_URL=either_database, API_KEYS=TWO_UNWALLED, **PATIENT)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(API_KEYS=TWO_UNWALLED, **PATIENT)


def _resend(caller, made, body=None, **headers):
    path = f"/api/broadcasts/{id_of(made)}/resend-undelivered"
    return caller.post(path, body, **headers)


def _audience(caller, made):
    path = f"/api/broadcasts/{id_of(made)}/messages"
    return [each["recipient"] for each in caller.get(path).get_json()["messages"]]


def _failed(service, caller, ends, **more):
    """A broadcast of which Sinch reported this, in the order of the numbers."""
    made = caller.send(*NUMBERS[: len(ends)], **more)
    reported = {n: end for n, end in zip(NUMBERS, ends, strict=False) if end}
    end_messages(context_of(service), made, reported)
    return made


def test_those_who_were_out_of_reach_get_it_again_and_nobody_else(either_service, sandbox):
    caller = Caller(either_service)
    ends = [("Delivered", 0), OFF, UNKNOWN_NUMBER, ("Unknown", 0), ("Dispatched", 401), None, OFF]
    made = _failed(either_service, caller, ends, reference="r-7")

    answer = _resend(caller, made)
    work_off(either_service)

    told = answer.get_json()
    assert answer.status_code == 202
    assert (told["status"], told["recipients"], told["excluded"]) == ("queued", 2, 1)
    assert (told["resend_of"], told["reference"]) == (id_of(made), "r-7")
    assert _audience(caller, answer) == [NUMBERS[1], NUMBERS[6]]
    assert sandbox.recipients() == [*NUMBERS[:7], NUMBERS[1], NUMBERS[6]]
    shown = caller.show(answer)
    assert (shown["status"], shown["resend_of"]) == ("complete", id_of(made))
    assert caller.show(made)["resend_of"] is None


def test_those_for_whom_it_will_not_help_get_it_where_that_is_wished(service, caller, sandbox):
    made = _failed(service, caller, [OFF, UNKNOWN_NUMBER, ("Delivered", 0), None])

    answer = _resend(caller, made, {"include_permanent": True})
    work_off(service)

    assert answer.get_json()["excluded"] == 0
    assert sandbox.recipients()[4:] == NUMBERS[:2]


def test_all_that_sinch_may_say_is_sorted_into_reached_and_not(service, caller, sandbox):
    words = ["Queued", "Dispatched", "Delivered", "Failed", "Rejected", "Expired", "Aborted"]
    words += ["Cancelled", "Deleted", "Unknown"]
    made = _failed(service, caller, [(word, 0) for word in words])

    _resend(caller, made, {"include_permanent": True})
    work_off(service)

    again = sandbox.recipients()[len(words) :]
    assert again == [NUMBERS[words.index(word)] for word in words[3:9]]


def _in_every_state(machine):
    """A finished broadcast with one batch of two in each state in which it may end."""
    ends = [s for s in BatchState if s in STATUS_BY_BATCH_STATE and s not in _OPEN]
    broadcast = machine.store(many_numbers(2 * len(ends)), size=2)
    for state, batch in zip(ends, machine.batches(broadcast), strict=True):
        values = {"sinch_id": f"S{batch.id}"} if state in AT_SINCH else {}
        if state is BatchState.NEEDS_ATTENTION:
            values = {"attention": Attention.ABSENT}
        machine.corrupt(Batch, Batch.id == batch.id, state=state, **values)
    machine.corrupt(Broadcast, completed_at=machine.ctx.now(), status="complete_needs_attention")
    return broadcast, {state: many_numbers(2, start=2 * n) for n, state in enumerate(ends)}


_OPEN = (BatchState.PENDING, BatchState.SENDING, BatchState.HELD, BatchState.UNKNOWN)


def test_of_batches_only_those_that_nobody_got_anything_of_are_sent_again(machine):
    broadcast, numbers = _in_every_state(machine)
    public_id = machine.broadcast(broadcast).public_id

    answer = resend_undelivered(machine.ctx, public_id, client="tests", include_permanent=True)

    unreached = (BatchState.REJECTED, BatchState.EXPIRED, BatchState.CANCELLED)
    again = [each.recipient for each in list_messages(machine.ctx, answer["broadcast_id"]).rows]
    assert again == sorted(itertools.chain(*(numbers[state] for state in unreached)))
    assert {STATUS_BY_BATCH_STATE[state] for state in unreached} < NOT_REACHED
    assert MessageStatus.ABANDONED not in NOT_REACHED


def test_not_even_books_that_are_wrong_let_it_go_to_somebody_who_has_it(machine):
    broadcast, numbers = _in_every_state(machine)
    public_id = machine.broadcast(broadcast).public_id
    has_it, has_not = numbers[BatchState.EXPIRED]
    mine = (Message.broadcast_id == broadcast, Message.recipient == has_it)
    machine.corrupt(Message, *mine, status=MessageStatus.DELIVERED)

    answer = resend_undelivered(machine.ctx, public_id, client="tests")

    again = [each.recipient for each in list_messages(machine.ctx, answer["broadcast_id"]).rows]
    assert has_it not in again
    assert has_not in again
    machine.corrupt(Message, *mine, status=None)


def test_what_a_cancelled_broadcast_never_cut_is_sent_again_too(service, caller, sandbox):
    numbers = many_numbers(21_500)
    made = caller.send(*numbers)
    plan_next(context_of(service))
    submit_next(context_of(service))
    caller.act("cancel", made)

    answer = _resend(caller, made)
    work_off(service)

    assert caller.show(made)["counts"]["cancelled"] == 20_500
    assert answer.get_json()["recipients"] == 20_500
    assert sorted(sandbox.recipients()) == numbers


def test_the_text_the_sender_the_options_and_everybodys_own_values_go_along(
    either_service, sandbox, at_sinch
):
    caller = Caller(either_service)
    add_people(either_service.extensions["clarion"], NUMBERS)
    own = {NUMBERS[1]: "Ann", NUMBERS[2]: "Bob", "default": "friend"}
    made = _failed(
        either_service,
        caller,
        [None, OFF, None, OFF],
        message="Hello ${name}, at ${time}. Opt out: acme.example/out",
        parameters={"name": own, "time": {each: each[-1:] for each in NUMBERS[:4]}},
        sender="Acme",
        flash=True,
        max_parts=2,
        category="marketing",
        priority=8,
    )

    answer = _resend(caller, made)
    work_off(either_service)

    first, second = at_sinch()
    assert second["to"] == [NUMBERS[1][1:], NUMBERS[3][1:]]
    assert second["parameters"] == {
        "name": {NUMBERS[1]: "Ann", "default": "friend"},
        "time": {NUMBERS[1]: "1", NUMBERS[3]: "3"},
    }
    alike = ("body", "from", "flash_message", "max_number_of_message_parts")
    assert [second[name] for name in alike] == [first[name] for name in alike]
    assert second["flash_message"] is True
    shown, before = caller.show(answer), caller.show(made)
    same = ("sender", "category", "priority", "encoding", "parts_per_message", "reference")
    assert {name: shown[name] for name in same} == {name: before[name] for name in same}


def test_it_has_a_life_of_its_own(service, caller, sandbox):
    soon = datetime.now().astimezone() + timedelta(minutes=5)
    made = _failed(service, caller, [OFF], expire_at=soon.isoformat())

    answer = _resend(caller, made)

    view = caller.show(answer)
    life = datetime.fromisoformat(view["expires_at"]) - datetime.fromisoformat(view["created_at"])
    assert life == timedelta(days=1)


def test_a_large_one_is_put_in_order_and_cut_like_any_other(service, caller, sandbox):
    numbers = many_numbers(21_500)[::-1]
    made = caller.send(*numbers)
    caller.act("cancel", made)

    answer = _resend(caller, made)
    work_off(service)

    assert sandbox.recipients() == sorted(numbers)
    assert _audience(caller, answer)[:2] == sorted(numbers)[:2]


def test_it_is_resent_once_and_then_what_it_was_resent_as(either_service, sandbox):
    caller, other = Caller(either_service), Caller(either_service, OTHER_KEY)
    made = _failed(either_service, caller, [OFF, OFF])
    first = _resend(caller, made)

    again = _resend(other, made)
    work_off(either_service)
    end_messages(context_of(either_service), first, {NUMBERS[0]: OFF})
    third = _resend(caller, first)

    assert (again.status_code, again.get_json()["broadcast_id"]) == (409, id_of(first))
    assert again.get_json()["status"] == "complete"
    assert "before" in again.get_json()["error"]
    assert _audience(caller, third) == [NUMBERS[0]]
    assert third.get_json()["resend_of"] == id_of(first)


def test_of_many_at_once_one_wins_and_the_others_are_told_which(either_service, sandbox):
    caller = Caller(either_service)
    made = _failed(either_service, caller, [OFF, OFF])

    answers = Together(*[lambda: _resend(Caller(either_service), made)] * 4).join()
    work_off(either_service)

    by_status = sorted(answers, key=lambda answer: answer.status_code)
    assert [each.status_code for each in by_status] == [202, 409, 409, 409]
    assert {id_of(each) for each in answers} == {id_of(by_status[0])}
    assert sandbox.recipients() == NUMBERS[:2] * 2


def test_with_a_key_many_at_once_get_the_same_answer(either_service, sandbox):
    caller = Caller(either_service)
    made = _failed(either_service, caller, [OFF, OFF])
    key = {"Idempotency-Key": "again"}

    answers = Together(*[lambda: _resend(Caller(either_service), made, **key)] * 4).join()
    seconds_from_now = _resend(caller, made, **key)
    other = _resend(caller, made, {"include_permanent": True}, **key)

    assert {each.status_code for each in answers} == {202}
    assert {each.text for each in [*answers, seconds_from_now]} == {seconds_from_now.text}
    assert other.status_code == 422


@pytest.mark.parametrize("status", ["queued", "paused", "scheduled"])
def test_before_it_has_ended_it_is_too_early(service, caller, sandbox, status):
    more = {"send_at": in_hours(24)} if status == "scheduled" else {}
    made = caller.send(*many_numbers(1_500), **more)
    if status == "paused":
        caller.act("pause", made)

    answer = _resend(caller, made)

    assert (answer.status_code, answer.get_json()["status"]) == (409, status)
    assert "broadcast_id" not in answer.get_json()
    assert caller.ids() == [id_of(made)]


@pytest.mark.parametrize(
    ("ends", "status", "told"),
    [
        ([("Delivered", 0), ("Unknown", 0)], 400, "there is no recipient"),
        ([("Delivered", 0), None, None], 409, "2 have no final status yet: wait"),
        ([None] * 3, 409, "3 have no final status yet: wait"),
        ([UNKNOWN_NUMBER] * 3, 400, "3 recipients"),
    ],
)
def test_without_anybody_to_send_to_there_is_no_new_broadcast(
    service, caller, sandbox, ends, status, told
):
    made = _failed(service, caller, ends)

    answer = _resend(caller, made)

    assert answer.status_code == status
    assert told in answer.get_json()["error"].lower()
    assert caller.ids() == [id_of(made)]
    with_all = _resend(caller, made, {"include_permanent": True})
    assert with_all.status_code == (202 if told == "3 recipients" else status)


def test_a_resend_tells_how_many_may_still_fail_without_being_resent(service, caller, sandbox):
    made = _failed(service, caller, [OFF, None, None])

    answer = _resend(caller, made)

    assert (answer.status_code, answer.get_json()["recipients"]) == (202, 1)
    assert answer.get_json()["awaited"] == 2
    assert "resent only once" in answer.get_json()["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"include_permanent": "yes"}, "include_permanent"),
        ({"include_permanent": None}, "include_permanent"),
        ({"include_permanent": 1}, "include_permanent"),
        ({"permanent": True}, "permanent"),
    ],
)
def test_a_wrong_body_names_the_field(service, caller, sandbox, body, field):
    made = _failed(service, caller, [OFF])

    answer = _resend(caller, made, body)

    assert answer.status_code == 400
    assert [*answer.get_json()["fields"]] == [field]
    assert caller.ids() == [id_of(made)]


@pytest.mark.parametrize(
    ("raw", "kind", "status"),
    [
        (b"", "application/json", 202),
        (b"", None, 202),
        (b"{}", "application/json", 202),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b" ", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
    ],
)
def test_the_body_may_be_left_out_but_not_be_odd(service, caller, sandbox, raw, kind, status):
    made = _failed(service, caller, [OFF])
    path = f"/api/broadcasts/{id_of(made)}/resend-undelivered"

    answer = service.test_client().post(path, data=raw, content_type=kind, headers=AUTH)

    assert answer.status_code == status


def test_an_unknown_broadcast_is_told_as_such(caller):
    assert _resend(caller, "x").status_code == 404


def test_who_had_it_sent_again_is_kept(service, caller, sandbox):
    made = _failed(service, caller, [OFF, UNKNOWN_NUMBER])

    answer = _resend(Caller(service, OTHER_KEY), made)

    with context_of(service).db.read() as tx:
        entry = tx.execute(select(AuditEntry.__table__)).one()
    assert (entry.actor, entry.action, entry.subject) == (
        "other",
        "resend_undelivered",
        id_of(made),
    )
    assert entry.facts == {"broadcast_id": id_of(answer), "recipients": 1}
    assert caller.show(answer)["client"] == "other"
