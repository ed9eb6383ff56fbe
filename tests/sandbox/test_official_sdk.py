"""The official SDK as a client that knows nothing of us: it must find the sandbox familiar."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.conftest import wait_until
from tests.sinch.official import official

# To import the SDK takes a second.
pytestmark = pytest.mark.slow

SENDER = "46700000900"


@pytest.fixture
def sms(control):
    client = official("", "SinchClient")(
        service_plan_id="sandbox", sms_api_token="sandbox", sms_region="us"
    )
    client.configuration.sms_domain_with_service_plan_id = control.url
    yield client.sms
    client.configuration.transport.http_session.close()


def in_an_hour():
    return datetime.now(UTC) + timedelta(hours=1)


def test_it_sends_finds_by_reference_and_reads_a_batch(sms, control):
    sent = sms.batches.send_sms(
        to=["+46700000001", "+46700000002"],
        from_=SENDER,
        body="Hi ${name}",
        client_reference="r-1",
        parameters={"name": {"+46700000001": "Ann", "default": "you"}},
    )
    sms.batches.send_sms(to=["+46700000003"], from_=SENDER, body="other")

    found = sms.batches.list(client_reference="r-1", page_size=100,
                             start_date=datetime.now(UTC) - timedelta(days=2))  # fmt: skip
    assert [batch.id for batch in found.iterator()] == [sent.id]
    assert sms.batches.get(sent.id) == sent
    assert sent.to == ["46700000001", "46700000002"]
    assert sent.expire_at - sent.created_at == timedelta(days=3)
    assert control.recipients() == ["+46700000001", "+46700000002", "+46700000003"]


def test_it_walks_all_pages(sms):
    sent = [sms.batches.send_sms(to=["46700000001"], from_=SENDER, body=str(n)).id
            for n in range(5)]  # fmt: skip

    listed = [batch.id for batch in sms.batches.list(page_size=2).iterator()]

    assert listed == sent[::-1]


def test_it_cancels_a_scheduled_batch(sms):
    sent = sms.batches.send_sms(to=["46700000001"], from_=SENDER, body="a", send_at=in_an_hour())

    cancelled = sms.batches.cancel(sent.id)

    assert cancelled.canceled
    with pytest.raises(official("domains.sms.api.v1.exceptions", "SmsException")) as conflict:
        sms.batches.cancel(sent.id)
    assert conflict.value.http_response.status_code == 409


def test_it_makes_a_dry_run(sms, control):
    run = sms.batches.dry_run_sms(to=["46700000001", "46700000002"], from_=SENDER, body="✓" * 71)

    assert (run.number_of_recipients, run.number_of_messages) == (2, 4)
    assert control.batches() == []


def test_it_reads_summary_and_full_delivery_reports(sms, control):
    sent = sms.batches.send_sms(to=["12015550100", "12015550106", "12015550101"], from_=SENDER,
                                body="a", client_reference="r")  # fmt: skip
    control.advance(60)

    summary = sms.delivery_reports.get(sent.id)
    full = sms.delivery_reports.get(sent.id, report_type="full")

    assert (summary.total_message_count, len(summary.statuses)) == (3, 3)
    assert [(s.status, s.code, s.recipients) for s in full.statuses] == [
        ("Delivered", 0, ["12015550100"]), ("Aborted", 402, ["12015550106"]),
        ("Failed", 150, ["12015550101"]),
    ]  # fmt: skip


def test_it_lists_inbounds(sms, control):
    stop = control.text_from("+46700000001", "STOP", to=SENDER)

    listed = list(sms.inbounds.list().iterator())

    assert [(i.id, i.from_, i.body) for i in listed] == [(stop["id"], "46700000001", "STOP")]


def test_it_accepts_and_understands_the_callbacks_that_really_arrive(sms, control, webhook):
    control.set(hmac_secret="s3cret", callback_url=webhook.url)
    to, events = ["12015550100", "12015550106"], sms.sinch_events("s3cret")

    for mode in ("summary", "full", "per_recipient", "per_recipient_final"):
        sms.batches.send_sms(to=to, from_=SENDER, body="é", delivery_report=mode)
    control.text_from("+46700000001", "Överraskning ✓")
    control.text_from("+46700000001", {"subject": "s", "media": []}, type="mo_media")
    wait_until(lambda: len(webhook.received) == 1 + 1 + 3 + 2 + 2)

    for headers, body, event in webhook.received:
        assert events.validate_authentication_header(headers, body)
        assert not events.validate_authentication_header(headers, body + b" ")
        assert events.parse_event(body, headers).type == event["type"]
