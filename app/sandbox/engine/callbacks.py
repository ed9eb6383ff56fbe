"""Callbacks to the webhook: signed when a secret is set, repeated as Sinch repeats them."""

import base64
import contextlib
import hmac
import itertools
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

MAX_RETRIES = 15
_SENDERS = 4
_LOG_LENGTH = 200_000
_TIMEOUT_S = 10.0
_MAX_PAUSE_S = 1.0
_MAX_STOP_S = 2.0
_FIRST, _LAST = range(2)


def sign(body: bytes, *, secret: str, nonce: str, timestamp: str) -> str:
    """Return the Base64 of HMAC-SHA256 over raw body, nonce and timestamp, joined by dots."""
    message = b".".join([body, nonce.encode(), timestamp.encode()])
    return base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode()


def compute_retry_at(attempt: int, *, failed_at: float, base_s: float) -> float | None:
    """Return when the attempt after this failed one is due; None after the last.

    >>> [compute_retry_at(n, failed_at=0, base_s=5) for n in (1, 2, 15, 16)]
    [5.0, 10.0, 81920.0, None]
    """
    return failed_at + base_s * 2.0 ** (attempt - 1) if attempt <= MAX_RETRIES else None


@dataclass(slots=True)
class _Callback:
    """One callback through all its attempts; `generation` counts the resets before it."""

    url: str
    event_type: str
    about: str
    body: bytes
    generation: int
    attempt: int = 1


_Queue = queue.PriorityQueue[tuple[int, int, _Callback | None]]


class CallbackSender:
    """Posts callbacks in the background; those with one `about` keep their order."""

    def __init__(
        self, clock: Clock, scheduler: Scheduler, settings: Callable[[], Settings]
    ) -> None:
        self._clock, self._scheduler, self._settings = clock, scheduler, settings
        self._queues: list[_Queue] = [queue.PriorityQueue() for _ in range(_SENDERS)]
        self._sequence = itertools.count(1)
        self._stopping = threading.Event()
        self._logging = threading.Lock()
        self._generation = 0
        self.reseed()
        self._attempts: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)
        self._senders = [
            threading.Thread(target=self._send_queue, args=(sender_queue,), daemon=True)
            for sender_queue in self._queues
        ]

    def start(self) -> None:
        for sender in self._senders:
            sender.start()

    def stop(self) -> None:
        """End the senders; one that waits for a hanging webhook ends with the process."""
        self._stopping.set()
        for sender_queue in self._queues:
            sender_queue.put((_FIRST, 0, None))
        until = time.monotonic() + _MAX_STOP_S
        for sender in self._senders:
            sender.join(timeout=max(0.0, until - time.monotonic()))

    def post(self, url: str, event: dict[str, Any], *, about: str) -> None:
        """Queue an event, in as many copies, with losses and delays, as the settings say."""
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        settings = self._settings()
        for _ in range(settings.callback_copies):
            if self._random.random() < settings.callback_lost_probability:
                continue
            callback = _Callback(url, event["type"], about, body, self._generation)
            if settings.callback_delay_s:
                delay_s = self._random.uniform(0, settings.callback_delay_s)
                self._enqueue_at(self._clock.now() + delay_s, callback)
            else:
                self._enqueue(callback)

    def reseed(self) -> None:
        """Restart the random sequence from the seed in the settings."""
        self._random = Random(self._settings().seed)  # noqa: S311 (repeatable, not secret)

    def list_attempts(self) -> list[dict[str, Any]]:
        """Return the attempts so far, oldest first."""
        return list(self._attempts)

    def clear(self) -> None:
        """Drop the queued callbacks and the log.

        A callback being posted at this moment is neither logged nor repeated.
        """
        with self._logging:
            self._generation += 1
            self._attempts.clear()
        for sender_queue in self._queues:
            with contextlib.suppress(queue.Empty):
                while True:
                    sender_queue.get_nowait()
        self.reseed()

    def _enqueue(self, callback: _Callback) -> None:
        # Texts from phones do not wait behind a million reports.
        priority = _LAST if callback.event_type.endswith("delivery_report_sms") else _FIRST
        entry = (priority, next(self._sequence), callback)
        self._queues[hash(callback.about) % _SENDERS].put(entry)

    def _enqueue_at(self, due: float, callback: _Callback) -> None:
        self._scheduler.schedule(due, lambda: self._enqueue(callback))

    def _send_queue(self, sender_queue: "_Queue") -> None:
        pause_s = 0.0
        with requests.Session() as session:
            session.trust_env = False
            while (callback := sender_queue.get()[2]) and not self._stopping.wait(pause_s):
                status = self._attempt(session, callback)
                # A 429 slows the sender down, a success brings it back to full speed.
                pause_s = min(max(pause_s * 2, 0.05), _MAX_PAUSE_S) if status == 429 else 0.0

    def _attempt(self, session: requests.Session, callback: _Callback) -> int | None:
        """Post once, log it and schedule a retry.  Returns the status; None without an answer."""
        if callback.generation != self._generation:
            return None
        status = _post(session, callback.url, callback.body, self._build_headers(callback.body))
        with self._logging:
            if callback.generation == self._generation:
                self._log(callback, status)
                if status is None or status >= 500 or status == 429:
                    self._schedule_retry(callback)
        return status

    def _build_headers(self, body: bytes) -> dict[str, str]:
        settings = self._settings()
        headers = {"Content-Type": "application/json"}
        if settings.callback_basic is not None:
            token = base64.b64encode(settings.callback_basic.encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        if settings.hmac_secret is not None:
            headers |= self._build_signature(body, settings.hmac_secret)
        return headers

    def _build_signature(self, body: bytes, secret: str) -> dict[str, str]:
        """Return signature headers with a new nonce: each retry is signed again."""
        nonce, timestamp = new_id(self._clock.now()), str(int(self._clock.now()))
        prefix = "x-sinch-webhook-signature"
        return {
            prefix: sign(body, secret=secret, nonce=nonce, timestamp=timestamp),
            f"{prefix}-nonce": nonce,
            f"{prefix}-timestamp": timestamp,
            f"{prefix}-algorithm": "HmacSHA256",
        }

    def _schedule_retry(self, callback: _Callback) -> None:
        due = compute_retry_at(
            callback.attempt, failed_at=self._clock.now(), base_s=self._settings().retry_base_s
        )
        if due is not None:
            callback.attempt += 1
            self._enqueue_at(due, callback)

    def _log(self, callback: _Callback, status: int | None) -> None:
        self._attempts.append({
            "url": callback.url, "type": callback.event_type, "about": callback.about,
            "attempt": callback.attempt, "status": status, "at": format_time(self._clock.now()),
        })  # fmt: skip


def _post(session: requests.Session, url: str, body: bytes, headers: dict[str, str]) -> int | None:
    """Return the status of the answer; None when no answer came."""
    try:
        with session.post(
            url, data=body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False
        ) as answer:
            return answer.status_code
    except (requests.RequestException, HTTPError, ValueError):
        # urllib3 raises the latter two for an impossible host, such as a..b.
        return None
