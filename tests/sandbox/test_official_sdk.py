"""The official SDK as a client that knows nothing of us: it must find the sandbox familiar."""

from datetime import UTC, datetime, timedelta

import pytest
from sinch import SinchClient
from sinch.domains.sms.api.v1.exceptions import SmsException

from tests.sandbox.conftest import wait_until

SENDER = "46700000900"


@pytest.fixture
def sms(control):
    client = SinchClient(service_plan_id="sandbox", sms_api_token="sandbox", sms_region="us")
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


def test_it_updates_replaces_and_cancels_a_scheduled_batch(sms, control):
    sent = sms.batches.send_sms(to=["46700000001"], from_=SENDER, body="a", send_at=in_an_hour())

    updated = sms.batches.update_sms(sent.id, to_add=["46700000002"], body="b")
    replaced = sms.batches.replace_sms(sent.id, to=["46700000003"], from_=SENDER, body="c",
                                       send_at=in_an_hour())  # fmt: skip
    cancelled = sms.batches.cancel(sent.id)

    assert updated.to == ["46700000001", "46700000002"]
    assert (replaced.id, replaced.to, replaced.body) == (sent.id, ["46700000003"], "c")
    assert cancelled.canceled
    with pytest.raises(SmsException) as conflict:
        sms.batches.cancel(sent.id)
    assert conflict.value.http_response.status_code == 409


def test_it_makes_a_dry_run(sms, control):
    run = sms.batches.dry_run_sms(to=["46700000001", "46700000002"], from_=SENDER, body="✓" * 71,
                                  per_recipient=True, number_of_recipients=1)  # fmt: skip

    assert (run.number_of_recipients, run.number_of_messages) == (2, 4)
    assert [(r.recipient, r.number_of_parts) for r in run.per_recipient] == [("46700000001", 2)]
    assert control.batches() == []


def test_it_gives_feedback(sms):
    sent = sms.batches.send_sms(to=["46700000001"], from_=SENDER, body="a", feedback_enabled=True)

    assert sms.batches.send_delivery_feedback(sent.id, recipients=["46700000001"]) is None


def test_it_reads_every_kind_of_delivery_report(sms, control):
    sent = sms.batches.send_sms(to=["12015550100", "12015550106", "12015550101"], from_=SENDER,
                                body="a", client_reference="r")  # fmt: skip
    control.advance(60)

    summary = sms.delivery_reports.get(sent.id)
    full = sms.delivery_reports.get(sent.id, report_type="full", status=["ABORTED", "FAILED"])
    one = sms.delivery_reports.get_for_number(sent.id, "+12015550106")
    listed = list(sms.delivery_reports.list(client_reference="r", status=["DELIVERED"],
                                            code=[0]).iterator())  # fmt: skip

    assert (summary.total_message_count, len(summary.statuses)) == (3, 3)
    assert [s.recipients for s in full.statuses] == [["12015550106"], ["12015550101"]]
    assert (one.status, one.code, one.batch_id) == ("Aborted", 402, sent.id)
    assert [report.recipient for report in listed] == ["12015550100"]


def test_it_lists_and_reads_inbounds(sms, control):
    stop = control.text_from("+46700000001", "STOP", to=SENDER)
    control.text_from("+46700000002", "hello")

    listed = list(sms.inbounds.list(to=[SENDER]).iterator())

    assert [(i.id, i.from_, i.body) for i in listed] == [(stop["id"], "46700000001", "STOP")]
    assert sms.inbounds.get(stop["id"]).body == "STOP"


def test_it_keeps_groups(sms):
    group = sms.groups.create(name="Parents", members=["+46700000001"])

    assert sms.groups.get(group.id).size == 1
    assert list(sms.groups.list_members(group.id).iterator()) == ["46700000001"]
    assert [g.name for g in sms.groups.list().iterator()] == ["Parents"]
    sms.groups.delete(group.id)
    assert list(sms.groups.list().iterator()) == []


def test_it_accepts_and_understands_the_callbacks_that_really_arrive(sms, control, webhook):
    control.set(hmac_secret="s3cret", callback_url=webhook.url)
    to, events = ["12015550100", "12015550106"], sms.sinch_events("s3cret")

    for mode in ("summary", "full", "per_recipient", "per_recipient_final"):
        sms.batches.send_sms(to=to, from_=SENDER, body="é", delivery_report=mode)
    control.text_from("+46700000001", "Överraskning ✓")
    control.text_from("+46700000001", "AQID", type="mo_binary", udh="0605")
    wait_until(lambda: len(webhook.received) == 1 + 1 + 3 + 2 + 2)

    for headers, body, event in webhook.received:
        assert events.validate_authentication_header(headers, body)
        assert not events.validate_authentication_header(headers, body + b" ")
        assert events.parse_event(body, headers).type == event["type"]
