"""Signatures: the published vector, and the library that receivers use."""

from base64 import b64decode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from app.webhooks.outgoing.signing import make_secret, sign, write_secret

# As the reference libraries of Standard Webhooks test themselves.
VECTOR_KEY = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def _now():
    """Read when it is needed: the reference library takes no time that is minutes old."""
    return int(datetime.now(UTC).timestamp())


def test_the_published_example_comes_out():
    headers = sign(
        b'{"test": 2432232314}',
        event_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1_614_265_330,
        keys=[VECTOR_KEY],
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(text=st.text(), event_id=st.from_regex(r"[0-9a-z]{26}", fullmatch=True), keys=st.data())
def test_the_reference_library_takes_what_we_sign_with_any_of_the_secrets(text, event_id, keys):
    secrets = keys.draw(st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=2))

    headers = sign(text.encode(), event_id=event_id, timestamp=_now(), keys=secrets)

    for each in secrets:
        Webhook(write_secret(each)).verify(text, headers, json_parse=False)


@given(text=st.text(min_size=1))
def test_the_reference_library_refuses_what_was_changed_on_the_way(text):
    secret = make_secret()
    headers = sign(text.encode(), event_id="e", timestamp=_now(), keys=[secret])

    for changed, told in (
        (text + " ", headers),
        (text, {**headers, "webhook-id": "f"}),
        (text, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(write_secret(secret)).verify(changed, told, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(write_secret(make_secret())).verify(text, headers, json_parse=False)


def test_a_secret_is_long_and_nobody_has_it_yet():
    secrets = {make_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert {len(each) for each in secrets} == {32}
