"""The database that tests borrow one after the other: none sees what an earlier one has left."""

import psycopg
import pytest

_INSERT = "INSERT INTO tags (name, double_opt_in, created_at) VALUES ('{}', false, now())"


@pytest.fixture
def borrow(postgres):
    """A function that borrows the database and connects to it."""
    connections = []

    def borrow():
        url = postgres.lend_database()
        connections.append(psycopg.connect(url.replace("+psycopg", ""), autocommit=True))
        return url, connections[-1]

    yield borrow
    for connection in connections:
        connection.close()


def test_the_next_test_finds_the_first_rows_and_numbers(borrow):
    url, first = borrow()
    first.execute(_INSERT.format("a"))
    first.execute("DELETE FROM gates")
    first.execute("UPDATE metadata SET value = 'another'")
    # Left open, with a lock that would be waited for.
    first.autocommit = False
    first.execute("UPDATE tags SET name = 'b'")

    again, second = borrow()

    assert again == url
    assert second.execute("SELECT count(*) FROM tags").fetchone() == (0,)
    assert second.execute("SELECT count(*) FROM gates").fetchone() != (0,)
    kept = second.execute("SELECT value FROM metadata WHERE name = 'instance_id'").fetchone()
    assert kept == ("tests",)
    second.execute(_INSERT.format("c"))
    assert second.execute("SELECT id FROM tags").fetchone() == (1,)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tags ADD COLUMN colour text",
        "DROP TABLE prices",
        "CREATE TABLE another (id int)",
        "CREATE INDEX another ON tags (created_at)",
        "ANALYZE gates",
        "INSERT INTO metadata SELECT number, repeat('-', 99) FROM generate_series(1, 9999) number",
    ],
)
def test_after_other_changes_it_is_a_new_one(borrow, change):
    url, connection = borrow()
    connection.execute(change)

    again, _ = borrow()

    assert again != url
