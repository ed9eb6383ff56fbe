"""Logging: loguru to standard error, with phone numbers masked.

A line is a fixed sentence plus bound facts: readable on a terminal, else one JSON object.  Every
run of 7 to 15 digits is masked.  An exception is logged with its types and code locations only:
messages and values of variables may hold a number, a text or a key.
"""

import json
import logging
import re
import sys
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from loguru import logger

from app.phone.e164 import mask_number

if TYPE_CHECKING:
    from loguru import Message, Record

# Called for each request with its method, the rule of its route if any, status and seconds.
OnAnswered = Callable[[str, str | None, int, float], None]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Not part of a longer word, so that identifiers stay readable.
_DIGITS = re.compile(r"(?<![0-9A-Za-z_-])\+?[0-9]{7,15}(?![0-9A-Za-z_-])")

# Libraries whose lines below this level may hold URLs, headers or bodies.
_QUIET = {
    "urllib3": logging.ERROR,  # retries and unreadable headers; app.sinch logs its own line
    "requests": logging.INFO,
    "werkzeug": logging.CRITICAL,  # paths, queries and malformed lines; we log our own line
    "flask_limiter": logging.INFO,
    "limits": logging.INFO,
    "asyncio": logging.INFO,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,  # statements with their values
    "celery": logging.INFO,
    "kombu": logging.WARNING,
    "amqp": logging.INFO,
}


def configure_logging(level: str, *, readable: bool = False) -> None:
    """Write loguru and the standard library's loggers to standard error, from `level` up.

    Lines are JSON unless standard error is a terminal, or `readable`.
    """
    logger.remove()
    logger.configure(patcher=_complete)
    write = _write_readable if readable or sys.stderr.isatty() else _write_json
    throttle.forget()
    # `write` makes the line itself, from the record.
    logger.add(
        write, level=level, filter=_pass_on, format="{message}", diagnose=False, backtrace=False
    )
    logging.basicConfig(handlers=[InterceptHandler()], level=logging.DEBUG, force=True)
    for name, lowest in _QUIET.items():
        logging.getLogger(name).setLevel(lowest)
    logging.captureWarnings(True)


def log_requests(app: Flask, on_answered: OnAnswered) -> None:
    """Give every request an id, the caller's X-Request-ID if valid, and log one line per response.

    The line has the pattern of the route, never the path, which may hold a phone number.
    `on_answered` gets the same facts.
    """

    def begin() -> None:
        given = request.headers.get("X-Request-ID", "")
        name = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request_id.set(name)
        g.request_id, g.started = name, time.perf_counter()

    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        client, rule, method = g.get("client"), request.url_rule, request.method
        route = rule.rule if rule else None
        status = response.status_code
        duration_s = time.perf_counter() - g.started
        on_answered(method, route, status, duration_s)
        bound = logger.bind(
            method=method if route else "-",
            route=route or "-",
            status=status,
            client=client.name if client else "-",
            address=request.remote_addr or "-",
            duration_ms=round(duration_s * 1000, 1),
        )
        bound.info("request answered")
        return response

    def forget(_: BaseException | None) -> None:
        request_id.set(None)

    app.before_request(begin)
    app.after_request(end)
    app.teardown_request(forget)


class InterceptHandler(logging.Handler):
    """Passes records of the standard library to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        level: str | int = record.levelname
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            level = record.levelno
        bound = logger.bind(logger=record.name).opt(exception=record.exc_info, depth=6)
        bound.log(level, "{}", _replace_quotes(record))


# gunicorn's lines about failed requests quote the request: a line of the body, a header with the
# API key, a URL.
_GUNICORN_QUOTES = {
    "Socket error processing request": "client went away or timed out",
    "Error handling request": "request failed in the server",
}


def mark_outage(error: BaseException, sentence: str, reason: str) -> None:
    """Mark an error as an outage: its log line is the sentence and the reason, without a stack.

    An outage that lasts is logged once a minute.
    """
    error.outage = (sentence, reason)  # type: ignore[attr-defined]


def find_outage(error: BaseException | None) -> tuple[str, str] | None:
    """Return the sentence and the reason of an outage among an error and its causes, if any."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        outage: tuple[str, str] | None = getattr(error, "outage", None)
        if outage is not None:
            return outage
        error = error.__cause__ or error.__context__
    return None


class Throttle:
    """Lets each sentence through at once, and then once a minute."""

    EVERY_S = 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Let each sentence through at once again."""
        self._times: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}

    def count(self, sentence: str) -> int:
        """Count an occurrence.  Returns 0, or how many there were if the sentence is due."""
        now = self._clock()
        with self._lock:
            self._times[sentence] += 1
            logged_at = self._logged_at.get(sentence)
            if logged_at is not None and now - logged_at < self.EVERY_S:
                return 0
            self._logged_at[sentence] = now
            return self._times.pop(sentence)


throttle = Throttle()


def log_seldom(sentence: str, *, level: str = "ERROR", **facts: Any) -> None:
    """Log a fault with these facts, once a minute at most; `times` counts how often it came."""
    if times := throttle.count(sentence):
        logger.bind(times=times, **facts).log(level, sentence)


def _pass_on(record: "Record") -> bool:
    """Return False for the line of an outage that was logged within the last minute."""
    outage = find_outage(record["exception"].value) if record["exception"] else None
    if outage is None:
        return True
    sentence, reason = outage
    times = throttle.count(sentence)
    record["extra"] |= {"reason": mask_numbers(reason), "during": record["message"]}
    record["extra"]["times"] = times
    record["message"], record["exception"] = sentence, None
    return times > 0


def _replace_quotes(record: logging.LogRecord) -> str:
    message = record.getMessage()
    replacements = (ours for start, ours in _GUNICORN_QUOTES.items() if message.startswith(start))
    return next(replacements, message)


def mask_numbers(text: str) -> str:
    """Mask everything in the text that may be a phone number.

    >>> mask_numbers("to 46701234567 in 01JX0000000000000000000001")
    'to 467••••••67 in 01JX0000000000000000000001'
    """
    return _DIGITS.sub(lambda match: mask_number(match[0]), text)


def _complete(record: "Record") -> None:
    """Add the request id, and mask numbers in the record itself, before any sink."""
    bound = request_id.get()
    if bound is not None:
        record["extra"].setdefault("request_id", bound)
    record["message"] = mask_numbers(record["message"])
    for name, value in record["extra"].items():
        if isinstance(value, str):
            record["extra"][name] = mask_numbers(value)
        elif not isinstance(value, (int, float, bool, type(None))):
            record["extra"][name] = mask_numbers(repr(value))


def _write_json(message: "Message") -> None:
    record = message.record
    line: dict[str, Any] = {
        "time": record["time"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        "message": record["message"],
        **record["extra"],
    }
    if record["exception"] is not None:
        line["exception"] = "\n".join(_describe_exception(record["exception"].value))
    sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")


def _write_readable(message: "Message") -> None:
    record = message.record
    facts = " ".join(f"{name}={value}" for name, value in record["extra"].items())
    sys.stderr.write(
        f"{record['time']:HH:mm:ss.SSS} {record['level'].name:<8} {record['message']}"
        f"{'  ' + facts if facts else ''}\n"
    )
    if record["exception"] is not None:
        for line in _describe_exception(record["exception"].value):
            sys.stderr.write(f"    {line}\n")


def _describe_exception(error: BaseException | None) -> Iterator[str]:
    """Yield types and code locations of an exception and its causes, never its message.

    An OSError also gives its standard text.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        yield f"{name} [{error.strerror}]" if isinstance(error, OSError) else name
        yield from _describe_locations(error.__traceback__)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _describe_locations(trace: TracebackType | None) -> Iterator[str]:
    for frame in traceback.extract_tb(trace):
        yield f"  at {frame.filename}:{frame.lineno} in {frame.name}"
