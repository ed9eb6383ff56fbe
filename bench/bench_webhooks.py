"""Webhooks to three good receivers, alone and beside ten bad ones (dead, slow, lying).

Real gunicorn, SQLite, broadcasts to one person each, one after another; three good webhooks get
`broadcast.completed`.  The sides take turns in one run: without webhooks, with the good ones, with
bad ones beside them.  The bad ones are created in each round, so that they have no history.

Goals: beside bad receivers an event reaches a good one in at most 1.3 times the median time, and a
broadcast takes at most 1.15 times as long.

Then the events per second of one webhook, against a bare `http.client` loop that posts as many
bodies, each over a connection of its own.
"""

import contextlib
import http.client
import json
import statistics
import sys
import time
from typing import Any

from bench.clarion import KEY, running_clarion
from bench.measure import free_port, serving, show_ratio, show_time
from bench.receivers import Good, bad_company, good

BROADCASTS, ROUNDS, EVENTS = 100, 5, 1_000
_HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json"}
Taken = dict[str, list[float]]


class Caller:
    """A client of the service, over one connection."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer."""
        raw = None if body is None else json.dumps(body).encode()
        self._http.request(method, path, raw, _HEADERS)
        answer = self._http.getresponse()
        content = answer.read()
        assert answer.status < 300, content
        return json.loads(content) if content else None


def main() -> None:
    """Measure the sides in turn, then the rate."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    sinch = free_port()
    taken: Taken = {}
    with serving(["-m", "bench.stand_in", str(sinch)], sinch), running_clarion(sinch) as (port, _):
        caller = Caller(port)
        send_many(caller, 20)
        with contextlib.ExitStack() as stack:
            for _ in range(rounds):
                keep(taken, "without", send_many(caller, BROADCASTS)[0], [])
                receivers = [stack.enter_context(good()) for _ in range(3)]
                made = [listen(caller, url) for _, url in receivers]
                warm_up(caller, made, receivers)
                measure(taken, "good", caller, receivers)
                with bad_company() as urls:
                    made += [listen(caller, url) for url in urls]
                    measure(taken, "beside bad", caller, receivers)
                for webhook_id in made:
                    caller.call("DELETE", f"/api/webhooks/{webhook_id}")
            receiver, url = stack.enter_context(good())
            events_s = measure_rate(caller, receiver, listen(caller, url))
    show(taken)
    limit_s = measure_limit()
    print(f"{EVENTS} events to one webhook:")
    show_time("limit: http.client, a connection each", [limit_s], each_of=EVENTS)
    show_time("Clarion", [events_s], each_of=EVENTS)
    show_ratio("Clarion / limit", [events_s], [limit_s], goal=None)


def listen(caller: Caller, url: str) -> str:
    """Create a webhook that gets broadcast.completed.  Returns its id."""
    wanted = {"url": url, "event_types": ["broadcast.completed"]}
    return str(caller.call("POST", "/api/webhooks", wanted)["webhook_id"])


def warm_up(caller: Caller, made: list[str], receivers: list[tuple[Good, str]]) -> None:
    """Let them answer quickly a few times, so that the fast pool serves them."""
    for webhook_id in made:
        for _ in range(5):
            caller.call("POST", f"/api/webhooks/{webhook_id}/test")
    while any(receiver.posts < 5 for receiver, _ in receivers):
        time.sleep(0.05)
    time.sleep(0.5)


def send_many(caller: Caller, count: int) -> tuple[float, dict[str, float]]:
    """Send `count` broadcasts.  Returns the seconds they took, and when each was answered."""
    answered: dict[str, float] = {}
    started = time.perf_counter()
    for _ in range(count):
        number = f"+4670{time.perf_counter_ns() % 10**7:07d}"
        body = {"recipients": [number], "message": "Pickup moved to 08:30"}
        made = caller.call("POST", "/api/broadcast", body)
        answered[made["broadcast_id"]] = time.perf_counter()
    return time.perf_counter() - started, answered


def measure(taken: Taken, side: str, caller: Caller, receivers: list[tuple[Good, str]]) -> None:
    """Send, and wait until every good receiver has all events."""
    seconds, answered = send_many(caller, BROADCASTS)
    while any(not answered.keys() <= receiver.arrived.keys() for receiver, _ in receivers):
        time.sleep(0.01)
    waits = [
        receiver.arrived[broadcast_id] - at
        for receiver, _ in receivers
        for broadcast_id, at in answered.items()
    ]
    keep(taken, side, seconds, waits)


def keep(taken: Taken, side: str, seconds: float, waits: list[float]) -> None:
    """Keep the figures of a round."""
    taken.setdefault(f"{side}: sending", []).append(seconds)
    if waits:
        taken.setdefault(f"{side}: median", []).append(statistics.median(waits))
        taken.setdefault(f"{side}: slowest", []).append(max(waits))


def show(taken: Taken) -> None:
    """Print the sides and the ratios."""
    print(f"{BROADCASTS} broadcasts to one person, with 3 good webhooks, beside 10 bad ones:")
    for side in ("without", "good", "beside bad"):
        show_time(f"{side}: a broadcast", taken[f"{side}: sending"], each_of=BROADCASTS)
    for side in ("good", "beside bad"):
        for what in ("median", "slowest"):
            show_time(f"{side}: event after, {what}", taken[f"{side}: {what}"], each_of=1)
    sending = taken["beside bad: sending"]
    show_ratio("sending: beside bad / good", sending, taken["good: sending"], goal=1.15)
    show_ratio(
        "sending: good / without", taken["good: sending"], taken["without: sending"], goal=None
    )
    waits = taken["beside bad: median"]
    show_ratio("event after: beside bad / good", waits, taken["good: median"], goal=1.3)


def measure_rate(caller: Caller, receiver: Good, webhook_id: str) -> float:
    """Return the seconds from a replay of EVENTS test events until they have arrived."""
    for _ in range(EVENTS):
        caller.call("POST", f"/api/webhooks/{webhook_id}/test")
    while receiver.posts < EVENTS:
        time.sleep(0.05)
    before = receiver.posts
    started = time.perf_counter()
    replay = {"since": "2020-01-01T00:00:00Z", "delivered": True}
    caller.call("POST", f"/api/webhooks/{webhook_id}/replay", replay)
    while receiver.posts < before + EVENTS:
        time.sleep(0.005)
    return time.perf_counter() - started


def measure_limit() -> float:
    """Return the seconds of as many bare POSTs."""
    body = json.dumps({"id": "0" * 26, "data": {"webhook_id": "0" * 26}}).encode()
    with good() as (_, url):
        host = url.split("/")[2]
        started = time.perf_counter()
        for _ in range(EVENTS):
            connection = http.client.HTTPConnection(host)
            connection.request("POST", "/hook", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
            connection.close()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
