"""Signatures of callbacks: the contract's example, and the official SDK as a second opinion."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sinch.callbacks import parse_callback, verify_signature
from tests.signing import sign
from tests.sinch.official import event_reader

VECTOR = (
    b'{"type":"recipient_delivery_report_sms","batch_id":"01JX0000000000000000000001",'
    b'"recipient":"46700000001","code":0,"status":"Delivered","at":"2026-03-01T12:00:05.250Z",'
    b'"operator_status_at":"2026-03-01T12:00:00Z","client_reference":"ref-1"}'
)
SECRET = "unit-test-secret"
HEADERS = {
    "x-sinch-webhook-signature": "FyTNLvafvWHeUmBKiTA/2ef0aPrScaru9loaiF6dgW0=",
    "x-sinch-webhook-signature-nonce": "01JX00000000000000000NONCE",
    "x-sinch-webhook-signature-timestamp": "1772366405",
    "x-sinch-webhook-signature-algorithm": "HmacSHA256",
}


def test_the_contracts_example_of_a_signature_is_accepted():
    assert verify_signature(VECTOR, HEADERS, [SECRET])
    assert parse_callback(VECTOR).statuses[0].status == "Delivered"


@pytest.mark.parametrize("name", list(HEADERS)[:3])
def test_without_one_of_the_three_headers_nothing_is_accepted(name):
    others = {other: value for other, value in HEADERS.items() if other != name}

    assert not verify_signature(VECTOR, others, [SECRET])


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("value", ["", "x", "\xff", "FyTNLvafvWHeUmBKiTA/2ef0aPrScaru9loaiF6dgW0"])
def test_with_another_value_of_a_header_nothing_is_accepted(name, value):
    assert not verify_signature(VECTOR, HEADERS | {name: value}, [SECRET])


def test_another_body_or_another_secret_is_not_accepted():
    assert not verify_signature(VECTOR + b" ", HEADERS, [SECRET])
    assert not verify_signature(json.dumps(json.loads(VECTOR)).encode(), HEADERS, [SECRET])
    assert not verify_signature(VECTOR, HEADERS, [SECRET + "x"])
    assert not verify_signature(VECTOR, HEADERS, [])


def test_an_empty_secret_opens_to_nobody():
    assert not verify_signature(VECTOR, sign(VECTOR, secret=""), [""])


def test_either_of_two_secrets_will_do():
    for secrets in ([SECRET, "new"], ["new", SECRET]):
        assert verify_signature(VECTOR, HEADERS, secrets)


def test_names_of_headers_come_in_any_case():
    assert verify_signature(VECTOR, {k.title(): v for k, v in HEADERS.items()}, [SECRET])


def test_without_an_algorithm_it_is_the_usual_one():
    usual = {name: HEADERS[name] for name in list(HEADERS)[:3]}

    assert verify_signature(VECTOR, usual, [SECRET])


@pytest.mark.parametrize("algorithm", ["HmacSHA256", "HmacSHA384", "HmacSHA512", "HMACSHA256"])
def test_every_algorithm_of_sinchs_sdks_is_known(algorithm):
    headers = sign(VECTOR, secret=SECRET, algorithm=algorithm)

    assert verify_signature(VECTOR, headers, [SECRET])


@pytest.mark.parametrize("algorithm", ["HmacSHA1", "HmacMD5", "none", "HmacSHA512"])
def test_a_signature_of_another_algorithm_than_it_says_is_not_accepted(algorithm):
    name = "x-sinch-webhook-signature-algorithm"

    assert not verify_signature(VECTOR, HEADERS | {name: algorithm}, [SECRET])


_WORD = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30)
_BODY = st.text(st.characters(codec="utf-8"), max_size=200)
_SECRET = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(_BODY, _SECRET, _WORD, _WORD)
def test_the_official_sdk_accepts_what_we_accept(body, secret, nonce, timestamp):
    raw = body.encode()
    headers = sign(raw, secret=secret, nonce=nonce, timestamp=timestamp)

    assert event_reader(secret).validate_authentication_header(headers, raw)
    assert verify_signature(raw, headers, [secret])


@given(
    _BODY, _SECRET, _WORD, _WORD, st.sampled_from(["body", "secret", *list(HEADERS)[:3]]), st.data()
)
def test_the_official_sdk_refuses_what_we_refuse(body, secret, nonce, timestamp, forged, data):
    raw = body.encode()
    headers = sign(raw, secret=secret, nonce=nonce, timestamp=timestamp)
    if forged == "body":
        raw = data.draw(_BODY).encode()
    elif forged == "secret":
        secret = data.draw(_SECRET)
    else:
        headers[forged] = data.draw(_WORD)

    theirs = event_reader(secret).validate_authentication_header(headers, raw)
    assert verify_signature(raw, headers, [secret]) == theirs
