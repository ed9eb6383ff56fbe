"""No phone number, text, key or token in any output, at the most talkative level."""

import json
import random
import re
import socket
import sys
import time

import pytest
import requests

from tests.factories import AUTH, broadcast_to
from tests.processes import GUNICORN, running

CANARIES = 10_000
SEED = 20261123
TOKEN = "canary-token-4f9a1c7e2b8d"


def _requests():
    """Bodies and headers that carry every canary once, through good ways and bad ones."""
    draw = random.Random(SEED)
    numbers = [f"+46{n:09d}" for n in draw.sample(range(10**8, 10**9), CANARIES)]
    texts = [f"canarytext{draw.getrandbits(64):016x}" for _ in range(200)]
    keys = [f"canarykey{draw.getrandbits(64):016x}" for _ in range(100)]
    bodies = []
    for start in range(0, CANARIES, 500):
        chunk = numbers[start : start + 500]
        text = texts.pop()
        bodies += [
            broadcast_to(*chunk, message=text),
            broadcast_to(*chunk, "bad " + chunk[0][1:], message=text),
            broadcast_to(*chunk, message="${n}", parameters={"n": {"default": texts.pop()}}),
            broadcast_to(*chunk, message="${n}", parameters={"n": {chunk[0]: texts.pop()}}),
            broadcast_to(*chunk, message=text, reference=texts.pop(), sender=chunk[0]),
            {"recipients": chunk, "message": text, chunk[1]: texts.pop()},
        ]
    return numbers, keys, bodies


def _send_raw(url, data):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


def _malformed():
    """HTTP that is none, with canaries in every place that a server might quote."""
    body = b'{"recipients":["+46700000017"],"message":"canarytext17"}'
    head = b"POST /api/broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    key = f"X-API-Key: {AUTH['X-API-Key']}\r\n".encode()
    return [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key canarykey17\r\n\r\n",
        b"GET /x?to=n46700000017canarykey17\r\n\r\n",
        b"canarytext17\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header canarykey17: 1\r\n\r\n",
        b"GET /canarykey17?46700000017 HTTP/9.9\r\nHost: x\r\n\r\n",
        head + b"Content-Length: 10\r\n\r\n" + body,
        head + key + b"Content-Length: 10\r\n\r\n" + body,
        head + key + b"Content-Length: 9999\r\n\r\n" + body,
        head + key + b"Content-Length: canarytext17\r\n\r\n" + body,
        head + key + b"Transfer-Encoding: chunked\r\n\r\ncanarytext17\r\n" + body,
        head + key + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + body,
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"canarytext17" * 2000 + b"\r\n\r\n",
        b"GET /" + b"canarytext17" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: canarytext17\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /canarytext17\r\n\r\n",
    ]


def _read_everything(service):
    """Every broadcast and every message, once nothing is left to be done."""
    deadline = time.monotonic() + 90
    while True:
        url = f"{service.url}/api/broadcasts?limit=200"
        answer = requests.get(url, headers=AUTH, timeout=60)
        if all(each["completed_at"] for each in answer.json()["broadcasts"]):
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    pages = [answer.text]
    for each in answer.json()["broadcasts"]:
        url = f"{service.url}{each['url']}/messages?limit=1000"
        pages.append(requests.get(url, headers=AUTH, timeout=60).text)
    return "\n".join(pages)


FLASK_RUN = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", "{port}"]


@pytest.mark.parametrize("command", [GUNICORN, FLASK_RUN], ids=["gunicorn", "flask run"])
def test_what_is_not_even_http_is_not_quoted(sandbox_server, sandbox, tmp_path, command):
    url = sandbox_server.url

    with running(tmp_path / "output", command=command, SINCH_REGION_URL=url) as service:
        for data in _malformed():
            _send_raw(service.url, data)
        path = f"{service.url}/api/broadcast?api_key=canarykey17&to=tel46700000017"
        requests.get(path, timeout=60)
        healthy = requests.get(f"{service.url}/health", timeout=60).ok
        service.stop()

    output = service.output.read_text()
    assert healthy
    for canary in ("canarykey17", "canarytext17", "46700000017", AUTH["X-API-Key"]):
        assert canary not in output
    assert "uncaught exception" not in output


def test_ten_thousand_canaries_go_through_and_none_comes_out(sandbox_server, sandbox, tmp_path):
    numbers, keys, bodies = _requests()
    canaries = {*numbers, *keys, *(number[1:] for number in numbers), TOKEN, AUTH["X-API-Key"]}
    canaries |= set(re.findall(r"canarytext[0-9a-f]+", json.dumps(bodies)))
    sandbox.set(token=TOKEN)
    for fault in (
        {"do": "cut"},
        {"do": "answer", "status": 400, "text": numbers[0]},
        {"do": "answer", "status": 401, "text": numbers[1]},
        {"do": "answer", "status": 500},
        {"do": "answer", "status": 429, "headers": {"Retry-After": numbers[2]}},
        {"do": "half_body"},
    ):
        sandbox.order_fault(on="POST /batches", skip=3, **fault)
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "SINCH_API_TOKEN": TOKEN,
        "LOG_LEVEL": "debug",
        # A refusal of everything holds back what comes later for a moment only.
        "PROBE_EVERY_S": "0.2",
        "SWEEP_EVERY_S": "0.1",
        "RECONCILE_AFTER_S": "0.1,0.2,0.3,1,2,4,8,16,32",
        "UNREADABLE_AFTER_S": "2",
        "RETRY_WAIT_MAX_S": "1",
    }

    codes = set()
    with running(tmp_path / "output", **settings) as service:
        codes |= {service.post(body).status_code for body in bodies}
        for key, number in zip(keys, numbers, strict=False):
            codes.add(service.post(bodies[0], headers={"X-API-Key": key}).status_code)
            path = f"{service.url}/{number}?key={key}"
            codes.add(requests.get(path, headers={"X-Request-ID": number}, timeout=60).status_code)
        codes.add(service.post(None, data=json.dumps(bodies[0])[:-9], headers=AUTH).status_code)
        shown = _read_everything(service)
        metrics = service.get("/metrics").text
        service.stop()

    assert 'route="/api/broadcast"' in metrics
    output = service.output.read_text() + metrics
    words = set(re.findall(r"[A-Za-z0-9_-]+", output)) | set(re.findall(r"\+?[0-9]+", output))
    assert codes >= {202, 400, 403, 404, 415, 502}
    assert set(numbers) <= set(re.findall(r"\+[0-9]+", shown))
    assert output.count('"request answered"') >= len(bodies) + 200
    assert words & canaries == set()
    assert not [canary for canary in canaries - set(numbers) if canary in output]
