"""POST /batches: valid requests, and the errors of invalid ones."""

from datetime import datetime, timedelta

import pytest
import requests


def refusal(answer):
    return answer.status_code, answer.json()["code"]


CONSTRAINT = (400, "syntax_constraint_violation")
FORMAT = (400, "syntax_invalid_parameter_format")


def test_numbers_come_back_as_digits_only(sinch):
    batch = sinch.send("+46700000001", "0046700000002", "+1 (201) 555-0100", **{"from": "+46 7-9"})

    assert batch["to"] == ["46700000001", "46700000002", "12015550100"]
    assert batch["from"] == "4679"


def test_defaults_are_filled_in_and_what_was_not_given_is_left_out(sinch):
    batch = sinch.send()

    created_at = datetime.fromisoformat(batch["created_at"])
    assert batch.keys() == {"id", "to", "from", "canceled", "type", "body", "created_at",
                            "modified_at", "delivery_report", "expire_at",
                            "flash_message"}  # fmt: skip
    assert batch["type"] == "mt_text"
    assert batch["delivery_report"] == "none"
    assert not batch["canceled"]
    assert datetime.fromisoformat(batch["expire_at"]) == created_at + timedelta(days=3)
    assert batch["created_at"].endswith("Z")
    assert len(batch["id"]) == 26


def test_what_was_given_is_echoed_and_parameter_keys_keep_their_plus(sinch):
    given = {
        "parameters": {"name": {"+46700000001": "Ann", "default": "friend"}},
        "client_reference": "r-1", "callback_url": "http://127.0.0.1/x", "flash_message": True,
        "max_number_of_message_parts": 3,
    }  # fmt: skip

    batch = sinch.send(body="Hi ${name}", **given, delivery_report="full", nobody_knows_this=1)

    assert {name: batch[name] for name in given} == given
    assert "nobody_knows_this" not in batch


def test_one_bad_number_refuses_the_whole_batch_and_is_named(sinch, control):
    answer = sinch.post_batch(to=["46700000001", "070-1234567"])

    assert refusal(answer) == FORMAT
    assert "to[1]" in answer.json()["text"]
    assert "070-1234567" in answer.json()["text"]
    assert control.recipients() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"to": None}, CONSTRAINT),
        ({"to": []}, CONSTRAINT),
        ({"to": [f"467{n:08d}" for n in range(1001)]}, CONSTRAINT),
        ({"to": "46700000001"}, FORMAT),
        ({"to": [46700000001]}, FORMAT),
        ({"to": ["+4670000000000000"]}, FORMAT),
        ({"to": ["46700x00001"]}, FORMAT),
        ({"from": None}, CONSTRAINT),
        ({"from": "a sender too long"}, FORMAT),
        ({"type": "mt_voice"}, FORMAT),
        ({"body": None}, CONSTRAINT),
        ({"body": 1}, FORMAT),
        ({"body": "x" * 2001}, CONSTRAINT),
        ({"parameters": []}, FORMAT),
        ({"parameters": {"a b": {"default": "x"}}}, FORMAT),
        ({"parameters": {"a" * 17: {"default": "x"}}}, CONSTRAINT),
        ({"parameters": {"a": "x"}}, FORMAT),
        ({"parameters": {"a": {"ann": "x"}}}, FORMAT),
        ({"parameters": {"a": {"default": 1}}}, FORMAT),
        ({"parameters": {"a": {"default": "x" * 161}}}, CONSTRAINT),
        ({"delivery_report": "sometimes"}, FORMAT),
        ({"send_at": "tomorrow"}, FORMAT),
        ({"send_at": 1}, FORMAT),
        ({"expire_at": "2020-01-01T00:00:00Z"}, CONSTRAINT),
        ({"expire_at": "2999-01-01T00:00:00Z"}, CONSTRAINT),
        ({"send_at": "2999-01-02T00:00:00Z", "expire_at": "2999-01-01T00:00:00Z"}, CONSTRAINT),
        ({"callback_url": "not a url"}, FORMAT),
        ({"callback_url": "http://h/" + "x" * 2048}, CONSTRAINT),
        ({"client_reference": "x" * 2049}, CONSTRAINT),
        ({"client_reference": 7}, FORMAT),
        ({"flash_message": 1}, FORMAT),
        ({"max_number_of_message_parts": 0}, CONSTRAINT),
        ({"max_number_of_message_parts": True}, FORMAT),
        ({"type": "mt_binary", "body": "AQID", "udh": "00"}, FORMAT),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else ",".join(value),
)  # fmt: skip
def test_a_field_that_does_not_fit_is_refused(sinch, control, changes, expected):
    answer = sinch.post_batch(**changes)

    assert refusal(answer) == expected
    assert set(answer.json()) == {"code", "text"}
    assert control.batches() == []


@pytest.mark.parametrize("changes", [
    {"body": ""}, {"body": "x" * 2000}, {"to": [f"467{n:08d}" for n in range(1000)]},
    {"client_reference": "x" * 2048}, {"send_at": "2020-01-01T00:00:00"}, {"from": "Clarion"},
])  # fmt: skip
def test_a_field_just_inside_its_limit_is_taken(sinch, changes):
    assert sinch.post_batch(**changes).status_code == 201


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'{"to": NaN}', b"[" * 100_000, b'{"body": "\\ud800"}'],
)
def test_what_is_not_a_json_object_is_refused_as_such(sinch, body):
    answer = sinch.ask("POST", "/batches", data=body, headers={"Content-Type": "application/json"})

    assert refusal(answer) == (400, "syntax_invalid_json")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_415(sinch, kind):
    headers = {"Content-Type": kind} if kind else {}

    assert sinch.ask("POST", "/batches", data=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize("mode", ["summary", "full", "per_recipient", "per_recipient_final"])
def test_a_report_with_nowhere_to_go_is_403(sinch, control, mode):
    assert refusal(sinch.post_batch(delivery_report=mode)) == (403, "missing_callback_url")

    control.set(callback_url="http://127.0.0.1:9/default")
    assert sinch.post_batch(delivery_report=mode).status_code == 201


@pytest.mark.parametrize(("plan_id", "token"), [("sandbox", "wrong"), ("other", "sandbox")])
def test_a_token_of_another_plan_is_401(sinch, plan_id, token):
    url = sinch.root.replace("/sandbox", f"/{plan_id}") + "/batches"

    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5)

    assert refusal(answer) == (401, "unauthorized")
    assert requests.get(url, timeout=5).status_code == 401


def test_a_wrong_path_is_404_and_a_wrong_method_405(sinch):
    assert refusal(sinch.ask("GET", "/letters")) == (404, "not_found")
    assert refusal(sinch.ask("PATCH", "/batches")) == (405, "method_not_allowed")
    assert requests.get(sinch.root.split("/xms")[0] + "/", timeout=5).status_code == 404


def test_a_number_given_twice_is_sent_to_once(sinch, control):
    batch = sinch.send("46700000001", "+46700000001")

    assert batch["to"] == ["46700000001"]
    assert control.recipients() == ["+46700000001"]
