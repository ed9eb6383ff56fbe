"""The curve and the countries of a broadcast are those of its messages, however large it is."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from app.phone.country import find_country
from app.sms.analytics.delivery_counts import MAX_UNSTORED
from app.sms.broadcasts.views import view_delivery
from app.sms.dispatch.outcome import SubmitResult
from app.sms.models.delivery import CountryCount, DeliverySlot
from app.sms.models.states import Outcome
from tests.callers import Caller, id_of
from tests.endings import end_messages, read_batches
from tests.factories import many_numbers
from tests.machine import record_result
from tests.reporting import read_all, report, tell
from tests.rollups import miscounts, roll_up_now

ANN, BOB, CLO = "+46701234567", "+46707654321", "+12025550123"
LARGE = MAX_UNSTORED + 200


def accept(machine, recipients):
    """Store a broadcast whose batches Sinch takes.  Returns its row."""
    broadcast_id = machine.store(recipients, size=1_000)
    for number, _ in enumerate(machine.batches(broadcast_id)):
        claim = machine.claim(broadcast_id=broadcast_id)
        taken = SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=f"01TAKEN{number}")
        record_result(machine.ctx, claim, taken)
    machine.clock.advance(100_000)
    return machine.broadcast(broadcast_id)


def end_some(machine, broadcast, ends):
    """Report these statuses by number, with seconds after the start."""
    batches = read_batches(machine.ctx, broadcast.public_id)
    reports = []
    for number, (status, seconds) in ends.items():
        at = (broadcast.send_at + timedelta(seconds=seconds)).isoformat()
        reports.append(report(number, status, batch=batches[number], at=at))
    tell(machine.ctx, *reports)


def read(machine, broadcast):
    """Return view and delivery, with the curve as seconds and messages."""
    view, delivery = view_delivery(machine.ctx, broadcast.public_id)
    curve = [
        ((point.at - broadcast.send_at).total_seconds(), point.delivered)
        for point in delivery.curve
    ]
    return view, delivery, curve


def test_a_small_one_is_counted_when_it_is_read(either_machine):
    machine = either_machine
    broadcast = accept(machine, [ANN, BOB, CLO])
    end_some(machine, broadcast, {ANN: ("Delivered", 7), BOB: ("Delivered", 125)})
    end_some(machine, broadcast, {CLO: ("Failed", 9)})

    _, delivery, curve = read(machine, broadcast)

    assert curve == [(0, 0), (7, 0), (8, 1), (120, 1), (130, 2)]
    assert [
        (each.country, each.sent, each.delivered, each.failed) for each in delivery.countries
    ] == [("SE", 2, 2, 0), ("US", 1, 0, 1)]
    assert (delivery.delivered, delivery.behind) == (2, 0)
    roll_up_now(machine)
    assert read_all(machine.ctx, CountryCount) == read_all(machine.ctx, DeliverySlot) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_large_one_says_how_far_behind_it_is_and_catches_up(either_machine, seed):
    machine, chance = either_machine, random.Random(seed)
    numbers = many_numbers(LARGE - 100) + [f"+1202555{number:04}" for number in range(100)]
    broadcast = accept(machine, numbers)
    roll_up_now(machine)
    delivered, failed = {}, set()
    for _ in range(4):
        ends = {}
        for number in chance.sample(numbers, 200):
            status = chance.choice(["Delivered", "Delivered", "Failed", "Dispatched"])
            ends[number] = status, chance.choice([chance.randrange(10_000), 90_000])
        end_some(machine, broadcast, ends)
        for number, (status, seconds) in ends.items():
            if status == "Delivered":
                # Of two deliveries the earlier one counts.
                delivered[number] = min(seconds, delivered.get(number, seconds))
            elif status == "Failed":
                failed.add(number)
        view, delivery, _ = read(machine, broadcast)
        assert delivery.delivered + delivery.behind == view.counts["delivered"] == len(delivered)
        if chance.random() < 0.7:
            roll_up_now(machine)
            assert read(machine, broadcast)[1].behind == 0
        assert miscounts(machine.ctx) == []

    roll_up_now(machine)
    _, delivery, curve = read(machine, broadcast)

    by_country = Counter(find_country(number) for number in delivered)
    assert {each.country: (each.sent, each.delivered) for each in delivery.countries} == {
        "SE": (LARGE - 100, by_country["SE"]),
        "US": (100, by_country["US"]),
    }
    assert sum(each.failed for each in delivery.countries) == len(failed - {*delivered})
    assert curve[0] == (0, 0)
    assert curve[-1][1] == len(delivered)
    assert len(curve) <= 302
    for seconds, count in curve:
        before = sum(each + 60 <= seconds for each in delivered.values())
        assert before <= count <= sum(each <= seconds for each in delivered.values())


def test_the_api_answers_with_curve_and_countries(either_service, sandbox):
    caller = Caller(either_service)
    made = caller.send(ANN, CLO)
    end_messages(either_service.extensions["clarion"], made, {ANN: ("Delivered", 0)})

    answer = caller.get(f"/api/broadcasts/{id_of(made)}/delivery").get_json()

    assert answer["curve"][-1]["delivered"] == answer["delivered"] == 1
    assert answer["curve"][0] == {"at": answer["started_at"], "delivered": 0}
    assert answer["behind"] == 0
    assert answer["countries"] == [
        {"country": "SE", "sent": 1, "delivered": 1, "failed": 0},
        {"country": "US", "sent": 1, "delivered": 0, "failed": 0},
    ]
    assert caller.get("/api/broadcasts/unknown/delivery").status_code == 404
