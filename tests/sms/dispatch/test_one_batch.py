"""Broadcasts of one batch: shared commits, few statements, and rows as the general way has them."""

import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select, text

from app.db.engine import Database
from app.failpoints import failpoints
from app.sms.caps.caps import CapName, set_cap
from app.sms.models.batch import Attempt, Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from app.worker.jobs import sweep
from tests.background import context_of, work_off
from tests.callers import OTHER_KEY, PATIENT, TWO_CLIENTS, Caller
from tests.databases import count_writes
from tests.factories import many_numbers
from tests.people import stop
from tests.shifting import begin_hour, shift_clock

ANN, BOB = "+46701234567", "+46707654321"
_TABLES = (Broadcast, Chunk, Batch, Message, Attempt)
# What differs between two broadcasts with equal requests.
_OWN = {
    "accepted_at",
    "batch_id",
    "broadcast_id",
    "client",
    "client_reference",
    "completed_at",
    "created_at",
    "ended_at",
    "expires_at",
    "first_submitted_at",
    "id",
    "lease_until",
    "next_report_at",
    "payload_hash",
    "public_id",
    "sinch_id",
    "started_at",
    "worker",
}
_TRIGGER = """
CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.recipient = '{}'
BEGIN SELECT RAISE(ABORT, 'refused'); END
"""
_TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK")


@contextmanager
def _statements(service):
    """Every statement that SQLite runs meanwhile, but for those that begin and end transactions."""
    seen = []

    def trace(connection, *_):
        connection.set_trace_callback(seen.append)

    engine = context_of(service).db.engine
    event.listen(engine, "checkout", trace)
    yield seen
    event.remove(engine, "checkout", trace)
    seen[:] = [sql for sql in seen if not sql.startswith(_TRANSACTION)]


def _cap(service, parts):
    begin_hour(service)
    cap = CapName(ALL, CapPeriod.DAY, CapUnit.PARTS)
    set_cap(context_of(service), cap, parts, actor="ops")


def _rows_by_broadcast(service):
    """For each broadcast, oldest first, its rows without what differs."""
    with context_of(service).db.read() as tx:
        ids = tx.execute(select(Broadcast.id).order_by(Broadcast.id)).scalars().all()
        rows = {table: tx.execute(select(table.__table__)).all() for table in _TABLES}
    batches = {row.id: row.broadcast_id for row in rows[Batch]}

    def owner(table, row):
        return {Broadcast: lambda: row.id, Attempt: lambda: batches[row.batch_id]}.get(
            table, lambda: row.broadcast_id
        )()

    return [
        {
            table.__tablename__: sorted(
                str({name: value for name, value in row._asdict().items() if name not in _OWN})
                for row in rows[table]
                if owner(table, row) == broadcast_id
            )
            for table in _TABLES
        }
        for broadcast_id in ids
    ]


def test_one_text_to_one_person_takes_at_most_fourteen_statements(service, sandbox):
    caller = Caller(service)
    caller.send(BOB)

    with _statements(service) as statements:
        answer = caller.send(ANN)

    assert answer.get_json()["status"] == "complete"
    assert sandbox.recipients() == [BOB, ANN]
    assert len(statements) <= 14, "\n".join(statements)


def test_under_caps_one_text_takes_at_most_ten_statements_for_each_counter_more(service, sandbox):
    _cap(service, 10)
    caller = Caller(service)
    caller.send(BOB)

    with _statements(service) as statements:
        answer = caller.send(ANN).get_json()

    assert answer["status"] == "complete"
    assert [cap["left"] for cap in answer["caps"]] == [8]
    assert len(statements) <= 24, "\n".join(statements)


def test_a_cap_that_is_too_small_goes_the_general_way_and_takes_nothing(service, sandbox):
    _cap(service, 3)
    caller = Caller(service)

    answers = [caller.send(*many_numbers(2)), caller.send(ANN, BOB, message="Hello")]

    assert [answer.get_json()["caps"][0]["left"] for answer in answers] == [1, 0]
    assert answers[1].get_json()["exclusions"][0]["reason"] == "cap_reached"
    assert len(sandbox.recipients()) == 3


def test_requests_that_are_committed_together_share_what_a_cap_leaves(service, sandbox):
    numbers = many_numbers(12)
    _cap(service, 7)

    with _write_place_taken(service):
        threads, answers = _send_together(service, *numbers)
        time.sleep(0.5)
    for thread in threads:
        thread.join(60)

    sent = [number for number, answer in answers.items() if answer.get_json()["batch_id"]]
    assert sorted(sandbox.recipients()) == sorted(sent)
    assert len(sent) == 7
    left = [answer.get_json()["caps"][0]["left"] for answer in answers.values()]
    assert sorted(left) == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize(
    "request_of",
    [
        {"recipients": [ANN]},
        {"recipients": many_numbers(1_000), "allow_duplicate": True},
        {"recipients": many_numbers(20)},
        {
            "recipients": [ANN, BOB],
            "message": "Hi ${name}",
            "parameters": {"name": {ANN: "Ann", "default": "you"}},
            "reference": "order-7",
            "priority": 9,
            "flash": True,
        },
        {"recipients": [ANN, "nonsense", ANN], "skip_invalid": True},
    ],
)
def test_both_ways_leave_equal_rows_and_give_equal_answers(
    make_service, either_database, sandbox, request_of, headers
):
    body = {"message": "Hello"} | request_of
    settings = {"DATABASE_URL": either_database, "API_KEYS": TWO_CLIENTS, **PATIENT}
    quick = make_service(**settings)
    # With a pace, batches are claimed one after the other.
    general = make_service(MESSAGES_PER_SECOND="100000", **settings)

    answers = [
        caller.post("/api/broadcast", body, **headers)
        for caller in (Caller(quick), Caller(general, OTHER_KEY))
    ]

    shown = [answer.get_json() for answer in answers]
    for own in ("broadcast_id", "url", "batch_id", "batch_ids"):
        assert all(answer.pop(own) for answer in shown)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert shown[0] == shown[1]
    rows = _rows_by_broadcast(quick)
    assert rows[0] == rows[1]


@contextmanager
def _write_place_taken(service):
    """As long as another process writes."""
    other = Database(context_of(service).db.engine.url.render_as_string(hide_password=False))
    with other.write():
        yield
    other.close()


def _send_together(service, *numbers):
    """Send a text to each of the numbers at once.  Returns the answers, in order."""
    answers = {}

    def send(number):
        answers[number] = Caller(service).send(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    return threads, answers


def test_requests_that_wait_are_committed_together_and_each_is_answered_for_itself(
    service, sandbox
):
    numbers = many_numbers(12)
    Caller(service).send(BOB)  # compiles the statements
    stop(context_of(service), numbers[3])

    with _write_place_taken(service):
        threads, answers = _send_together(service, *numbers)
        commits = count_writes(context_of(service).db)
        time.sleep(0.5)
    for thread in threads:
        thread.join(60)

    statuses = {number: answer.get_json()["status"] for number, answer in answers.items()}
    assert statuses == dict.fromkeys(numbers, "complete")
    assert [number for number, answer in answers.items() if answer.get_json()["batch_id"]] != []
    refused = answers[numbers[3]].get_json()
    assert refused["batch_id"] is None
    assert refused["exclusions"][0]["reason"] == "opted_out"
    assert sorted(sandbox.recipients()) == sorted({BOB, *numbers} - {numbers[3]})
    assert len(commits) < 2 * len(numbers)


def test_an_error_concerns_its_own_request_alone(service, sandbox):
    """A trigger of the database refuses one of the texts."""
    numbers = many_numbers(6)
    Caller(service).send(BOB)
    with context_of(service).db.write() as tx:
        tx.execute(text(_TRIGGER.format(numbers[2])))

    with _write_place_taken(service):
        threads, answers = _send_together(service, *numbers)
        time.sleep(0.5)
    for thread in threads:
        thread.join(60)

    failed = [number for number, answer in answers.items() if answer.status_code >= 500]
    assert failed == [numbers[2]]
    assert sorted(sandbox.recipients()) == sorted({BOB, *numbers} - {numbers[2]})
    assert len(Caller(service).ids()) == len(numbers)


@pytest.mark.parametrize("action", ["pause", "cancel"])
def test_a_broadcast_stopped_while_sinch_answers_stays_so(either_service, sandbox, action):
    caller = Caller(either_service)
    sandbox.order_fault(on="POST /batches", when="after", do="drip", delay_s=1.0, byte_delay_s=0)
    thread = threading.Thread(target=caller.send, args=(ANN,))
    thread.start()
    _wait_until(lambda: sandbox.recipients() == [ANN])

    Caller(either_service).act(action, caller.ids()[0])
    thread.join(60)

    shown = caller.show(caller.ids()[0])
    assert shown["batches"] == {"accepted": 1}
    assert shown["status"] in {"pause": ("complete",), "cancel": ("cancelled",)}[action]
    assert sandbox.recipients() == [ANN]


class _Died(BaseException):
    """The process ends here: no handler of ours catches it."""


def _die():
    raise _Died


@pytest.mark.slow
def test_a_crash_before_any_statement_loses_nothing_and_sends_nothing_twice(
    make_service, either_database, sandbox
):
    settings = {"DATABASE_URL": either_database, **PATIENT}
    service = make_service(**settings)
    Caller(service).send(BOB)
    died, numbers = 0, iter(many_numbers(100))
    for number in numbers:
        failpoints.arm("statement", died + 1, act=_die)
        try:
            answer = Caller(service).send(number)
        except _Died:
            died += 1
        else:
            break
        finally:
            failpoints.arm(None)
        sent = sandbox.recipients().count(number)
        service = make_service(**settings)
        shift_clock(service, 60)
        _recover(service)
        shown = [Caller(service).show(broadcast) for broadcast in Caller(service).ids()]
        assert len(shown) == len(sandbox.batches())
        assert {broadcast["status"] for broadcast in shown} == {"complete"}
        assert sandbox.recipients().count(number) == sent <= 1

    assert answer.get_json()["status"] == "complete"
    assert died >= 12
    assert max(Counter(sandbox.recipients()).values()) == 1


def _recover(service):
    """What the workers of a new process do: leases end, Sinch is asked."""
    sweep(context_of(service))
    shift_clock(service, 3600)
    sweep(context_of(service))
    work_off(service)


def _wait_until(come):
    deadline = time.monotonic() + 60
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.01)
