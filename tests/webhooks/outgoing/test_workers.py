"""The threads that tell clients: whoever is dead, slow or lies keeps nobody else waiting."""

import contextlib
import dataclasses
import random
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, update

from app.clock import Clock
from app.sms.models.states import BatchState
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, EndpointStatus
from app.worker.threads import BackgroundThreads
from app.worker.webhook_workers import WebhookWorkers
from tests.factories import many_numbers
from tests.machine import Machine
from tests.webhooks.outgoing.receivers import (
    NOWHERE,
    black_hole,
    drip,
    endless,
    make_tls,
    refuse,
    wait,
)

pytestmark = pytest.mark.slow
_D = DeliveryStatus
# So long a bad receiver can hold a thread here.
HOLD_S = 10.0


@pytest.fixture
def run(request):
    """A function that starts workers over a desk's database in real time; ended afterwards."""

    def start(desk, **options):
        ctx = dataclasses.replace(desk.ctx, clock=Clock(), jitter=random.uniform)
        webhook_workers = WebhookWorkers(ctx, desk.webhook_client, **options)
        webhook_workers.start()
        request.addfinalizer(lambda: webhook_workers.stop(within_s=30))
        return webhook_workers

    return start


def _until(done, *, within_s=60.0):
    started = time.monotonic()
    while not done():
        assert time.monotonic() - started < within_s
        time.sleep(0.005)
    return time.monotonic() - started


def test_what_is_noted_is_told_soon_without_a_nudge(either_desk, receive, run):
    receiver = receive()
    either_desk.listen(receiver.url)
    run(either_desk)
    time.sleep(0.3)

    either_desk.note(3)

    assert _until(lambda: len(receiver.told) == 3) < 30


def test_a_nudge_makes_it_quicker(desk, receive, run):
    receiver = receive()
    desk.listen(receiver.url, quick=3)
    webhook_workers = run(desk)
    waits = []
    for number in range(5):
        time.sleep(0.05)
        desk.note()
        webhook_workers.wake()
        waits.append(_until(lambda number=number: len(receiver.told) == number + 1))

    # Without a nudge each takes most of the second between two looks.
    assert min(waits[1:]) < 0.5


def test_a_second_try_needs_nobodys_word(desk, receive, run):
    receiver = receive(first=[refuse("500 No")])
    desk.listen(receiver.url)
    run(desk)
    desk.note()
    _until(lambda: [each.tries for each in desk.deliveries()] == [1])

    with desk.ctx.db.write() as tx:  # what five seconds come to
        tx.execute(update(Delivery).values(due_at=datetime.now(UTC)))

    _until(lambda: len(receiver.told) == 2)
    _until(lambda: desk.delivery().status is _D.DELIVERED)
    assert desk.delivery().tries == 2


def test_several_processes_share_the_work_and_nothing_goes_twice(
    make_desk, either_database, receive, run
):
    """Each with connections of its own, as two web processes have."""
    desks = [make_desk(either_database), make_desk(either_database)]
    receivers = [receive(wait(0.005)) for _ in range(4)]
    for receiver in receivers:
        desks[0].listen(receiver.url)
    desks[0].note(25)

    for desk in desks:
        run(desk)

    _until(lambda: all(len(receiver.told) >= 25 for receiver in receivers))
    for receiver in receivers:
        assert len(receiver.told) == len(set(receiver.ids())) == 25
        assert receiver.most_in_hand == 1


def test_stopped_they_finish_what_is_in_hand_and_begin_nothing_more(desk, receive, run):
    receiver = receive(wait(0.5))
    desk.listen(receiver.url)
    webhook_workers = run(desk)
    desk.note(20)
    _until(lambda: receiver.in_hand == 1)

    assert webhook_workers.stop(within_s=10)

    told = len(receiver.told)
    time.sleep(0.6)
    assert len(receiver.told) == told
    assert [each.status for each in desk.deliveries()].count(_D.DELIVERED) == told


def test_a_second_word_to_stop_is_heard_within_a_second(desk, receive, run):
    word = threading.Event()
    webhook_workers = run(desk, is_stopping=word.is_set)
    time.sleep(0.2)

    word.set()

    _until(lambda: not any(thread.is_alive() for thread in webhook_workers._threads), within_s=30)


def test_stopped_at_any_moment_they_end(desk):
    chance = random.Random(20260302)
    ctx = dataclasses.replace(desk.ctx, clock=Clock())
    for _ in range(30):
        webhook_workers = WebhookWorkers(ctx, desk.webhook_client)
        webhook_workers.start()
        time.sleep(chance.uniform(0, 0.02))

        assert webhook_workers.stop(within_s=10)


def test_with_nothing_to_do_they_leave_the_database_alone(desk, run):
    desk.listen(NOWHERE)
    statements = []
    run(desk)
    time.sleep(1.0)
    event.listen(
        desk.ctx.db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    began = time.monotonic()

    time.sleep(2.0)

    assert 0 < len(statements) <= 24 * (time.monotonic() - began) / 2
    assert not any(each.startswith(("INSERT", "UPDATE", "DELETE")) for each in statements)


def test_an_error_of_the_database_ends_no_thread(desk, receive, run):
    receiver = receive()
    desk.listen(receiver.url)
    with desk.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE deliveries RENAME TO elsewhere")
    run(desk)
    desk.note()
    time.sleep(0.5)

    with desk.ctx.db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE elsewhere RENAME TO deliveries")

    _until(lambda: len(receiver.told) == 1)


def test_now_and_then_they_give_up_what_was_not_taken_for_long(desk, run):
    desk.listen(NOWHERE, status=EndpointStatus.OFF)
    desk.tell(2)
    with desk.ctx.db.write() as tx:
        tx.execute(update(Delivery).values(waiting_since=_days_ago(2)))

    run(desk, maintenance_every_s=0.1)

    _until(lambda: [each.status for each in desk.deliveries()] == [_D.ABANDONED] * 2)


def _days_ago(days):
    return datetime.now(UTC) - timedelta(days=days)


@contextlib.contextmanager
def _bad_company(receive):
    """The URLs of receivers of every bad kind; two of each that hold a thread the longest."""
    tls = receive(tls=make_tls())
    elsewhere = receive()
    lying = [
        receive(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000)),
        receive(refuse("307 Moved", Location=elsewhere.url)),
        receive(endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n")),
        tls,
    ]
    slow = [receive(drip(b"HTTP/1.1 200 OK\r\n", every_s=0.2)) for _ in range(2)]
    slow += [receive(wait(30)), receive(drip(b"x", every_s=0.2))]
    with black_hole() as one, black_hole() as two:
        yield [NOWHERE, one, two, *(each.url for each in (*lying, *slow))]
    assert elsewhere.told == []


def _measure(desk, receivers, *, rounds, per_round):
    """Seconds from an event's note to its arrival, at each of the receivers."""
    noted = {}
    before = {id(each): len(each.told) for each in receivers}
    for _ in range(rounds):
        known = {row.public_id for row in desk.outbox()}
        at = time.monotonic()
        desk.note(per_round)
        noted |= {row.public_id: at for row in desk.outbox() if row.public_id not in known}
        time.sleep(0.5)
    wanted = rounds * per_round
    _until(
        lambda: all(len(each.told) - before[id(each)] >= wanted for each in receivers), within_s=60
    )
    return [
        told.at - noted[told.event["id"]]
        for receiver in receivers
        for told in receiver.told[before[id(receiver)] :]
    ]


def test_bad_receivers_keep_no_good_one_waiting(make_desk, database_url, receive, run):
    """They are eleven, there are five threads, and each of them may hold one for ten seconds."""
    desk = make_desk(database_url, within_s=HOLD_S)
    good = [receive() for _ in range(3)]
    for receiver in good:
        desk.listen(receiver.url)
    run(desk)
    desk.note(3)
    _until(lambda: all(len(each.told) == 3 for each in good))

    with _bad_company(receive) as urls:
        for url in urls:
            desk.listen(url)
        waits = _measure(desk, good, rounds=11, per_round=3)

    assert statistics.median(waits) < HOLD_S / 3
    assert max(waits) < HOLD_S - 1


def test_one_that_was_good_and_dies_takes_one_thread_once(make_desk, database_url, receive, run):
    desk = make_desk(database_url, within_s=HOLD_S)
    good, turning = [receive() for _ in range(2)], [receive() for _ in range(2)]
    for receiver in (*good, *turning):
        desk.listen(receiver.url, quick=3)
    run(desk)
    for receiver in turning:
        receiver.then = wait(30)

    waits = _measure(desk, good, rounds=6, per_round=2)

    assert max(waits) < HOLD_S - 1


def test_bad_receivers_slow_no_sending(make_desk, receive, sandbox, database_url, request):
    """Broadcasts of the same size, without and with ten bad receivers that are told of each."""
    desk = make_desk(database_url, within_s=HOLD_S)
    machine = Machine.over(desk.ctx)
    ctx = dataclasses.replace(desk.ctx, clock=Clock(), jitter=random.uniform)
    webhook_workers = WebhookWorkers(ctx, desk.webhook_client)
    threads = BackgroundThreads(ctx, senders=2, webhook_workers=webhook_workers)
    threads.start()
    request.addfinalizer(lambda: threads.stop(within_s=30))

    def send(start):
        broadcast = machine.store(many_numbers(200, start=start), size=1, plan=False)
        threads.wake_workers()
        return _until(lambda: machine.states(broadcast) == [BatchState.ACCEPTED] * 200, within_s=60)

    send(0)
    alone = min(send(start) for start in (1_000, 2_000))
    with _bad_company(receive) as urls:
        for url in urls:
            desk.listen(url)
        desk.note(5)
        time.sleep(1.0)
        in_company = min(send(start) for start in (3_000, 4_000))
        assert threads.stop(within_s=30)

    assert in_company < 3 * alone + 1.0
