"""How often: Flask-Limiter, counted by client, and by address for who has no valid key.

Counters are in this process's memory, or in Redis when REDIS_URL is set; with Redis out of reach
they fall back to memory, so that a lost Redis loosens the limit instead of stopping the service.
"""

import time
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from flask import Flask, Response, current_app, g, request
from flask_limiter import Limiter
from limits.storage import MemoryStorage

P = ParamSpec("P")
R = TypeVar("R")

LIMITED_MARK = "rate_limited"

# Constant time and memory a client; exact in a first window, weighted by the last one after.
_STRATEGY = "sliding-window-counter"
_REDIS_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}


def _one_at_a_time(count: Callable[P, R]) -> Callable[P, R]:
    lock = Lock()

    @wraps(count)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        with lock:
            return count(*args, **kwargs)

    return guarded


# Two that count at once may start the same timer: a RuntimeError, answered with 500.  Mended in
# limits behind 5.8.0 (github.com/alisaifee/limits/pull/352).  Flask-Limiter's fallback is of this
# very class, so a class of our own would not do.
MemoryStorage.incr = _one_at_a_time(MemoryStorage.incr)  # type: ignore[method-assign]


def rate_limited(view: Callable[P, R]) -> Callable[P, R]:
    """Count calls of this route against its caller's limit, before anything else is looked at."""
    setattr(view, LIMITED_MARK, True)
    return view


def limit_rates(app: Flask, *, limit: str, read_limit: str, redis_url: str | None) -> Limiter:
    """Enforce the limits on the routes marked @rate_limited.

    One count for all that only look, with `read_limit`, and one for all others.  The state is told
    in RateLimit headers.  Callers are identified by `g.client`, so the hook that sets it must be
    registered before.
    """

    def choose_limit() -> str:
        return read_limit if _only_looks() else limit

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
    # A filter, not an exemption: it holds for the fallback's limit too.
    limiter.request_filter(_is_unlimited)
    limiter.init_app(app)
    app.after_request(_make_header_writer(limiter))
    return limiter


def _is_unlimited() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return not getattr(view, LIMITED_MARK, False)


def _identify_caller() -> str:
    client = g.get("client")
    caller = f"client:{client.name}" if client else f"address:{request.remote_addr or 'none'}"
    return f"{caller}:looking" if _only_looks() else caller


def _only_looks() -> bool:
    return request.method in ("GET", "HEAD")


def _make_header_writer(limiter: Limiter) -> Callable[[Response], Response]:
    """RateLimit headers as draft-ietf-httpapi-ratelimit-headers-06 and express-rate-limit."""

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
