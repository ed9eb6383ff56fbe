"""Caps and countries of one key, as clients meet them over HTTP: a stolen key spends no more."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.config.scopes import DEFAULT_SCOPES
from app.keys.store import KeyOptions, create_key, rotate_key
from app.sms.caps.caps import CapName, set_cap
from app.sms.models.cap import CapPeriod, CapUnit
from tests.background import context_of
from tests.callers import PATIENT, Caller
from tests.factories import many_numbers
from tests.shifting import begin_hour

NUMBERS = many_numbers(8)
SWEDE, DANE, NORWEGIAN = "+46701234567", "+4520123456", "+4740612345"


@pytest.fixture
def service(either_service):
    begin_hour(either_service)
    return either_service


@pytest.fixture
def make(service):
    """A function that makes a key of the client shop; it returns its number and its text."""
    ctx = context_of(service)

    def make(**options):
        row, key = create_key(
            ctx.db, ctx.clock, "shop", KeyOptions(DEFAULT_SCOPES, **options), actor="tests"
        )
        return row.id, key

    return make


def _rotate(service, key_id):
    ctx = context_of(service)
    ends_at = ctx.now() + timedelta(hours=1)
    row, key = rotate_key(ctx.db, ctx.clock, key_id, ends_at=ends_at, actor="tests")
    return row.id, key


def _cap(service, owner, amount, period=CapPeriod.DAY, unit=CapUnit.PARTS):
    set_cap(context_of(service), CapName(owner, period, unit), amount, actor="ops")


def test_a_cap_on_a_key_limits_it_and_no_other_key_of_its_client(service, make, sandbox):
    stolen_id, stolen = make()
    _, other = make()
    _cap(service, f"key:{stolen_id}", 2)

    held = Caller(service, stolen).send(*NUMBERS[:5]).get_json()
    single = Caller(service, stolen).send(NUMBERS[5], message="One more").get_json()
    free = Caller(service, other).send(*NUMBERS[6:]).get_json()

    assert sandbox.recipients() == [*NUMBERS[:2], *NUMBERS[6:]]
    (cap,) = held["caps"]
    assert (cap["client"], cap["key"], cap["left"]) == (None, stolen_id, 0)
    assert single["exclusions"][0]["reason"] == "cap_reached"
    assert "caps" not in free


def test_keys_that_replace_a_key_share_its_cap(service, make, sandbox):
    old_id, old = make()
    new_id, new = _rotate(service, old_id)
    _cap(service, f"key:{new_id}", 3)

    Caller(service, old).send(*NUMBERS[:2])
    answer = Caller(service, new).send(*NUMBERS[2:5]).get_json()

    assert sandbox.recipients() == NUMBERS[:3]
    assert answer["caps"][0]["key"] == old_id


def test_what_a_key_sent_before_it_was_capped_counts(service, make, sandbox):
    key_id, key = make()
    _, other = make()
    Caller(service, key).send(*NUMBERS[:2])
    Caller(service, other).send(*NUMBERS[2:4])

    _cap(service, f"key:{key_id}", 3)
    answer = Caller(service, key).send(*NUMBERS[4:6]).get_json()

    assert sandbox.recipients() == NUMBERS[:5]
    assert answer["caps"][0]["left"] == 0


def test_the_narrower_of_the_caps_of_key_and_client_counts(service, make, sandbox):
    key_id, key = make()
    _cap(service, f"key:{key_id}", 5)
    _cap(service, "shop", 3)

    answer = Caller(service, key).send(*NUMBERS).get_json()

    assert sandbox.recipients() == NUMBERS[:3]
    assert sorted(cap["left"] for cap in answer["caps"]) == [0, 2]


def test_a_key_may_be_limited_in_recipients_of_a_broadcast(service, make, sandbox):
    key_id, key = make()
    _cap(service, f"key:{key_id}", 4, CapPeriod.BROADCAST, CapUnit.RECIPIENTS)

    answer = Caller(service, key).send(*NUMBERS)

    assert answer.status_code == 400
    assert answer.get_json()["fields"]["recipients"][0].startswith("8 are more than the 4")
    assert Caller(service, key).send(*NUMBERS[:4]).status_code == 202


def test_a_key_sends_to_its_own_countries_only(service, make, sandbox):
    key_id, key = make(countries=("se", "NO"))
    caller = Caller(service, key)

    many = caller.send(SWEDE, DANE).get_json()
    single = caller.send(DANE).get_json()
    _, new = _rotate(service, key_id)
    quote = Caller(service, new).post(
        "/api/broadcast/quote", {"recipients": [DANE, NORWEGIAN], "message": "Hi"}
    )

    assert sandbox.recipients() == [SWEDE]
    assert [group["reason"] for group in many["exclusions"]] == ["country_not_allowed"]
    assert single["message"] == "Broadcast accepted, but every recipient is excluded."
    assert quote.get_json()["recipients"] == 1


def test_a_key_cannot_leave_the_countries_of_its_client(make_service, sandbox):
    service = make_service(ALLOWED_COUNTRIES="shop:SE")
    ctx = context_of(service)
    options = KeyOptions(DEFAULT_SCOPES, countries=("SE", "NO"))
    _, key = create_key(ctx.db, ctx.clock, "shop", options, actor="tests")

    Caller(service, key).send(SWEDE, NORWEGIAN, DANE)

    assert sandbox.recipients() == [SWEDE]


def test_keys_of_api_keys_share_the_caps_and_countries_of_their_client(
    make_service, either_database, sandbox
):
    names = [f"key-of-the-shop-number-{n}-0123456789" for n in range(3)]
    settings = PATIENT | {"DATABASE_URL": either_database, "ALLOWED_COUNTRIES": "shop:SE"}
    service = make_service(API_KEYS=f"shop:{names[0]},shop[*]:{names[1]}", **settings)
    ctx, options = context_of(service), KeyOptions(DEFAULT_SCOPES)
    _, stored = create_key(ctx.db, ctx.clock, "shop", options, actor="tests")
    _cap(service, "shop", 20)
    numbers = many_numbers(48)
    callers = [Caller(service, key) for key in (names[0], names[1], stored) for _ in range(2)]

    def send(part):
        for start in range(part * 6, part * 6 + 6, 2):
            callers[part].send(*numbers[start : start + 2], DANE, message=f"From {start}")

    with ThreadPoolExecutor(len(callers)) as threads:
        list(threads.map(send, range(len(callers))))
    reached = len(sandbox.recipients())
    replaced = make_service(API_KEYS=f"shop:{names[2]}", **settings)
    answer = Caller(replaced, names[2]).send(*numbers[40:]).get_json()

    assert reached == 20
    assert answer["caps"][0]["left"] == 0
    assert len(set(sandbox.recipients())) == len(sandbox.recipients()) == 20
    assert DANE not in sandbox.recipients()
