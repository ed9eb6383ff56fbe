"""The service under gunicorn, as the Procfile starts it."""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.callers import count_taken
from tests.factories import AUTH, broadcast_to, many_numbers, production
from tests.processes import running, wait_until_healthy
from tests.wire import has_ipv6, unused_port

ANN = "+46701234567"


@pytest.fixture
def service(sandbox_server, sandbox, tmp_path):
    with running(tmp_path / "output", SINCH_REGION_URL=sandbox_server.url) as service:
        yield service


@pytest.fixture(scope="module")
def shared(sandbox_server, tmp_path_factory):
    """One service for all tests that do not stop it."""
    output = tmp_path_factory.mktemp("shared") / "output"
    with running(output, SINCH_REGION_URL=sandbox_server.url) as service:
        yield service


def test_a_broadcast_goes_out(shared, sandbox):
    answer = shared.post(broadcast_to(ANN))

    assert answer.status_code == 202
    assert answer.json()["batch_id"] == sandbox.batches()[0]["id"]
    assert sandbox.recipients() == [ANN]


def test_flask_run_works_too(sandbox_server, sandbox, tmp_path):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", "{port}"]
    url = sandbox_server.url

    with running(tmp_path / "output", command=command, SINCH_REGION_URL=url) as service:
        assert service.post(broadcast_to(ANN)).status_code == 202


def test_a_body_over_the_limit_is_refused_while_it_is_being_sent(shared, sandbox):
    answer = shared.post(None, data=b"x" * 50_000_000, headers=AUTH | _json())

    assert answer.status_code == 413
    assert answer.json()["error"] == "Request body too large"


def test_a_body_over_the_limit_without_a_length_is_refused(shared):
    answer = shared.post(None, data=(b"x" * 1_000_000 for _ in range(50)), headers=AUTH | _json())

    assert answer.status_code == 413


def _json():
    return {"Content-Type": "application/json"}


def test_a_body_in_broken_chunks_is_a_bad_request(shared):
    key = f"X-API-Key: {AUTH['X-API-Key']}\r\n".encode()
    head = b"POST /api/broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    address = ("127.0.0.1", int(shared.url.rpartition(":")[2]))
    answers = []

    for chunk in (b"zz\r\n", b"-5\r\n", b"5\r\n{}", b"2;a\0\r\n{}\r\n0\r\n\r\n"):
        with socket.create_connection(address, 60) as raw:
            raw.sendall(head + key + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
            raw.shutdown(socket.SHUT_WR)
            answers.append(raw.recv(65_536)[:13])

    assert answers == [b"HTTP/1.1 400 "] * 4


def test_clients_that_fall_silent_do_not_hold_the_threads_for_long(sandbox_server, tmp_path):
    settings = {"WEB_THREADS": "4", "CLIENT_TIMEOUT_S": "1"}
    with (
        running(tmp_path / "output", SINCH_REGION_URL=sandbox_server.url, **settings) as service,
        contextlib.ExitStack() as stack,
    ):
        port = int(service.url.rpartition(":")[2])
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(6)
        ]
        for connection in silent:
            connection.sendall(b"POST /api/broadcast HTTP/1.1\r\nHost: x\r\n")

        assert requests.get(f"{service.url}/health", timeout=60).ok
        assert [connection.recv(1000) for connection in silent] == [b""] * 6


def test_ten_thousand_of_one_body_are_sent_to_in_the_background(shared, sandbox):
    numbers = many_numbers(10_000)

    answer = shared.post(broadcast_to(*numbers))

    assert (answer.status_code, answer.json()["batch_id"]) == (202, None)
    assert count_taken(_wait_for_end(shared, answer)["counts"]) == 10_000
    assert sandbox.posts() == 10
    assert sorted(sandbox.recipients()) == numbers


def _look_at(service, answer):
    return requests.get(service.url + answer.json()["url"], headers=AUTH, timeout=60).json()


def _wait_for_end(service, answer, *, within_s=90):
    """The broadcast once it has ended."""
    deadline = time.monotonic() + within_s
    while (shown := _look_at(service, answer))["completed_at"] is None:
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)
    return shown


def test_it_is_ready_once_it_works_in_the_background(shared):
    deadline = time.monotonic() + 60
    while not (answer := requests.get(f"{shared.url}/ready", timeout=60)).ok:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)

    assert answer.json()["background"] == "ok"


def test_a_start_is_kept_in_the_background(sandbox_server, sandbox, tmp_path):
    settings = {"SINCH_REGION_URL": sandbox_server.url, "SWEEP_EVERY_S": "0.2"}
    with running(tmp_path / "output", **settings) as service:
        start = datetime.now(UTC) + timedelta(seconds=4)
        answer = service.post(broadcast_to(ANN, send_at=start.isoformat()))
        before = sandbox.posts()
        shown = _wait_for_end(service, answer)

    assert (answer.json()["status"], before) == ("scheduled", 0)
    assert (shown["status"], sandbox.recipients()) == ("complete", [ANN])
    assert datetime.fromisoformat(shown["first_submitted_at"]) >= start


def test_on_sigterm_the_broadcast_in_hand_is_finished_and_answered(service, sandbox):
    sandbox.order_fault(on="POST /batches", when="after", do="drip", delay_s=1, byte_delay_s=0)
    answers = []
    sending = threading.Thread(target=lambda: answers.append(service.post(broadcast_to(ANN))))
    sending.start()
    while not sandbox.requests():
        time.sleep(0.01)

    code = service.stop(signal.SIGTERM)
    sending.join(60)

    assert code == 0
    assert [answer.status_code for answer in answers] == [202]
    assert sandbox.recipients() == [ANN]


def test_an_idle_service_stops_at_once(service):
    started = time.monotonic()

    assert service.stop() == 0
    assert time.monotonic() - started < 15


def test_as_many_workers_and_threads_as_asked_for(sandbox_server, sandbox, tmp_path):
    settings = {"SINCH_REGION_URL": sandbox_server.url, "WEB_CONCURRENCY": "3", "WEB_THREADS": "2"}
    with running(tmp_path / "output", **settings) as service:
        deadline = time.monotonic() + 60
        while len(service.workers()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = service.workers()

    assert len(workers) == 3


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="CPU affinity is Linux's")
def test_web_processes_keep_to_processors_of_their_own_if_asked(
    shared, sandbox_server, sandbox, tmp_path
):
    machine = sorted(os.sched_getaffinity(0))
    file = tmp_path / "settings"
    settings = {"SINCH_REGION_URL": sandbox_server.url, "ENV_FILE": str(file)}
    expected = sorted([{cpu} for cpu in (machine * 2)[:2]], key=min)
    file.write_text("WEB_CPU_AFFINITY=off")

    with running(tmp_path / "output", **settings, WEB_CONCURRENCY="2") as service:
        file.write_text("WEB_CPU_AFFINITY=on")
        service.process.send_signal(signal.SIGHUP)
        first, second = _wait_for_affinity(service, expected)
        os.kill(first, signal.SIGKILL)
        later = _wait_for_affinity(service, expected, without=first)

    assert second in later
    assert [os.sched_getaffinity(worker) for worker in shared.workers()] == [set(machine)]


def _wait_for_affinity(service, expected, without=None):
    """Wait until web processes have these processors.  Returns the processes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        workers = [worker for worker in service.workers() if worker != without]
        if sorted(map(os.sched_getaffinity, workers), key=min) == expected:
            return workers
        time.sleep(0.05)
    raise TimeoutError("no such processes")


def test_development_listens_on_this_machine_only(shared):
    with pytest.raises(OSError):  # noqa: PT011  # refused or unreachable, as the machine has it
        socket.create_connection((_outer_address(), int(shared.url.rpartition(":")[2])), 1)


def _outer_address():
    # An address of this machine that is loopback by network, yet not the one that is bound.
    return "127.0.0.2"


def test_no_control_socket_is_opened(sandbox_server, sandbox, tmp_path):
    settings = {"SINCH_REGION_URL": sandbox_server.url, "HOME": str(tmp_path)}
    with running(tmp_path / "output", **settings) as service:
        service.post(broadcast_to(ANN))
        sockets = [path for path in tmp_path.rglob("*") if path.is_socket()]

    assert sockets == []
    assert "ontrol socket" not in service.output.read_text()


def test_hundred_broadcasts_in_parallel_are_each_sent_once(shared, sandbox):
    codes = []
    numbers = many_numbers(100)

    def send(number):
        codes.append(shared.post(broadcast_to(number)).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [202] * 100
    assert sorted(sandbox.recipients()) == numbers


def test_a_killed_worker_has_sent_nothing_twice_and_the_next_one_finds_out(
    sandbox_server, sandbox, tmp_path
):
    sandbox.order_fault(on="POST /batches", when="after", do="drip", delay_s=5, byte_delay_s=0)
    failed = []
    settings = {"SWEEP_EVERY_S": "0.2", "LEASE_S": "1", "RECONCILE_AFTER_S": "0.2,0.5,1,2"}

    def send():
        try:
            service.post(broadcast_to(ANN))
        except requests.ConnectionError as e:
            failed.append(e)

    with running(tmp_path / "output", SINCH_REGION_URL=sandbox_server.url, **settings) as service:
        sending = threading.Thread(target=send)
        sending.start()
        while not sandbox.posts():
            time.sleep(0.01)
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        sending.join(60)
        wait_until_healthy(service)
        (found,) = requests.get(f"{service.url}/api/broadcasts", headers=AUTH, timeout=60).json()[
            "broadcasts"
        ]
        deadline = time.monotonic() + 90
        while found["status"] != "complete":
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
            found = requests.get(service.url + found["url"], headers=AUTH, timeout=60).json()
        next_one = service.post(broadcast_to("+46707654321"))

    assert len(failed) == 1
    assert count_taken(found["counts"]) == 1
    assert (next_one.status_code, next_one.json()["status"]) == (202, "complete")
    assert sandbox.recipients() == [ANN, "+46707654321"]


def test_every_line_of_output_is_json(service):
    service.post(broadcast_to(ANN))
    service.post("nonsense")
    service.stop()

    lines = service.output.read_text().splitlines()
    assert lines
    assert [line for line in lines if not line.startswith('{"time": ')] == []


def test_in_production_it_serves_this_machine_only_and_says_what_is_missing_in_front(tmp_path):
    with running(tmp_path / "output", **production() | {"APP_ENV": ""}) as service:
        port = int(service.url.rpartition(":")[2])
        with pytest.raises(OSError):  # noqa: PT011  # refused or unreachable
            socket.create_connection((_outer_address(), port), 1)
        lines = [json.loads(line) for line in service.output.read_text().splitlines()]

    (warning,) = [line for line in lines if "TRUSTED_PROXIES" in line["message"]]
    assert (warning["level"], warning["host"]) == ("warning", "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        pytest.param("::1", "::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6")),
        ("localhost", "127.0.0.1"),
    ],
)
def test_it_listens_where_it_is_told(sandbox_server, tmp_path, host, address):
    settings = {"SINCH_REGION_URL": sandbox_server.url, "HOST": host, "PORT": str(unused_port())}
    with running(tmp_path / "output", host=address, **settings) as service:
        assert service.get("/health").ok


def test_in_production_it_serves_every_address_where_it_is_told_so(tmp_path):
    told = {"APP_ENV": "", "HOST": "0.0.0.0", "TRUSTED_PROXIES": "1"}
    with running(tmp_path / "output", **production() | told) as service:
        port = service.url.rpartition(":")[2]
        answer = requests.get(f"http://127.0.0.2:{port}/health", timeout=60)
        shown = requests.get(f"{service.url}/docs", timeout=60)

    assert answer.json()["status"] == "ok"
    assert "Strict-Transport-Security" in answer.headers
    assert shown.ok
    assert "TRUSTED_PROXIES" not in service.output.read_text()
