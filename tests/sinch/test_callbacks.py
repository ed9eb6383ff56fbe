"""Sinch's callbacks: the contract's examples as facts, rebuilt, and its tolerances."""

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sinch.callbacks import Callback, UnreadableCallback, parse_callback
from app.sinch.schemas import BatchReport, SinchInbound, StatusCount
from tests.sinch.official import event_reader

BATCH = "01JX0000000000000000000001"
PHONE = "46700000001"


def recipient_report(**changes):
    """A report on one message; None leaves a field out."""
    return _encode(
        {
            "type": "recipient_delivery_report_sms",
            "batch_id": BATCH,
            "recipient": PHONE,
            "code": 401,
            "status": "Dispatched",
            "at": "2026-03-01T12:00:01.250Z",
            "operator_status_at": "2026-03-01T12:00:00Z",
            "client_reference": "ref-1",
            "applied_originator": "46700000900",
            "number_of_message_parts": 1,
            "encoding": "GSM",
            "operator": "24001",
        }
        | changes
    )


def batch_report(**changes):
    """A full report on three messages."""
    return _encode(
        {
            "type": "delivery_report_sms",
            "batch_id": BATCH,
            "total_message_count": 3,
            "client_reference": "ref-1",
            "statuses": [
                _count(0, "Delivered", 2, [PHONE, "46700000002"]),
                _count(402, "Aborted", 1, ["46700000003"]),
            ],
        }
        | changes
    )


def inbound(**changes):
    """A person's text."""
    return _encode(
        {
            "type": "mo_text",
            "id": BATCH,
            "from": PHONE,
            "to": "46700000900",
            "body": "STOP",
            "received_at": "2026-03-01T12:05:00.321Z",
        }
        | changes
    )


def _count(code, status, count, recipients=None):
    return {"code": code, "status": status, "count": count} | (
        {} if recipients is None else {"recipients": recipients}
    )


def _encode(fields):
    present = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(present).encode()


def read_status(**changes):
    """The status that a report on one message is read as."""
    (status,) = parse_callback(recipient_report(**changes)).statuses
    return status


def test_a_report_on_one_message_is_read():
    assert parse_callback(recipient_report()) == BatchReport(
        batch_id=BATCH,
        total=1,
        statuses=(StatusCount("Dispatched", 401, 1, (f"+{PHONE}",)),),
        client_reference="ref-1",
        at=datetime(2026, 3, 1, 12, 0, 1, 250_000, tzinfo=UTC),
    )


def test_a_full_report_on_a_batch_is_read():
    assert parse_callback(batch_report()) == BatchReport(
        batch_id=BATCH,
        total=3,
        client_reference="ref-1",
        statuses=(
            StatusCount("Delivered", 0, 2, (f"+{PHONE}", "+46700000002")),
            StatusCount("Aborted", 402, 1, ("+46700000003",)),
        ),
    )


def test_a_summary_names_no_recipients():
    read = parse_callback(batch_report(statuses=[_count(0, "Delivered", 3)]))

    assert read.statuses == (StatusCount("Delivered", 0, 3, ()),)


def test_a_text_from_a_phone_is_read():
    more = {"sent_at": "2026-03-01T12:04:59Z", "operator_id": "24001", "client_reference": "ref-1"}

    assert parse_callback(inbound(**more)) == SinchInbound(
        id=BATCH,
        kind="mo_text",
        sender=f"+{PHONE}",
        recipient="+46700000900",
        body="STOP",
        received_at=datetime(2026, 3, 1, 12, 5, 0, 321_000, tzinfo=UTC),
        client_reference="ref-1",
    )


def test_a_binary_text_keeps_its_base64():
    read = parse_callback(inbound(type="mo_binary", body="AQID", udh="060504158a0000"))

    assert (read.kind, read.body) == ("mo_binary", "AQID")


def test_a_media_text_keeps_all_it_holds_as_json():
    item = {"url": "https://media.test/1", "contentType": "image/png", "status": "UPLOADED"}
    body = {"subject": "s", "message": "m", "media": [item | {"code": 0}]}

    read = parse_callback(inbound(type="mo_media", body=body))

    assert (read.kind, json.loads(read.body)) == ("mo_media", body)


def test_what_the_account_adds_may_all_be_missing():
    optional = ("client_reference", "operator_status_at", "applied_originator", "encoding",
                "number_of_message_parts", "operator")  # fmt: skip

    report = parse_callback(recipient_report(**dict.fromkeys(optional)))
    text = parse_callback(inbound())

    assert report.client_reference is None
    assert text.client_reference is None


@pytest.mark.parametrize("suffix", ["", "_sms", "_mms", "_SMS"])
def test_the_types_of_sms_and_mms_mean_the_same(suffix):
    one = parse_callback(recipient_report(type=f"recipient_delivery_report{suffix}"))
    all_of_it = parse_callback(batch_report(type=f"delivery_report{suffix}"))

    assert one == parse_callback(recipient_report())
    assert all_of_it == parse_callback(batch_report())
    assert parse_callback(inbound(type="MO_TEXT")) == parse_callback(inbound())


@pytest.mark.parametrize("written", [PHONE, f"+{PHONE}", f"00{PHONE}"])
def test_a_number_may_bear_a_plus_or_two_zeros(written):
    assert read_status(recipient=written).recipients == (f"+{PHONE}",)
    assert parse_callback(inbound(**{"from": written})).sender == f"+{PHONE}"
    statuses = [_count(0, "Delivered", 1, [written])]
    assert parse_callback(batch_report(statuses=statuses)).statuses[0].recipients == (f"+{PHONE}",)


def test_codes_and_counts_may_be_strings():
    statuses = [_count("402", "Aborted", "3")]

    read = parse_callback(batch_report(total_message_count="3", statuses=statuses))

    assert (read.total, read.statuses[0].code, read.statuses[0].count) == (3, 402, 3)
    assert read_status(code="401").code == 401


@pytest.mark.parametrize("status", ["delivered", "DELIVERED", " Delivered "])
def test_a_status_may_be_in_any_case(status):
    assert read_status(status=status).status == status.strip()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T14:00:00+02:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00.5Z", datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        (
            "2026-03-01T12:00:00.123456789Z",
            datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC),
        ),
    ],
)
def test_a_time_may_lack_its_fraction_or_its_offset(written, read):
    assert parse_callback(recipient_report(at=written)).at == read


def test_fields_of_later_years_are_ignored():
    assert parse_callback(recipient_report(new={"a": [1]})) == parse_callback(recipient_report())


@pytest.mark.parametrize(
    "bad", [7, [], {}, "", "yesterday", "0001-01-01T00:00:00+14:00", True, 1.5, "x" * 5000, "\0"]
)
def test_what_only_adds_to_an_event_does_not_spoil_it(bad):
    optional = {"at": bad, "code": bad if bad != 7 else -7, "client_reference": bad}

    report = parse_callback(recipient_report(**optional))
    text = parse_callback(
        inbound(received_at=bad, sent_at=bad, operator_id=bad, client_reference=bad, udh=bad)
    )

    assert report.statuses == (StatusCount("Dispatched", None, 1, (f"+{PHONE}",)),)
    assert report.at is None
    assert text.body == "STOP"
    assert text.received_at is None
    if bad not in ("yesterday", "0001-01-01T00:00:00+14:00"):
        assert (report.client_reference, text.client_reference) == (None, None)


@pytest.mark.parametrize("code", [10**9, 10**30, "9" * 12, -1, "-1", "4O1"])
def test_a_code_that_no_database_keeps_is_none(code):
    assert read_status(code=code).code is None


@pytest.mark.parametrize(
    "raw",
    [
        *(recipient_report(batch_id=value) for value in (None, "", 7, "x" * 65, "a b", "a\0b")),
        *(
            recipient_report(recipient=value)
            for value in (None, 46700000001, "Acme", "+", "4" * 16, "٤٦٧", [PHONE])
        ),
        *(recipient_report(status=value) for value in (None, "", " ", 0, ["Delivered"])),
        *(batch_report(batch_id=value) for value in (None, "", 7, "x" * 65)),
        *(batch_report(total_message_count=value) for value in (None, "many", -1)),
        *(batch_report(statuses=value) for value in (None, "x", {}, ["Delivered"], [{}])),
        batch_report(statuses=[_count(0, "Delivered", None)]),
        batch_report(statuses=[_count(0, None, 1)]),
        batch_report(statuses=[_count(0, "Delivered", 1, PHONE)]),
        batch_report(statuses=[_count(0, "Delivered", 1, [7])]),
        *(inbound(id=value) for value in (None, "", 7, "x" * 65)),
        *(inbound(**{"from": value}) for value in (None, 46700000001)),
        *(inbound(to=value) for value in (None, 46700000900)),
        *(inbound(body=value) for value in (None, 7, {})),
        inbound(type="mo_media", body=["STOP"]),
    ],
)
def test_an_event_without_what_makes_it_up_is_unreadable_and_nothing_is_quoted(raw):
    with pytest.raises(UnreadableCallback) as unreadable:
        parse_callback(raw)

    assert str(unreadable.value)
    assert PHONE not in str(unreadable.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": "mo_text"}',
        b'{"id": "1"}',
        b'{"type": null}',
        b'{"type": "delivery_report_fax"}',
        b'{"type": "xmo_text"}',
        b'{"type": "recipient_delivery_report_sms", "code": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_event_of_the_reference_is_unreadable(raw):
    with pytest.raises(UnreadableCallback):
        parse_callback(raw)


def test_a_text_that_no_database_keeps_is_mended():
    with_nul = inbound(body="ST\0OP")
    halved = inbound(body="x").replace(b'"x"', b'"ST\\ud83dOP"')

    assert parse_callback(with_nul).body == "STOP"
    assert parse_callback(halved).body == "ST?OP"


def test_a_short_code_and_a_name_stay_as_they_are():
    read = parse_callback(inbound(**{"from": "Acme", "to": "71234"}))

    assert (read.sender, read.recipient) == ("Acme", "71234")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    _read_or_refuse(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values),
    max_leaves=5,
)
_NAMES = ("batch_id", "recipient", "status", "code", "at", "client_reference", "statuses",
          "total_message_count", "id", "from", "to", "body", "received_at", "udh")  # fmt: skip


@pytest.mark.slow
@given(
    st.sampled_from(["recipient_delivery_report_sms", "delivery_report_sms", "mo_text"]),
    st.dictionaries(st.sampled_from(_NAMES), _JSON),
)
def test_any_fields_are_read_or_refused(kind, fields):
    _read_or_refuse(json.dumps(fields | {"type": kind}).encode())


def _read_or_refuse(raw):
    with contextlib.suppress(UnreadableCallback):
        assert isinstance(parse_callback(raw), Callback)


@pytest.mark.parametrize("raw", [recipient_report(), batch_report(), inbound()])
def test_the_official_sdk_reads_the_same_in_what_we_read(raw):
    theirs, ours = event_reader("any").parse_event(raw), parse_callback(raw)

    if isinstance(ours, BatchReport) and ours.at:
        status = StatusCount(theirs.status, theirs.code, 1, (f"+{theirs.recipient}",))
        assert ours.statuses == (status,)
        assert (theirs.batch_id, theirs.at) == (BATCH, ours.at)
    elif isinstance(ours, BatchReport):
        assert theirs.total_message_count == ours.total
        counts = [(count.status, count.code, count.count) for count in ours.statuses]
        assert [(count.status, count.code, count.count) for count in theirs.statuses] == counts
    else:
        assert f"+{theirs.from_}" == ours.sender
        assert (theirs.id, theirs.body) == (ours.id, ours.body)
        assert theirs.received_at == ours.received_at
