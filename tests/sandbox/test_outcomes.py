"""What becomes of messages, and what the reports say of them."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.test_send import refusal


@pytest.mark.parametrize(("ending", "expected"), [
    ("00", "Delivered 0"), ("01", "Failed 150"), ("02", "Expired 153"), ("03", "Rejected 15"),
    ("05", "Failed 257"), ("06", "Aborted 402"), ("07", "Dispatched 401"), ("08", "Unknown 0"),
    ("09", "Deleted 0"), ("10", "Aborted 404"), ("11", "Aborted 413"), ("12", "Aborted 412"),
    ("13", "Rejected 62"), ("14", "Failed 203"), ("50", "Delivered 0"), ("99", "Delivered 0"),
])  # fmt: skip
@pytest.mark.parametrize("area", ["201", "416"])
def test_the_number_decides_the_end(sinch, control, area, ending, expected):
    batch = sinch.send(f"+1{area}55501{ending}")
    control.advance(60)

    assert sinch.statuses(batch["id"]) == {expected: 1}


def test_a_late_one_is_delivered_only_after_its_time(sinch, control):
    batch = sinch.send("+12015550104")
    control.advance(60)
    assert sinch.statuses(batch["id"]) == {"Dispatched 401": 1}

    control.advance(3600)
    assert sinch.statuses(batch["id"]) == {"Delivered 0": 1}


def test_messages_go_from_queued_to_dispatched_to_final(sinch, control):
    control.set(dispatch_after_s=10, deliver_after_s=10)
    batch = sinch.send()

    seen = []
    for _ in range(3):
        seen.append(sinch.statuses(batch["id"]))
        control.advance(10)
    assert seen == [{"Queued 400": 1}, {"Dispatched 401": 1}, {"Delivered 0": 1}]


def test_dispatched_may_be_skipped(sinch, control):
    control.set(skip_dispatched=True, deliver_after_s=10)
    batch = sinch.send()

    control.advance(5)
    assert sinch.statuses(batch["id"]) == {"Queued 400": 1}
    control.advance(10)
    assert sinch.statuses(batch["id"]) == {"Delivered 0": 1}


def test_a_failure_may_carry_code_zero(sinch, control):
    control.set(code_zero_with_failed=True)
    batch = sinch.send("+12015550101")
    control.advance(60)

    assert sinch.statuses(batch["id"]) == {"Failed 0": 1}


def test_one_batch_waits_behind_another_at_the_rate_of_the_plan(sinch, control):
    control.set(messages_per_second=1)
    first = sinch.send(*[f"467000000{n:02d}" for n in range(10)])["id"]
    second = sinch.send("46700000099")["id"]

    control.advance(5.2)
    assert sinch.statuses(first) == {"Delivered 0": 5, "Queued 400": 5}
    assert sinch.statuses(second) == {"Queued 400": 1}
    control.advance(6)
    assert sinch.statuses(first) == {"Delivered 0": 10}
    assert sinch.statuses(second) == {"Delivered 0": 1}


def test_what_waits_too_long_in_the_queue_expires_there(sinch, control):
    control.set(messages_per_second=0.01)
    expire_at = (datetime.now(UTC) + timedelta(seconds=150)).isoformat()
    batch = sinch.send("46700000001", "46700000002", expire_at=expire_at)["id"]

    control.advance(300)

    assert sinch.statuses(batch) == {"Delivered 0": 1, "Aborted 406": 1}


def test_a_scheduled_batch_starts_when_its_time_has_come(sinch, control):
    send_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    batch = sinch.send(send_at=send_at)["id"]

    control.advance(3500)
    assert sinch.statuses(batch) == {"Queued 400": 1}
    control.advance(200)
    assert sinch.statuses(batch) == {"Delivered 0": 1}


def test_a_missing_value_ends_that_recipient_alone_with_405(sinch, control):
    batch = sinch.send("46700000001", "46700000002", body="Hi ${name}",
                       parameters={"name": {"+46700000001": "Ann"}})  # fmt: skip
    control.advance(60)

    report = sinch.get(f"/batches/{batch['id']}/delivery_report", type="full")
    assert report["statuses"] == [
        {"code": 0, "status": "Delivered", "count": 1, "recipients": ["46700000001"]},
        {"code": 405, "status": "Aborted", "count": 1, "recipients": ["46700000002"]},
    ]


def test_no_fitting_default_originator_ends_that_recipient_alone_with_410(sinch, control):
    control.set(default_originators={"46": "46700000900", "4670": "46700000901"})
    batch = sinch.send("46700000001", "12015550150", **{"from": None})
    control.advance(60)

    assert sinch.statuses(batch["id"]) == {"Delivered 0": 1, "Aborted 410": 1}
    one = sinch.get(f"/batches/{batch['id']}/delivery_report/46700000001")
    assert one["applied_originator"] == "46700000901"
    assert "from" not in batch


@pytest.mark.parametrize("changes", [
    {"body": "${n}", "max_number_of_message_parts": 1},
    {"body": "${n}", "default": 1},
])  # fmt: skip
def test_too_many_parts_end_that_recipient_alone_with_411(sinch, control, changes):
    control.set(default_max_parts=changes.pop("default", None))
    values = {"46700000001": "short", "default": "x" * 160}
    batch = sinch.send("46700000001", "46700000002", parameters={"n": values},
                       **(changes | {"body": "${n}!"}))  # fmt: skip
    control.advance(60)

    assert sinch.statuses(batch["id"]) == {"Delivered 0": 1, "Aborted 411": 1}


def test_a_text_cut_to_one_part_is_never_too_long(sinch, control):
    batch = sinch.send(body="é€" * 200, truncate_concat=True, max_number_of_message_parts=1)
    control.advance(60)

    assert sinch.statuses(batch["id"]) == {"Delivered 0": 1}


def test_ordinary_numbers_can_fail_by_lot_the_same_every_time(sinch, control):
    control.set(outcome_probabilities={"Failed": 0.5}, seed=7)
    numbers = [f"4670000{n:04d}" for n in range(1000)]
    batches = [sinch.send(*numbers)["id"] for _ in range(2)]
    control.advance(60)

    first, second = (sinch.statuses(batch) for batch in batches)
    assert first == second
    assert 400 < first["Failed 150"] < 600


def test_a_recipient_report_tells_who_when_and_how(sinch, control):
    control.set(auto_encoding=True, report_operator="24001", late_after_s=60)
    batch = sinch.send("+46700000001", client_reference="r", max_number_of_message_parts=2)
    control.advance(60)

    report = sinch.get(f"/batches/{batch['id']}/delivery_report/+46700000001")

    assert report.pop("at").endswith("Z")
    assert report.pop("operator_status_at").endswith(":00Z")
    assert report == {
        "type": "recipient_delivery_report_sms", "batch_id": batch["id"],
        "recipient": "46700000001", "code": 0, "status": "Delivered", "client_reference": "r",
        "number_of_message_parts": 1, "encoding": "GSM", "operator": "24001",
    }  # fmt: skip
    stranger = f"/batches/{batch['id']}/delivery_report/46700000002"
    assert refusal(sinch.ask("GET", stranger)) == (404, "not_found")


def test_a_batch_report_is_filtered_by_status_and_code(sinch, control):
    path = (
        f"/batches/{sinch.send('12015550101', '12015550105', '12015550100')['id']}/delivery_report"
    )
    control.advance(60)

    failed = sinch.get(path, status="FAILED")["statuses"]
    assert [s["code"] for s in failed] == [150, 257]
    assert [s["code"] for s in sinch.get(path, code="257,0")["statuses"]] == [257, 0]
    assert sinch.get(path)["total_message_count"] == 3
    assert sinch.ask("GET", path, params={"type": "brief"}).status_code == 400
    assert sinch.ask("GET", path, params={"status": "Lost"}).status_code == 400
    assert sinch.ask("GET", path, params={"code": "x"}).status_code == 400


def test_the_list_of_reports_holds_final_ones_newest_first(sinch, control):
    sinch.send("12015550107", client_reference="a")
    one = sinch.send("12015550101", client_reference="a")["id"]
    control.advance(10)
    two = sinch.send("12015550100", client_reference="b")["id"]
    control.advance(10)

    listed = sinch.get("/delivery_reports")
    assert [r["batch_id"] for r in listed["delivery_reports"]] == [two, one]
    assert (listed["count"], listed["page"], listed["page_size"]) == (2, 0, 2)
    assert sinch.get("/delivery_reports", client_reference="a")["count"] == 1
    assert sinch.get("/delivery_reports", status="delivered", code="0")["count"] == 1
    control.advance(24 * 3600)
    assert sinch.get("/delivery_reports")["count"] == 0
    assert sinch.get("/delivery_reports", start_date="2020-01-01T00:00:00")["count"] == 2


def test_codes_and_counts_may_be_printed_as_strings(sinch, control):
    control.set(codes_as_strings=True)
    batch = sinch.send("12015550106")["id"]
    control.advance(60)

    report = sinch.get(f"/batches/{batch}/delivery_report")
    assert (report["total_message_count"], report["statuses"][0]["code"]) == ("1", "402")
    assert sinch.get(f"/batches/{batch}/delivery_report/12015550106")["code"] == "402"


def test_reports_on_media_messages_say_mms(sinch):
    batch = sinch.send(type="mt_media", body={"url": "https://h/i.png"})["id"]

    report = sinch.get(f"/batches/{batch}/delivery_report")
    assert report["type"] == "delivery_report_mms"


def test_a_default_originator_may_be_written_with_a_plus(sinch, control):
    control.set(default_originators={"+46": "+46700000900"})
    batch = sinch.send("46700000001", **{"from": None})
    control.advance(60)

    report = sinch.get(f"/batches/{batch['id']}/delivery_report/46700000001")

    assert (report["status"], report["applied_originator"]) == ("Delivered", "46700000900")


def test_the_time_printed_on_a_report_finds_it(sinch, control):
    control.set(dispatch_after_s=0.0507)
    sinch.send()
    control.advance(60)
    (report,) = sinch.get("/delivery_reports")["delivery_reports"]

    since = sinch.get("/delivery_reports", start_date=report["at"])
    until = sinch.get("/delivery_reports", end_date=report["at"])

    assert (since["count"], until["count"]) == (1, 0)
