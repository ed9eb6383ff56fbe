from hypothesis import given
from hypothesis import strategies as st

from app.config.scopes import KeyScope
from app.sms.caps.prices import (
    Cost,
    PriceTable,
    format_price,
    parse_price,
    read_prices,
    replace_prices,
)
from tests.callers import Caller, limit_scopes
from tests.factories import AUTH
from tests.machine import Together

EUROS = {"currency": "EUR", "prices": {"SE": "0.045", "*": "0.08"}}


def put(service, body):
    return service.test_client().put("/api/prices", headers=AUTH, json=body)


def test_there_are_no_prices_until_somebody_sets_them(service):
    answer = Caller(service).get("/api/prices")

    assert answer.get_json() == {"currency": None, "prices": {}}


def test_prices_are_kept_exactly_and_take_the_place_of_all_others(either_service):
    put(either_service, {"currency": "USD", "prices": {"NO": "1", "SE": "0.000001"}})

    answer = put(either_service, EUROS)

    assert answer.status_code == 200
    assert answer.get_json() == EUROS
    assert Caller(either_service).get("/api/prices").get_json() == EUROS


def test_all_prices_can_be_taken_away(service):
    put(service, EUROS)

    answer = put(service, {"currency": "EUR", "prices": {}})

    assert answer.get_json() == {"currency": None, "prices": {}}


NOT_PRICES = [
    ({"prices": {}}, "currency"),
    ({"currency": "euro", "prices": {}}, "currency"),
    ({"currency": "EUR\n", "prices": {}}, "currency"),
    ({"currency": "EUR"}, "prices"),
    ({"currency": "EUR", "prices": ["0.1"]}, "prices"),
    ({"currency": "EUR", "prices": {"SE": 0.045}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": None}}, "prices"),
    ({"currency": "EUR", "prices": {"UK": "0.04"}}, "prices"),
    ({"currency": "EUR", "prices": {"se": "0.04"}}, "prices"),
    ({"currency": "EUR", "prices": {"\0": "0.04"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "0.0450001"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "-1"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "1e3"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "0,045"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "1\n"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "٣"}}, "prices"),
    ({"currency": "EUR", "prices": {"SE": "1000000"}}, "prices"),
]


def test_what_is_no_price_is_refused_and_the_prices_stay(service):
    put(service, EUROS)

    answers = [put(service, body) for body, _ in NOT_PRICES]

    assert {each.status_code for each in answers} == {400}
    found = [list(each.get_json()["fields"]) for each in answers]
    assert found == [[field] for _, field in NOT_PRICES]
    assert Caller(service).get("/api/prices").get_json() == EUROS


def test_each_faulty_price_is_named(service):
    answer = put(service, {"currency": "EUR", "prices": {"SE": "x", "UK": "1", "NO": "1"}})

    assert set(answer.get_json()["fields"]["prices"]) == {"SE", "UK"}


def test_whoever_may_only_read_may_not_set_prices(service):
    limit_scopes(service, KeyScope.READ)

    assert put(service, EUROS).status_code == 403
    assert Caller(service).get("/api/prices").status_code == 200


def test_whoever_may_only_set_prices_may_not_read_broadcasts(service):
    limit_scopes(service, KeyScope.MANAGE_PRICES)

    assert put(service, EUROS).status_code == 200
    assert Caller(service).get("/api/prices").status_code == 403


def test_of_two_who_replace_the_prices_at_once_one_has_the_last_word(either_machine):
    ctx = either_machine.ctx
    ours, theirs = {"SE": 1, "NO": 1, "DK": 1}, {"SE": 2, "FI": 2}

    for _ in range(5):
        Together(
            lambda: replace_prices(ctx, "EUR", ours, actor="a"),
            lambda: replace_prices(ctx, "USD", theirs, actor="b"),
        ).join()

        with ctx.db.read() as tx:
            table = read_prices(tx)
        assert (table.currency, table.micros) in [("EUR", ours), ("USD", theirs)]


def test_who_changed_the_prices_is_noted(machine):
    replace_prices(machine.ctx, "EUR", {"SE": 1}, actor="ann")

    entry = machine.audit()[-1]
    assert (entry.actor, entry.action, entry.subject) == ("ann", "replace", "prices")


def test_a_country_without_a_price_is_named_and_costs_nothing():
    table = PriceTable("EUR", {"SE": 45_000})

    found = table.cost({"SE": 1_000_000, "NO": 5, "DK": 1})

    assert found == Cost(45_000_000_000, "EUR", ("DK", "NO"))


def test_the_price_of_everywhere_holds_where_there_is_no_other():
    table = PriceTable("EUR", {"SE": 0, "*": 80_000})

    assert (table.price_of("SE"), table.price_of("ZZ")) == (0, 80_000)
    assert table.cost({"SE": 3, "ZZ": 2}) == Cost(160_000, "EUR")


@given(st.integers(0, 10**12 - 1))
def test_a_price_is_read_as_it_is_shown(micros):
    assert parse_price(format_price(micros)) == micros
