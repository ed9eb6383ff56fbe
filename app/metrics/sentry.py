"""Errors for Sentry, if SENTRY_DSN is set: types of exceptions and places in our code.

An event is made of the exception that a log line of level error has.  It is written anew from a
list of what it may hold: messages of exceptions, variables, requests, breadcrumbs and the caller's
request id may hold a number, a text or a key.  Outages of database and broker are left out: the
metrics have them.
"""

import contextlib
from typing import TYPE_CHECKING, Any

from loguru import logger

from app.logs import find_outage

if TYPE_CHECKING:
    from loguru import Message

_KEPT = ("event_id", "timestamp", "platform", "level", "environment", "release", "server_name")
_KEPT_OF_FRAME = (
    *("filename", "function", "module", "lineno", "in_app"),
    *("pre_context", "context_line", "post_context"),
)
_SHUTDOWN_S = 2.0
# The sink of this process, once there is one.
_sinks: list[int] = []


def start_sentry(dsn: str, *, environment: str) -> None:
    """Send errors to Sentry from now on; call it after the logging is configured.

    A thread of the SDK sends them, and drops them while Sentry does not answer.
    """
    # It takes a tenth of a second to import, which only those pay that use it.
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AtexitIntegration(callback=lambda pending, timeout_s: None)],
        include_local_variables=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        auto_session_tracking=False,
        send_client_reports=False,
        shutdown_timeout=_SHUTDOWN_S,
        before_send=lambda event, hint: _rewrite(event),
    )
    # A forked process has the sink of its parent.
    while _sinks:
        with contextlib.suppress(ValueError):
            logger.remove(_sinks.pop())
    _sinks.append(logger.add(_send, level="ERROR", format="", catch=False))


def _send(message: "Message") -> None:
    """Send the exception of a log line, if it has one that is no outage."""
    record = message.record
    error = record["exception"].value if record["exception"] else None
    if error is None or find_outage(error):
        return
    # Lines of libraries may quote anything; ours are fixed sentences.
    sentence = record["message"] if "logger" not in record["extra"] else ""
    with contextlib.suppress(Exception):  # an error of Sentry's is none of the service
        _capture(error, sentence)


def _capture(error: BaseException, sentence: str) -> None:
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.utils import event_from_exception  # noqa: PLC0415

    options = sentry_sdk.get_client().options
    event, hint = event_from_exception(error, client_options=options)
    event["logentry"] = {"message": sentence}
    sentry_sdk.capture_event(event, hint)


def _rewrite(event: Any) -> Any:
    """Return a new event with what it may hold, and nothing else."""
    kept = {name: event[name] for name in _KEPT if name in event}
    sentence = event.get("logentry", {}).get("message")
    values = [_rewrite_exception(value) for value in event["exception"]["values"]]
    return kept | {"logentry": {"message": sentence}, "exception": {"values": values}}


def _rewrite_exception(value: Any) -> dict[str, Any]:
    frames = (value.get("stacktrace") or {}).get("frames", [])
    return {
        "type": value.get("type"),
        "module": value.get("module"),
        "stacktrace": {
            "frames": [
                {name: frame[name] for name in _KEPT_OF_FRAME if name in frame} for frame in frames
            ]
        },
    }
