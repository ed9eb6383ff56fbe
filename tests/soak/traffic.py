"""The ordinary use of a service: clients, people at the pages, phones and Prometheus at once."""

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

from tests.factories import AUTH, broadcast_to, many_numbers
from tests.kills.ledger import LedgeredSandbox
from tests.kills.mortal import Mortal, wait_until
from tests.web.visitor import sign_in_at

USER = "Anna"
CROWDS, SWEDES, OTHERS = 5, 80, 10
# More have opted out for a while only: the oldest text START.
_MOST_STOPPED = 60
_FIRST_MEMBER = 9_000_000
_EXPORTS = ("/api/subscribers.csv", "/api/suppressions.csv", "{broadcast}/messages.csv")
_PAGES = (
    *("/overview", "/overview/live", "/broadcasts", "/people", "/people/suppressions"),
    *("/inbox", "/inbox/list", "/tags?counted=1", "/audit", "/people/imports"),
    *("/broadcasts/{id}", "/broadcasts/{id}/live", "/broadcasts/{id}/people"),
)


@dataclass
class OptedOut:
    """A number, and from when until when nothing may be sent to it, in UTC."""

    phone: str
    since: datetime
    until: datetime | None = None


@dataclass
class Traffic:
    """Threads that each do one kind of thing, pause, and do it again.

    A pause is at least four times as long as what came before: a busy machine gets less to do.
    """

    service: Mortal
    sinch: LedgeredSandbox
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    opted_out: list[OptedOut] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    _newest: str = ""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _starts: Iterator[int] = field(default_factory=lambda: itertools.count(0, 1_000))
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Go on until the block ends; every crowd is imported before."""
        for crowd in range(CROWDS):
            self._import_crowd(crowd, self._dice("first imports"))
        kinds: dict[str, tuple[Callable[[random.Random], None], float]] = {
            "single": (self._send_one, 0.2),
            "many": (self._send_to_many, 3.0),
            "tag": (self._send_to_tag, 4.0),
            "marketing": (self._send_marketing, 6.0),
            "text from a phone": (self._text_from_phone, 1.5),
            "import": (lambda dice: self._import_crowd(dice.randrange(CROWDS), dice), 6.0),
            "page": (_Visitor(self).look, 0.3),
            "scrape": (self._scrape, 3.0),
            "export": (self._export, 4.0),
            "decision": (self._decide, 5.0),
        }
        threads = [
            threading.Thread(target=self._repeat, args=(name, *kind))
            for name, kind in kinds.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(120)

    def _repeat(self, name: str, act: Callable[[random.Random], None], pause_s: float) -> None:
        dice = self._dice(name)
        while not self._ended.wait(dice.uniform(0, pause_s)):
            started = time.monotonic()
            try:
                act(dice)
                self.done[name] += 1
            except Exception as e:
                self.unexpected.append(f"{name}: {type(e).__name__} {e}"[:500])
            self._ended.wait(max(pause_s / 2, 4 * (time.monotonic() - started)))

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    # What clients do.

    def _send_one(self, dice: random.Random) -> None:
        """Send one text; one client in ten asks twice with the same key."""
        started = time.monotonic()
        body = broadcast_to(*self._new_numbers(1), message=self._text())
        key = {"Idempotency-Key": f"one-{next(self._numbers)}"}
        ids = {self._send("/api/broadcast", body, **key) for _ in range(1 + (dice.random() < 0.1))}
        assert len(ids) == 1, ids
        self.waits_s.append(time.monotonic() - started)

    def _send_to_many(self, dice: random.Random) -> None:
        numbers = self._new_numbers(dice.randint(50, 300))
        self._newest = self._send("/api/broadcast", broadcast_to(*numbers, message=self._text()))

    def _send_to_tag(self, dice: random.Random) -> None:
        tag = f"crowd-{dice.randrange(CROWDS)}"
        self._newest = self._send(f"/api/broadcast/tag/{tag}", {"message": self._text()})

    def _send_marketing(self, dice: random.Random) -> None:
        tag = f"crowd-{dice.randrange(CROWDS)}"
        body = {"message": f"Sale! {self._text()}", "category": "marketing"}
        self._send(f"/api/broadcast/tag/{tag}", body)

    def _send(self, path: str, body: Any, **headers: str) -> str:
        """Send a broadcast.  Returns its id; Sinch may have refused it."""
        answer = self._ask("POST", path, json=body, headers=AUTH | headers, codes=(202, 502))
        broadcast_id: str = answer.json()["broadcast_id"]
        return broadcast_id

    def _import_crowd(self, crowd: int, dice: random.Random) -> None:
        consent = {"wording": "Yes, text me", "source": "a form", "at": "2026-03-01T08:30:00Z"}
        options = {"tags": [f"crowd-{crowd}"], "purpose": "marketing", "consent": consent}
        made = self._ask("POST", "/api/subscribers/imports", json=options, codes=(201,)).json()
        lines = [f"{phone},{dice.randrange(100)}" for phone in list_members(crowd)]
        file = "\n".join(["phone,visits", *lines]).encode()
        url = f"/api/subscribers/imports/{made['import_id']}"
        headers = AUTH | {"Content-Type": "text/csv"}
        self._ask("PUT", f"{url}/file", data=file, headers=headers, codes=(202,))
        wait_until(
            lambda: self.service.read(url)["status"] == "complete",
            within_s=60,
            why="it is imported",
        )

    def _export(self, dice: random.Random) -> None:
        broadcast = f"/api/broadcasts/{self._newest}"
        if self._newest:
            path = dice.choice(_EXPORTS).format(broadcast=broadcast)
            assert b"," in self._ask("GET", path).content.splitlines()[0]

    def _scrape(self, _: random.Random) -> None:
        assert "clarion_messages" in self._ask("GET", "/metrics").text

    # What people and phones do.

    def _text_from_phone(self, dice: random.Random) -> None:
        """Text STOP, and wait until it counts; when many have, the oldest texts START."""
        stopped = [each for each in self.opted_out if each.until is None]
        if len(stopped) >= _MOST_STOPPED:
            stopped[0].until = datetime.now(UTC)
            self.sinch.control.text_from(stopped[0].phone, "START")
        if dice.random() < 0.5:
            phone = dice.choice(list_members(dice.randrange(CROWDS)))
            self.sinch.control.text_from(phone, dice.choice(["thank you", "when?", "ok"]))
            return
        known = {each.phone for each in self.opted_out}
        left = [phone for phone in list_members(dice.randrange(CROWDS)) if phone not in known]
        if not left:
            return
        phone = dice.choice(left)
        self.sinch.control.text_from(phone, "STOP")
        wait_until(lambda: self._is_suppressed(phone), within_s=60, why="a STOP counts")
        self.opted_out.append(OptedOut(phone, datetime.now(UTC)))

    def _is_suppressed(self, phone: str) -> bool:
        found = self._ask("POST", "/api/suppressions/lookup", json={"phone": phone})
        return bool(found.json()["suppressed"])

    def _decide(self, _: random.Random) -> None:
        """Send a batch again that Sinch surely has not, as an operator does."""
        if waiting := self.service.attention():
            known = self.sinch.references()
            for reference in waiting:
                if reference not in known:
                    self.service.resolve(reference, "resend")

    # What all of them need.

    def _ask(
        self, method: str, path: str, *, codes: tuple[int, ...] = (200,), **more: Any
    ) -> requests.Response:
        url = f"{self.service.url}{path}"
        answer = requests.request(method, url, **{"headers": AUTH, "timeout": 60} | more)
        assert answer.status_code in codes, f"{path}: {answer.status_code} {answer.text[:200]}"
        return answer

    def _new_numbers(self, count: int) -> list[str]:
        return many_numbers(count, start=next(self._starts))

    def _text(self) -> str:
        return f"Pickup {next(self._numbers)} moved to 08:30"


class _Visitor:
    """Someone at the pages, signed in, whose browser polls."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic, self._browser = traffic, sign_in_at(traffic.service.url, USER)

    def look(self, dice: random.Random) -> None:
        path = dice.choice(_PAGES)
        if "{id}" in path and not self._traffic._newest:
            return
        url = f"{self._traffic.service.url}{path.format(id=self._traffic._newest)}"
        answer = self._browser.get(url, timeout=60)
        assert answer.ok, f"{path}: {answer.status_code}"
        assert "/login" not in answer.url


def list_members(crowd: int) -> list[str]:
    """Return the numbers of a crowd: Swedes, Danes and Norwegians."""
    first = _FIRST_MEMBER + 1_000 * crowd
    abroad = range(100_000 + 1_000 * crowd, 100_000 + 1_000 * crowd + OTHERS)
    return [
        *many_numbers(SWEDES, start=first),
        *(f"+4520{number:06d}" for number in abroad),
        *(f"+47406{number % 100_000:05d}" for number in abroad),
    ]
