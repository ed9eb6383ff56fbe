"""Callbacks: which, when, signed how, and repeated how often."""

import base64
import hmac
import time
from collections import Counter

import pytest

from app.sandbox.engine.callbacks import MAX_RETRIES, sign
from app.sandbox.server import SandboxServer
from tests.sandbox.conftest import Sinch, wait_until, wait_until_quiet


def statuses(webhook):
    return [event["status"] for event in webhook.events]


def test_the_signature_is_the_documented_one():
    body = (
        b'{"type":"recipient_delivery_report_sms","batch_id":"01JX0000000000000000000001",'
        b'"recipient":"46700000001","code":0,"status":"Delivered","at":"2026-03-01T12:00:05.250Z",'
        b'"operator_status_at":"2026-03-01T12:00:00Z","client_reference":"ref-1"}'
    )

    signature = sign(body, secret="unit-test-secret", nonce="01JX00000000000000000NONCE",
                     timestamp="1772366405")  # fmt: skip

    assert signature == "FyTNLvafvWHeUmBKiTA/2ef0aPrScaru9loaiF6dgW0="


@pytest.mark.parametrize("mode", ["summary", "full"])
def test_a_summary_comes_once_when_every_message_is_final(sinch, control, webhook, mode):
    control.set(deliver_after_s=30)
    batch = sinch.send("12015550100", "12015550106", delivery_report=mode,
                       callback_url=webhook.url, client_reference="r")  # fmt: skip

    control.advance(20)
    assert webhook.events == []
    control.advance(20)
    wait_until(lambda: webhook.events)
    control.advance(3600)
    (event,) = webhook.events
    assert event["type"] == "delivery_report_sms"
    assert (event["batch_id"], event["client_reference"]) == (batch["id"], "r")
    assert event["total_message_count"] == 2
    listed = [group.get("recipients") for group in event["statuses"]]
    assert listed == ([["12015550100"], ["12015550106"]] if mode == "full" else [None, None])


def test_no_summary_comes_while_one_message_is_never_final(sinch, control, webhook):
    sinch.send("12015550100", "12015550107", delivery_report="summary", callback_url=webhook.url)

    control.advance(4 * 24 * 3600)

    assert control.callbacks() == []


def test_per_recipient_tells_every_change_of_everybody(sinch, webhook):
    sinch.send("12015550100", "12015550106", delivery_report="per_recipient",
               callback_url=webhook.url)  # fmt: skip

    wait_until(lambda: len(webhook.events) == 3)

    assert [(e["recipient"], e["status"]) for e in webhook.events] == [
        ("12015550100", "Dispatched"), ("12015550106", "Aborted"), ("12015550100", "Delivered"),
    ]  # fmt: skip


def test_per_recipient_final_tells_only_the_ends(sinch, control, webhook):
    numbers = [f"467{n:08d}" for n in range(200)]
    sinch.send(*numbers, delivery_report="per_recipient_final", callback_url=webhook.url)

    wait_until(lambda: len(webhook.events) == 200)

    assert [e["recipient"] for e in webhook.events] == numbers
    assert set(statuses(webhook)) == {"Delivered"}


def test_a_throttled_batch_reports_as_its_messages_leave(sinch, control, webhook):
    control.set(messages_per_second=1, callback_url=webhook.url)
    batch = sinch.send("46700000001", "46700000002", delivery_report="per_recipient_final")

    control.advance(1.2)
    wait_until(lambda: len(webhook.events) == 1)
    sinch.ask("DELETE", f"/batches/{batch['id']}").raise_for_status()
    wait_until(lambda: len(webhook.events) == 2)
    assert statuses(webhook) == ["Delivered", "Cancelled"]


def test_a_batch_asking_for_no_report_gets_none(sinch, control, webhook):
    sinch.send(callback_url=webhook.url)
    control.advance(60)

    assert control.callbacks() == []


def test_the_urls_of_the_plan_are_used_when_the_batch_names_none(sinch, control, webhook):
    control.set(callback_url=webhook.url)
    sinch.send(delivery_report="per_recipient_final")
    control.text_from("+46700000001", "STOP")

    wait_until(lambda: len(webhook.events) == 2)
    assert {event["type"] for event in webhook.events} == {
        "recipient_delivery_report_sms", "mo_text",
    }  # fmt: skip


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_5xx_or_429_is_tried_again_up_the_ladder(sinch, control, webhook, status):
    webhook.answers = [status, status]
    control.set(retry_base_s=100)
    sinch.send(delivery_report="per_recipient_final", callback_url=webhook.url)

    for attempts, wait_s in ((1, 100.1), (2, 200.1), (3, 0)):
        wait_until(lambda attempts=attempts: len(control.callbacks()) == attempts)
        control.advance(wait_s)
    assert [t["status"] for t in control.callbacks()] == [status, status, 200]
    assert [t["attempt"] for t in control.callbacks()] == [1, 2, 3]
    assert len({body for _, body, _ in webhook.received}) == 1


@pytest.mark.parametrize("status", [302, 400, 401, 404, 410])
def test_a_redirect_or_other_4xx_drops_the_callback_for_good(sinch, control, webhook, status):
    webhook.answers = [status]
    control.set(retry_base_s=0.001)
    sinch.send(delivery_report="per_recipient_final", callback_url=webhook.url)

    wait_until(control.callbacks)
    control.advance(3600)
    assert [t["status"] for t in control.callbacks()] == [status]


def test_callbacks_bear_a_password_where_one_is_set(control, webhook):
    control.set(inbound_url=webhook.url, callback_basic="sinch:pass:word")

    control.text_from("46700000001", "hi")

    wait_until(lambda: webhook.received)
    token = base64.b64encode(b"sinch:pass:word").decode()
    assert webhook.received[0][0]["authorization"] == f"Basic {token}"


def test_nothing_is_signed_without_a_secret(control, webhook):
    control.set(inbound_url=webhook.url)
    control.text_from("46700000001", "hi")

    wait_until(lambda: webhook.received)
    assert not [name for name in webhook.received[0][0] if name.startswith("x-sinch")]


def test_every_callback_can_come_twice(sinch, control, webhook):
    control.set(callback_copies=2)
    sinch.send("46700000001", "46700000002", delivery_report="per_recipient_final",
               callback_url=webhook.url)  # fmt: skip

    wait_until(lambda: len(webhook.events) == 4)
    assert set(Counter(e["recipient"] for e in webhook.events).values()) == {2}


def test_a_share_of_the_callbacks_can_be_lost(sinch, control, webhook):
    control.set(callback_lost_probability=0.5)
    sinch.send(*(f"467000{n:05}" for n in range(200)), delivery_report="per_recipient_final",
               callback_url=webhook.url)  # fmt: skip

    wait_until(lambda: len(webhook.events) > 60)
    wait_until_quiet(webhook)
    assert 60 < len(webhook.events) < 140


def test_callbacks_that_wait_by_lot_overtake_each_other(sinch, control, webhook):
    control.set(callback_delay_s=1.0)
    numbers = [f"467000{n:05}" for n in range(50)]
    sinch.send(*numbers, delivery_report="per_recipient_final", callback_url=webhook.url)

    wait_until(lambda: len(webhook.events) == 50)
    recipients = [event["recipient"] for event in webhook.events]
    assert sorted(recipients) == numbers
    assert recipients != numbers


def test_the_same_seed_loses_the_same_ones(control, webhook):
    senders = []
    for seed in (7, 7, 8):
        control.set(inbound_url=webhook.url, callback_lost_probability=0.5, seed=seed)
        webhook.received.clear()
        for n in range(40):
            control.text_from(f"467000{n:05}", "hi")
        wait_until_quiet(webhook)
        senders.append(sorted(event["from"] for event in webhook.events))

    assert senders[0] == senders[1] != senders[2]


def test_a_host_that_cannot_be_one_does_not_silence_the_others(sinch, control, webhook):
    for host in ("a..b", "x" * 70 + ".test", "\u00e4..b") * 8:
        sinch.send(delivery_report="summary", callback_url=f"http://{host}/")
    wait_until(lambda: len(control.callbacks()) == 24)

    for _ in range(8):
        sinch.send(delivery_report="summary", callback_url=webhook.url)

    wait_until(lambda: len(webhook.events) == 8)


def test_a_callback_on_its_way_does_not_outlive_a_reset(sinch, control, webhook):
    control.set(retry_base_s=0.02)
    webhook.answers = [500]
    webhook.open.clear()
    sinch.send(delivery_report="summary", callback_url=webhook.url)
    wait_until(lambda: webhook.received)

    control.reset()
    webhook.open.set()
    sinch.send(delivery_report="summary", callback_url=webhook.url)

    wait_until(control.callbacks)
    wait_until(lambda: len(webhook.events) == 2)
    assert [(tried["attempt"], tried["status"]) for tried in control.callbacks()] == [(1, 200)]


def test_stopping_does_not_wait_for_a_hanging_webhook(webhook):
    with SandboxServer() as server:
        webhook.open.clear()
        sinch = Sinch(server.url)
        sinch.send(delivery_report="summary", callback_url=webhook.url)
        sinch.session.close()
        wait_until(lambda: webhook.received)
        began = time.monotonic()

    assert time.monotonic() - began < 20  # the webhook hangs for half a minute
    webhook.open.set()


def test_the_retries_end_after_fifteen(sinch, control):
    control.set(retry_base_s=0.00001)

    sinch.send(delivery_report="per_recipient_final", callback_url="http://127.0.0.1:1/closed")
    wait_until(lambda: len(control.callbacks()) == MAX_RETRIES + 1)

    control.advance(7 * 24 * 3600)
    assert len(control.callbacks()) == MAX_RETRIES + 1
    assert {attempt["status"] for attempt in control.callbacks()} == {None}


def test_callbacks_and_their_retries_are_signed_over_the_raw_body(control, webhook):
    webhook.answers = [503]
    control.set(inbound_url=webhook.url, hmac_secret="s3cret", retry_base_s=0.01)

    control.text_from("46700000001", "héllo ✓")

    wait_until(lambda: len(webhook.received) == 2)
    prefix, nonces = "x-sinch-webhook-signature", set()
    for headers, body, _ in webhook.received:
        nonces.add(headers[f"{prefix}-nonce"])
        message = b".".join([body, headers[f"{prefix}-nonce"].encode(),
                             headers[f"{prefix}-timestamp"].encode()])  # fmt: skip
        expected = hmac.digest(b"s3cret", message, "sha256")
        assert base64.b64decode(headers[prefix]) == expected
        assert headers[f"{prefix}-algorithm"] == "HmacSHA256"
    assert len(nonces) == 2


@pytest.mark.slow
def test_a_text_from_a_phone_overtakes_the_reports_that_wait(sinch, control, webhook):
    webhook.open.clear()
    control.set(inbound_url=webhook.url)
    numbers = [f"4670000{number:04}" for number in range(15)]
    # Each of the four senders gets some: a batch belongs to one of them by chance.
    for _ in range(40):
        sinch.send(*numbers, delivery_report="per_recipient_final", callback_url=webhook.url)
    wait_until(lambda: len(webhook.received) == 4, within_s=30)
    time.sleep(0.3)  # until every report waits in a queue

    control.text_from("46700000001", "STOP")
    webhook.open.set()
    wait_until(lambda: len(webhook.received) == 601, within_s=90)

    (place,) = [i for i, event in enumerate(webhook.events) if event["type"] == "mo_text"]
    assert place < 40
