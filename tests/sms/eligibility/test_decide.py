"""Whom a claim leaves out, and what becomes of them."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.config import SubscriberRules
from app.sms.models.states import BatchState, Category, ExclusionReason
from tests.callers import Caller
from tests.factories import broadcast_to, many_numbers
from tests.people import add_people, stop
from tests.picky import Picky

_SWEDES = many_numbers(5)
_JAPANESE = [f"+8190123456{n:02d}" for n in range(3)]
# The next 11:00 UTC is noon in Sweden, summer or winter, and 20:00 in Japan.
_LATER = datetime.now(UTC) + timedelta(hours=13)
_NOON = _LATER.replace(hour=11, minute=0, second=0, microsecond=0)
_JAPANESE_MORNING = _NOON + timedelta(hours=13)
_BY_DAY = {"SE": (time(20), time(8)), "JP": (time(19), time(9))}


def _local(hour, zone):
    """That hour of the same day as Sinch writes it."""
    moment = _NOON.astimezone(ZoneInfo(zone)).replace(hour=hour)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}"


def _rules(machine, **rules):
    """The machine under other rules of consent and quiet hours, at noon."""
    machine.clock.set(_NOON)
    own = SubscriberRules(**{"quiet_hours": {"*": (time(), time())}} | rules)
    object.__setattr__(machine.ctx, "subscriber_rules", own)
    return machine


def _withheld(machine):
    return {each.exclusion_reason: each.size for each in machine.batches() if each.exclusion_reason}


def test_a_suppressed_number_is_left_out_whatever_the_broadcast_is_for(either_machine, sandbox):
    machine = _rules(either_machine)
    add_people(machine.ctx, _SWEDES)
    stop(machine.ctx, _SWEDES[1], _SWEDES[3])

    for category in Category:
        broadcast = machine.store(_SWEDES, category=category)
        machine.submit_all()

        assert sandbox.recipients() == [_SWEDES[0], _SWEDES[2], _SWEDES[4]]
        assert machine.counts(broadcast)["suppressed"] == 2
        sandbox.reset()
    assert machine.violations() == []


@pytest.mark.parametrize(
    ("stored", "stopped"),
    [
        ("+460701234567", "+46701234567"),
        ("+4600701234567", "+46701234567"),
        ("+5215512345678", "+525512345678"),
        ("+541123456789", "+5491123456789"),
    ],
)
def test_a_suppression_holds_for_a_number_that_a_broadcast_spells_otherwise(
    either_machine, sandbox, stored, stopped
):
    machine = _rules(either_machine)
    stop(machine.ctx, stopped)

    broadcast = machine.store([stored, _SWEDES[0]])  # as before numbers had one spelling
    machine.submit_all()

    assert sandbox.recipients() == [_SWEDES[0]]
    assert machine.counts(broadcast)["suppressed"] == 1


def test_one_stopped_between_planning_and_claim_is_set_aside(either_machine, sandbox):
    machine = _rules(either_machine)
    broadcast = machine.store(_SWEDES, size=2)
    stop(machine.ctx, _SWEDES[0], _SWEDES[4])

    machine.submit_all()

    assert sandbox.recipients() == _SWEDES[1:4]
    batches = {each.id: each for each in machine.batches()}
    homes = {number: batches[home] for number, home in machine.homes(broadcast).items()}
    assert {number: home.state for number, home in homes.items()} == {
        number: BatchState.SUPPRESSED if number in (_SWEDES[0], _SWEDES[4]) else BatchState.ACCEPTED
        for number in _SWEDES
    }
    assert _withheld(machine) == {ExclusionReason.OPTED_OUT: 1}  # twice one
    assert machine.broadcast(broadcast).status == "complete"
    assert machine.violations() == []


def test_a_broadcast_of_which_nobody_may_be_written_to_is_complete(either_machine, sandbox):
    machine = _rules(either_machine)
    stop(machine.ctx, *_SWEDES)

    broadcast = machine.store(_SWEDES)
    machine.idle()

    assert sandbox.recipients() == []
    assert machine.broadcast(broadcast).status == "complete"
    assert machine.counts(broadcast) == {"suppressed": 5}


def test_marketing_goes_to_active_people_who_agreed(either_machine, sandbox):
    machine = _rules(either_machine)
    add_people(machine.ctx, _SWEDES[:2])
    add_people(machine.ctx, _SWEDES[2:3], consented=False)
    add_people(machine.ctx, _SWEDES[3:4], active=False)

    machine.store(_SWEDES, category=Category.MARKETING)
    machine.submit_all()

    assert sandbox.recipients() == _SWEDES[:2]
    assert _withheld(machine) == {ExclusionReason.NO_CONSENT: 2, ExclusionReason.INACTIVE: 1}


def test_transactional_texts_ask_for_no_consent(machine, sandbox):
    machine = _rules(machine, quiet_hours={"*": (time(10), time(14))})

    machine.store(_SWEDES)
    machine.submit_all()

    assert sandbox.recipients() == _SWEDES


def test_nobody_gets_more_marketing_than_a_day_may_bring(either_machine, sandbox):
    machine = _rules(either_machine, marketing_per_day=2)
    add_people(machine.ctx, _SWEDES)
    for numbers in (_SWEDES[:1], _SWEDES[:2]):
        machine.store(numbers, category=Category.MARKETING)
        machine.submit_all()

    machine.store(_SWEDES[:3], category=Category.MARKETING)
    machine.submit_all()

    assert sandbox.recipients() == [_SWEDES[0], *_SWEDES[:2], *_SWEDES[1:3]]
    assert _withheld(machine) == {ExclusionReason.FREQUENCY_CAP: 1}

    machine.clock.advance(86_400)
    machine.store(_SWEDES[:1], category=Category.MARKETING, expire_s=3600)
    machine.submit_all()

    assert sandbox.recipients()[-1] == _SWEDES[0]


def test_a_text_that_proved_not_to_be_sent_does_not_count_for_the_cap(either_machine, sandbox):
    machine = _rules(either_machine, marketing_per_day=1)
    add_people(machine.ctx, _SWEDES)
    sandbox.order_fault(on="POST /batches", when="before", do="answer", status=429)
    machine.store(_SWEDES[:1], category=Category.MARKETING)

    machine.submit()  # refused for now
    machine.clock.advance(3600)
    machine.submit()

    assert sandbox.recipients() == _SWEDES[:1]


def test_marketing_waits_for_each_persons_day(either_machine, sandbox):
    machine = _rules(either_machine, quiet_hours=_BY_DAY)
    add_people(machine.ctx, [*_SWEDES, *_JAPANESE])
    broadcast = machine.store([*_JAPANESE, *_SWEDES], category=Category.MARKETING)

    machine.submit_all()

    assert sandbox.recipients() == _SWEDES
    assert machine.counts(broadcast)["pending"] == 3
    assert machine.idle().not_before == _JAPANESE_MORNING

    machine.clock.set(_JAPANESE_MORNING)
    stop(machine.ctx, _JAPANESE[0])
    machine.submit_all()

    assert sandbox.recipients() == [*_SWEDES, *_JAPANESE[1:]]
    assert machine.counts(broadcast)["suppressed"] == 1
    assert machine.violations() == []


def test_sinch_gives_up_before_the_night_begins(either_machine, at_sinch):
    machine = _rules(either_machine, quiet_hours=_BY_DAY)
    add_people(machine.ctx, _SWEDES)
    machine.store(_SWEDES, category=Category.MARKETING)

    machine.submit_all()

    assert at_sinch()[0]["expire_at"].startswith(_local(20, "Europe/Stockholm"))


def test_people_whose_days_end_apart_are_in_batches_apart(either_machine, at_sinch):
    hours = {"SE": (time(20), time(8)), "FI": (time(20), time(8))}
    machine = _rules(either_machine, quiet_hours=hours)
    finns = [f"+35840123456{n}" for n in range(3)]
    add_people(machine.ctx, [*_SWEDES, *finns])

    machine.store([*_SWEDES, *finns], category=Category.MARKETING)
    machine.submit_all()

    ends = {batch["to"][0][:2]: batch["expire_at"][:16] for batch in at_sinch()}
    assert ends == {"46": _local(20, "Europe/Stockholm"), "35": _local(20, "Europe/Helsinki")}


def test_a_stored_zone_outweighs_the_number(either_machine, sandbox):
    machine = _rules(either_machine, quiet_hours=_BY_DAY)
    add_people(machine.ctx, _SWEDES[:1], time_zone="Asia/Tokyo")
    add_people(machine.ctx, _SWEDES[1:])

    machine.store(_SWEDES, category=Category.MARKETING)
    machine.submit_all()

    assert sandbox.recipients() == _SWEDES[1:]


def test_a_batch_that_was_taken_apart_is_halved_by_its_own_lines(make_machine, either_database):
    numbers = many_numbers(8)
    sinch = Picky(numbers[5])
    with sinch.server.running():
        machine = _rules(make_machine(either_database, sinch.server.url))
        stop(machine.ctx, numbers[2])
        broadcast = machine.store(numbers)
        machine.submit_all()

    assert sorted(sinch.recipients()) == [*numbers[:2], *numbers[3:5], *numbers[6:]]
    assert machine.counts(broadcast) == {"submitted": 6, "suppressed": 1, "rejected": 1}
    assert machine.violations() == []


def test_a_second_thought_is_set_aside_beside_the_first(either_machine, sandbox):
    machine = _rules(either_machine, quiet_hours=_BY_DAY)
    add_people(machine.ctx, [*_SWEDES, *_JAPANESE])
    broadcast = machine.store([*_JAPANESE, *_SWEDES], category=Category.MARKETING)
    stop(machine.ctx, _SWEDES[0])
    machine.submit_all()
    stop(machine.ctx, _JAPANESE[1])

    machine.clock.set(_JAPANESE_MORNING)
    machine.submit_all()

    assert sandbox.recipients() == [*_SWEDES[1:], _JAPANESE[0], _JAPANESE[2]]
    assert machine.counts(broadcast)["suppressed"] == 2
    assert machine.violations() == []


SWEDISH, NORWEGIAN = "+46701234567", "+4740612345"
PREMIUM, SATELLITE = "+449098790000", "+870773111632"


def test_premium_and_satellite_numbers_are_left_out_and_the_answer_says_so(service, sandbox):
    answer = Caller(service).send(SWEDISH, PREMIUM, SATELLITE).get_json()

    assert sandbox.recipients() == [SWEDISH]
    assert [group["sentence"] for group in answer["exclusions"]] == [
        "2 recipients excluded: premium, shared-cost or satellite number."
    ]
    assert Caller(service).show(answer["broadcast_id"])["counts"]["suppressed"] == 2


def test_kinds_that_are_allowed_get_their_text(make_service, sandbox):
    service = make_service(ALLOWED_NUMBER_KINDS="premium satellite")

    Caller(service).send(PREMIUM, SATELLITE)

    assert sandbox.recipients() == [PREMIUM, SATELLITE]


def test_countries_are_allowed_for_all_and_for_a_client(make_service, sandbox):
    keys = "shop:shop-key-7f3a,crm:crm-key-91c2"
    service = make_service(ALLOWED_COUNTRIES="SE,NO,shop:SE|DK", API_KEYS=keys)

    shop = Caller(service, "shop-key-7f3a").send(NORWEGIAN)
    crm = Caller(service, "crm-key-91c2").send(NORWEGIAN)

    assert shop.get_json()["message"] == "Broadcast accepted, but every recipient is excluded."
    assert shop.get_json()["exclusions"][0]["reason"] == "country_not_allowed"
    assert crm.status_code == 202
    assert sandbox.recipients() == [NORWEGIAN]


def test_a_quote_leaves_out_numbers_that_are_not_allowed(service, sandbox):
    body = broadcast_to(SWEDISH, PREMIUM)

    quote = Caller(service).post("/api/broadcast/quote", body).get_json()

    assert quote["recipients"] == 1
    assert quote["excluded"] == {"number_not_allowed": 1}
