"""Many hostile requests at once: a small broadcast goes out beside them, and memory stays bounded.

HOSTILE in the environment is another number of requests under way, with all kinds of them.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.factories import AUTH, broadcast_to, many_numbers
from tests.processes import running

FULL = "HOSTILE" in os.environ
HOSTILE = int(os.environ.get("HOSTILE", "8"))
LASTS_S, SENDS, ROWS = (8, 4, 400_000) if FULL else (2, 2, 100_000)
MAX_RSS_MB = 700
JSON = {"Content-Type": "application/json"}
NO_LIMIT = {"RATE_LIMIT": "100000 per minute", "READ_RATE_LIMIT": "100000 per minute"}


@pytest.fixture(scope="module")
def service(sandbox_server, tmp_path_factory):
    folder, url = tmp_path_factory.mktemp("service"), sandbox_server.url
    with running(folder / "output", SINCH_REGION_URL=url, **NO_LIMIT) as service:
        yield service


def _list_of(item, size):
    return b'{"message": "x", "recipients": [' + item * (size // len(item)) + b"1]}"


def _personal(recipients, placeholders):
    names = ", ".join(f'"n{i}": {{"default": "x"}}' for i in range(min(placeholders, 100)))
    text = "".join(f"${{n{i % 100}}}" for i in range(placeholders))
    numbers = ", ".join(f'"{number}"' for number in many_numbers(recipients))
    body = f'{{"message": "{text}", "recipients": [{numbers}], "parameters": {{{names}}}}}'
    return body.encode()


def _audience():
    values = [f"value {number}" for number in range(100)]
    where = [{"field": f"attributes.a{place}", "op": "in", "value": values} for place in range(20)]
    return json.dumps({"message": "Hi", "audience": {"where": where}}).encode()


def _bulk(people, tags):
    entries = [
        {"phone": number, "tags": [f"t{place}-{tag}" for tag in range(tags)]}
        for place, number in enumerate(many_numbers(people))
    ]
    return json.dumps({"subscribers": entries}).encode()


KINDS = {
    "lists": ("/api/broadcast", JSON, lambda: _list_of(b"[],", 39_000_000)),
    "lists in a tag": ("/api/tags", JSON, lambda: _list_of(b"[],", 999_000)),
    "items in a tag": ("/api/tags", JSON, lambda: _list_of(b'"",', 299_000)),
    "items": ("/api/broadcast", JSON, lambda: _list_of(b'"1",', 8_000_000)),
    "keys": (
        "/api/broadcast",
        JSON,
        lambda: (
            b'{"parameters": {"a": {' + b",".join(b'"%d":""' % i for i in range(2_000_000)) + b"}}}"
        ),
    ),
    "wrong numbers": ("/api/broadcast", JSON, lambda: _list_of(b'"12345678901",', 13_900_000)),
    "one text": ("/api/broadcast", JSON, lambda: _list_of(b'"' + b"x" * 39_000_000 + b'",', 1)),
    "small personal quotes": ("/api/broadcast/quote", JSON, lambda: _personal(20_000, 333)),
    "personal quotes": ("/api/broadcast/quote", JSON, lambda: _personal(100_000, 333)),
    "personal texts": ("/api/broadcast", JSON, lambda: _personal(20_000, 333)),
    "audiences": ("/api/broadcast", JSON, _audience),
    "new tags": ("/api/subscribers/bulk", JSON, lambda: _bulk(8_000, 80)),
    "poison CSV": (
        "/api/suppressions/import",
        {"Content-Type": "text/csv"},
        lambda: b"phone,name\n" + b'x","\n' * ROWS,
    ),
    "a million": ("/api/broadcast", JSON, lambda: _personal(1_000_000, 0)),
}


USUAL = ("lists", "lists in a tag", "small personal quotes", "audiences", "poison CSV")


@pytest.mark.parametrize("kind", KINDS if FULL else USUAL)
def test_a_small_broadcast_goes_out_beside_hostile_requests(service, sandbox, kind):
    path, headers, make_body = KINDS[kind]
    body, answers, until_s = make_body(), Counter(), time.monotonic() + LASTS_S

    def attack():
        while time.monotonic() < until_s:
            try:
                answer = requests.post(
                    service.url + path, data=body, headers=AUTH | headers, timeout=120
                )
                answers[answer.status_code] += 1
            except requests.ConnectionError:
                answers["closed"] += 1

    threads = [threading.Thread(target=attack) for _ in range(HOSTILE)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    waits_s = []
    for number in many_numbers(SENDS):
        sent = service.post(broadcast_to(number), timeout=60)
        waits_s.append(sent.elapsed.total_seconds())
        assert sent.status_code == 202
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    (worker,) = service.workers()
    peak_mb = _read_peak_mb(worker)

    sys.stdout.write(
        f"{kind}: sends within {max(waits_s):.2f} s, {peak_mb} MB, answers {dict(answers)}\n"
    )
    assert not [status for status in answers if status in (500, 502)]
    assert peak_mb < MAX_RSS_MB


def _read_peak_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [line for line in lines if line.startswith("VmHWM")]
    return int(peak.split()[1]) // 1024
