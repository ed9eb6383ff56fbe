"""Callbacks out to the webhook: signed when a secret is set, repeated as Sinch repeats them."""

import base64
import contextlib
import hashlib
import hmac
import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from app.sandbox.clock import Clock, format_time
from app.sandbox.control.settings import Settings
from app.sandbox.engine.scheduler import Scheduler
from app.sandbox.ids import new_id

RETRIES = 15
_SENDERS = 4
_LOG_LENGTH = 200_000
_SLOWEST_PACE_S = 1.0
_LONGEST_STOP_S = 2.0
_HASHES: dict[str, Callable[[], Any]] = {
    "HmacSHA256": hashlib.sha256,
    "HmacSHA384": hashlib.sha384,
    "HmacSHA512": hashlib.sha512,
}


def sign(body: bytes, *, secret: str, nonce: str, timestamp: str, algorithm: str) -> str:
    """Base64 of the HMAC over the raw body, the nonce and the timestamp, joined by dots."""
    message = b".".join([body, nonce.encode(), timestamp.encode()])
    digest = hmac.new(secret.encode(), message, _HASHES[algorithm]).digest()
    return base64.b64encode(digest).decode()


def retry_at(
    attempt: int, *, first_failed_at: float, failed_at: float, settings: Settings
) -> float | None:
    """When the try after this many is due; None when that was the last.

    >>> [retry_at(n, first_failed_at=0, failed_at=0, settings=Settings()) for n in (1, 2, 15, 16)]
    [5.0, 10.0, 81920.0, None]
    """
    if attempt > RETRIES:
        return None
    wait_s = settings.retry_base_s * 2.0 ** (attempt - 1)
    return (first_failed_at if settings.retry_ladder == "offsets" else failed_at) + wait_s


@dataclass(slots=True)
class _Letter:
    """One callback on its way, through all its tries."""

    url: str
    event: str
    about: str
    body: bytes
    lane: int
    era: int
    attempt: int = 1
    first_failed_at: float | None = None
    signature: dict[str, str] | None = None


class Postman:
    """Posts callbacks in the background; those with the same ``about`` keep their order."""

    def __init__(self, clock: Clock, scheduler: Scheduler, settings: Callable[[], Settings]):
        self._clock, self._scheduler, self._settings = clock, scheduler, settings
        self._lanes: list[queue.SimpleQueue[_Letter | None]] = [
            queue.SimpleQueue() for _ in range(_SENDERS)
        ]
        self._stopping = threading.Event()
        self._noting = threading.Lock()
        self._era = 0
        self.reseed()
        self._tries: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)
        self._senders = [
            threading.Thread(target=self._deliver, args=(lane,), name=f"sandbox-{n}", daemon=True)
            for n, lane in enumerate(self._lanes)
        ]

    def start(self) -> None:
        for sender in self._senders:
            sender.start()

    def stop(self) -> None:
        """End the senders; one that still waits for a webhook is left to the process's end."""
        self._stopping.set()
        for lane in self._lanes:
            lane.put(None)
        until = time.monotonic() + _LONGEST_STOP_S
        for sender in self._senders:
            sender.join(timeout=max(0.0, until - time.monotonic()))

    def post(self, url: str, event: dict[str, Any], *, about: str) -> None:
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        lane, settings = hash(about) % _SENDERS, self._settings()
        repeated = self._lots.random() < settings.callback_repeat_probability
        for _ in range(settings.callback_copies + repeated):
            if self._lots.random() < settings.callback_lost_probability:
                continue
            letter = _Letter(url, event["type"], about, body, lane, self._era)
            if settings.callback_delay_s:
                due = self._clock.now() + self._lots.uniform(0, settings.callback_delay_s)
                self._scheduler.at(due, self._make_poster(letter))
            else:
                self._lanes[lane].put(letter)

    def _make_poster(self, letter: _Letter) -> Callable[[], None]:
        return lambda: self._lanes[letter.lane].put(letter)

    def reseed(self) -> None:
        """Draw the lots of the seed from its first on."""
        self._lots = Random(self._settings().seed)  # noqa: S311 (lots, not secrets)

    def tries(self) -> list[dict[str, Any]]:
        """Every try so far, oldest first."""
        return list(self._tries)

    def forget(self) -> None:
        """Drop what has not been posted, and the memory of what has.

        What is being posted at this moment is neither noted nor repeated.
        """
        with self._noting:
            self._era += 1
            self._tries.clear()
        for lane in self._lanes:
            with contextlib.suppress(queue.Empty):
                while True:
                    lane.get_nowait()
        self.reseed()

    def _deliver(self, lane: "queue.SimpleQueue[_Letter | None]") -> None:
        pace_s = 0.0
        with requests.Session() as session:
            session.trust_env = False
            while (letter := lane.get()) is not None and not self._stopping.wait(pace_s):
                status = self._try(session, letter)
                pace_s = _next_pace(pace_s, status)

    def _try(self, session: requests.Session, letter: _Letter) -> int | None:
        if letter.era != self._era:
            return None
        settings = self._settings()
        status = _post(
            session,
            letter.url,
            letter.body,
            headers=self._headers(letter, settings),
            timeout_s=settings.callback_timeout_s,
        )
        with self._noting:
            if letter.era == self._era:
                self._note(letter, status)
                if _is_retried(status, settings):
                    self._put_off(letter, settings)
        return status

    def _headers(self, letter: _Letter, settings: Settings) -> dict[str, str]:
        if letter.signature is None or settings.retry_signature == "fresh":
            letter.signature = self._signature(letter.body, settings)
        return {"Content-Type": "application/json", **letter.signature, **_authorize(settings)}

    def _signature(self, body: bytes, settings: Settings) -> dict[str, str]:
        if settings.hmac_secret is None:
            return {}
        nonce, timestamp = new_id(self._clock.now()), str(int(self._clock.now()))
        signature = sign(
            body,
            secret=settings.hmac_secret,
            nonce=nonce,
            timestamp=timestamp,
            algorithm=settings.hmac_algorithm,
        )
        return {
            "x-sinch-webhook-signature": signature,
            "x-sinch-webhook-signature-nonce": nonce,
            "x-sinch-webhook-signature-timestamp": timestamp,
            "x-sinch-webhook-signature-algorithm": settings.hmac_algorithm,
        }

    def _put_off(self, letter: _Letter, settings: Settings) -> None:
        now = self._clock.now()
        letter.first_failed_at = letter.first_failed_at or now
        due = retry_at(
            letter.attempt, first_failed_at=letter.first_failed_at, failed_at=now, settings=settings
        )
        if due is not None:
            letter.attempt += 1
            self._scheduler.at(due, self._make_poster(letter))

    def _note(self, letter: _Letter, status: int | None) -> None:
        self._tries.append({
            "url": letter.url, "type": letter.event, "about": letter.about,
            "attempt": letter.attempt, "status": status, "at": format_time(self._clock.now()),
        })  # fmt: skip


def _authorize(settings: Settings) -> dict[str, str]:
    if settings.callback_basic is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(settings.callback_basic.encode()).decode()}"}


def _post(
    session: requests.Session, url: str, body: bytes, *, headers: dict[str, str], timeout_s: float
) -> int | None:
    """The status of the answer; None when none came."""
    try:
        with session.post(
            url, data=body, headers=headers, timeout=timeout_s, allow_redirects=False
        ) as answer:
            return answer.status_code
    except (requests.RequestException, HTTPError, ValueError):
        # The latter two come through for a host that cannot be one, such as a..b.
        return None


def _is_retried(status: int | None, settings: Settings) -> bool:
    if status is None:
        return settings.callback_on_no_answer == "retry"
    if 300 <= status < 400:
        return settings.callback_on_3xx == "retry"
    return status >= 500 or status == 429


def _next_pace(pace_s: float, status: int | None) -> float:
    """A 429 slows the sender down, a success brings it back to full speed."""
    return min(max(pace_s * 2, 0.05), _SLOWEST_PACE_S) if status == 429 else 0.0
