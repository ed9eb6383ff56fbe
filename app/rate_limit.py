"""Limits on what callers ask for: rates of calls, and expensive requests at a time.

Rates are per client, or per address for callers without a valid key, by Flask-Limiter.  Counters
are in the memory of the process, or in Redis if REDIS_URL is set.  If Redis is unreachable they
fall back to memory: the limit is looser then, but the service runs, and no answer of a view becomes
an error.  Nor does what a Redis answers wrongly: another program's value under our key, or what a
proxy in front of it says.

| calls | counted |
|---|---|
| GET | against READ_RATE_LIMIT |
| that pause, cancel or suppress (`@require_api_key(…, brakes=True)`) | never |
| all other calls with a key | against RATE_LIMIT; one that was invalid is given back |
| without a valid key | against the limits above, by address |
| of public routes and pages | by address |

Each thread of the process can have a request.  All of them at once might build large JSON bodies or
fill personal texts, and exhaust the memory or delay small requests: so a few expensive requests run
at a time, and the others are asked to come back.
"""

import time
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Any

from flask import Flask, Response, current_app, g, has_request_context, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter, RateLimitExceeded
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from loguru import logger

from app.addresses import group_address
from app.auth import BRAKES_MARK, PAGE, PUBLIC, SCOPE_MARK
from app.config import CALLBACK_PATH
from app.errors import ClarionError

# The one strategy whose counts can be given back.
_STRATEGY = "fixed-window"
_PREFIX = "clarion"
_REDIS_OPTIONS = {
    "socket_connect_timeout": 0.5,
    "socket_timeout": 0.5,
    "wrap_exceptions": True,
}
_PUBLIC_LIMIT = "3000 per minute"
_READS = ("GET", "HEAD", "OPTIONS")
# Answers that show an invalid request, in which nothing was done.
_INVALID = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
# Each time that this many counters have come, those of windows that have ended are dropped.
_SWEPT_EVERY = 1_000
# Invalid calls that are given back at most, as a multiple of RATE_LIMIT.
_FREE_INVALID = 10
# Units that requests may hold together: 20 MB of JSON, or this many expensive computations.  A
# larger request runs alone: a million recipients are 16 MB.
CAPACITY = 4
BYTES_PER_UNIT = 5_000_000
# A smaller body costs nothing.
FREE_BYTES = 1_000_000
# When to repeat a request that found no room.
RETRY_AFTER_S = 2
# A client that was refused goes first, if it comes back within this time.
_TURN_KEPT_S = 2.0 * RETRY_AFTER_S


_counting = Lock()


def _count(counters: MemoryStorage, key: str, expiry: float, amount: int = 1) -> int:
    """Count a call in memory, and drop the counters of windows that have ended.

    The method of `limits` 5.8.0 starts a thread for that at nearly every call, which costs more
    than the rest of the limit, and two calls at once may start one thread twice: a RuntimeError
    (github.com/alisaifee/limits/pull/352).
    """
    now = time.time()
    with _counting:
        if counters.expirations.get(key, 0) <= now:
            if len(counters.expirations) % _SWEPT_EVERY == _SWEPT_EVERY - 1:
                for name, at in list(counters.expirations.items()):
                    if at <= now:
                        counters.clear(name)
            counters.expirations[key] = now + expiry
            counters.storage[key] = 0
        counters.storage[key] += amount
        return counters.storage[key]


# Flask-Limiter's fallback uses this class, so a subclass would not help.
MemoryStorage.incr = _count  # type: ignore[method-assign,assignment]


class TooManyRequests(ClarionError):
    """The caller has reached a rate limit: nothing was done."""

    status = HTTPStatus.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True)
class _Counter:
    """The limit that counts a call, by what, and the setting of that limit if there is one."""

    limit: str
    key: str
    setting: str | None = None

    @property
    def is_given_back(self) -> bool:
        """Return True if an invalid call does not count."""
        return self.setting == "RATE_LIMIT"


@dataclass(slots=True)
class _Window:
    """The narrowest limit of a call and the state of its counter, as the headers say it."""

    limit: RateLimitItem
    remaining: int
    reset_s: int


def limit_rates(app: Flask, *, limit: str, read_limit: str, redis_url: str | None) -> None:
    """Enforce the limits, before a key is checked.  Register the hook that sets `g.client` before.

    Responses of routes that need a key have RateLimit headers.
    """
    # A fallback counts by the same limits; without Redis there is nothing to fall back from.
    fallback: dict[str, Any] = (
        {"in_memory_fallback": [_get_limit], "storage_options": _REDIS_OPTIONS} if redis_url else {}
    )
    limiter = Limiter(
        lambda: g.rate_counter.key,
        application_limits=[_get_limit],
        storage_uri=redis_url or "memory://",
        strategy=_STRATEGY,
        key_prefix=_PREFIX,
        headers_enabled=False,  # its Reset is an epoch; the headers below count seconds
        swallow_errors=True,
        **fallback,
    )
    limiter.request_filter(lambda: g.rate_counter is None)
    free = [type(item)(item.amount * _FREE_INVALID, item.multiples) for item in parse_many(limit)]

    def choose_counter() -> None:
        g.rate_counter = _choose_counter(limit, read_limit)

    def remember_window() -> None:
        # Read before the view: nothing behind it may fail for want of Redis.
        if g.rate_counter and g.rate_counter.setting:
            g.rate_window = _read_window(limiter)

    def refuse(_: RateLimitExceeded) -> ResponseReturnValue:
        g.rate_window = _read_window(limiter)
        return current_app.handle_user_exception(_make_error(g.rate_window))

    def finish(response: Response) -> Response:
        window: _Window | None = g.get("rate_window")
        if window is None:
            return response
        if response.status_code in _INVALID and g.rate_counter.is_given_back:
            given_back = _give_back(limiter, free)
            window.remaining = min(window.remaining + given_back, window.limit.amount)
        return _write_headers(response, window)

    app.before_request(choose_counter)
    limiter.init_app(app)
    app.before_request(remember_window)
    app.register_error_handler(RateLimitExceeded, refuse)
    app.after_request(finish)


def _get_limit() -> str:
    limit: str = g.rate_counter.limit
    return limit


def _choose_counter(limit: str, read_limit: str) -> _Counter | None:
    """Return None for a call that is not counted.

    Those are the calls of clients that stop texts, and Sinch's callbacks, which are signed: Sinch
    would drop or repeat a refused one.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, SCOPE_MARK, PUBLIC) in (PUBLIC, PAGE):
        address = f"public:{group_address(request.remote_addr)}"
        return None if request.path == CALLBACK_PATH else _Counter(_PUBLIC_LIMIT, address)
    client = g.get("client")
    if client and getattr(view, BRAKES_MARK, False):
        return None
    caller = f"client:{client.name}" if client else f"address:{group_address(request.remote_addr)}"
    if request.method in _READS:
        return _Counter(read_limit, f"{caller}:read", "READ_RATE_LIMIT")
    return _Counter(limit, caller, "RATE_LIMIT")


def _read_window(limiter: Limiter) -> _Window | None:
    """Return the narrowest limit of this call.  Returns None if no limit counts it."""
    try:
        counted = [
            (not count.breached, count.remaining, -count.reset_at, count.limit)
            for count in limiter.current_limits
        ]
    except Exception as e:  # what is no number is a ValueError or a TypeError
        logger.bind(reason=str(e)[:200]).warning("Redis does not answer: no rate limit headers")
        return None
    if not counted:
        return None
    _, remaining, negative_reset_at, limit = min(counted)
    reset_s = int(-negative_reset_at - time.time())
    return _Window(
        limit,
        remaining=max(0, min(remaining, limit.amount)),
        reset_s=max(1, min(reset_s, limit.get_expiry())),
    )


def _give_back(limiter: Limiter, free: list[RateLimitItem]) -> int:
    """Take an invalid call off the counters, unless there were too many.  Returns how many."""
    counters = limiter.limiter
    key = (_PREFIX, f"{g.rate_counter.key}:invalid")
    try:
        if not all(counters.hit(item, *key) for item in free):
            return 0
        for count in limiter.current_limits:
            counters.hit(count.limit, *count.request_args, cost=-1)
    except Exception:  # as in _read_window
        return 0
    return 1


def _make_error(window: _Window | None) -> TooManyRequests:
    """Make the error; its sentence is fixed, and the facts beside it say limit and time."""
    sentence = "Too many requests, please try again later."
    if window is None:
        return TooManyRequests(sentence, retry_after_s=1)
    limit = _describe_limit(window.limit)
    name = g.rate_counter.setting
    setting = f" (the setting {name})" if name else ""
    return TooManyRequests(
        sentence,
        retry_after_s=window.reset_s,
        limit=limit,
        hint=f"The limit is {limit}{setting}. Wait {window.reset_s} seconds. Pausing, cancelling "
        "and suppressing are not limited.",
        **({"setting": name} if name else {}),
    )


def _describe_limit(limit: RateLimitItem) -> str:
    """Return a limit as settings write it.

    >>> _describe_limit(parse_many("100/15 minute")[0]), _describe_limit(parse_many("1/hour")[0])
    ('100 per 15 minutes', '1 per hour')
    """
    name = limit.GRANULARITY.name
    window = name if limit.multiples == 1 else f"{limit.multiples} {name}s"
    return f"{limit.amount} per {window}"


def _write_headers(response: Response, window: _Window) -> Response:
    """Write the headers of draft-ietf-httpapi-ratelimit-headers-06."""
    headers = response.headers
    headers["RateLimit-Policy"] = f"{window.limit.amount};w={window.limit.get_expiry()}"
    headers["RateLimit-Limit"] = str(window.limit.amount)
    headers["RateLimit-Remaining"] = str(window.remaining)
    headers["RateLimit-Reset"] = str(window.reset_s)
    return response


class Overloaded(ClarionError):
    """Too many expensive requests run: nothing was done, the request may be repeated."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class CapacityGate:
    """Units of capacity that running requests hold, and the clients that were refused, in order."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity, self._used = capacity, 0
        self._refused: dict[str, tuple[int, float]] = {}
        self._lock = Lock()

    def take(self, units: int, *, client: str, held: int = 0) -> bool:
        """Take units, beside those that the request holds.  Returns False if there is no room."""
        now = time.monotonic()
        with self._lock:
            first = self._find_first(now, client)
            others = self._used - held
            if others and self._used + units + first > self._capacity:
                self._refused[client] = (units, now + _TURN_KEPT_S)
                return False
            self._refused.pop(client, None)
            self._used += units
            return True

    def give_back(self, units: int) -> None:
        """Return the units of a request that has ended."""
        with self._lock:
            self._used -= units

    def _find_first(self, now: float, client: str) -> int:
        """Return the units wanted by the client whose turn it is; 0 if it is this client's."""
        self._refused = {name: turn for name, turn in self._refused.items() if turn[1] > now}
        name, (units, _) = next(iter(self._refused.items()), (client, (0, 0.0)))
        return 0 if name == client else min(units, self._capacity)


def guard_capacity(app: Flask) -> None:
    """Give the app its gate; what a request reserves is returned when it ends."""
    gate = app.extensions["gate"] = CapacityGate()

    def give_back(_: BaseException | None) -> None:
        if units := g.pop("reserved_units", 0):
            gate.give_back(units)

    app.teardown_request(give_back)


def reserve_capacity(units: int = 1) -> None:
    """Reserve capacity for the rest of the current request; call it before the cost arises.

    A request keeps the largest number of units that it reserved: further calls only add what is
    missing.  Outside of a request this does nothing.  Raises Overloaded (503).
    """
    if not has_request_context():
        return
    gate: CapacityGate = current_app.extensions["gate"]
    held = g.get("reserved_units", 0)
    missing = min(units, CAPACITY) - held
    client = g.client.name if g.get("client") else ""
    if missing <= 0:
        return
    if not gate.take(missing, client=client, held=held):
        raise Overloaded(
            "Too many large or expensive requests are running; nothing was done. Repeat this "
            f"request in {RETRY_AFTER_S} seconds, or make it smaller.",
            retry_after_s=RETRY_AFTER_S,
        )
    g.reserved_units = held + missing


def reserve_for_body(length: int) -> None:
    """Reserve the capacity that a JSON body of this many bytes needs.  Raises Overloaded (503)."""
    if length > FREE_BYTES:
        reserve_capacity(-(-length // BYTES_PER_UNIT))
