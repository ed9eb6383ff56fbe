"""Idempotency-Key: the same request again, in every way in which a client may come to repeat it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app.failpoints import failpoints
from app.sms.models.broadcast import IdempotencyKey
from app.worker.jobs import run_maintenance, sweep
from tests.background import work_off
from tests.callers import OTHER_KEY, PATIENT, TWO_CLIENTS, Caller
from tests.factories import AUTH, broadcast_to, in_hours, many_numbers
from tests.shifting import shift_clock

ANN, BOB = "+46701234567", "+46707654321"
DAY_S = timedelta(days=1).total_seconds()


@pytest.fixture
def either_service(make_service, either_database, sandbox):
    return make_service(DATABASE_URL=either_database, API_KEYS=TWO_CLIENTS, **PATIENT)


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


@pytest.fixture
def crash_at():
    """Let a request end without a word where a crash point is."""

    def arm(name):
        failpoints.arm(name, act=lambda: 1 / 0)

    yield arm
    failpoints.arm(None)


def _count_keys(service):
    with service.extensions["clarion"].db.read() as tx:
        return tx.execute(select(func.count()).select_from(IdempotencyKey)).scalar_one()


def _forget_answers(service):
    """As though the process had died behind the commit."""
    with service.extensions["clarion"].db.write() as tx:
        tx.execute(update(IdempotencyKey).values(answer=None, answer_status=None))


def test_the_same_request_again_gets_the_same_answer_and_sends_nothing(either_service, sandbox):
    caller = Caller(either_service)
    first = caller.send(ANN, "nobody", idempotency_key="k", skip_invalid=True, reference="r1")

    again = [
        caller.send(ANN, "nobody", idempotency_key="k", skip_invalid=True, reference="r1")
        for _ in range(3)
    ]

    assert first.status_code == 202
    assert {(each.status_code, each.data) for each in again} == {(202, first.data)}
    assert sandbox.posts() == 1
    assert len(caller.ids()) == 1


def test_the_answer_is_kept_over_a_restart(make_service, either_database, sandbox):
    first = Caller(make_service(DATABASE_URL=either_database, **PATIENT)).send(
        ANN, idempotency_key="k"
    )

    again = Caller(make_service(DATABASE_URL=either_database, **PATIENT)).send(
        ANN, idempotency_key="k"
    )

    assert again.data == first.data
    assert sandbox.recipients() == [ANN]


def test_a_large_audience_is_answered_again_as_it_was_whatever_became_of_it(
    either_service, sandbox
):
    caller = Caller(either_service)
    first = caller.send(*many_numbers(1001), idempotency_key="k")
    work_off(either_service)

    again = caller.send(*many_numbers(1001), idempotency_key="k")

    assert (again.status_code, again.data) == (202, first.data)
    assert again.get_json()["status"] == "queued"
    assert caller.show(again)["status"] == "complete"
    assert len(sandbox.recipients()) == 1001


@pytest.mark.parametrize(
    "other", [{"message": "Another text"}, {"sender": "Acme"}, {"allow_duplicate": True}]
)
def test_with_another_body_the_key_is_refused(caller, sandbox, other):
    caller.send(ANN, idempotency_key="k")

    answer = caller.send(ANN, idempotency_key="k", **other)

    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.get_json()["error"]
    assert sandbox.posts() == 1
    assert len(caller.ids()) == 1


def test_while_the_first_is_at_work_the_second_is_told_to_come_back(
    make_service, either_database, sandbox
):
    service = make_service(DATABASE_URL=either_database, **PATIENT)
    sandbox.order_fault(on="POST /batches", when="after", do="drip", delay_s=1.0, byte_delay_s=0)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(Caller(service).send, ANN, idempotency_key="k")
        while not sandbox.posts():
            pass

        second = Caller(service).send(ANN, idempotency_key="k")

    assert second.status_code == 409
    assert "still running" in second.get_json()["error"]
    assert int(second.headers["Retry-After"]) >= 1
    assert first.result().status_code == 202
    assert Caller(service).send(ANN, idempotency_key="k").data == first.result().data
    assert sandbox.posts() == 1


def test_of_many_at_once_one_is_carried_out(either_service, sandbox):
    start = threading.Barrier(8)

    def send():
        caller = Caller(either_service)
        start.wait()
        return caller.send(ANN, idempotency_key="k")

    with ThreadPoolExecutor(8) as pool:
        answers = [each.result() for each in [pool.submit(send) for _ in range(8)]]

    bodies = {each.data for each in answers if each.status_code == 202}
    assert {each.status_code for each in answers} <= {202, 409}
    assert len(bodies) == 1
    assert sandbox.posts() == 1
    assert len(Caller(either_service).ids()) == 1


def test_a_key_is_its_clients_own(either_service, sandbox):
    ours, theirs = Caller(either_service), Caller(either_service, OTHER_KEY)

    first = ours.send(ANN, idempotency_key="k")
    second = theirs.send(BOB, idempotency_key="k")

    assert (first.status_code, second.status_code) == (202, 202)
    assert sandbox.recipients() == [ANN, BOB]


@pytest.mark.parametrize(
    ("quoted", "bare"),
    [
        (
            '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
            " 8e03978e-40d5-43dd-bc93-6894a57f9324 ",
        ),
        (r'"order\\7"', r"order\7"),
        ('"order 7/again"', "order 7/again"),
        (f'"{"k" * 255}"', "k" * 255),
        ('"' + r"\\" * 255 + '"', "\\" * 255),
    ],
)
def test_quoted_or_bare_it_is_the_same_key(caller, sandbox, quoted, bare):
    first = caller.send(ANN, idempotency_key=quoted)

    again = caller.send(ANN, idempotency_key=bare)

    assert first.status_code == 202
    assert again.data == first.data
    assert sandbox.posts() == 1


_NO_KEYS = ["", '""', "k" * 256, "nøkkel", "a\tb", "a\x7fb"]
_CUT = ['"', '"k', 'k"', 'a"b', '"a"b"', r'"k\"', r'"a\b"', '"a\tb"', '"k";new=1']
# A header that a retry adds once more arrives with a comma: it would be another key.
_TWICE = ["k,k", "k, k", ",k", '"a" "b"', '"a","b"']


@pytest.mark.parametrize("key", [*_NO_KEYS, *_CUT, *_TWICE])
def test_what_is_no_key_is_refused_and_nothing_is_sent(asker, sandbox, key):
    answer = asker.send(ANN, idempotency_key=key)

    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.get_json()["error"]
    assert sandbox.posts() == 0
    assert asker.ids() == []


@pytest.mark.parametrize("header", ["X-Idempotency-Key", "Idempotent-Key", "Indempotency-Key"])
def test_a_key_in_a_header_of_another_name_is_refused(asker, sandbox, header):
    answer = asker.post("/api/broadcast", broadcast_to(ANN), **{header: "order-7"})

    assert answer.status_code == 400
    assert "call it Idempotency-Key" in answer.get_json()["error"]
    assert sandbox.posts() == 0


def test_a_header_of_another_matter_is_no_key(caller, sandbox):
    answer = caller.post("/api/broadcast", broadcast_to(ANN), **{"X-Redemption-Id": "7"})

    assert answer.status_code == 202
    assert sandbox.posts() == 1


def test_quotes_and_commas_within_quotes_belong_to_the_key(caller, sandbox):
    first, other = (caller.send(ANN, idempotency_key=key) for key in (r'"say, \"k\""', '"say k"'))

    again = caller.send(ANN, idempotency_key=r'"say, \"k\""')

    assert again.data == first.data != other.data
    assert sandbox.posts() == 2


def test_a_key_may_be_long(caller, sandbox):
    first = caller.send(ANN, idempotency_key="k" * 255)

    assert caller.send(ANN, idempotency_key="k" * 255).data == first.data


def test_a_refused_request_leaves_its_key_free(service, caller, sandbox):
    assert caller.send("nobody", idempotency_key="k").status_code == 400
    assert _count_keys(service) == 0

    assert caller.send(ANN, idempotency_key="k").status_code == 202
    assert sandbox.recipients() == [ANN]


def test_without_a_key_every_request_is_a_new_one(caller, sandbox):
    caller.send(ANN)
    caller.send(ANN)

    assert sandbox.recipients() == [ANN, ANN]


def test_with_new_keys_the_same_may_be_sent_again_to_many(caller, sandbox):
    numbers = many_numbers(20)

    assert caller.send(*numbers, idempotency_key="a").status_code == 202
    assert caller.send(*numbers, idempotency_key="b").status_code == 202
    assert len(sandbox.recipients()) == 40


@pytest.mark.parametrize(("days", "posts"), [(29.9, 1), (30.1, 2)])
def test_a_key_is_kept_for_thirty_days(make_service, either_database, sandbox, days, posts):
    service = make_service(DATABASE_URL=either_database, **PATIENT)
    Caller(service).send(ANN, idempotency_key="k")

    shift_clock(service, days * DAY_S)
    sandbox.advance(days * DAY_S)

    assert Caller(service).send(ANN, idempotency_key="k").status_code == 202
    assert sandbox.posts() == posts


def test_old_keys_are_swept_away_and_their_broadcasts_stay(service, caller, sandbox):
    caller.send(ANN, idempotency_key="old")
    shift_clock(service, 20 * DAY_S)
    sandbox.advance(20 * DAY_S)
    caller.send(ANN, idempotency_key="young")

    shift_clock(service, 31 * DAY_S)
    run_maintenance(service.extensions["clarion"])

    assert _count_keys(service) == 1
    assert len(caller.ids()) == 2


def test_a_crash_before_the_commit_leaves_nothing_and_the_repetition_is_the_first(
    either_service, sandbox, crash_at
):
    caller = Caller(either_service)
    crash_at("C0")
    assert caller.send(ANN, idempotency_key="k").status_code == 500
    assert caller.ids() == []

    answer = caller.send(ANN, idempotency_key="k")

    assert answer.status_code == 202
    assert sandbox.recipients() == [ANN]


def test_after_a_crash_behind_the_commit_the_repetition_tells_the_truth_and_sends_nothing(
    either_service, sandbox, crash_at
):
    caller = Caller(either_service)
    crash_at("C1")
    assert caller.send(ANN, idempotency_key="k").status_code == 500

    at_once = caller.send(ANN, idempotency_key="k")
    shift_clock(either_service, 60)
    seconds_from_now = caller.send(ANN, idempotency_key="k")

    assert at_once.status_code == 409
    assert seconds_from_now.status_code == 202
    assert (seconds_from_now.get_json()["status"], seconds_from_now.get_json()["batch_id"]) == (
        "sending",
        None,
    )
    assert sandbox.posts() == 0
    assert caller.send(ANN, idempotency_key="k").data == seconds_from_now.data


def test_after_a_crash_behind_the_post_the_repetition_tells_what_sinch_has(either_service, sandbox):
    caller = Caller(either_service)
    first = caller.send(ANN, BOB, ANN, "nobody", idempotency_key="k", skip_invalid=True)
    _forget_answers(either_service)

    shift_clock(either_service, 60)
    seconds_from_now = caller.send(ANN, BOB, ANN, "nobody", idempotency_key="k", skip_invalid=True)

    told = first.get_json()
    del told["invalid_numbers"]  # they are counted, not kept
    assert seconds_from_now.get_json() == told
    assert sandbox.posts() == 1


def test_a_clock_that_was_set_back_does_not_keep_the_answer_away(service, caller, sandbox):
    first = caller.send(ANN, idempotency_key="k")
    _forget_answers(service)

    shift_clock(service, -DAY_S)
    answer = caller.send(ANN, idempotency_key="k")

    assert answer.get_json() == first.get_json()


@pytest.mark.parametrize(
    ("status", "code", "told"), [(400, "syntax_invalid_json", 502), (401, "unauthorized", 202)]
)
def test_a_refusal_is_answered_again_as_it_was(either_service, sandbox, status, code, told):
    caller = Caller(either_service)
    sandbox.order_fault(on="POST /batches", status=status, code=code, text="no")
    first = caller.send(ANN, idempotency_key="k")

    again = caller.send(ANN, idempotency_key="k")

    assert (first.status_code, again.status_code) == (told, told)
    assert _without_request_id(again) == _without_request_id(first)
    assert sandbox.posts() == 1


def test_an_unknown_outcome_is_answered_again_and_not_sent_again(make_service, sandbox):
    service = make_service(**PATIENT)
    caller = Caller(service)
    sandbox.order_fault(on="POST /batches", when="after", do="cut")
    sandbox.order_fault(on="GET /batches", status=500, times=None)
    first = caller.send(ANN, idempotency_key="k")
    sandbox.clear_faults()
    shift_clock(service, 60)
    sweep(service.extensions["clarion"])

    again = caller.send(ANN, idempotency_key="k")

    assert first.get_json()["status"] == "unknown"
    assert caller.show(first)["status"] == "complete"
    assert again.data == first.data
    assert sandbox.posts() == 1


def test_after_a_cancellation_the_first_answer_still_stands(caller, sandbox):
    numbers = many_numbers(1001)
    first = caller.send(*numbers, idempotency_key="k")
    caller.act("cancel", first)

    assert caller.send(*numbers, idempotency_key="k").data == first.data
    assert caller.show(first)["status"] == "cancelled"
    assert sandbox.posts() == 0


def _without_request_id(answer):
    told = json.loads(answer.data)
    if answer.status_code >= 400:
        assert told.pop("request_id")
    return told


@pytest.mark.parametrize("status", [201, 400, 401])
def test_a_replay_says_in_a_header_that_it_is_one(service, caller, sandbox, status):
    if status >= 400:
        sandbox.order_fault(on="POST /batches", status=status, code="syntax_x")
    first = caller.send(ANN, idempotency_key="k")

    again = caller.send(ANN, idempotency_key="k")
    other = caller.send(ANN, idempotency_key="another")

    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert "Idempotent-Replayed" not in other.headers


@pytest.mark.parametrize(
    "again",
    [
        '{"message": "Hi", "recipients": ["+46701234567"], "parameters": {}, "flash": false}',
        '{"flash":false,"parameters":{},"recipients":["+46701234567"],"message":"Hi"}',
        r"""{"flash": false, "recipients": ["\u002b46701234567"], "message": "H\u0069",
            "parameters": {}}""",
    ],
)
def test_the_same_request_in_another_spelling_of_its_json_gets_the_first_answer(
    make_service, sandbox, again
):
    client = make_service(**PATIENT).test_client()
    headers = AUTH | {"Idempotency-Key": "once"}
    body = {"recipients": ["+46701234567"], "message": "Hi", "flash": False, "parameters": {}}
    first = client.post("/api/broadcast", headers=headers, json=body)

    second = client.post(
        "/api/broadcast", headers=headers, data=again, content_type="application/json"
    )

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.get_json() == first.get_json()
    assert sandbox.posts() == 1


@pytest.mark.parametrize(
    "other",
    [{"flash": True}, {"message": "Hi "}, {"recipients": ["+46701234567", "+46707654321"]},
     {"priority": 5}],
)  # fmt: skip
def test_another_request_is_none_in_another_spelling(make_service, sandbox, other):
    client = make_service(**PATIENT).test_client()
    headers = AUTH | {"Idempotency-Key": "once"}
    body = {"recipients": ["+46701234567"], "message": "Hi", "flash": False}
    client.post("/api/broadcast", headers=headers, json=body)

    second = client.post("/api/broadcast", headers=headers, json=body | other)

    assert second.status_code == 422
    assert "Idempotent-Replayed" not in second.headers
    assert sandbox.posts() == 1


def test_the_order_of_keys_matters_only_in_a_large_body(client):
    def send(key, body):
        return client.post(
            "/api/broadcast",
            headers={**AUTH, "Idempotency-Key": key},
            data=json.dumps(body),
            content_type="application/json",
        )

    for key, count, status in (("small", 2, 202), ("large", 70_000, 422)):
        body = {
            "message": key,
            "send_at": in_hours(24),
            "recipients": many_numbers(count),
        }

        first, again, otherwise = (
            send(key, body), send(key, body), send(key, dict(reversed(body.items()))),
        )  # fmt: skip

        assert (first.status_code, again.status_code, otherwise.status_code) == (202, 202, status)
        assert first.get_json() == again.get_json()
