"""An audience that is counted by groups has the figures of one that is counted by each person."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.db.base import table_of
from app.sms.models.states import Category, ExclusionReason
from app.sms.quotes.estimate import estimate_request, iterate_reasons
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import prepare_request
from app.subscribers.audiences.audience import plain_tag
from app.subscribers.models import Suppression
from tests.callers import Caller
from tests.clocks import ManualClock
from tests.conftest import draw_lots, examples
from tests.people import add_people, stop

_PREFIXES = ("+4670123", "+1201555", "+1684733", "+44740012", "+4999", "+7701123", "+39312345")
_PREMIUM = "+449098790"
_NAMES = (
    None, "", "Ann", " Bo ", "Zoë", "Şule", "A\nB", "A\x1fB", "\x1f", "€", "x" * 100, "{}", "🙂🙂",
)  # fmt: skip
_VALUES = (None, "", " Malmö ", True, False, 7, 1.5, 0.1 + 0.2, 1e22, "y" * 161, "z" * 160, '"')
_ZONES = (None, None, None, "Asia/Tokyo", "America/New_York", "Europe/Stockholm")
_TEXTS = {
    "plain": {"text": "Doors open at 8"},
    "names": {"text": "Hej ${first_name}, ${first_name}! " + "x" * 120},
    "attributes": {
        "text": "${first_name} ${city} ${shoe.size}",
        "fields": {"shoe.size": "attributes.42"},
        "parameters": {"first_name": {"default": "du"}},
    },
    "languages": {
        "text": "Hej ${city}",
        "texts": {"sv": "Hej ${city}", "en": "Hi ${first_name} of ${city}", "pl": "Cześć"},
        "language": "sv",
    },
    "values alone": {"text": "${first_name}"},
}
_PEOPLE = 300


@pytest.fixture
def service(make_service, either_database, sandbox):
    return make_service(
        DATABASE_URL=either_database, MARKETING_PER_DAY="1", ALLOWED_COUNTRIES="SE,US,AS,GB,KZ,IT"
    )


@pytest.mark.parametrize("seed", range(examples(2)))
def test_groups_have_the_figures_of_each_person(service, seed):
    lot = draw_lots(seed)
    ctx = service.extensions["clarion"]
    phones = _fill(ctx, lot)
    for phone in phones[10:15]:
        Caller(service).send(phone, category="marketing")
    clock = ManualClock()
    clock.advance(lot.randrange(43_200))
    ctx = replace(ctx, clock=clock)

    for category in Category:
        for text in _TEXTS.values():
            ends_at = ctx.now() + timedelta(hours=lot.randrange(1, 30))
            facts = {"category": category, "expire_at": ends_at, **text}
            request = BroadcastRequest(recipients=(), audience=plain_tag("all"), **facts)
            request = prepare_request(ctx, request)
            grouped = estimate_request(ctx, request)
            one_by_one = estimate_request(ctx, request, limit=10 * _PEOPLE)

            assert grouped == one_by_one
            stretches = [people for _, people in iterate_reasons(ctx, request)]
            listed = Counter(reason for people in stretches for _, reason in people if reason)
            late = Counter({ExclusionReason.QUIET_HOURS: grouped.expired_before_window})
            assert listed == grouped.excluded + late
            counted = grouped.recipients.total() + grouped.excluded.total()
            assert counted + grouped.expired_before_window == _PEOPLE
    assert set(grouped.excluded) >= {ExclusionReason.OPTED_OUT, ExclusionReason.NO_CONSENT}


def _fill(ctx, lot):
    """Make people; some opted out, of whom some are known only by the hash of their number."""
    numbers = {f"{lot.choice(_PREFIXES)}{lot.randrange(10**4):04d}" for _ in range(2 * _PEOPLE)}
    phones = [*sorted(numbers)[: _PEOPLE - 5], *(f"{_PREMIUM}{n:03d}" for n in range(5))]
    lot.shuffle(phones)
    for phone in phones:
        attributes = {"city": lot.choice(_VALUES), "42": lot.choice(_VALUES), "other": "\n"}
        add_people(
            ctx,
            [phone],
            tags=["all"],
            consented=lot.random() > 0.1,
            first_name=lot.choice(_NAMES),
            language=lot.choice((None, "sv", "en-GB", "pl", "fi")),
            time_zone=lot.choice(_ZONES),
            attributes=lot.choice((None, attributes, attributes)),
        )
    for phone in phones[:10]:
        stop(ctx, phone)
    suppressions = table_of(Suppression)
    with ctx.db.write() as tx:
        hidden = suppressions.c.phone.in_(phones[:5])
        tx.execute(update(suppressions).where(hidden).values(phone=None))
    return phones
