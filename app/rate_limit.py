"""Rate limits per client, or per address for callers without a valid key.

Counters are in the memory of the process, or in Redis if REDIS_URL is set.  If Redis is
unreachable they fall back to memory: the limit is looser then, but the service runs.

| calls | counted |
|---|---|
| GET | against READ_RATE_LIMIT |
| that pause, cancel or suppress (`@require_api_key(…, brakes=True)`) | never |
| all other calls with a key | against RATE_LIMIT; one that was invalid is given back |
| without a valid key | against the same limits, by address |
| of public routes | by address, in memory |
"""

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from threading import Lock
from typing import ParamSpec, TypeVar

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from loguru import logger

from app.auth import BRAKES_MARK, PUBLIC, SCOPE_MARK
from app.config import CALLBACK_PATH
from app.errors import ClarionError

P = ParamSpec("P")
R = TypeVar("R")

_REDIS_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}
# How long counters stay in memory after Redis failed, before it is tried again.
_AVOID_REDIS_S = 5.0
_PUBLIC_LIMIT = "3000 per minute"
_IPV6_PREFIX = 64
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
# Invalid calls that are given back at most, as a multiple of RATE_LIMIT.
_FREE_INVALID = 10


def _one_at_a_time(count: Callable[P, R]) -> Callable[P, R]:
    lock = Lock()

    @wraps(count)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return count(*args, **kwargs)

    return guarded


# Two threads that count at once may start one timer twice: a RuntimeError, answered with 500.
# Fixed in limits after 5.8.0 (github.com/alisaifee/limits/pull/352).
MemoryStorage.incr = _one_at_a_time(MemoryStorage.incr)  # type: ignore[method-assign]


class TooManyRequests(ClarionError):
    """The caller has reached a rate limit: nothing was done."""

    status = HTTPStatus.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A caller's counter and its limits; `setting` is the name of their setting, if any."""

    limits: Sequence[RateLimitItem]
    caller: str
    setting: str | None = None


@dataclass(frozen=True, slots=True)
class _Count:
    """The state of the narrowest limit after a call; it says what the headers say."""

    limit: RateLimitItem
    remaining: int
    reset_s: int
    breached: bool


class RateCounters:
    """Counters in Redis if there is one that answers, else in memory.  Never raises."""

    def __init__(self, redis_url: str | None = None) -> None:
        self._memory = MemoryStorage()
        self._shared = None
        if redis_url:
            storage = storage_from_string(redis_url, wrap_exceptions=True, **_REDIS_OPTIONS)
            self._shared = FixedWindowRateLimiter(storage)
        self._own = FixedWindowRateLimiter(self._memory)
        self._avoided_until = 0.0

    def count(self, bucket: _Bucket, cost: int = 1, *, shared: bool = True) -> _Count:
        """Count a call; `cost` -1 gives one back."""
        if shared and self._shared and time.monotonic() >= self._avoided_until:
            try:
                count = _count(self._shared, bucket, cost)
            except (StorageError, OSError) as e:
                self._avoided_until = time.monotonic() + _AVOID_REDIS_S
                bound = logger.bind(reason=type(e.__cause__ or e).__name__)
                bound.warning("Redis does not answer: each process counts rate limits for itself")
            else:
                return count
        return _count(self._own, bucket, cost)

    def reset(self) -> None:
        """Forget all counts in memory."""
        self._memory.reset()


def _count(counters: FixedWindowRateLimiter, bucket: _Bucket, cost: int) -> _Count:
    counts = []
    for limit in bucket.limits:
        within = counters.hit(limit, "clarion", bucket.caller, cost=cost)
        window = counters.get_window_stats(limit, "clarion", bucket.caller)
        reset_s = max(1, int(window.reset_time - time.time()))
        counts.append(_Count(limit, window.remaining, reset_s, not within))
    return min(counts, key=lambda count: (not count.breached, count.remaining, -count.reset_s))


def limit_rates(app: Flask, *, limit: str, read_limit: str, redis_url: str | None) -> RateCounters:
    """Enforce the limits, before a key is checked.  Register the hook that sets `g.client` before.

    Responses of routes that need a key have RateLimit headers.
    """
    counters = RateCounters(redis_url)
    writes, reads = parse_many(limit), parse_many(read_limit)
    public = parse_many(_PUBLIC_LIMIT)

    def choose_bucket() -> _Bucket | None:
        view = current_app.view_functions.get(request.endpoint or "")
        address = f"address:{_group_address(request.remote_addr)}"
        if getattr(view, SCOPE_MARK, PUBLIC) == PUBLIC:
            # Sinch would drop or repeat a refused callback; its signature is checked first.
            is_callback = request.path == CALLBACK_PATH
            return None if is_callback else _Bucket(public, f"{address}:public")
        client = g.get("client")
        caller = f"client:{client.name}" if client else address
        if request.method in _READS:
            return _Bucket(reads, f"{caller}:read", "READ_RATE_LIMIT")
        if client and getattr(view, BRAKES_MARK, False):
            return None
        return _Bucket(writes, caller, "RATE_LIMIT")

    def count_call() -> None:
        g.rate_bucket, g.rate_count = choose_bucket(), None
        if g.rate_bucket is None:
            return
        count = counters.count(g.rate_bucket, shared=g.rate_bucket.setting is not None)
        if g.rate_bucket.setting or count.breached:
            g.rate_count = count
        if count.breached:
            raise _refuse(g.rate_bucket, count)

    def give_back_invalid(response: Response) -> Response:
        bucket = g.get("rate_bucket")
        if bucket and bucket.setting == "RATE_LIMIT" and response.status_code in _INVALID:
            free = [type(limit)(limit.amount * _FREE_INVALID, limit.multiples) for limit in writes]
            if not counters.count(_Bucket(free, f"{bucket.caller}:invalid")).breached:
                g.rate_count = counters.count(bucket, cost=-1)
        return _write_headers(response, g.get("rate_count"))

    app.before_request(count_call)
    app.after_request(give_back_invalid)
    app.extensions["rate_counters"] = counters
    return counters


def _group_address(address: str | None) -> str:
    """Return what an address is counted by: IPv6 by /64, which one customer has.

    >>> _group_address("2001:db8:1:2:3::4"), _group_address("::ffff:192.0.2.1")
    ('2001:db8:1:2::', '192.0.2.1')
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "none"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False).network_address)


def _refuse(bucket: _Bucket, count: _Count) -> TooManyRequests:
    """Return the error; its sentence is fixed, and the facts beside it say limit and time."""
    limit = _describe_limit(count.limit)
    setting = f" (the setting {bucket.setting})" if bucket.setting else ""
    return TooManyRequests(
        "Too many requests, please try again later.",
        retry_after_s=count.reset_s,
        limit=limit,
        hint=f"The limit is {limit}{setting}. Wait {count.reset_s} seconds. Pausing, cancelling "
        "and suppressing are not limited.",
        **({"setting": bucket.setting} if bucket.setting else {}),
    )


def _describe_limit(limit: RateLimitItem) -> str:
    """Return a limit as settings write it.

    >>> _describe_limit(parse_many("100/15 minute")[0]), _describe_limit(parse_many("1/hour")[0])
    ('100 per 15 minutes', '1 per hour')
    """
    name = limit.GRANULARITY.name
    window = name if limit.multiples == 1 else f"{limit.multiples} {name}s"
    return f"{limit.amount} per {window}"


def _write_headers(response: Response, count: _Count | None) -> Response:
    """Write the headers of draft-ietf-httpapi-ratelimit-headers-06."""
    if count is not None:
        headers = response.headers
        headers["RateLimit-Policy"] = f"{count.limit.amount};w={count.limit.get_expiry()}"
        headers["RateLimit-Limit"] = str(count.limit.amount)
        headers["RateLimit-Remaining"] = str(count.remaining)
        headers["RateLimit-Reset"] = str(count.reset_s)
    return response
