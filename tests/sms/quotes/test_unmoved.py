"""A quote holds without a count while what it rests on has not moved, and only then."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from app.db.base import table_of
from app.sms.caps.prices import replace_prices
from app.sms.models.states import Category
from app.sms.quotes.quote import QuoteChanged, check_quote, make_quote
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import prepare_request
from app.subscribers.audiences.audience import plain_tag
from app.subscribers.models import Subscriber
from app.subscribers.suppressions.manage import release_number
from tests.callers import Caller
from tests.factories import many_numbers
from tests.people import add_people, stop
from tests.shifting import shift_clock

ANN, BOB, CLEO, *OTHERS = many_numbers(8)
STRANGER = "+46709999999"
_PEOPLE = table_of(Subscriber)


def give(phone, **values):
    def change(ctx):
        with ctx.db.write() as tx:
            tx.execute(update(_PEOPLE).where(_PEOPLE.c.phone == phone).values(values))

    return change


MOVES = {
    "a person opted out": lambda ctx: stop(ctx, ANN),
    "another one joined": lambda ctx: add_people(ctx, [STRANGER], tags=["vip"]),
    "one joined for one who opted out": lambda ctx: (
        add_people(ctx, [STRANGER], tags=["vip"]),
        stop(ctx, ANN),
    ),
    "a name changed": give(ANN, first_name="Annabella"),
    "a name went": give(ANN, first_name=None),
    "an attribute changed": give(ANN, attributes={"city": "Malmö"}),
    "a language changed": give(ANN, language="en"),
    "a person was switched off": give(ANN, active=False),
    "a consent went": give(ANN, consented_at=None),
    "a person moved": give(ANN, time_zone="Asia/Tokyo"),
    "a price rose": lambda ctx: replace_prices(ctx, "EUR", {"*": 50_000}, actor="tests"),
}
STAYS = {
    "nothing": lambda ctx: None,
    "another number opted out": lambda ctx: stop(ctx, STRANGER),
    "a person of another tag joined": lambda ctx: add_people(ctx, [STRANGER], tags=["other"]),
    "an attribute that the text does not have": give(ANN, attributes={"city": "Lund", "shoe": 43}),
    "a last name": give(ANN, last_name="Lindqvist"),
}


@pytest.fixture
def service(make_service, either_database, sandbox):
    settings = {"MARKETING_PER_DAY": "1", "QUIET_HOURS": "*=00:00-00:00"}
    service = make_service(DATABASE_URL=either_database, **settings)
    ctx = service.extensions["clarion"]
    details = {"first_name": "Ann", "attributes": {"city": "Lund"}, "language": "sv"}
    add_people(ctx, [ANN, BOB, CLEO, *OTHERS], tags=["vip"], **details)
    stop(ctx, CLEO)
    return service


@pytest.fixture
def ctx(service):
    return service.extensions["clarion"]


def ask(ctx, **more):
    facts = {
        "text": "Hej ${first_name}, ${city} är nära",
        "texts": {"sv": "Hej ${first_name}, ${city} är nära", "en": "Hi ${first_name} of ${city}"},
        "language": "sv",
        "audience": plain_tag("vip"),
        "category": Category.MARKETING,
    }
    return prepare_request(ctx, BroadcastRequest(recipients=(), **facts | more))


def has_moved(ctx, request, token):
    """True if a send that asks for nothing to have moved is refused."""
    try:
        check_quote(ctx, replace(request, quote_tolerance=None), token)
    except QuoteChanged:
        return True
    return False


@pytest.mark.parametrize("move", MOVES)
def test_what_moves_in_an_audience_is_found_without_a_count(ctx, move):
    request = ask(ctx)
    token = make_quote(ctx, request).token

    MOVES[move](ctx)

    assert has_moved(ctx, request, token)


@pytest.mark.parametrize("move", STAYS)
def test_what_has_nothing_to_do_with_a_broadcast_leaves_its_quote(ctx, move):
    request = ask(ctx)
    token = make_quote(ctx, request).token

    STAYS[move](ctx)

    assert not has_moved(ctx, request, token)


def test_an_opt_out_that_is_taken_back_leaves_the_quote_as_it_was(ctx):
    request = ask(ctx, category=Category.TRANSACTIONAL)
    token = make_quote(ctx, request).token
    stop(ctx, ANN)
    assert has_moved(ctx, request, token)

    release_number(ctx.subscriber_context, ANN, actor="tests", channel="api", note="A mistake.")

    assert not has_moved(ctx, request, token)


def test_a_person_who_got_as_much_marketing_as_they_may_has_moved(service, ctx):
    request = ask(ctx)
    token = make_quote(ctx, request).token

    Caller(service).send(BOB, category="marketing")

    assert has_moved(ctx, request, token)


def test_hours_that_ended_since_have_moved(make_service, database_url, sandbox):
    service = make_service(DATABASE_URL=database_url, QUIET_HOURS="*=20:00-08:00")
    add_people(service.extensions["clarion"], OTHERS, tags=["vip"], first_name="Ann")
    noon = datetime.now(ZoneInfo("Europe/Stockholm")).replace(hour=12)
    moves, token = {}, None
    for hours in (0, 6, 9):
        later = noon + timedelta(hours=hours)
        shift_clock(service, (later - datetime.now(UTC)).total_seconds())
        ctx = service.extensions["clarion"]
        request = ask(ctx, text="Hi ${first_name}", texts={}, expire_at=later + timedelta(hours=1))
        token = token or make_quote(ctx, request).token
        moves[hours] = has_moved(ctx, request, token)

    assert moves == {0: False, 6: False, 9: True}
