"""Drill: 32 expensive requests of each kind at once, and small broadcasts between them.

Each kind is what a client with a valid key may send to occupy the service.  While 32 threads repeat
a kind, small broadcasts to one recipient go out one by one.  Goal: each is answered within 2 s, and
the memory of the service stays below 700 MB.  `--seconds 30` for longer, `--kind quote` for one
kind.
"""

import argparse
import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from app.db.base import table_of
from app.db.engine import Database
from app.subscribers.models import Subscriber
from bench.clarion import KEY, make_settings, opened
from bench.measure import find_workers, free_port, serving
from bench.sample_broadcast import add_broadcast

THREADS, GOAL_S, GOAL_MB, SECONDS = 32, 2.0, 700, 10.0
# The rate limit would end a client that repeats a refused request at once.
RETRY_AFTER_S = 2.0
PEOPLE, MESSAGES = 20_000, 100_000
_SMALL = {"recipients": ["+46701234567"], "message": "Pickup moved to 08:30"}
_STRANGER = "+46709999999"


@dataclass(frozen=True)
class Kind:
    """A kind of expensive request."""

    method: str
    path: str
    body: bytes = b""


def main() -> None:
    """Run the drill for each kind."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    arguments.add_argument("--kind")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        url = f"sqlite:///{Path(folder).resolve() / 'clarion.db'}"
        with opened(url) as db:
            kinds = make_kinds(fill(db))
        sinch, port = free_port(), free_port()
        settings = make_settings(url, sinch=sinch, PORT=str(port))
        with (
            serving(["-m", "bench.stand_in", str(sinch)], sinch),
            serving(["-m", "gunicorn", "wsgi:app"], port, **settings) as master,
        ):
            worker = find_workers(master.pid)[0]
            for name in [options.kind] if options.kind else kinds:
                drill(name, kinds[name], port, worker, options.seconds)


def fill(db: Database) -> str:
    """Insert subscribers and a large broadcast.  Returns the broadcast's id."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    people = [
        {
            "public_id": f"{number:026d}",
            "phone": f"+4670{number:07d}",
            "active": True,
            "subscribed_at": at,
            "updated_at": at,
            "attributes": {f"a{index}": f"v{index}" for index in range(20)},
        }
        for number in range(PEOPLE)
    ]
    with db.write() as tx:
        tx.execute(insert(table_of(Subscriber)), people)
    return add_broadcast(db, MESSAGES)


def make_kinds(broadcast: str) -> dict[str, Kind]:
    """Return the expensive requests by name."""
    phones = [f"+4670{number:07d}" for number in range(10_000)]
    values = {"a": {phone: f"€{number}" for number, phone in enumerate(phones)}}
    personal = {"recipients": phones, "message": "x${a}" * 300, "parameters": values}
    conditions = [
        {"field": f"attributes.a{index}", "op": "in", "value": [f"v{n}" for n in range(100)]}
        for index in range(20)
    ]
    audience = {"audience": {"where": conditions}, "message": "Hi ${a1}" + "${a2}" * 200}
    quote, send = "/api/broadcast/quote", "/api/broadcast"
    return {
        "quote": _post(quote, personal),
        "send": _post(send, {**personal, "allow_duplicate": True}),
        "lists": _post(send, {"message": "x", "recipients": [[]] * 300_000}),
        "numbers": _post(quote, {"message": "x", "recipients": phones * 40}),
        "audience": _post(quote, audience),
        "send_audience": _post(send, {**audience, "send_at": "2035-01-01T00:00:00Z"}),
        "search": _post("/api/messages/search", {"recipient": _STRANGER}),
        "messages": Kind("GET", f"/api/broadcasts/{broadcast}/messages?status=expired"),
        "csv": Kind("GET", f"/api/broadcasts/{broadcast}/messages.csv"),
        "broadcasts": Kind("GET", "/api/broadcasts?reference=none&limit=200"),
        "analytics": Kind("GET", "/api/analytics?group_by=country,code"),
        "inbounds": Kind("GET", "/api/inbounds?limit=200"),
        "subscribers": Kind("GET", "/api/subscribers?limit=200"),
    }


def _post(path: str, body: Any) -> Kind:
    return Kind("POST", path, json.dumps(body).encode())


def drill(name: str, kind: Kind, port: int, worker: int, seconds: float) -> None:
    """Repeat a kind from 32 threads, send small broadcasts, and print what was seen."""
    ended, statuses = threading.Event(), Counter[Any]()
    threads = [
        threading.Thread(target=_repeat, args=(kind, port, ended, statuses), daemon=True)
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    waits, small, memory_mb, deadline = [], Counter[int](), 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        started = time.monotonic()
        body = {**_SMALL, "message": f"{name} {started}"}
        small[_ask(port, _post("/api/broadcast", body))] += 1
        waits.append(time.monotonic() - started)
        memory_mb = max(memory_mb, _read_memory_mb(worker))
        time.sleep(0.1)
    fine = max(waits) <= GOAL_S and memory_mb <= GOAL_MB and set(small) == {202}
    print(
        f"{name:<13} small: {len(waits)} in at most {max(waits):5.2f} s {dict(small)}, "
        f"{memory_mb} MB, hostile: {dict(statuses)} {'' if fine else 'MISSED'}",
        flush=True,
    )
    ended.set()
    for thread in threads:
        thread.join(60)


def _repeat(kind: Kind, port: int, ended: threading.Event, statuses: Counter[Any]) -> None:
    while not ended.is_set():
        try:
            status = _ask(port, kind)
        except (OSError, http.client.HTTPException) as e:
            statuses[type(e).__name__] += 1  # refused before its body was read
            ended.wait(RETRY_AFTER_S)
            continue
        statuses[status] += 1
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            ended.wait(RETRY_AFTER_S)


def _ask(port: int, kind: Kind) -> int:
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ) as connection:
        connection.request(kind.method, kind.path, kind.body or None, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def _read_memory_mb(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()
