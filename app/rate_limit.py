"""Rate limits per client, or per IP address for callers without a valid key.

Counters are in the memory of the process, or in Redis if REDIS_URL is set.  If Redis is
unreachable they fall back to memory: the limit is looser then, but the service runs.
"""

import time
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, current_app, g, request
from flask_limiter import Limiter
from limits.storage import MemoryStorage

from app.auth import PUBLIC, SCOPE_MARK

P = ParamSpec("P")
R = TypeVar("R")

# Constant time and memory per client.
_STRATEGY = "sliding-window-counter"
_REDIS_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}


def _one_at_a_time(count: Callable[P, R]) -> Callable[P, R]:
    lock = Lock()

    @wraps(count)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return count(*args, **kwargs)

    return guarded


# Two threads that count at once may start one timer twice: a RuntimeError, answered with 500.
# Fixed in limits after 5.8.0 (github.com/alisaifee/limits/pull/352).  Flask-Limiter's fallback
# uses this class, so a subclass would not help.
MemoryStorage.incr = _one_at_a_time(MemoryStorage.incr)  # type: ignore[method-assign]


def limit_rates(app: Flask, *, limit: str, read_limit: str, redis_url: str | None) -> Limiter:
    """Enforce the limits on all routes that need an API key, before the key is checked.

    GET and HEAD share one counter with `read_limit`, all other methods one with `limit`.  Responses
    have RateLimit headers.  Register the hook that sets `g.client` before.
    """

    def choose_limit() -> str:
        return read_limit if _is_read() else limit

    fallback: dict[str, Any] = (
        {"storage_options": _REDIS_OPTIONS, "in_memory_fallback": [choose_limit]}
        if redis_url
        else {}
    )
    limiter = Limiter(
        _identify_caller,
        application_limits=[choose_limit],
        storage_uri=redis_url or "memory://",
        strategy=_STRATEGY,
        key_prefix="clarion",
        headers_enabled=False,  # its Reset is an epoch; the headers below count seconds
        **fallback,
    )
    # A filter, not an exemption: it also applies to the fallback.
    limiter.request_filter(_is_unlimited)
    limiter.init_app(app)
    app.after_request(_make_header_writer(limiter))
    return limiter


def _is_unlimited() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, SCOPE_MARK, PUBLIC) == PUBLIC


def _identify_caller() -> str:
    client = g.get("client")
    caller = f"client:{client.name}" if client else f"address:{request.remote_addr or 'none'}"
    return f"{caller}:read" if _is_read() else caller


def _is_read() -> bool:
    return request.method in ("GET", "HEAD")


def _make_header_writer(limiter: Limiter) -> Callable[[Response], Response]:
    """Make the hook that writes the headers of draft-ietf-httpapi-ratelimit-headers-06."""

    def write_headers(response: Response) -> Response:
        current = limiter.current_limit
        if current is None:
            return response
        reset_s = max(1, int(current.reset_at - time.time()))
        headers = response.headers
        headers["RateLimit-Policy"] = f"{current.limit.amount};w={current.limit.get_expiry()}"
        headers["RateLimit-Limit"] = str(current.limit.amount)
        headers["RateLimit-Remaining"] = str(current.remaining)
        headers["RateLimit-Reset"] = str(reset_s)
        if current.breached:
            headers["Retry-After"] = str(reset_s)
        return response

    return write_headers
