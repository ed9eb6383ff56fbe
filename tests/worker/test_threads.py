"""The background threads of a web process: they find work, share it, and end in time."""

import json
import random
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import event

from app.clock import Clock
from app.db.schema import adopt_database
from app.sms.models.reports import Event
from app.sms.models.states import BatchState
from app.worker.threads import BackgroundThreads
from tests.factories import INSTANCE, many_numbers
from tests.machine import Machine
from tests.wire import RawServer, respond, unused_port

ANN = "+46701234567"
_S = BatchState


@pytest.fixture
def run(request):
    """A function that starts threads over a machine's database in real time; ended afterwards."""

    def start(machine, *, senders=2, sweep_every_s=60.0, **rules):
        rules = replace(machine.ctx.rules, sweep_every_s=sweep_every_s, **rules)
        threads = BackgroundThreads(
            replace(machine.ctx, rules=rules, clock=Clock(), jitter=random.uniform), senders=senders
        )
        threads.start()
        request.addfinalizer(lambda: threads.stop(within_s=10))
        return threads

    return start


def _until(done, *, within_s=60.0):
    """Seconds until something was so."""
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < within_s
        time.sleep(0.01)
    return time.monotonic() - started


def _all_accepted(machine, count):
    return lambda: machine.states() == [_S.ACCEPTED] * count


def test_what_is_there_at_the_start_is_sent(machine, sandbox, run):
    machine.store(many_numbers(5), size=1, plan=False)

    run(machine)

    _until(_all_accepted(machine, 5))
    assert sorted(sandbox.recipients()) == many_numbers(5)


def test_a_nudge_is_enough(machine, sandbox, run):
    threads = run(machine)
    time.sleep(0.3)
    machine.store([ANN], plan=False)

    threads.wake_workers()

    assert _until(_all_accepted(machine, 1)) < 10
    assert sandbox.recipients() == [ANN]


def test_without_a_nudge_the_sweep_finds_it(machine, sandbox, run):
    run(machine, sweep_every_s=0.2)
    time.sleep(0.3)

    machine.store([ANN], plan=False)

    _until(_all_accepted(machine, 1))


def test_several_processes_share_the_work_and_nothing_goes_twice(
    make_machine, either_database, sandbox, run
):
    """Each with connections of its own, as two web processes have."""
    machines = [make_machine(either_database), make_machine(either_database)]
    machines[0].store(many_numbers(40), size=1, plan=False)

    for machine in machines:
        run(machine, senders=3, sweep_every_s=0.3)

    _until(_all_accepted(machines[0], 40))
    assert sorted(sandbox.recipients()) == many_numbers(40)
    assert sandbox.posts() == 40


class _Slow:
    """A Sinch that answers when it is told to."""

    def __init__(self):
        self.asked, self.answer = threading.Event(), threading.Event()
        self.server = RawServer(self._answer)

    def _answer(self, connection):
        self.asked.set()
        self.answer.wait(10)
        respond("201 Created", b'{"id": "01JX0000000000000000000001"}')(connection)


@pytest.fixture
def over(make_service):
    """A function that makes a machine which waits long for its Sinch."""

    def make(url):
        service = make_service(SINCH_REGION_URL=url, SINCH_READ_TIMEOUT_S="10")
        return Machine.over(service.extensions["clarion"])

    return make


def test_stopped_they_finish_what_is_in_hand_and_begin_nothing_more(over, run):
    sinch = _Slow()
    with sinch.server.running():
        machine = over(sinch.server.url)
        machine.store(many_numbers(30), size=1)
        threads = run(machine, senders=1)
        assert sinch.asked.wait(10)
        threading.Timer(0.3, sinch.answer.set).start()

        assert threads.stop(within_s=15)

    states = machine.states()
    assert _S.SENDING not in states
    assert _S.UNKNOWN not in states
    assert states.count(_S.ACCEPTED) == len(sinch.server.requests)
    assert states.count(_S.PENDING) >= 30 - 16


def test_stopping_waits_no_longer_than_it_may(over, run):
    sinch = _Slow()
    with sinch.server.running():
        machine = over(sinch.server.url)
        machine.store([ANN])
        threads = run(machine, senders=1)
        assert sinch.asked.wait(10)

        assert not threads.stop(within_s=0.2)

        sinch.answer.set()
        assert threads.stop(within_s=10)


@pytest.mark.slow
def test_stopped_at_any_moment_they_end(machine):
    """A wake-up that is lost there would cost the whole time that a process has to end in."""
    chance = random.Random(20260301)
    ctx = replace(machine.ctx, clock=Clock())
    for _ in range(30):
        threads = BackgroundThreads(ctx, senders=4)
        threads.start()
        time.sleep(chance.uniform(0, 0.02))

        assert threads.stop(within_s=10)


def test_stopping_what_never_started_is_no_error(machine):
    assert BackgroundThreads(machine.ctx, senders=2).stop(within_s=0.1)


def test_with_nothing_to_do_they_leave_the_database_alone(machine, run):
    statements = []
    event.listen(
        machine.ctx.db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    run(machine, senders=4)
    _until(lambda: statements and _is_quiet(statements))
    begun = len(statements)

    time.sleep(1.0)

    assert len(statements) - begun <= 40


def _is_quiet(statements):
    """The sweep that they begin with is over."""
    seen = len(statements)
    time.sleep(0.7)
    return len(statements) - seen <= 28


@pytest.mark.slow
def test_while_sinch_is_busy_they_leave_both_alone_and_then_go_on(machine, sandbox, run):
    sandbox.order_fault(on="POST /batches", status=429, headers={"Retry-After": "4"})
    machine.store(many_numbers(3), size=1)
    statements = []
    event.listen(
        machine.ctx.db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    run(machine, senders=1)
    _until(lambda: sandbox.posts() == 1)
    time.sleep(0.3)
    before = len(statements)
    time.sleep(0.7)
    between = len(statements) - before

    _until(_all_accepted(machine, 3))

    assert between <= 40
    assert sandbox.posts() == 4


def test_an_error_of_the_database_ends_no_thread(machine, sandbox, run):
    machine.store([ANN])
    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE gates RENAME TO elsewhere")
    run(machine, sweep_every_s=0.2)
    time.sleep(0.5)

    with machine.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE elsewhere RENAME TO gates")

    _until(_all_accepted(machine, 1))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["away", "another's"])
def test_a_fault_that_lasts_is_one_line_however_many_threads_meet_it(
    make_service, database_url, capsys, fault
):
    away = f"postgresql://ann:secret-word@127.0.0.1:{unused_port()}/clarion"
    more = {"DATABASE_URL": away} if fault == "away" else {"INSTANCE_ID": "another"}
    service = make_service(LOG_LEVEL="warning", **more)
    ctx = service.extensions["clarion"]
    threads = BackgroundThreads(
        replace(ctx, rules=replace(ctx.rules, sweep_every_s=0.2)), senders=4
    )
    threads.start()
    time.sleep(3)
    threads.stop(within_s=15)

    output = capsys.readouterr().err
    lines = [json.loads(line) for line in output.splitlines()]
    assert len(lines) == 1, lines
    line = lines[0]
    assert line["level"] == ("error" if fault == "away" else "critical")
    assert "Connection refused" in line["reason"] or "another instance" in line["reason"]
    assert "exception" not in line
    assert "secret-word" not in output


def test_from_another_instances_database_nothing_is_sent(machine, sandbox, run, capfd):
    machine.store([ANN])
    adopt_database(machine.ctx.db, instance_id="another", now=machine.ctx.now(), actor="cli:ann")
    machine.ctx.db.verified = False

    run(machine, sweep_every_s=0.1)
    _until(lambda: "nothing is sent from this database" in capfd.readouterr().err)
    time.sleep(0.5)

    assert sandbox.posts() == 0
    assert machine.states() == [_S.PENDING]
    adopt_database(machine.ctx.db, instance_id=INSTANCE, now=machine.ctx.now(), actor="cli:ann")
    _until(_all_accepted(machine, 1))


def test_whoever_texts_us_is_answered_without_a_sweep(machine, sandbox, run):
    threads = run(machine)
    time.sleep(0.3)
    text = {
        "type": "mo_text",
        "id": "01JX00000000000000000HELP1",
        "from": ANN[1:],
        "to": "12015550199",
        "body": "HELP",
        "received_at": machine.ctx.now().isoformat(),
    }
    machine.add(Event, received_at=machine.ctx.now(), raw=json.dumps(text).encode(), tries=0)

    threads.wake_report_worker()

    assert _until(lambda: sandbox.recipients() == [ANN]) < 50  # a sweep comes after 60 s
