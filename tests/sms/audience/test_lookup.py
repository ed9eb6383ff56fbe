"""Broadcasts to a tag, or to whom tags and fields describe."""

import pytest
from sqlalchemy import select

from app.db.base import table_of
from app.sms.broadcasts.schedule import start_due_broadcasts
from app.sms.caps.caps import CapName, set_cap
from app.sms.models.broadcast import Broadcast
from app.sms.models.cap import CapPeriod, CapUnit
from app.sms.models.reports import OutboxEvent
from app.sms.models.states import ExclusionReason
from app.webhooks.outgoing.endpoints import create_endpoint
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.worker.jobs import plan_next, sweep
from tests.background import context_of, work_off
from tests.callers import OTHER_KEY, TWO_CLIENTS, Caller, limit_scopes
from tests.factories import in_hours, many_numbers
from tests.people import add_people, stop
from tests.shifting import shift_clock

_PEOPLE = many_numbers(6)


@pytest.fixture
def caller(either_service):
    return Caller(either_service)


@pytest.fixture
def ctx(either_service):
    return either_service.extensions["clarion"]


def _to_tag(caller, tag="vip", **more):
    return caller.post(f"/api/broadcast/tag/{tag}", {"message": "Doors open at 8", **more})


def _to_audience(caller, audience, **more):
    body = {"audience": audience, "message": "Doors open at 8", **more}
    return caller.post("/api/broadcast", body)


def test_a_text_goes_to_all_active_people_who_bear_a_tag(caller, ctx, sandbox):
    add_people(ctx, _PEOPLE[:3], tags=["vip"])
    add_people(ctx, _PEOPLE[3:4], tags=["vip"], active=False)
    add_people(ctx, _PEOPLE[4:], tags=["others"])

    answer = _to_tag(caller)

    assert answer.status_code == 202
    told = answer.get_json()
    assert told["message"] == "SMS batch submitted successfully to Sinch."
    assert told["batch_id"]
    assert told["recipients"] == 3
    assert sandbox.recipients() == _PEOPLE[:3]
    shown = caller.show(answer)
    assert shown["tag"] == "vip"
    assert shown["counts"]["submitted"] + shown["counts"]["delivered"] == 3


@pytest.mark.parametrize("tag", ["nobody", "sleeping", "a;b", "%20"])
def test_a_tag_that_nobody_active_bears_is_not_found(caller, ctx, sandbox, tag):
    add_people(ctx, _PEOPLE[:1], tags=["sleeping"], active=False)

    answer = _to_tag(caller, tag)

    assert answer.status_code == 404
    assert answer.get_json()["error"].startswith("No active subscribers found for tag:")
    assert sandbox.recipients() == []


def test_suppressed_people_of_a_tag_are_in_the_books(caller, ctx, sandbox):
    add_people(ctx, _PEOPLE, tags=["vip"])
    stop(ctx, _PEOPLE[1], _PEOPLE[2])

    answer = _to_tag(caller)

    assert sandbox.recipients() == [_PEOPLE[0], *_PEOPLE[3:]]
    shown = caller.show(answer)
    assert shown["recipients"] == 6
    assert shown["counts"]["suppressed"] == 2
    assert shown["excluded"] == {"opted_out": 2}
    page = caller.get(f"/api/broadcasts/{shown['broadcast_id']}/messages", status="suppressed")
    reasons = [each["reason"] for each in page.get_json()["messages"]]
    assert reasons == ["The recipient opted out."] * 2


def test_a_tag_of_which_everybody_opted_out_gets_nothing(caller, ctx, sandbox):
    add_people(ctx, _PEOPLE[:2], tags=["vip"])
    stop(ctx, *_PEOPLE[:2])

    answer = _to_tag(caller)

    assert answer.status_code == 202
    assert "every recipient is excluded" in answer.get_json()["message"]
    assert caller.show(answer)["status"] == "complete"


def test_tags_and_fields_together_say_whom(caller, ctx, sandbox):
    add_people(ctx, _PEOPLE[:1], tags=["a", "b"], attributes={"city": "Lund"})
    add_people(ctx, _PEOPLE[1:2], tags=["a"], attributes={"city": "Lund"})
    add_people(ctx, _PEOPLE[2:3], tags=["a", "c"], attributes={"city": "Lund"})
    add_people(ctx, _PEOPLE[3:4], tags=["a", "b"], attributes={"city": "Oslo"})
    lund = {"field": "attributes.city", "op": "eq", "value": "Lund"}

    _to_audience(caller, {"any": ["a", "b"], "all": ["a"], "none": ["c"], "where": [lund]})

    assert sandbox.recipients() == _PEOPLE[:2]


_NOBODY = [
    ({"audience": {"any": ["a"]}, "recipients": _PEOPLE}, "audience"),
    ({}, "recipients"),
    ({"audience": {}}, "audience"),
    ({"audience": {"any": ["unknown"]}}, "audience"),
    ({"audience": {"any": ["a"]}, "fields": {"n": "phone"}}, "fields"),
    ({"recipients": _PEOPLE, "fields": {"n": "first_name"}}, "fields"),
    ({"audience": {"any": ["a"]}, "parameters": {"n": {_PEOPLE[0]: "x"}}}, "parameters"),
    ({"audience": {"any": ["a"]}, "message": "Hi ${"}, "message"),
]


def test_what_does_not_say_whom_is_refused_by_field(caller, ctx):
    add_people(ctx, _PEOPLE[:1], tags=["a"])

    for body, field in _NOBODY:
        answer = caller.post("/api/broadcast", {"message": "Hi"} | body)

        assert answer.status_code == 400, body
        assert field in answer.get_json()["fields"], body


def test_values_come_from_fields_or_are_the_default(caller, ctx, at_sinch):
    add_people(ctx, _PEOPLE[:1], tags=["a"], first_name="Ann", attributes={"points": 7})
    add_people(ctx, _PEOPLE[1:2], tags=["a"], attributes={"points": 9.5})
    add_people(ctx, _PEOPLE[2:3], tags=["a"], first_name="Cy")

    answer = _to_audience(
        caller,
        {"any": ["a"]},
        message="Hi ${name}, ${points} points",
        fields={"name": "first_name"},
        parameters={"name": {"default": "friend"}},
    )

    (batch,) = at_sinch()
    assert batch["to"] == [each[1:] for each in _PEOPLE[:2]]
    assert batch["parameters"] == {
        "name": {_PEOPLE[0]: "Ann", "default": "friend"},
        "points": {_PEOPLE[0]: "7", _PEOPLE[1]: "9.5"},
    }
    assert caller.show(answer)["excluded"] == {ExclusionReason.NO_VALUE.value: 1}


def test_parts_are_those_of_the_largest_text(caller, ctx):
    add_people(ctx, _PEOPLE[:1], tags=["a"], first_name="Ann")
    add_people(ctx, _PEOPLE[1:2], tags=["a"], first_name="Ж" * 60)

    answer = _to_tag(caller, "a", message="Hi ${first_name}, welcome to the club")

    told = answer.get_json()
    assert (told["encoding"], told["parts_per_message"]) == ("UCS-2", 2)


def test_a_large_audience_is_looked_up_in_the_background(caller, ctx, either_service, sandbox):
    numbers = many_numbers(2_500)
    add_people(ctx, numbers, tags=["all"])
    stop(ctx, *numbers[10:20])

    answer = _to_tag(caller, "all")
    told = answer.get_json()
    assert (told["status"], told["recipients"], told["batch_id"]) == ("queued", 2_500, None)
    assert caller.show(answer)["resolving"] is True
    work_off(either_service)

    assert sorted(sandbox.recipients()) == numbers[:10] + numbers[20:]
    shown = caller.show(answer)
    assert (shown["resolving"], shown["recipients"]) == (False, 2_500)
    assert shown["counts"]["suppressed"] == 10
    listed, cursor = [], None
    while True:
        query = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = caller.get(f"/api/broadcasts/{shown['broadcast_id']}/messages", **query).get_json()
        listed += [each["recipient"] for each in page["messages"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(listed) == numbers


def test_a_scheduled_audience_is_who_bears_the_tag_then(caller, ctx, either_service, sandbox):
    add_people(ctx, _PEOPLE[:2], tags=["vip"])

    answer = _to_tag(caller, send_at=in_hours(0.5))
    assert answer.get_json()["status"] == "scheduled"
    work_off(either_service)
    add_people(ctx, _PEOPLE[2:3], tags=["vip"])
    shift_clock(either_service, 1801)
    start_due_broadcasts(context_of(either_service))
    work_off(either_service)

    assert sandbox.recipients() == _PEOPLE[:3]


def test_a_scheduled_audience_that_grew_above_a_cap_waits_until_that_is_raised(
    caller, ctx, either_service, sandbox
):
    cap = CapName("tests", CapPeriod.BROADCAST, CapUnit.RECIPIENTS)
    set_cap(ctx, cap, 2, actor="ops")
    named = {"client": "tests", "url": "http://127.0.0.1:9999/clarion", "sees_numbers": True}
    webhooks = WebhookHttpClient(production=False)
    create_endpoint(ctx, webhooks, event_types=["cap.reached"], **named)
    add_people(ctx, _PEOPLE[:2], tags=["vip"])
    answer = _to_tag(caller, send_at=in_hours(0.5))
    assert answer.status_code == 202
    add_people(ctx, _PEOPLE[2:3], tags=["vip"])
    shift_clock(either_service, 1801)
    ctx = context_of(either_service)
    start_due_broadcasts(ctx)
    work_off(either_service)

    assert sandbox.recipients() == []
    shown = caller.show(answer)
    assert shown["status"] == "sending"
    assert shown["counts"]["pending"] == 3
    sentence = "3 recipients deferred: a cap on sending is reached."
    expected = {"reason": "cap_reached", "recipients": 3, "until": None, "sentence": sentence}
    assert shown["exclusions"] == [expected]
    with ctx.db.read() as tx:
        (event,) = tx.execute(select(table_of(OutboxEvent))).all()
    facts = {"period": "broadcast", "amount": 2, "left": 0, "resets_at": None}
    facts |= {"client": "tests", "broadcast_id": shown["broadcast_id"]}
    assert event.facts.items() >= facts.items()
    set_cap(ctx, cap, 3, actor="ops")
    work_off(either_service)
    assert sandbox.recipients() == _PEOPLE[:3]


def test_one_whose_time_passed_before_anybody_was_looked_up_is_expired(
    caller, ctx, either_service, sandbox
):
    add_people(ctx, many_numbers(1_200), tags=["all"])
    answer = _to_tag(caller, "all", expire_at=in_hours(0.5))
    shift_clock(either_service, 1801)
    sweep(context_of(either_service))
    work_off(either_service)
    sweep(context_of(either_service))

    assert caller.show(answer)["status"] == "expired"
    assert sandbox.recipients() == []


def test_a_cancelled_one_is_not_looked_up(caller, ctx, either_service, sandbox):
    add_people(ctx, many_numbers(1_200), tags=["all"])
    answer = _to_tag(caller, "all")

    assert caller.act("cancel", answer).status_code == 200
    work_off(either_service)

    assert caller.show(answer)["status"] == "cancelled"
    assert sandbox.recipients() == []


def test_the_same_text_to_the_same_tag_is_refused_as_a_repeat(caller, ctx):
    add_people(ctx, many_numbers(1_200), tags=["all"])
    assert _to_tag(caller, "all").status_code == 202

    assert _to_tag(caller, "all").status_code == 409
    assert _to_tag(caller, "all", allow_duplicate=True).status_code == 202


def test_marketing_that_names_no_way_out_gets_one_in_its_language(caller, ctx, at_sinch):
    add_people(ctx, _PEOPLE[:1], tags=["vip"])

    _to_tag(caller, category="marketing", language="sv")
    _to_tag(caller, category="marketing", message="50% off. Txt STOP to end")
    _to_tag(caller, message="Your code is 4711")

    assert [batch["body"] for batch in at_sinch()] == [
        "Doors open at 8\nSvara STOPP för att slippa",
        "50% off. Txt STOP to end",
        "Your code is 4711",
    ]


def test_the_way_out_counts_in_the_parts(caller, ctx):
    add_people(ctx, _PEOPLE[:1], tags=["vip"])

    answer = _to_tag(caller, category="marketing", message="x" * 150)
    refused = _to_tag(caller, category="marketing", message="x" * 150, max_parts=1)

    assert answer.get_json()["parts_per_message"] == 2
    assert refused.status_code == 400
    assert "max_parts" in refused.get_json()["fields"]


def test_transactional_texts_need_their_scope(make_service, database_url, sandbox):
    service = make_service(DATABASE_URL=database_url)
    limit_scopes(service, "broadcasts:send")
    add_people(service.extensions["clarion"], _PEOPLE[:1], tags=["vip"])
    caller = Caller(service)

    refused = _to_tag(caller)
    allowed = _to_tag(caller, category="marketing")

    assert refused.status_code == 403
    assert "broadcasts:transactional" in refused.get_json()["error"]
    assert allowed.status_code == 202


@pytest.mark.slow
def test_a_costly_audience_of_one_client_does_not_hold_up_another(make_service, sandbox):
    """It takes several looks, and the other client's broadcasts get every second turn."""
    service = make_service(API_KEYS=TWO_CLIENTS)
    ctx = context_of(service)
    crowd = many_numbers(30_000)
    add_people(ctx, crowd, attributes={"a": "x"})
    condition = {"field": "attributes.a", "op": "in", "value": ["x", *map(str, range(24))]}
    shop, crm = Caller(service), Caller(service, OTHER_KEY)
    costly = [_insist(shop, {"where": [condition] * 20}) for _ in range(2)]
    assert [answer.status_code for answer in costly] == [202, 202]
    plan_next(ctx)
    assert shop.show(costly[0])["recipients"] < len(crowd)

    others = [crm.send(*many_numbers(1_500, start=40_000 * n)) for n in (1, 2)]
    turns = 0
    while not all(_is_planned(ctx, answer) for answer in others):
        assert plan_next(ctx)
        turns += 1
    assert not _is_planned(ctx, costly[0])

    while plan_next(ctx):
        pass
    shown = [shop.show(answer) for answer in costly]
    assert [one["recipients"] for one in shown] == [len(crowd)] * 2
    assert turns <= 6


def _insist(caller, audience):
    """Send as a client does that is asked to try again: a busy machine may count for too long."""
    for _ in range(10):
        answer = _to_audience(caller, audience, allow_duplicate=True)
        if answer.status_code != 503:
            break
    return answer


def _is_planned(ctx, answer):
    query = select(Broadcast).where(Broadcast.public_id == answer.get_json()["broadcast_id"])
    with ctx.db.read() as tx:
        row = tx.execute(query.with_only_columns(*table_of(Broadcast).c)).one()
    return not row.resolving and 0 < row.chunks == row.planned
