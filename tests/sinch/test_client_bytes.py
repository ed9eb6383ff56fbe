"""The bytes that leave for Sinch, and what is made of the bytes that come back."""

import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from app.sinch.client import SinchClient
from app.sinch.errors import (
    SinchAnswerUnusable,
    SinchBusy,
    SinchMisconfigured,
    SinchNotSent,
    SinchOutcomeUnknown,
    SinchRejected,
)
from app.sinch.schemas import OutgoingBatch, ReportMode
from tests.sinch.batches import prepare

BASE = "https://eu.sms.api.sinch.com/xms/v1/plan-1"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BATCH_ID = "01JX0000000000000000000001"


@pytest.fixture
def sinch():
    client = SinchClient(
        url="https://eu.sms.api.sinch.com", service_plan_id="plan-1", api_token="token-1"
    )
    yield client
    client.close()


def _batch(**more):
    base = {
        "recipients": ["+46700000001", "+46700000002"],
        "text": "Snö ❄",
        "sender": "+46700000900",
        "client_reference": "cl-1",
    }
    return OutgoingBatch(**base | more)


def _prepared(**more):
    return prepare(_batch(**more))


@responses.activate
def test_a_plain_batch_leaves_with_nothing_more_than_it_needs(sinch):
    responses.post(f"{BASE}/batches", json={"id": BATCH_ID}, status=201)

    sent = sinch.send_batch(_prepared())

    assert sent.id == BATCH_ID
    request = responses.calls[0].request
    assert (
        request.body
        == (
            '{"to":["+46700000001","+46700000002"],"from":"+46700000900","body":"Snö ❄",'
            '"type":"mt_text","client_reference":"cl-1"}'
        ).encode()
    )
    assert dict(request.headers) == {
        "Authorization": "Bearer token-1",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "clarion",
        "Content-Type": "application/json",
        "Content-Length": str(len(request.body)),
    }


@responses.activate
def test_a_full_batch_leaves_in_sinchs_spelling(sinch):
    responses.post(f"{BASE}/batches", json={"id": BATCH_ID}, status=201)
    stockholm = timezone(timedelta(hours=1))

    sinch.send_batch(
        _prepared(
            text="Hi ${name}",
            parameters={"name": {"+46700000001": "Ann", "default": "friend"}},
            expire_at=datetime(2026, 3, 3, 13, 0, 0, 123_456, tzinfo=stockholm),
            delivery_report=ReportMode.PER_RECIPIENT_FINAL,
            flash=True,
            max_parts=3,
        )
    )

    assert json.loads(responses.calls[0].request.body) == {
        "to": ["+46700000001", "+46700000002"],
        "from": "+46700000900",
        "body": "Hi ${name}",
        "type": "mt_text",
        "client_reference": "cl-1",
        "parameters": {"name": {"+46700000001": "Ann", "default": "friend"}},
        "expire_at": "2026-03-03T12:00:00.123Z",
        "delivery_report": "per_recipient_final",
        "flash_message": True,
        "max_number_of_message_parts": 3,
    }


@responses.activate
def test_the_environment_adds_and_replaces_nothing(sinch, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine eu.sms.api.sinch.com login evil password evil")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    responses.post(f"{BASE}/batches", json={"id": BATCH_ID}, headers={"Set-Cookie": "a=b"})

    sinch.send_batch(_prepared())
    sinch.send_batch(_prepared())

    assert all(
        call.request.headers["Authorization"] == "Bearer token-1"
        and "Cookie" not in call.request.headers
        for call in responses.calls
    )


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"id": 7}',
        '{"id": ""}',
        '{"id": "no id, a sentence"}',
        '{"id": null}',
        '{"id": "01JX0000000000000000000009", "client_reference": "another-reference"}',
        "[]",
        "<html>ok</html>",
        '{"id": "01JX',
        "\udcff".encode("utf-8", "surrogateescape"),
        "[" * 100_000,
    ],
)
@responses.activate
def test_a_2xx_without_a_usable_id_is_taken_but_without_id(sinch, body):
    responses.post(f"{BASE}/batches", body=body, status=201)

    assert sinch.send_batch(_prepared()).id is None


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ('{"code":"syntax_invalid_json","text":"why"}', "syntax_invalid_json", "why"),
        ('{"timestamp":"…","status":400,"error":"Bad Request","path":"/x"}', None, None),
        ('{"error":{"code":400,"message":"m","status":"s","details":[]}}', None, None),
        ('{"code":"c","description":"d"}', None, None),
        ('{"type":"about:blank","title":"t","detail":"d"}', None, None),
        ('{"code":400,"text":"why"}', None, None),
        ("<html><h1>400</h1></html>", None, None),
        ("", None, None),
        ("null", None, None),
    ],
)
@responses.activate
def test_an_error_body_of_any_shape_is_survived(sinch, body, code, text):
    responses.post(f"{BASE}/batches", body=body, status=400)

    with pytest.raises(SinchRejected) as refused:
        sinch.send_batch(_prepared())

    assert (refused.value.status, refused.value.code, refused.value.text) == (400, code, text)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("99999", 900.0),
        ("9" * 400, 900.0),
        ("-1", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 900.0),
        ("Mon, 01 Jan 2024 00:00:00 +999999999999999999", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 01 Jan 2024 99999999999:00:00 GMT", None),
    ],
)
@responses.activate
def test_a_retry_after_of_any_form_is_read(sinch, header, seconds):
    headers = {} if header is None else {"Retry-After": header}
    responses.post(f"{BASE}/batches", body="", status=429, headers=headers)

    with pytest.raises(SinchBusy) as busy:
        sinch.send_batch(_prepared())

    assert busy.value.retry_after_s == seconds


def _item(number, reference="cl-1"):
    return {"id": f"01JX{number:022d}", "to": ["46700000001"], "client_reference": reference}


@responses.activate
def test_a_list_is_read_page_after_page_until_all_are_seen(sinch):
    pages = [[_item(n) for n in range(100)], [_item(n) for n in range(100, 150)]]
    for page in pages:
        responses.get(
            f"{BASE}/batches",
            json={"page": 0, "page_size": len(page), "count": 150, "batches": page},
        )

    found = sinch.list_batches(client_reference="cl-1", created_after=NOON)

    assert len({batch.id for batch in found}) == 150
    assert [call.request.url.partition("?")[2] for call in responses.calls] == [
        f"client_reference=cl-1&start_date=2026-03-01T12%3A00%3A00.000Z&page={n}&page_size=100"
        for n in (0, 1)
    ]


@responses.activate
def test_a_list_ends_at_an_empty_page_whatever_it_counted(sinch):
    for batches in ([_item(1)], []):
        responses.get(
            f"{BASE}/batches",
            json={"page": 0, "page_size": len(batches), "count": 9, "batches": batches},
        )

    assert len(sinch.list_batches(client_reference="cl-1", created_after=NOON)) == 1


@responses.activate
def test_only_batches_of_exactly_this_reference_are_believed(sinch):
    batches = [_item(1, "cl-1"), _item(2, "cl-10"), {**_item(3), "client_reference": None}]
    responses.get(f"{BASE}/batches", json={"page": 0, "count": "3", "batches": batches})

    found = sinch.list_batches(client_reference="cl-1", created_after=NOON)

    assert [batch.id for batch in found] == [_item(1)["id"]]
    assert found[0].recipients == ("+46700000001",)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "<html>",
        '{"count": 0}',
        '{"batches": []}',
        '{"count": -1, "batches": []}',
        '{"count": 1, "batches": {}}',
        '{"count": 1, "batches": [7]}',
        '{"count": 1, "batches": [{"id": "x"}]}',
        '{"count": 1, "batches": [{"to": ["1"]}]}',
        '{"count": 1, "batches": [{"id": "x", "to": [1]}]}',
    ],
)
@responses.activate
def test_an_unclean_list_is_unusable_and_not_empty(sinch, body):
    responses.get(f"{BASE}/batches", body=body)

    with pytest.raises(SinchAnswerUnusable):
        sinch.list_batches(client_reference="cl-1", created_after=NOON)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, SinchAnswerUnusable),
        (408, SinchAnswerUnusable),
        (429, SinchBusy),
        (401, SinchMisconfigured),
        (404, SinchMisconfigured),
        (302, SinchMisconfigured),
        (202, SinchAnswerUnusable),
    ],
)
@responses.activate
def test_a_question_refused_says_nothing_about_absence(sinch, status, error):
    responses.get(f"{BASE}/batches", json={"count": 0, "batches": []}, status=status)

    with pytest.raises(error):
        sinch.list_batches(client_reference="cl-1", created_after=NOON)


@responses.activate
def test_one_batch_is_fetched(sinch):
    responses.get(
        f"{BASE}/batches/{BATCH_ID}",
        json={
            "id": BATCH_ID,
            "to": ["46700000001", "+46700000002", "0046700000003"],
            "canceled": False,
            "created_at": "2026-03-01T12:00:00Z",
            "new_field": {"of": "tomorrow"},
        },
    )

    batch = sinch.fetch_batch(BATCH_ID)

    assert batch.recipients == ("+46700000001", "+46700000002", "+46700000003")
    assert batch.created_at == NOON
    assert (batch.client_reference, batch.canceled) == (None, False)


@responses.activate
def test_an_odd_id_cannot_leave_its_place_in_the_path(sinch):
    responses.get(f"{BASE}/batches/..%2F..%2Fx%3Fy", json={"id": "x", "to": []})

    assert sinch.fetch_batch("../../x?y").id == "x"


@responses.activate
def test_a_batch_is_cancelled(sinch):
    responses.delete(
        f"{BASE}/batches/{BATCH_ID}",
        json={"id": BATCH_ID, "to": ["46700000001"], "canceled": True},
    )

    assert sinch.cancel_batch(BATCH_ID).canceled
    assert responses.calls[0].request.body is None


@responses.activate
def test_a_dry_run_counts_recipients_and_parts(sinch):
    responses.post(
        f"{BASE}/batches/dry_run",
        json={"number_of_recipients": 2, "number_of_messages": "3", "per_recipient": []},
    )

    dry_run = sinch.dry_run_batch(_batch())

    assert (dry_run.recipients, dry_run.parts) == (2, 3)


@responses.activate
def test_a_report_is_read_in_full(sinch):
    statuses = [
        {"code": 0, "status": "Delivered", "count": 1, "recipients": ["46700000001"]},
        {"code": "402", "status": "Aborted", "count": "1", "recipients": ["+46700000002"]},
    ]
    responses.get(
        f"{BASE}/batches/{BATCH_ID}/delivery_report",
        json={
            "type": "delivery_report_sms",
            "batch_id": BATCH_ID,
            "total_message_count": "2",
            "statuses": statuses,
        },
    )

    full = sinch.fetch_full_report(BATCH_ID)

    assert full.total == 2
    assert [
        (count.status, count.code, count.count, count.recipients) for count in full.statuses
    ] == [
        ("Delivered", 0, 1, ("+46700000001",)),
        ("Aborted", 402, 1, ("+46700000002",)),
    ]
    assert [call.request.url.partition("?")[2] for call in responses.calls] == ["type=full"]


@responses.activate
def test_inbounds_of_every_kind_are_listed(sinch):
    inbounds = [
        {
            "type": "mo_text",
            "id": "01JX1",
            "from": "46700000001",
            "to": "71234",
            "body": "STOP",
            "received_at": "2026-03-01T12:00:00.321Z",
        },
        {
            "type": "mo_media",
            "id": "01JX2",
            "from": "12015550101",
            "to": "+12015550199",
            "body": {"subject": "s", "media": []},
            "received_at": "2026-03-01T12:00:00",
        },
    ]
    responses.get(f"{BASE}/inbounds", json={"count": 2, "page": 0, "inbounds": inbounds})

    text, media = sinch.list_inbounds(received_after=NOON)

    assert (text.sender, text.recipient, text.body) == ("+46700000001", "71234", "STOP")
    assert (media.kind, media.recipient) == ("mo_media", "+12015550199")
    assert media.received_at == NOON
    assert json.loads(media.body) == {"subject": "s", "media": []}


@pytest.mark.parametrize("status", [200, 201, 202, 299])
@responses.activate
def test_any_2xx_takes_the_batch(sinch, status):
    responses.post(f"{BASE}/batches", json={"id": BATCH_ID}, status=status)

    assert sinch.send_batch(_prepared()).id == BATCH_ID


@pytest.mark.parametrize("header", ["²", "Wed, 21 Oct 2015 07:28:00 -0000", ""])
@responses.activate
def test_an_odd_retry_after_does_not_hide_that_sinch_is_busy(sinch, header):
    responses.post(f"{BASE}/batches", body="", status=429, headers={"Retry-After": header})

    with pytest.raises(SinchBusy) as busy:
        sinch.send_batch(_prepared())

    assert busy.value.retry_after_s in (None, 0.0)


@responses.activate
def test_a_cancellation_with_an_unreadable_answer_is_unknown(sinch):
    responses.delete(f"{BASE}/batches/{BATCH_ID}", body="<html>", status=200)

    with pytest.raises(SinchOutcomeUnknown):
        sinch.cancel_batch(BATCH_ID)


@responses.activate
def test_a_page_of_a_hundred_full_batches_is_read_whole(sinch):
    to = [f"4670{n:07d}" for n in range(1000)]
    batches = [{**_item(n), "to": to} for n in range(100)]
    responses.get(f"{BASE}/batches", json={"count": 100, "batches": batches})

    found = sinch.list_batches(client_reference="cl-1", created_after=NOON)

    assert sum(len(batch.recipients) for batch in found) == 100_000


@responses.activate
def test_the_check_asks_for_one_batch_of_the_last_hours(sinch):
    responses.get(f"{BASE}/batches", json={"count": 0, "batches": []})

    sinch.check()

    query = parse_qs(urlsplit(responses.calls[0].request.url).query)
    assert query["page_size"] == ["1"]
    assert query["start_date"][0] < datetime.now(UTC).isoformat()


@responses.activate
def test_a_batch_with_no_parameters_at_all_says_nothing_of_them(sinch):
    responses.post(f"{BASE}/batches", json={"id": BATCH_ID}, status=201)

    sinch.send_batch(_prepared(parameters={}))

    assert "parameters" not in json.loads(responses.calls[0].request.body)


@responses.activate
def test_of_sinchs_words_500_characters_are_kept(sinch):
    body = {"code": "syntax_constraint_violation", "text": "x" * 100_000}
    responses.post(f"{BASE}/batches", json=body, status=400)

    with pytest.raises(SinchRejected) as refused:
        sinch.send_batch(_prepared())

    assert refused.value.text == "x" * 500


@pytest.mark.parametrize("code", ["a code, in words", "<script>", "x" * 101, ""])
@responses.activate
def test_a_code_that_is_none_is_not_passed_on(sinch, code):
    responses.post(f"{BASE}/batches", json={"code": code, "text": "why"}, status=400)

    with pytest.raises(SinchRejected) as refused:
        sinch.send_batch(_prepared())

    assert (refused.value.code, refused.value.text) == (None, None)


@pytest.mark.parametrize(
    ("status", "error"), [(400, SinchRejected), (401, SinchMisconfigured), (429, SinchBusy)]
)
@responses.activate
def test_a_refusal_proves_that_nothing_was_sent_and_tells_its_status(sinch, status, error):
    responses.post(f"{BASE}/batches", body="", status=status)

    with pytest.raises(SinchNotSent) as refused:
        sinch.send_batch(_prepared())

    assert isinstance(refused.value, error)
    assert refused.value.status == status


@pytest.mark.parametrize("count", ["true", '"' + "9" * 5000 + '"', "1.5", '"-1"'])
@responses.activate
def test_a_list_with_an_odd_count_is_unusable(sinch, count):
    responses.get(f"{BASE}/batches", body=f'{{"count": {count}, "batches": []}}')

    with pytest.raises(SinchAnswerUnusable):
        sinch.list_batches(client_reference="cl-1", created_after=NOON)


@pytest.mark.parametrize("statuses", [{}, {"statuses": []}])
@responses.activate
def test_a_report_may_have_no_statuses_yet(sinch, statuses):
    responses.get(
        f"{BASE}/batches/{BATCH_ID}/delivery_report",
        json={"batch_id": BATCH_ID, "total_message_count": 0, **statuses},
    )

    assert sinch.fetch_full_report(BATCH_ID).statuses == ()


@responses.activate
def test_a_summary_counts_without_naming_recipients(sinch):
    statuses = [{"code": 0, "status": "Delivered", "count": 7}]
    responses.get(
        f"{BASE}/batches/{BATCH_ID}/delivery_report",
        json={"batch_id": BATCH_ID, "total_message_count": 7, "statuses": statuses},
    )

    (delivered,) = sinch.fetch_full_report(BATCH_ID).statuses

    assert (delivered.count, delivered.recipients) == (7, ())


@pytest.mark.parametrize(
    "created_at", [None, 7, "", "yesterday", "0001-01-01T00:00:00+14:00", "2026-13-01T00:00:00Z"]
)
@responses.activate
def test_a_batch_with_an_unreadable_time_is_a_batch_all_the_same(sinch, created_at):
    item = {"id": BATCH_ID, "to": [], "created_at": created_at, "canceled": "false"}
    responses.get(f"{BASE}/batches/{BATCH_ID}", json=item)

    batch = sinch.fetch_batch(BATCH_ID)

    assert (batch.id, batch.created_at, batch.canceled) == (BATCH_ID, None, False)


@responses.activate
def test_a_short_code_of_eight_digits_stays_one(sinch):
    inbound = {
        "type": "mo_text",
        "id": "01JX1",
        "from": "46700000001",
        "to": "12345678",
        "body": "",
    }
    responses.get(f"{BASE}/inbounds", json={"count": 1, "inbounds": [inbound]})

    (text,) = sinch.list_inbounds(received_after=NOON)

    assert text.recipient == "12345678"


@responses.activate
def test_a_batch_shown_on_two_pages_is_one_batch(sinch):
    for _ in range(2):
        responses.get(f"{BASE}/batches", json={"page": 0, "count": 2, "batches": [_item(1)]})

    assert len(sinch.list_batches(client_reference="cl-1", created_after=NOON)) == 1


@responses.activate
def test_a_report_whose_recipients_are_no_list_is_unusable(sinch):
    line = {"status": "Delivered", "code": 0, "count": 1, "recipients": 1}
    report = {"batch_id": BATCH_ID, "total_message_count": 1, "statuses": [line]}
    responses.get(f"{BASE}/batches/{BATCH_ID}/delivery_report", json=report)

    with pytest.raises(SinchAnswerUnusable):
        sinch.fetch_full_report(BATCH_ID)
