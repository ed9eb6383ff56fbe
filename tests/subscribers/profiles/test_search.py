"""Search by the beginning of a name, on either database, through an index."""

import pytest
from sqlalchemy import select, text

from app.db.base import table_of
from app.subscribers.models import Subscriber
from app.subscribers.profiles.crud import create_subscriber
from app.subscribers.profiles.entry import SubscriberEntry
from app.subscribers.profiles.search import _make_tests, find_by_name, list_newest

NAMES = [
    ("Åsa", "Öberg"),
    ("Anna Maria", "von Essen"),
    ("ANNA", None),
    (None, "Andersson"),
    ("100%", "_"),
]


@pytest.fixture
def named(people):
    for number, (first, last) in enumerate(NAMES):
        entry = SubscriberEntry(
            phone=f"+4670123456{number}", details={"first_name": first, "last_name": last}
        )
        create_subscriber(people, entry, actor="tests")
    return people


@pytest.mark.parametrize(
    ("beginning", "found"),
    [
        ("åsa", [0]),
        ("ÅS", [0]),
        ("öb", [0]),
        ("an", [3, 2, 1]),
        ("anna m", [1]),
        ("anna maria von", [1]),
        ("von essen, anna", [1]),
        ("essen", []),
        ("anna öberg", []),
        ("100%", [4]),
        ("%", []),
        ("  ", []),
    ],
)
def test_a_beginning_finds_first_and_last_names(named, beginning, found):
    page = find_by_name(named, beginning, limit=10)

    assert [(row["first_name"], row["last_name"]) for row in page.rows] == [
        NAMES[index] for index in found
    ]


def test_a_search_says_that_there_are_more(named):
    page = find_by_name(named, "an", limit=2)

    assert (len(page.rows), page.cursor) == (2, "more")


def test_the_newest_are_first_on_each_page(named):
    first = list_newest(named, limit=3)
    second = list_newest(named, limit=3, cursor=int(first.cursor))

    phones = [row["phone"] for row in (*first.rows, *second.rows)]
    assert phones == sorted(phones, reverse=True)
    assert (len(phones), second.cursor) == (5, None)


def test_a_beginning_is_one_range_of_an_index(people):
    with people.db.read() as tx:
        if tx.dialect.name != "sqlite":
            tx.execute(text("SET LOCAL enable_seqscan = off"))
        for test, order in _make_tests(tx, "an"):
            query = select(table_of(Subscriber)).where(test).order_by(order).limit(5)
            sql = query.compile(tx.engine, compile_kwargs={"literal_binds": True})
            explain = "EXPLAIN QUERY PLAN" if tx.dialect.name == "sqlite" else "EXPLAIN"
            plan = " ".join(str(row) for row in tx.exec_driver_sql(f"{explain} {sql}"))

            assert "ix_subscribers_" in plan
            assert "sort" not in plan.lower()
            assert "b-tree" not in plan.lower()
