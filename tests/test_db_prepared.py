"""Statements that the driver runs itself: as SQLAlchemy would run them."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from app.db.base import table_of
from app.db.engine import PING_AFTER_S, Database
from app.db.prepared import Prepared, PreparedInsert, PreparedUpdate, one_of, run_sql
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import ACTIVE, BroadcastStatus, Category

_TABLE = table_of(Broadcast)
_NOW = datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=UTC)
_INSERT = PreparedInsert(_TABLE, "id", "public_id")
_OPEN = Prepared(select(_TABLE).where(one_of(_TABLE.c.status, ACTIVE)).order_by(_TABLE.c.id))
_PAUSE = Prepared(
    update(_TABLE)
    .where(_TABLE.c.public_id == bindparam("wanted"))
    .values(status=BroadcastStatus.PAUSED, reference=bindparam("wanted"))
)

_AMONG = Prepared(
    select(_TABLE.c.public_id)
    .where(
        _TABLE.c.public_id.in_(bindparam("wanted", expanding=True)),
        _TABLE.c.status.in_(ACTIVE),
        _TABLE.c.parts == bindparam("parts"),
    )
    .order_by(_TABLE.c.id)
)
_WAITING = Prepared(
    select(_TABLE.c.public_id)
    .where(_TABLE.c.resolving == bindparam(None, False), _TABLE.c.parts == 1)
    .where(_TABLE.c.status == BroadcastStatus.QUEUED, _TABLE.c.status.in_(ACTIVE))
    .order_by(_TABLE.c.id)
)
_NAMED = {
    name: Prepared(select(_TABLE.c.public_id).where(_TABLE.c.reference == name))
    for name in ("it's 100 %", r"a\'b")
}
_UPDATE = PreparedUpdate(_TABLE)


@pytest.fixture
def db(either_database):
    database = Database(either_database)
    yield database
    database.close()


def _row(public_id, **more):
    return {
        "public_id": public_id,
        "client": "tests",
        "created_at": _NOW.astimezone(timezone(timedelta(hours=5))),
        "text": 'Half a "price" for 100 % of 日本 👋🏽',
        "text_hash": bytes(range(32)),
        "sender": "+12015550199",
        "category": Category.MARKETING,
        "priority": 3,
        "options": {"defaults": {"name": "Ann"}, "max_parts": 2},
        "encoding": "UCS-2",
        "parts": 1,
        "expires_at": _NOW,
        "status": BroadcastStatus.QUEUED,
        "recipients": 1,
        "invalid": 0,
        "duplicates": 0,
        "planned": 0,
        "chunks": 1,
        "resolving": False,
        "texts": None,
    } | more


@pytest.mark.parametrize("count", [1, 2, 7])
def test_rows_are_written_and_read_as_sqlalchemy_reads_them(db, count):
    with db.write() as tx:
        made = _INSERT.run(tx, [_row(f"b{number}") for number in range(count)])
    with db.read() as tx:
        theirs = tx.execute(select(_TABLE).order_by(_TABLE.c.id)).all()
        ours = _OPEN.fetch(tx)

    assert {row.public_id for row in made} == {f"b{number}" for number in range(count)}
    assert [row._asdict() for row in ours] == [row._asdict() for row in theirs]
    assert {row.id for row in made} == {row.id for row in ours}
    assert ours[0].created_at == _NOW
    assert (ours[0].options["max_parts"], ours[0].texts) == (2, None)


def test_a_change_tells_how_many_rows_it_changed_and_takes_a_value_twice(db):
    with db.write() as tx:
        _INSERT.run(tx, [_row("first"), _row("second")])
        changed = _PAUSE.change(tx, {"wanted": "first"}), _PAUSE.change(tx, {"wanted": "none"})
    with db.read() as tx:
        rows = tx.execute(select(_TABLE.c.status, _TABLE.c.reference).order_by(_TABLE.c.id)).all()
        last = _OPEN.first(tx)

    assert changed == (1, 0)
    assert rows == [(BroadcastStatus.PAUSED, "first"), (BroadcastStatus.QUEUED, None)]
    assert last.public_id == "second"


def test_constants_are_compared_by_their_types(db):
    with db.write() as tx:
        _INSERT.run(tx, [_row("b0"), _row("b1", resolving=True), _row("b2", parts=2)])
        _INSERT.run(tx, [_row("b3", reference="it's 100 %"), _row("b4", reference=r"a\'b")])
    with db.read() as tx:
        waiting = _WAITING.fetch(tx)
        named = [_NAMED[name].fetch(tx) for name in sorted(_NAMED)]

    assert [row.public_id for row in waiting] == ["b0", "b3", "b4"]
    assert [[row.public_id for row in rows] for rows in named] == [["b4"], ["b3"]]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 100])
def test_a_list_of_any_size_matches_its_items_alone(db, size):
    wanted = [f"b{number}" for number in range(size)]
    with db.write() as tx:
        _INSERT.run(tx, [_row(f"b{number}") for number in range(0, 8, 2)])
        paused = _row("b1") | {"status": BroadcastStatus.PAUSED}
        _INSERT.run(tx, [paused])

        rows = _AMONG.fetch(tx, {"wanted": wanted, "parts": 1})
        others = _AMONG.fetch(tx, {"wanted": wanted, "parts": 2})

    assert [row.public_id for row in rows] == [f"b{number}" for number in range(0, min(size, 8), 2)]
    assert others == []


def test_an_update_sets_the_columns_that_it_is_given_in_one_row(db):
    with db.write() as tx:
        first, second = sorted(_INSERT.run(tx, [_row("first"), _row("second")]))
        changed = _UPDATE.run(tx, first.id, {"options": {"max_parts": 3}, "send_at": _NOW})
        unknown = _UPDATE.run(tx, second.id + 1, {"options": {}})
    with db.read() as tx:
        rows = tx.execute(
            select(_TABLE.c.options, _TABLE.c.send_at, _TABLE.c.text).order_by(_TABLE.c.id)
        ).all()

    assert (changed, unknown) == (1, 0)
    assert rows[0] == ({"max_parts": 3}, _NOW, _row("")["text"])
    assert rows[1] == (_row("")["options"], None, _row("")["text"])


def test_a_statement_is_run_for_each_of_several_values(db):
    with db.write() as tx:
        _INSERT.run(tx, [_row(name) for name in ("first", "second", "third")])
        _PAUSE.change_each(tx, [{"wanted": "first"}, {"wanted": "third"}])
    with db.read() as tx:
        rows = tx.execute(select(_TABLE.c.reference).order_by(_TABLE.c.id)).scalars().all()

    assert rows == ["first", None, "third"]


def test_its_errors_are_those_of_sqlalchemy_and_the_transaction_changes_nothing(db):
    def insert_twice():
        with db.write() as tx:
            _INSERT.run(tx, [_row("first")])
            _INSERT.run(tx, [_row("first")])

    with pytest.raises(DBAPIError):
        insert_twice()

    with db.read() as tx:
        assert _OPEN.fetch(tx) == []


def test_a_lost_connection_is_replaced(postgres):
    database = Database(postgres.create_database())

    def lose_connection():
        with database.write() as tx:
            pid = run_sql(tx, "SELECT pg_backend_pid()").fetchone()[0]
            with database.write() as other:
                other.execute(text(f"SELECT pg_terminate_backend({pid})"))
            run_sql(tx, "SELECT 1")

    with pytest.raises(OperationalError):
        lose_connection()

    with database.write() as tx:
        assert run_sql(tx, "SELECT 1").fetchone() == (1,)
    database.close()


def test_postgresql_keeps_statements_prepared_after_a_read_and_a_ping(postgres):
    database = Database(postgres.create_database(), pool_size=1)

    def count_prepared():
        with database.read() as tx:
            return tx.scalar(text("SELECT count(*) FROM pg_prepared_statements"))

    # The driver prepares what it has run five times.
    for _ in range(6):
        with database.read() as tx:
            _OPEN.fetch(tx)
    prepared = count_prepared()
    time.sleep(PING_AFTER_S)

    assert count_prepared() >= prepared > 0
    database.close()


def test_a_read_of_postgresql_changes_nothing(postgres):
    database = Database(postgres.create_database())

    with pytest.raises(DBAPIError, match="read-only"), database.read() as tx:
        _INSERT.run(tx, [_row("a")])

    with database.write() as tx:
        _INSERT.run(tx, [_row("a")])
    database.close()
