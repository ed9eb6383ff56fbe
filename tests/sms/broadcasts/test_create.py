"""POST /api/broadcast: what may be asked, what is answered, and what then reaches Sinch."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.background import look_at, work_off, work_until
from tests.conftest import examples
from tests.factories import AUTH, broadcast_to, many_numbers
from tests.shifting import shift_clock

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def send(client, auth):
    def send(*recipients, **more):
        return client.post("/api/broadcast", headers=auth, json=broadcast_to(*recipients, **more))

    return send


def _in(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def test_the_answer_tells_the_batch_and_what_it_costs(send, sandbox):
    answer = send(ANN, BOB, ANN)

    assert answer.status_code == 202
    batch_id = sandbox.batches()[0]["id"]
    broadcast_id = answer.get_json()["broadcast_id"]
    assert re.fullmatch("[0-9a-hjkmnp-tv-z]{26}", broadcast_id)
    assert answer.get_json() == {
        "message": "SMS batch submitted successfully to Sinch.",
        "broadcast_id": broadcast_id,
        "status": "complete",
        "url": f"/api/broadcasts/{broadcast_id}",
        "batch_id": batch_id,
        "batch_ids": [batch_id],
        "recipients": 2,
        "parts_per_message": 1,
        "encoding": "GSM-7",
        "duplicates_removed": 1,
    }
    assert sandbox.recipients() == [ANN, BOB]


def test_a_larger_audience_is_accepted_at_once_and_sent_to_in_the_background(
    send, service, sandbox
):
    numbers = many_numbers(10_000)

    answer = send(*numbers)

    assert answer.status_code == 202
    told = answer.get_json()
    assert told.pop("broadcast_id") == told["url"].rpartition("/")[2]
    assert told == {
        "message": "Broadcast accepted; it is sent in the background.",
        "status": "queued",
        "url": told["url"],
        "batch_id": None,
        "batch_ids": [],
        "recipients": 10_000,
        "parts_per_message": 1,
        "encoding": "GSM-7",
        "duplicates_removed": 0,
    }
    assert sandbox.posts() == 0

    work_off(service)

    assert look_at(service, answer)["status"] == "complete"
    assert look_at(service, answer)["counts"]["submitted"] == 10_000
    assert [batch["recipients"] for batch in sandbox.batches()] == [1000] * 10
    assert len({batch["client_reference"] for batch in sandbox.batches()}) == 10
    assert sandbox.recipients() == numbers


@pytest.mark.parametrize(("count", "batches"), [(1000, [1000]), (1001, [1000, 1])])
def test_a_batch_holds_a_thousand_at_most(send, service, sandbox, count, batches):
    within = len(send(*many_numbers(count)).get_json()["batch_ids"])
    work_off(service)

    assert [batch["recipients"] for batch in sandbox.batches()] == batches
    assert within == (1 if count == 1000 else 0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1_000_001])
def test_one_to_a_million_recipients_are_taken(send, sandbox, count):
    answer = send(*many_numbers(count))

    assert answer.status_code == 400
    assert list(answer.get_json()["fields"]) == ["recipients"]
    assert sandbox.posts() == 0


@pytest.mark.slow
def test_a_million_recipients_are_taken(send, service, sandbox):
    answer = send(*many_numbers(1_000_000))

    assert (answer.status_code, answer.get_json()["status"]) == (202, "queued")
    assert look_at(service, answer)["counts"]["pending"] == 1_000_000


def test_duplicates_are_found_after_blanks_are_removed(send, sandbox):
    assert send(ANN, f" {ANN}", f"{ANN}\n").get_json()["duplicates_removed"] == 2
    assert sandbox.recipients() == [ANN]


def test_one_bad_number_keeps_everybody_back_and_is_named(send, sandbox):
    answer = send(ANN, "0701234567", BOB, 46701234567)

    assert answer.status_code == 400
    told = answer.get_json()
    assert told["invalid_numbers"] == ["0701234567", 46701234567]
    assert told["invalid_count"] == 2
    assert told["error"].startswith("recipients: 2 entries are not")
    assert sandbox.posts() == 0


def test_of_many_bad_numbers_a_hundred_are_shown_and_all_are_counted(send):
    told = send(*[f"bad-{n}" for n in range(250)], "x" * 10_000).get_json()

    assert told["invalid_numbers"] == [f"bad-{n}" for n in range(100)]
    assert told["invalid_count"] == 251


def test_bad_numbers_are_left_out_and_listed_on_request(send, sandbox):
    answer = send(ANN, "nobody", BOB, skip_invalid=True)

    assert answer.status_code == 202
    assert answer.get_json()["recipients"] == 2
    assert answer.get_json()["invalid_numbers"] == ["nobody"]
    assert answer.get_json()["invalid_count"] == 1
    assert sandbox.recipients() == [ANN, BOB]


def test_when_nobody_is_left_it_is_refused_all_the_same(send, sandbox):
    assert send("nobody", skip_invalid=True).status_code == 400
    assert sandbox.posts() == 0


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("x", "x"),
        ("  \n trimmed \t", "trimmed"),
        ("y" * 2000, "y" * 2000),
        (" " + "y" * 2000 + " ", "y" * 2000),
        ("€ costs $5 {curly} %s \\n <b>", "€ costs $5 {curly} %s \\n <b>"),
        ("Здравствуйте 👋🏽", "Здравствуйте 👋🏽"),
        ("line\r\nbreak", "line\r\nbreak"),
    ],
)
def test_a_text_arrives_as_it_was_written(send, at_sinch, text, sent):
    assert send(ANN, message=text).status_code == 202
    assert at_sinch()[0]["body"] == sent


@pytest.mark.parametrize(
    "text", ["", "   ", "\n", "x" * 2001, "a\0b", None, 7, ["x"], "\u2003", {"text": "x"}]
)
def test_a_text_that_cannot_be_sent_is_refused(send, sandbox, text):
    answer = send(ANN, message=text)

    assert answer.status_code == 400
    assert list(answer.get_json()["fields"]) == ["message"]
    assert sandbox.posts() == 0


@pytest.mark.parametrize(
    ("text", "encoding", "parts"), [("a" * 161, "GSM-7", 2), ("я" * 71, "UCS-2", 2)]
)
def test_the_answer_counts_the_parts(send, text, encoding, parts):
    told = send(ANN, message=text).get_json()

    assert (told["encoding"], told["parts_per_message"]) == (encoding, parts)


def test_the_sender_is_ours_or_the_one_asked_for(send, at_sinch):
    for sender in (None, "Acme", "71234", "+46700000900"):
        send(ANN, **({"sender": sender} if sender else {}))

    assert [each["from"] for each in at_sinch()] == ["12015550199", "Acme", "71234", "46700000900"]


def test_every_option_reaches_sinch(send, at_sinch):
    answer = send(ANN, expire_at=_in(hours=4), flash=True, max_parts=3, reference="order 17")

    assert answer.status_code == 202
    assert answer.get_json()["reference"] == "order 17"
    (batch,) = at_sinch()
    assert batch["flash_message"] is True
    assert batch["max_number_of_message_parts"] == 3
    assert batch["client_reference"] != "order 17"
    assert len(batch["client_reference"]) <= 64


def test_a_start_is_kept_by_ourselves_and_sinch_is_handed_it_at_its_time(
    send, service, sandbox, at_sinch
):
    answer = send(ANN, send_at=_in(hours=1), expire_at=_in(hours=4))
    work_off(service)

    assert answer.status_code == 202
    assert (answer.get_json()["status"], answer.get_json()["batch_id"]) == ("scheduled", None)
    assert answer.get_json()["message"] == "Broadcast accepted; it is sent at its time."
    assert sandbox.posts() == 0

    shift_clock(service, 3601)
    work_until(service, sandbox.posts)

    assert look_at(service, answer)["status"] == "complete"
    (batch,) = at_sinch()
    assert "send_at" not in batch


def test_without_a_public_url_no_report_is_asked_for_since_it_had_nowhere_to_go(send, at_sinch):
    assert send(ANN, delivery_report="full").status_code == 202
    assert at_sinch()[0]["delivery_report"] == "none"
    assert "callback_url" not in at_sinch()[0]


@pytest.mark.parametrize(
    ("setting", "asked_for", "sent"),
    [
        ("", None, "per_recipient_final"),
        ("", "summary", "summary"),
        ("full", None, "full"),
        ("none", "per_recipient", "per_recipient"),
    ],
)
def test_with_a_public_url_sinch_is_told_where_to_report_what(
    make_service, sandbox, at_sinch, setting, asked_for, sent
):
    service = make_service(PUBLIC_URL="http://127.0.0.1:9", DELIVERY_REPORT=setting)
    body = broadcast_to(ANN) | ({"delivery_report": asked_for} if asked_for else {})

    answer = service.test_client().post("/api/broadcast", json=body, headers=AUTH)

    assert answer.status_code == 202
    assert at_sinch()[0]["delivery_report"] == sent
    assert at_sinch()[0]["callback_url"] == "http://127.0.0.1:9/webhooks/sinch"


@pytest.mark.parametrize(("setting", "asked_for"), [("none", None), ("full", "none")])
def test_where_no_report_is_wanted_none_is_asked_for(
    make_service, sandbox, at_sinch, setting, asked_for
):
    service = make_service(PUBLIC_URL="http://127.0.0.1:9", DELIVERY_REPORT=setting)
    body = broadcast_to(ANN) | ({"delivery_report": asked_for} if asked_for else {})

    service.test_client().post("/api/broadcast", json=body, headers=AUTH)

    assert at_sinch()[0]["delivery_report"] == "none"
    assert "callback_url" not in at_sinch()[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sender", "twelve chars"),
        ("sender", ""),
        ("sender", 46700000900),
        ("send_at", "2020-01-01T00:00:00Z"),
        ("send_at", "2099-01-01T00:00:00"),
        ("send_at", "tomorrow"),
        ("send_at", 1772366405),
        ("send_at", "0001-01-01T00:00:00+14:00"),
        ("send_at", "9999-12-31T23:59:59-14:00"),
        ("expire_at", "2020-01-01T00:00:00Z"),
        pytest.param("expire_at", _in(days=4), id="expire_at-too late"),
        ("delivery_report", "sometimes"),
        ("reference", "x" * 65),
        ("reference", ""),
        ("reference", "a\0b"),
        ("flash", "true"),
        ("flash", 1),
        ("flash", None),
        ("max_parts", 0),
        ("max_parts", 256),
        ("max_parts", "3"),
        ("max_parts", 1.5),
        ("max_parts", True),
        ("category", "spam"),
        ("category", ""),
        ("priority", 0),
        ("priority", 10),
        ("priority", "7"),
        ("priority", True),
        ("allow_duplicate", "yes"),
        ("skip_invalid", "no"),
        ("parameters", []),
        ("parameters", {"name": "Ann"}),
        ("parameters", {"name": {ANN: 7}}),
        ("parameters", {"two words": {"default": "x"}}),
        ("parameters", {"seventeen-letters": {"default": "x"}}),
        ("parameters", {"name": {"default": "x" * 161}}),
        ("parameters", {"name": {"default": "a\0b"}}),
        ("parameters", {"name": {"+46709999999": "not a recipient"}}),
        ("recipients", "+46701234567"),
        ("recipients", None),
        ("recipients", {}),
        ("unheard_of", 1),
        ("__proto__", {}),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_sent(asker, sandbox, field, value):
    answer = asker.send(ANN, **{field: value})

    assert answer.status_code == 400
    assert list(answer.get_json()["fields"]) == [field]
    assert answer.get_json()["error"].startswith(f"{field}: ")
    assert sandbox.posts() == 0


@pytest.mark.parametrize("missing", ["recipients", "message"])
def test_a_missing_field_is_named(client, missing):
    body = broadcast_to(ANN)
    del body[missing]

    answer = client.post("/api/broadcast", headers=AUTH, json=body)

    assert answer.status_code == 400
    assert list(answer.get_json()["fields"]) == [missing]


def test_all_wrong_fields_are_named_at_once(client):
    body = {"recipients": 7, "message": "", "flash": 1, "colour": "red"}

    answer = client.post("/api/broadcast", headers=AUTH, json=body)

    assert set(answer.get_json()["fields"]) == {"recipients", "message", "flash", "colour"}


def test_the_end_must_follow_the_start(send):
    answer = send(ANN, send_at=_in(hours=2), expire_at=_in(hours=1))

    assert list(answer.get_json()["fields"]) == ["expire_at"]


def test_the_end_is_at_most_three_days_after_the_start(send, sandbox):
    assert send(ANN, send_at=_in(days=5), expire_at=_in(days=7, hours=23)).status_code == 202
    late = send(ANN, send_at=_in(days=5), expire_at=_in(days=8, minutes=1))

    assert list(late.get_json()["fields"]) == ["expire_at"]


def test_each_gets_its_own_text(send, sandbox, at_sinch):
    answer = send(
        ANN,
        BOB,
        message="Hi ${name}, ${when}!",
        parameters={"name": {ANN: "Ann", "default": "you"}, "when": {"default": "at 8"}},
    )

    assert answer.status_code == 202
    assert at_sinch()[0]["parameters"] == {
        "name": {ANN: "Ann", "default": "you"},
        "when": {"default": "at 8"},
    }


def test_each_batch_bears_only_the_values_of_its_own_recipients(send, service, at_sinch):
    numbers = many_numbers(1500)
    values = {number: f"v{n}" for n, number in enumerate(numbers)}

    assert send(*numbers, message="${v}", parameters={"v": values}).status_code == 202
    work_off(service)

    first, second = at_sinch()
    assert first["parameters"]["v"] == {n: values[n] for n in numbers[:1000]}
    assert second["parameters"]["v"] == {n: values[n] for n in numbers[1000:]}


@pytest.mark.parametrize(
    ("text", "parameters", "named"),
    [
        ("Hi ${name}", None, "${name}"),
        ("Hi ${name}", {}, "${name}"),
        ("Hi ${name}", {"Name": {"default": "x"}}, "${name}"),
        ("Hi ${name}", {"name": {ANN: "Ann"}}, BOB),
        ("Hi ${a} ${b}", {"a": {"default": "x"}}, "${b}"),
        ("Hi ${", None, "'${'"),
        ("Hi ${not a name}", None, "'${'"),
        ("Hi ${seventeen-letters}", None, "'${'"),
    ],
)
def test_a_placeholder_without_a_value_for_somebody_is_named(
    send, sandbox, text, parameters, named
):
    more = {} if parameters is None else {"parameters": parameters}

    answer = send(ANN, BOB, message=text, **more)

    assert answer.status_code == 400
    assert named in answer.get_json()["fields"]["message"][0]
    assert sandbox.posts() == 0


def test_dollars_that_are_no_placeholder_are_only_dollars(send, at_sinch):
    assert send(ANN, message="$5 $$ {x} $name $").status_code == 202
    assert at_sinch()[0]["body"] == "$5 $$ {x} $name $"


def test_a_value_for_a_number_that_was_left_out_is_left_out_too(send, sandbox):
    answer = send(
        ANN,
        "nobody",
        message="Hi ${name}",
        parameters={"name": {ANN: "Ann", "nobody": "?"}},
        skip_invalid=True,
    )

    assert answer.status_code == 202


def test_parts_are_those_of_the_longest_personal_text(send):
    values = {ANN: "short", BOB: "я" * 100}

    told = send(ANN, BOB, message="Hi ${name}", parameters={"name": values}).get_json()

    assert (told["encoding"], told["parts_per_message"]) == ("UCS-2", 2)


def test_more_parts_than_allowed_are_refused_before_anything_is_sent(send, sandbox):
    assert send(ANN, message="a" * 306, max_parts=2).status_code == 202
    answer = send(ANN, message="a" * 307, max_parts=2)

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {"max_parts": ["The text takes 3 parts."]}
    assert sandbox.posts() == 1


@pytest.mark.slow
@hypothesis_settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    recipients=st.lists(
        st.one_of(st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True), st.text(max_size=5)),
        max_size=8,
    ),
    text=st.text(max_size=40),
    skip=st.booleans(),
)
def test_whatever_is_asked_everybody_is_sent_to_once_or_nobody_is(
    client, sandbox, recipients, text, skip
):
    before = sandbox.recipients()
    body = broadcast_to(*recipients, message=text, skip_invalid=skip)

    answer = client.post("/api/broadcast", headers=AUTH, json=body)

    sent = sandbox.recipients()[len(before) :]
    assert answer.status_code in (202, 400)
    assert len(sent) == len(set(sent))
    if answer.status_code == 202:
        assert len(sent) == answer.get_json()["recipients"] > 0
    else:
        assert sent == []


def test_a_broken_placeholder_at_the_very_start_is_named_too(send, sandbox):
    answer = send(ANN, message="${ at the start")

    assert answer.status_code == 400
    assert "'${'" in answer.get_json()["fields"]["message"][0]
    assert sandbox.posts() == 0


def test_one_bad_number_is_told_in_the_singular(send):
    assert send("nobody").get_json()["error"].startswith("recipients: 1 entry is not")


def test_bad_entries_of_any_kind_are_shown_but_never_at_length(send):
    entries = [None, True, 1.5, 17, "x" * 100, 10**30, ["y" * 100], {"z": 1}]

    shown = send(*entries).get_json()["invalid_numbers"]

    assert shown[:4] == [None, True, 1.5, 17]
    assert shown[4:] == ["x" * 64, str(10**30), str(entries[6])[:64], "{'z': 1}"]


def test_a_value_for_nobody_is_named_but_not_at_length(send):
    answer = send(ANN, message="${name}", parameters={"name": {"x" * 1000: "?"}})

    (reason,) = answer.get_json()["fields"]["parameters"]["name"]
    assert reason == "x" * 64 + " is neither a recipient nor 'default'."


def test_the_end_reaches_sinch_as_it_was_asked_for(send, at_sinch):
    asked = datetime.now(UTC) + timedelta(hours=5)

    assert send(ANN, expire_at=asked.isoformat()).status_code == 202

    told = datetime.fromisoformat(at_sinch()[0]["expire_at"])
    assert abs(told - asked) < timedelta(milliseconds=2)


def test_without_an_end_of_its_own_sinch_gives_it_up_after_a_day(send, at_sinch):
    now = datetime.now(UTC)

    assert send(ANN).status_code == 202

    told = datetime.fromisoformat(at_sinch()[0]["expire_at"])
    assert timedelta() <= told - now - timedelta(days=1) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("x", {"reference": "r" * 64}),
        ("x", {"max_parts": 255}),
        ("x", {"max_parts": 1}),
        ("${n}", {"parameters": {"n": {"default": "v" * 160}}}),
        ("${sixteen-letters_}", {"parameters": {"sixteen-letters_": {"default": "v"}}}),
    ],
)
def test_what_is_just_within_its_limit_is_taken(send, message, more):
    assert send(ANN, message=message, **more).status_code == 202


def test_a_text_that_grows_beyond_what_sinch_takes_is_refused(send, sandbox):
    values = {"n": {"default": "v" * 160}}

    assert send(ANN, message="${n}" * 12 + "x" * 80, parameters=values).status_code == 202
    answer = send(ANN, message="${n}" * 12 + "x" * 81, parameters=values)

    assert answer.status_code == 400
    (reason,) = answer.get_json()["fields"]["message"]
    assert reason == f"filled in for {ANN} it is longer than 2000 characters."
    assert sandbox.posts() == 1


@pytest.mark.parametrize("text", ["${n}", " ${n} ${n} "])
def test_a_text_that_is_empty_for_somebody_is_refused(send, sandbox, text):
    answer = send(ANN, BOB, message=text, parameters={"n": {ANN: "Ann", BOB: " "}})

    assert answer.status_code == 400
    assert answer.get_json()["fields"]["message"] == [f"filled in for {BOB} it is empty."]
    assert sandbox.posts() == 0


def test_values_that_the_text_does_not_use_stay_here(send, at_sinch):
    answer = send(ANN, message="Hi ${a}", parameters={"a": {ANN: "A"}, "b": {ANN: "secret"}})

    assert answer.status_code == 202
    assert at_sinch()[0]["parameters"] == {"a": {ANN: "A"}}


def test_two_values_for_one_person_are_refused(send, sandbox):
    answer = send(ANN, message="${n}", parameters={"n": {ANN: "one", f" {ANN}": "two"}})

    assert answer.status_code == 400
    assert "has two values" in answer.get_json()["fields"]["parameters"]["n"][0]
    assert sandbox.posts() == 0


@pytest.mark.slow
def test_more_names_or_values_than_can_be_meant_are_refused(send, sandbox):
    names = send(ANN, parameters={f"n{n}": {} for n in range(101)})
    values = send(ANN, parameters={"n": {str(n): "x" for n in range(1_000_002)}})

    assert names.get_json()["fields"] == {"parameters": ["More than 100 names."]}
    assert values.get_json()["fields"] == {"parameters": {"n": ["More values than recipients."]}}


def test_of_a_thousand_unknown_fields_a_hundred_are_named(client, auth):
    told = client.post(
        "/api/broadcast", headers=auth, json=broadcast_to(ANN, **{f"f{n}": 1 for n in range(900)})
    ).get_json()
    more = client.post("/api/broadcast", headers=auth, json={f"f{n}": 1 for n in range(1001)})

    assert len(told["fields"]) == 100
    assert more.get_json()["error"] == "The body has 1001 fields; the maximum is 1000"


def test_parts_are_counted_with_ones_own_value_and_not_with_the_default(send):
    values = {ANN: "я" * 100, "default": "short"}

    told = send(ANN, BOB, message="Hi ${name}", parameters={"name": values}).get_json()

    assert (told["encoding"], told["parts_per_message"]) == ("UCS-2", 2)


def test_a_value_finds_its_recipient_through_blanks(send, at_sinch):
    answer = send(f"{ANN} ", message="${n}", parameters={"n": {f" {ANN}": "Ann"}})

    assert answer.status_code == 202
    assert at_sinch()[0]["parameters"] == {"n": {ANN: "Ann"}}
