"""Outcomes of messages, and delivery reports of batches."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.test_send import CONSTRAINT, refusal


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


def test_ordinary_numbers_can_fail_by_lot_the_same_every_time(sinch, control):
    control.set(outcome_probabilities={"Failed": 0.5}, seed=7)
    numbers = [f"4670000{n:04d}" for n in range(1000)]
    batches = [sinch.send(*numbers)["id"] for _ in range(2)]
    control.advance(60)

    first, second = (sinch.statuses(batch) for batch in batches)
    assert first == second
    assert 400 < first["Failed 150"] < 600


def test_too_many_parts_end_that_recipient_alone_with_411(sinch, control):
    values = {"46700000001": "short", "default": "x" * 160}
    batch = sinch.send("46700000001", "46700000002", body="${n}!", parameters={"n": values},
                       max_number_of_message_parts=1)  # fmt: skip
    control.advance(60)

    assert sinch.statuses(batch["id"]) == {"Delivered 0": 1, "Aborted 411": 1}


def test_a_report_of_another_type_is_400(sinch):
    path = f"/batches/{sinch.send()['id']}/delivery_report"

    assert refusal(sinch.ask("GET", path, params={"type": "brief"})) == CONSTRAINT
