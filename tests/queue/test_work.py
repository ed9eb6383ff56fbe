"""Broadcasts worked off by Celery's workers and beat."""

import contextlib
import os
import re
import time

from tests.environ import ROOT
from tests.factories import KEY, broadcast_to, many_numbers
from tests.kills.mortal import wait_until
from tests.queue.crew import CLOCK, UNHURRIED, WORK, slow_down

CANARY = "the fox jumps at noon"


def test_a_broadcast_goes_out_and_leaves_no_trace(make_crew, either_database, sinch, broker):
    crew = make_crew(either_database, LOG_LEVEL="debug").start_web()
    crew.start_worker()
    crew.start_beat()
    numbers = many_numbers(20_000)

    accepted = crew.post(broadcast_to(*numbers, message=CANARY))

    assert accepted.status_code == 202
    crew.wait_until_complete(accepted)
    assert sinch.copies() == dict.fromkeys(numbers, 1)
    wait_until(lambda: crew.get("/ready")["background"] == "ok", within_s=90, why="beat beats")
    seen = crew.output() + crew.web.output.read_text()
    assert CANARY not in seen
    assert KEY not in seen
    # Durations in Celery's lines have the digits of other numbers.
    assert set(re.findall(r"4670\d{7}", seen)).isdisjoint(number.strip("+") for number in numbers)
    assert not list(ROOT.glob("celerybeat*"))


def test_a_broadcast_needs_no_sweep_to_go_out(make_crew, either_database, sinch, broker):
    """Web processes reach the broker from a thread, too, and need no setting but REDIS_URL."""
    crew = make_crew(either_database, **UNHURRIED, SWEEP_EVERY_S="120").start_web()
    crew.start_worker()

    for number in range(3):
        crew.wait_until_complete(crew.post(broadcast_to(*many_numbers(2_000), message=str(number))))

    assert sinch.copies() == dict.fromkeys(many_numbers(2_000), 3)
    assert "took no wake-up" not in crew.web.output.read_text()


def test_one_nudge_sets_every_process_to_work(make_crew, postgres, sinch, broker):
    crew = make_crew(postgres.create_database(), **UNHURRIED, SENDER_THREADS="3").start_web()
    workers = [crew.start_worker(), crew.start_worker()]
    slow_down(sinch, 1.5)  # longer than it takes to look

    accepted = crew.post(broadcast_to(*many_numbers(30_000)))

    wait_until(
        lambda: crew.show(accepted)["batches"].get("sending") == 6,
        within_s=90,
        why="six processes submit at a time",
    )
    own = [connections_of(pid) for worker in workers for pid in worker.children()]
    assert all(own)
    assert sum(len(each) for each in own) == len(set().union(*own))
    sinch.control.clear_faults()
    crew.wait_until_complete(accepted)


def test_a_broadcast_that_keeps_a_pace_is_not_left_to_the_sweeps(
    make_crew, database_url, sinch, broker
):
    crew = make_crew(database_url, SINCH_MESSAGES_PER_SECOND="1000", SWEEP_EVERY_S="120")
    crew.start_web()
    crew.start_worker()
    started = time.monotonic()

    accepted = crew.post(broadcast_to(*many_numbers(6_000)))

    crew.wait_until_complete(accepted)
    assert 3 < time.monotonic() - started < 60


def test_a_task_that_comes_often_and_many_at_a_time_changes_nothing(
    make_crew, postgres, sinch, broker
):
    crew = make_crew(postgres.create_database(), SENDER_THREADS="4").start_web()
    numbers = many_numbers(30_000)
    accepted = crew.post(broadcast_to(*numbers))
    wait_until(lambda: broker.waiting(WORK), within_s=90, why="the nudge has come")
    broker.put(WORK, *broker.waiting(WORK)[:1] * 300)

    crew.start_worker()
    crew.start_worker()

    crew.wait_until_complete(accepted)
    assert sinch.copies() == dict.fromkeys(numbers, 1)


def test_without_workers_the_queues_do_not_grow(make_crew, database_url, sinch, broker):
    crew = make_crew(database_url, SWEEP_EVERY_S="0.05").start_web()
    crew.start_beat()
    wait_until(lambda: len(broker.waiting(CLOCK)) >= 4, within_s=90, why="beat has begun")

    answers = [
        crew.post(broadcast_to(*many_numbers(1001, start=1001 * n), message=f"number {n}"))
        for n in range(20)
    ]
    time.sleep(1)

    assert [answer.status_code for answer in answers] == [202] * 20
    assert len(broker.waiting(CLOCK)) <= 10
    assert 1 <= len(broker.waiting(WORK)) <= 6


def test_wake_ups_for_callbacks_leave_room_for_sweeps(make_crew, database_url, sinch, broker):
    crew = make_crew(database_url, SWEEP_EVERY_S="3600").start_web()
    callback = b'{"headers": {"task": "clarion.record"}, "body": "W1tdLCB7fSwge31d"}'
    broker.put(CLOCK, *[callback] * 4)

    crew.start_beat()

    for task in (b"clarion.sweep", b"clarion.poll", b"clarion.maintenance"):
        wait_until(
            lambda task=task: any(task in message for message in broker.waiting(CLOCK)),
            within_s=90,
            why=f"beat has queued {task.decode()}",
        )


def test_a_flow_of_callbacks_leaves_room_for_broadcasts(make_crew, database_url, sinch, broker):
    crew = make_crew(database_url, SENDER_THREADS="1", SWEEP_EVERY_S="3600").start_web()
    crew.start_beat()

    def find_record():
        return [message for message in broker.waiting(CLOCK) if b"clarion.record" in message]

    wait_until(find_record, within_s=90, why="beat has queued a task for callbacks")
    broker.put(CLOCK, *find_record()[:1] * 3_000)
    accepted = crew.post(broadcast_to(*many_numbers(2_000)))
    crew.start_worker()

    crew.wait_until_complete(accepted)

    assert len(find_record()) > 100


def test_a_stranger_in_the_queue_is_dropped(make_crew, database_url, sinch, broker):
    crew = make_crew(database_url).start_web()
    broker.put(WORK, b'{"body": "KzQ2NzAxMjM0NTY3", "headers": {}, "content-type": "text/plain"}')
    crew.start_worker()

    accepted = crew.post(broadcast_to(*many_numbers(2_000)))

    crew.wait_until_complete(accepted)


def connections_of(pid):
    """A process's connections, to whatever server."""
    links = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return links & established_sockets()


def established_sockets():
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "01"}
