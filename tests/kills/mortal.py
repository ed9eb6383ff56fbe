"""A service that dies and comes back, and clients that insist on an answer."""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import select

from app.config import read_config
from app.sms.context import Context, make_context
from app.sms.models.batch import Batch
from app.sms.operations.invariants import find_violations
from tests import fork_server
from tests.environ import clean_environ
from tests.factories import AUTH, KEY, settings
from tests.processes import GUNICORN, Service, wait_until_healthy
from tests.rollups import miscounts
from tests.wire import unused_port

# The times of the failure model, a hundred times as fast.
HASTE = {
    "BACKGROUND": "threads",
    "LOG_LEVEL": "warning",
    "WEB_THREADS": "16",
    "SENDER_THREADS": "2",
    "SINCH_CONNECT_TIMEOUT_S": "0.3",
    "SINCH_READ_TIMEOUT_S": "0.4",
    "SEND_BUDGET_S": "2",
    "LOOKUP_WAITS_S": "0.05,0.2",
    "LEASE_S": "1.5",
    "FIRST_BYTE_WITHIN_S": "0.5",
    # Each takes some milliseconds of the processor, in each process.
    "SWEEP_EVERY_S": "0.5",
    "RECONCILE_AFTER_S": "0.1,0.3,0.6,0.9,1.2,1.5",
    "RECONCILE_LATER_EVERY_S": "0.5",
    "ABSENT_AFTER_S": "1",
    "ABSENT_RECENT_S": "5",
    "UNREADABLE_AFTER_S": "20",
    "RETRY_WAIT_MAX_S": "0.05",
    "PROBE_EVERY_S": "0.2",
}

# As patient with Sinch as the model, so that a busy machine makes nothing uncertain.
PATIENT = {
    "WEB_THREADS": "8",
    "SINCH_CONNECT_TIMEOUT_S": "3",
    "SINCH_READ_TIMEOUT_S": "10",
    "SEND_BUDGET_S": "3",
    "FIRST_BYTE_WITHIN_S": "10",
    "LEASE_S": "60",
}


class Mortal:
    """A service under gunicorn, always on the same port and database."""

    def __init__(self, folder: Path, **overrides: str) -> None:
        self._folder = folder
        self._settings = HASTE | {"PORT": str(unused_port())} | overrides
        self._life = contextlib.ExitStack()
        self._lives = 0
        self._service: Service | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._settings['PORT']}"

    @property
    def database_url(self) -> str:
        return self._settings["DATABASE_URL"]

    @property
    def service(self) -> Service:
        assert self._service is not None
        return self._service

    def start(self, **overrides: str) -> "Mortal":
        """A new life, ready to answer; it may have a FAILPOINT that the next has not."""
        self._lives += 1
        output = self._folder / f"output-{self._settings['PORT']}-{self._lives}"
        life = living(output, **self._settings | overrides)
        self._service = self._life.enter_context(life)
        return self

    def kill(self) -> None:
        """End the master and its workers at once, as a power cut does."""
        self._life.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask the master to end; its exit code."""
        code = self.service.stop(number)
        self._life.close()
        return code

    def output(self) -> str:
        """What all its lives have logged."""
        port = self._settings["PORT"]
        return "".join(path.read_text() for path in self._folder.glob(f"output-{port}-*"))

    def workers(self) -> list[int]:
        return self.service.workers()

    def processes(self) -> list[int]:
        """The master and its workers."""
        return [self.service.process.pid, *self.workers()]

    def kill_workers(self, choose: Callable[[list[int]], list[int]] = list) -> None:
        """End workers, all unless `choose` says which; the master starts others."""
        for pid in choose(self.workers()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def read(self, path: str) -> Any:
        answer = requests.get(f"{self.url}{path}", headers=AUTH, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def books(self) -> list[dict[str, Any]]:
        """Every broadcast with its counts, newest first."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.read(f"/api/broadcasts?limit=200{cursor}")
            found += page["broadcasts"]
            if page["cursor"] is None:
                return found
            cursor = f"&cursor={page['cursor']}"

    def attention(self) -> list[str]:
        """The references of the batches that wait for an operator's word."""
        batches = self.read("/api/batches/attention")["batches"]
        return [batch["client_reference"] for batch in batches]

    def resolve(self, reference: str, decision: str) -> None:
        answer = requests.post(
            f"{self.url}/api/batches/{reference}/resolve",
            headers=AUTH,
            json={"decision": decision, "note": "a test"},
            timeout=30,
        )
        assert answer.ok, answer.text

    @contextlib.contextmanager
    def twin(self, **overrides: str) -> Iterator["Mortal"]:
        """Another service on the same database."""
        port = {"PORT": str(unused_port())}
        with mortal(self._folder, **self._settings | port) as twin:
            yield twin.start(**overrides)

    def violations(self) -> list[str]:
        """What does not hold in the database, whether or not the service lives."""
        with self._looking() as ctx:
            return [*find_violations(ctx), *miscounts(ctx)]

    def states(self) -> Counter[str]:
        """How many batches stand in each state, whether or not the service lives."""
        with self._looking() as ctx, ctx.db.read() as tx:
            return Counter(state.value for (state,) in tx.execute(select(Batch.state)))

    def has_claimed(self) -> bool:
        """Whether a batch was claimed whose outcome is not known.

        A short lease may be over before anybody looks.
        """
        return not self.states().keys().isdisjoint(("sending", "unknown", "needs_attention"))

    @contextlib.contextmanager
    def _looking(self) -> Iterator[Context]:
        ctx = make_context(read_config(settings(**self._settings)))
        try:
            yield ctx
        finally:
            ctx.sinch.close()
            ctx.db.close()


@contextlib.contextmanager
def living(output: Path, **overrides: str) -> Iterator[Service]:
    """One life under gunicorn, ready to answer; its group is killed afterwards."""
    environ = settings(**{"METRICS_DIR": str(output.parent / "metrics")} | overrides)
    process = fork_server.start(GUNICORN, clean_environ(environ), output)
    service = Service(process, f"http://127.0.0.1:{environ['PORT']}", output)
    try:
        wait_until_healthy(service)
        yield service
    finally:
        process.kill_group()


@contextlib.contextmanager
def mortal(folder: Path, **overrides: str) -> Iterator[Mortal]:
    """A service that lives, dies and lives again as the test says; nothing of it is left."""
    service = Mortal(folder, **overrides)
    try:
        yield service
    finally:
        service.kill()


def wait_until(come: Callable[[], object], *, within_s: float, why: str) -> None:
    """AssertionError with `why` unless it comes; whoever is asked may be dead for a moment.

    What takes longer is asked for more seldom: answers cost more than what they wait for.
    """
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < within_s:
        with contextlib.suppress(requests.RequestException):
            if come():
                return
        time.sleep(min(0.05 + waited_s / 20, 0.4))
    raise AssertionError(f"not within {within_s} s: {why}")


@dataclass
class Order:
    """What a client wants sent, under which key and reference, and what it was told of it.

    `too_late` when nothing was stored before the time that it names.
    """

    body: dict[str, Any]
    key: str
    broadcast_id: str | None = None
    too_late: bool = False

    @property
    def numbers(self) -> list[str]:
        numbers: list[str] = self.body["recipients"]
        return numbers

    @property
    def answered(self) -> bool:
        return self.too_late or self.broadcast_id is not None


# Accepted, too late by now, still running, refused by Sinch, no database.
_ANSWERS = {202, 400, 409, 502, 503}


@dataclass
class Clients:
    """Threads that send orders one after the other; who gets no answer asks again, same key.

    `codes` counts the answers; `orders` are all that were ever sent.
    """

    url: str
    make_order: Callable[[int], dict[str, Any]]
    pause_s: float = 0.0
    key: str = KEY
    orders: list[Order] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    cut: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def sending(self, threads: int) -> Iterator["Clients"]:
        """Send until the block ends; the orders in hand are then tried to their end."""
        running = [threading.Thread(target=self._send) for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            for thread in running:
                thread.join(60)

    def insist(self) -> bool:
        """Ask again for whatever was not answered; whether all of it is."""
        assert set(self.codes) <= _ANSWERS
        unanswered = [order for order in self.orders if not order.answered]
        return sum(not self._try(order) for order in unanswered) == 0

    def _send(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                number = len(self.orders)
                key = f"order-{number}"
                order = Order(self.make_order(number) | {"reference": key}, key)
                self.orders.append(order)
            # Once more soon: an answer may be waiting.
            if not self._try(order):
                time.sleep(0.2)
                self._try(order)
            self._stopping.wait(self.pause_s)

    def _try(self, order: Order) -> bool:
        try:
            answer = requests.post(
                f"{self.url}/api/broadcast",
                headers={"X-API-Key": self.key, "Idempotency-Key": order.key},
                json=order.body,
                timeout=15,
            )
        except requests.RequestException:
            self.cut += 1
            return False
        self.codes[answer.status_code] += 1
        if answer.status_code in (202, 502):  # a 502 names its broadcast, too
            order.broadcast_id = answer.json()["broadcast_id"]
        if answer.status_code == 400:
            order.too_late = list(answer.json()["fields"]) == ["send_at"]
        return order.answered
