"""The server and its control URLs."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from app.sandbox.control.settings import Settings
from app.sandbox.server import NotLoopback, SandboxServer
from tests.environ import ROOT, clean_environ
from tests.sandbox.conftest import Sinch, wait_until
from tests.sandbox_control import SandboxControl


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_only_loopback_is_listened_on(host):
    with pytest.raises(NotLoopback):
        SandboxServer(host=host)


def test_a_taken_port_is_an_ordinary_error(sandbox_server):
    with pytest.raises(OSError, match="in use"):
        SandboxServer(int(sandbox_server.url.rsplit(":", 1)[1]))


def test_it_can_be_started_and_stopped_again_and_again_leaving_no_thread():
    before = set(threading.enumerate())

    for _ in range(3):
        with SandboxServer() as server:
            assert requests.get(server.url + "/control/health", timeout=60).json()["status"] == "ok"
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url, timeout=60)

    wait_until(lambda: set(threading.enumerate()) <= before)


def test_stopping_does_not_wait_for_a_hanging_request():
    with SandboxServer() as server:
        SandboxControl(server.url).order_fault(do="hang", delay_s=60)
        client = threading.Thread(target=_ask_and_be_cut, args=(server.url,))
        client.start()
        wait_until(server.request_log.list_requests)
        began = time.monotonic()

    client.join()
    assert time.monotonic() - began < 20


def _ask_and_be_cut(url):
    with pytest.raises(requests.ConnectionError):
        requests.get(url + "/xms/v1/sandbox/batches", timeout=30)


def test_connections_are_refused_for_a_while_and_nothing_is_lost(sinch, control):
    sinch.send()

    control.refuse(0.2)

    with pytest.raises(requests.ConnectionError) as refused:
        requests.get(sinch.root + "/batches", timeout=60)
    assert "refused" in str(refused.value)
    wait_until(lambda: _is_open(control.url))
    assert sinch.get("/batches")["count"] == 1


def _is_open(url):
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) == 0


def test_one_connection_carries_many_requests(sinch, sandbox_server):
    where = sandbox_server.url.removeprefix("http://").split(":")
    request = b"GET /control/health HTTP/1.1\r\nHost: x\r\n\r\n"

    with socket.create_connection((where[0], int(where[1])), timeout=60) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_refused_body_does_not_spoil_the_next_request(sinch):
    sinch.session.headers["Authorization"] = "Bearer wrong"
    assert sinch.post_batch().status_code == 401

    sinch.session.headers["Authorization"] = "Bearer sandbox"
    assert sinch.post_batch().status_code == 201


def test_a_chunked_request_is_read(sinch):
    chunks = iter([b'{"to":["46700000001"],', b'"from":"46700000900","body":"x"}'])

    answer = sinch.ask("POST", "/batches", data=chunks,
                       headers={"Content-Type": "application/json"})  # fmt: skip

    assert answer.status_code == 201


def test_plan_and_token_are_settable():
    with SandboxServer(settings=Settings(plan_id="p", token="t")) as server:
        sinch = Sinch(server.url, plan_id="p", token="t")
        assert sinch.post_batch().status_code == 201
        sinch.session.close()


def test_the_requests_are_listed_with_what_became_of_them(sinch, control):
    control.order_fault(on="POST /batches", do="cut")
    with pytest.raises(requests.ConnectionError):
        sinch.post_batch(client_reference="r", to=["46700000001", "46700000002"])
    sinch.ask("GET", "/batches?page=0")

    cut, listed = control.requests()

    assert (cut["operation"], cut["client_reference"], cut["recipients"]) == (
        "POST /batches", "r", 2)  # fmt: skip
    assert (cut["status"], cut["fault"]) == (None, control.faults()[0]["id"])
    assert (listed["path"], listed["status"]) == ("/xms/v1/sandbox/batches?page=0", 200)


def test_the_ledger_knows_who_was_accepted_more_than_once(sinch, control):
    one = sinch.send("46700000001", "46700000002", client_reference="a")["id"]
    two = sinch.send("46700000002", "46700000003")["id"]

    summary = control.ledger_summary()

    assert summary == {"batches": 2, "canceled": 0, "messages": 4, "recipients": 3,
                       "accepted_more_than_once": {"+46700000002": 2}}  # fmt: skip
    assert control.batches_of("+46700000002") == [one, two]
    assert [b["client_reference"] for b in control.batches()] == ["a", None]
    assert control.recipients()[1:3] == ["+46700000002"] * 2


def test_the_ledger_file_has_the_batch_before_the_answer_leaves(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with SandboxServer(ledger_path=path) as server:
        sinch = Sinch(server.url)
        SandboxControl(server.url).order_fault(on="POST /batches", do="reset", when="after")
        with pytest.raises(requests.ConnectionError):
            sinch.post_batch(client_reference="r")
        sinch.session.close()

        (line,) = path.read_text().splitlines()
    assert json.loads(line)["event"] == "accepted"
    assert json.loads(line)["client_reference"] == "r"
    assert json.loads(line)["to"] == ["+46700000001"]


@pytest.mark.parametrize(("name", "value"), [
    ("nonsense", 1), ("callback_copies", 0), ("seed", "1"), ("token", 1),
    ("retry_base_s", "5"), ("callback_lost_probability", 1.1), ("messages_per_second", 0),
    ("outcome_probabilities", {"Delivered": 1}), ("outcome_probabilities", {"Failed": "1"}),
    ("token", None), ("seed", 1.5), ("callback_url", ""), ("list_delay_s", -1),
    ("retry_base_s", 10**400), ("callback_copies", 10**9), ("outcome_probabilities", None),
])  # fmt: skip
def test_a_bad_setting_is_refused_named_and_changes_nothing(control, name, value):
    before = requests.get(f"{control.url}/control/settings", timeout=60).json()

    answer = requests.patch(f"{control.url}/control/settings",
                            json={"callback_delay_s": 1, name: value}, timeout=60)  # fmt: skip

    assert answer.status_code == 400
    assert answer.json()["text"].startswith(f"{name}:")
    assert requests.get(f"{control.url}/control/settings", timeout=60).json() == before


def test_a_reset_forgets_everything(sinch, control):
    control.set(token="other")
    control.order_fault(times=None)
    control.advance(3600)

    control.reset()

    assert control.faults() == control.requests() == control.batches() == []
    before = datetime.now(UTC)
    batch = sinch.send()
    assert sinch.get("/batches")["count"] == 1
    created_at = datetime.fromisoformat(batch["created_at"])
    assert abs(created_at - before) < timedelta(minutes=30)


def test_settings_hold_for_batches_accepted_after_them(sinch, control):
    before = sinch.send("12015550101")["id"]
    control.set(deliver_after_s=120)
    after = sinch.send("12015550101")["id"]
    control.advance(60)

    assert sinch.statuses(before) == {"Failed 150": 1}
    assert sinch.statuses(after) == {"Dispatched 401": 1}


@pytest.mark.parametrize("path", ["clock", "refuse", "inbounds", "settings", "faults"])
def test_a_control_body_that_is_no_object_is_400(control, path):
    method = "PATCH" if path == "settings" else "POST"

    answer = requests.request(method, f"{control.url}/control/{path}", data=b"[]", timeout=60)

    assert answer.status_code == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sandbox_on_its_own_ends_cleanly_when_told(tmp_path, number):
    program = (
        f"from app.sandbox.server import serve; serve(port=0, ledger_path={str(tmp_path / 'l')!r})"
    )
    with subprocess.Popen([sys.executable, "-W", "error", "-c", program], text=True,
                          cwd=ROOT, env=clean_environ({}),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        try:
            url = process.stdout.readline().split()[3].rstrip(",")
            sinch = Sinch(url)
            sinch.send()
            process.send_signal(number)
            _, complaints = process.communicate(timeout=60)
            sinch.session.close()
        finally:
            process.kill()

    assert (process.returncode, complaints) == (0, "")
    assert len((tmp_path / "l").read_text().splitlines()) == 1


@pytest.mark.parametrize("length", [b"Content-Length: \xb2", b"Content-Length: -2",
                                    b"Content-Length: 99999999999999",
                                    b"Transfer-Encoding: chunked"])  # fmt: skip
def test_a_body_of_unclear_length_is_400_and_ends_the_connection(sandbox_server, length):
    where = sandbox_server.url.removeprefix("http://").split(":")

    with socket.create_connection((where[0], int(where[1])), timeout=60) as connection:
        connection.sendall(b"POST /xms/v1/sandbox/batches HTTP/1.1\r\n" + length
                           + b"\r\n\r\nzz\r\n")  # fmt: skip
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(("path", "body"), [
    ("settings", b'{"retry_base_s": Infinity}'), ("settings", b'{"retry_base_s": 1e999}'),
    ("settings", b'{"token": "\\ud800"}'), ("settings", b"[" * 100_000),
    ("clock", b'{"advance_s": 1e999}'), ("clock", b'{"advance_s": 1e12}'),
    ("refuse", b'{"for_s": 1e12}'), ("inbounds", b'{"from": "46700000001", "body": "\\ud800"}'),
    ("faults", b'{"text": "\\ud800"}'), ("faults", b'{"headers": {"a\\r\\nb": "c"}}'),
])  # fmt: skip
def test_what_no_clock_or_line_could_carry_is_400_on_control_urls(sinch, control, path, body):
    method = "PATCH" if path == "settings" else "POST"

    answer = requests.request(method, f"{control.url}/control/{path}", data=body, timeout=60)

    assert answer.status_code == 400
    assert sinch.post_batch().status_code == 201


@pytest.mark.parametrize("path", ["inbounds", "settings", "faults", "clock", "reset", "ledger"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "10.0.0.1:8089"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_no_web_page_controls_the_sandbox(control, headers, path):
    method = {"settings": "PATCH", "ledger": "GET"}.get(path, "POST")

    answer = requests.request(
        method,
        f"{control.url}/control/{path}",
        headers=headers | {"Content-Type": "text/plain"},
        data=b'{"from": "46705550123", "body": "STOP"}',
        timeout=60,
    )

    assert answer.status_code == 403
    assert "46705550123" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machine_controls_it_by_any_of_its_names(control, host):
    headers = {"Host": f"{host}:8089", "Origin": f"http://{host}:8089"}

    answer = requests.get(f"{control.url}/control/settings", headers=headers, timeout=60)

    assert answer.status_code == 200


def test_secrets_are_set_but_not_shown(control):
    shown = control.set(hmac_secret="s3cret-of-the-webhook", callback_basic="sinch:pass-word")
    listed = requests.get(f"{control.url}/control/settings", timeout=60).text

    assert shown["hmac_secret"] == shown["callback_basic"] == "set, but not shown"
    assert "s3cret" not in listed
    assert "pass-word" not in listed
