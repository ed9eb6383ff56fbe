"""Whom an audience means: the same people in both databases as by a rule written in Python."""

import json
import os
import random
from datetime import UTC, datetime, timedelta

import pytest
from marshmallow import ValidationError
from sqlalchemy import insert, select

from app.db.base import table_of
from app.errors import BadInput
from app.subscribers.audiences.audience import (
    Audience,
    count_audience,
    find_people,
    has_at_most,
    make_condition,
    plain_tag,
)
from app.subscribers.audiences.conditions import Condition, Op, make_test
from app.subscribers.audiences.schemas import AudienceSchema
from app.subscribers.models import Subscriber, SubscriberTag, Tag

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAGS = ["vip", "news", "süd", "sold out"]
NAMES = [None, "Ann", "ann", "Åsa", "Bo", "B", "Zoë", "😀"]
LANGUAGES = [None, "sv", "pt-BR", "en"]
NUMBERS = [0, 1, 7, 7.0, 0.1, -0.1, 1e-7, 2.5, 2**53]
TEXTS = ["", "1", "7", "Berlin", "berlin", "Å", "é", "😀", "true"]
VALUES = [*NUMBERS, *TEXTS, True, False, None]
ATTRIBUTES = ["city", "a.b", "a", "x-1"]
SEEDS = int(os.environ.get("AUDIENCES", "40"))


def _draw_person(draw, number):
    names = draw.sample(ATTRIBUTES, draw.randint(0, 3))
    return {
        "id": number,
        "public_id": f"{number:026d}",
        "phone": f"+4670{number:07d}",
        "first_name": draw.choice(NAMES),
        "last_name": draw.choice(NAMES),
        "language": draw.choice(LANGUAGES),
        "time_zone": draw.choice([None, "Europe/Stockholm", "UTC"]),
        "attributes": {name: draw.choice(VALUES) for name in names} or None,
        "active": draw.random() < 0.9,
        "subscribed_at": START + timedelta(microseconds=draw.randint(-3, 3)),
        "updated_at": START,
    }


def _draw_condition(draw):
    field = draw.choice(["first_name", "language", "subscribed_at", "attributes"])
    if field == "attributes":
        field = f"attributes.{draw.choice(ATTRIBUTES)}"
    op = draw.choice(list(Op))
    values = {"first_name": NAMES[1:], "language": LANGUAGES[1:]}.get(field, VALUES[:-1])
    value = draw.choice(values)
    if field == "subscribed_at":
        value = (START + timedelta(microseconds=draw.randint(-3, 3))).isoformat()
    elif op is Op.IN:
        value = draw.choices(values, k=draw.randint(1, 3))
    elif op is Op.EXISTS:
        value = draw.random() < 0.5
    return {"field": field, "op": op.value, "value": value}


def _draw_audience(draw):
    """An audience as a client may write it; drawn again until it is one."""
    while True:
        body = {name: draw.sample(TAGS, draw.randint(0, 2)) for name in ("any", "all", "none")}
        body["where"] = [_draw_condition(draw) for _ in range(draw.randint(0, 2))]
        try:
            return AudienceSchema().load(body)
        except ValidationError:
            continue


def _kind(value):
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
    )


def _is_true(condition, person):
    field, op, value = condition.field, condition.op, condition.value
    if field.startswith("attributes."):
        own = (person["attributes"] or {}).get(field.partition(".")[2])
    else:
        own = person[field]
    if op is Op.EXISTS:
        return (own is not None) is value
    if op is Op.IN:
        return any(_kind(own) == _kind(each) and own == each for each in value)
    alike = _kind(own) == _kind(value)
    if op is Op.NE:
        return not (alike and own == value)
    if not alike:
        return False
    return {
        Op.EQ: lambda: own == value,
        Op.LT: lambda: own < value,
        Op.LTE: lambda: own <= value,
        Op.GT: lambda: own > value,
        Op.GTE: lambda: own >= value,
        Op.STARTS_WITH: lambda: own.startswith(value),
    }[op]()


def _is_meant(audience, person, borne):
    """`borne` are the person's tags, and whether each is confirmed."""
    confirmed = {tag for tag, sure in borne.items() if sure}
    return (
        person["active"]
        and (not audience.any or bool(confirmed.intersection(audience.any)))
        and confirmed.issuperset(audience.all)
        and not set(audience.none).intersection(borne)
        and all(_is_true(each, person) for each in audience.where)
    )


@pytest.fixture
def crowd(people):
    """Random people with random tags; all that is known of them."""
    draw = random.Random(20_26)
    persons = [_draw_person(draw, number) for number in range(1, 301)]
    borne = {
        person["id"]: {tag: draw.random() < 0.8 for tag in draw.sample(TAGS, draw.randint(0, 3))}
        for person in persons
    }
    tags = [{"id": n, "name": name, "created_at": START} for n, name in enumerate(TAGS, 1)]
    links = [
        {"tag_id": TAGS.index(tag) + 1, "subscriber_id": person, "confirmed": sure}
        for person, those in borne.items()
        for tag, sure in those.items()
    ]
    with people.db.write() as tx:
        tx.execute(insert(table_of(Subscriber)), persons)
        tx.execute(insert(table_of(Tag)), tags)
        tx.execute(insert(table_of(SubscriberTag)), links)
    return persons, borne


def test_an_audience_is_whom_its_rule_means(people, crowd):
    persons, borne = crowd
    draw = random.Random(7)
    table = table_of(Subscriber)
    sizes = []

    for _ in range(SEEDS):
        audience = _draw_audience(draw)

        with people.db.read() as tx:
            found = tx.execute(select(table.c.id).where(make_condition(audience, tx.dialect)))
            ids = set(found.scalars())
            count = count_audience(tx, audience)

        meant = {each["id"] for each in persons if _is_meant(audience, each, borne[each["id"]])}
        assert ids == meant, audience
        assert count == len(meant), audience
        assert Audience.from_json(json.loads(json.dumps(audience.to_json()))) == audience
        sizes.append(len(meant))

    # Not all in vain.
    assert sum(1 for size in sizes if 0 < size < 100) > SEEDS / 3


def test_the_people_of_a_tag_read_in_order_are_those_found_by_the_tag(people, crowd):
    persons, borne = crowd
    table = table_of(Subscriber)
    meant = [
        each["phone"] for each in persons if _is_meant(plain_tag("vip"), each, borne[each["id"]])
    ]

    for in_order in (False, True):
        with people.db.read() as tx:
            source, condition = find_people(plain_tag("vip"), tx.dialect, in_order=in_order)
            query = select(table.c.phone).select_from(source).where(condition)
            found = tx.execute(query.order_by(table.c.phone)).scalars().all()

        assert found == meant


def test_an_audience_has_at_most_those_with_its_tag_or_all_people(people, crowd):
    _, borne = crowd
    with_tag = sum("vip" in tags for tags in borne.values())

    with people.db.read() as tx:
        for audience, most in ((plain_tag("vip"), with_tag), (Audience(all=("vip",)), 300)):
            assert has_at_most(tx, audience, most)
            assert not has_at_most(tx, audience, most - 1)


def test_each_comparison_holds_for_each_type(people, crowd):
    persons, _ = crowd
    table = table_of(Subscriber)
    everybody = table.c.active.in_([True, False])

    with people.db.read() as tx:
        for op in (Op.EQ, Op.NE, Op.LT, Op.LTE, Op.GT, Op.GTE, Op.STARTS_WITH):
            for value in VALUES[:-1]:
                if (op is not Op.EQ and isinstance(value, bool)) or (
                    op is Op.STARTS_WITH and not isinstance(value, str)
                ):
                    continue
                condition = Condition("attributes.a.b", op, value)
                audience = Audience(where=(condition,))

                found = tx.execute(
                    select(table.c.id).where(everybody, make_condition(audience, tx.dialect))
                )

                assert set(found.scalars()) == {
                    each["id"] for each in persons if each["active"] and _is_true(condition, each)
                }, condition


def test_a_tag_that_there_is_not_is_named(people, crowd):
    with people.db.read() as tx, pytest.raises(BadInput) as refused:
        count_audience(tx, Audience(any=("vip", "nobody"), none=("nowhere",)))

    assert refused.value.facts["fields"]["audience"] == [
        "There is no tag nobody.",
        "There is no tag nowhere.",
    ]


def test_a_plain_tag_means_the_active_who_confirmed_it(people, crowd):
    persons, borne = crowd

    with people.db.read() as tx:
        count = count_audience(tx, plain_tag("süd"))

    assert count == sum(1 for each in persons if each["active"] and borne[each["id"]].get("süd"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "any"),
        ({"none": ["vip"]}, "any"),
        ({"any": ["a/b"]}, "any"),
        ({"where": [{"field": "phone", "op": "eq", "value": "+46701234567"}]}, "where"),
        ({"where": [{"field": "attributes.", "op": "eq", "value": 1}]}, "where"),
        ({"where": [{"field": 'attributes."', "op": "eq", "value": 1}]}, "where"),
        ({"where": [{"field": "first_name", "op": "eq", "value": 1}]}, "where"),
        ({"where": [{"field": "first_name", "op": "eq", "value": "\0"}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "lt", "value": True}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "eq", "value": None}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "eq", "value": [1]}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "in", "value": []}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "in", "value": "a"}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "starts_with", "value": 1}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "exists", "value": 1}]}, "where"),
        ({"where": [{"field": "subscribed_at", "op": "gt", "value": "2026-01-01"}]}, "where"),
        ({"where": [{"field": "subscribed_at", "op": "exists", "value": True}]}, "where"),
        ({"where": [{"field": "subscribed_at", "op": "gt", "value": 7}]}, "where"),
        ({"where": [{"field": "subscribed_at", "value": "0001-01-01T00:00:00+14:00"}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "in", "value": ["x"] * 101}]}, "where"),
        ({"where": [{"field": "attributes.a", "op": "eq", "value": "x"}] * 21}, "where"),
    ],
)
def test_what_is_no_audience_is_refused_by_name(body, field):
    with pytest.raises(ValidationError) as refused:
        AudienceSchema().load(body)

    assert list(refused.value.messages_dict) == [field]


def test_tags_and_languages_are_asked_for_as_they_are_kept():
    audience = AudienceSchema().load(
        {"any": [" VIP ", "vip"], "where": [{"field": "language", "value": "PT_br"}]}
    )

    assert audience == Audience(any=("vip",), where=(Condition("language", Op.EQ, "pt-BR"),))


@pytest.mark.parametrize("values", [("a", "b"), (1, 2), ("a", 1, True)])
def test_a_list_of_values_costs_as_many_look_ups_as_two_of_them(people, values):
    def count_look_ups(listed):
        condition = Condition("attributes.city", Op.IN, listed)
        with people.db.read() as tx:
            sql = str(make_condition(Audience(where=(condition,)), tx.dialect).compile(tx.engine))
        return sql.count("attributes")

    assert count_look_ups(values * 30) == count_look_ups(values)


@pytest.mark.parametrize(
    "values",
    [
        ["Berlin", "7", ""],
        [1, 2.5, -0.1, 7],
        [True],
        [True, False],
        ["1", 1, True],
        ["é", "berlin", *range(90)],
    ],
)
@pytest.mark.parametrize("name", ["attributes.a", "attributes.city"])
def test_a_list_means_each_of_its_values_and_is_looked_up_once_for_each_type(
    people, crowd, values, name
):
    listed = Condition(name, Op.IN, tuple(values))
    one_by_one = [Condition(name, Op.EQ, value) for value in values]

    with people.db.read() as tx:

        def find(test):
            phones = select(table_of(Subscriber).c.phone).where(test)
            return set(tx.execute(phones).scalars())

        found = find(make_test(listed, tx.dialect))
        expected = set().union(*(find(make_test(test, tx.dialect)) for test in one_by_one))
        statement = str(make_test(listed, tx.dialect).compile(dialect=tx.dialect))

    assert found == expected
    assert statement.count("subscribers.attributes") <= 2 * len({type(each) for each in values}) + 4


@pytest.mark.parametrize("group", ["any", "none"])
def test_many_tags_are_looked_up_by_one_test(people, crowd, group):
    tags = [f"t{n}" for n in range(100)]
    audience = Audience(**{group: tuple(tags)}, where=(Condition("language", Op.EQ, "sv"),))

    with people.db.read() as tx:
        statement = str(make_condition(audience, tx.dialect).compile(dialect=tx.dialect))

    assert statement.count("EXISTS") == 1
