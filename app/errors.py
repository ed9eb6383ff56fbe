"""Errors, and their JSON format; browsers get pages in its place.

{"error": "<sentence>", "request_id": "…", …facts}
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from flask import Flask, Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue
from loguru import logger
from marshmallow import Schema, fields
from sqlalchemy.exc import (
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app.db.engine import QueryTooSlow
from app.db.schema import WrongDatabase, log_wrong_database
from app.logs import find_outage
from app.text.typos import suggest

_MAX_SENTENCE = 500
# The size of the largest body that the route takes, in the request's environment.
MAX_BYTES_KEY = "clarion.max_bytes"
_DATABASE_RETRY_S = 5
_LONGEST_PATH = 40
# How alike a path must be to one that there is.
_SAME_PATH = 0.85
# The database is unreachable, full or locked.
_UNAVAILABLE = (OperationalError, InterfaceError, InternalError, TimeoutError)

_SENTENCES = {
    HTTPStatus.NOT_FOUND: "Route not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request body too large",
    HTTPStatus.REQUEST_TIMEOUT: "The body came too slowly: send it again over a faster connection",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal server error",
}


class ClarionError(Exception):
    """An error with a sentence for the client and facts beside it."""

    status: ClassVar[HTTPStatus]

    def __init__(self, sentence: str, *, retry_after_s: int | None = None, **facts: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.retry_after_s = retry_after_s
        self.facts = facts


class BadInput(ClarionError):
    """The request is invalid: nothing was done."""

    status = HTTPStatus.BAD_REQUEST


def reject_field(field: str, reason: str) -> BadInput:
    """Return the error for one field of a request; the reason has no full stop."""
    return BadInput(f"{field}: {reason}", fields={field: [f"{reason}."]})


class KeyMissing(ClarionError):
    """The request has no API key."""

    status = HTTPStatus.UNAUTHORIZED


class KeyRefused(ClarionError):
    """The API key is unknown or lacks the scope."""

    status = HTTPStatus.FORBIDDEN


class UnsupportedBody(ClarionError):
    """The body does not have the content type that the route takes."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class SendFailed(ClarionError):
    """Sinch rejected the broadcast: nothing was sent."""

    status = HTTPStatus.BAD_GATEWAY


class NotFound(ClarionError):
    """The resource does not exist."""

    status = HTTPStatus.NOT_FOUND


class Conflict(ClarionError):
    """Not allowed in the current state: nothing was done."""

    status = HTTPStatus.CONFLICT


class RequestRunning(Conflict):
    """The first request with this Idempotency-Key is still running."""


class BroadcastDuplicated(Conflict):
    """The broadcast duplicates a recent one, with mostly equal recipients: nothing was sent."""


class KeyMisused(ClarionError):
    """The Idempotency-Key was used with another request: nothing was done."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(ClarionError):
    """The database is unavailable: nothing was done, the request may be repeated."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class ErrorSchema(Schema):
    """The body of every error response."""

    error = fields.String(required=True, metadata={"description": "The error, in one sentence."})
    request_id = fields.String(
        required=True, metadata={"description": "Also in the X-Request-ID header and in the log."}
    )
    fields_ = fields.Dict(data_key="fields", metadata={"description": "The reasons, by field."})
    hint = fields.String(metadata={"description": "What to do."})
    retry_after_s = fields.Integer(
        metadata={"description": "When to try again; also in the Retry-After header."}
    )
    limit = fields.String(
        metadata={"description": "429: the rate limit, such as `100 per 15 minutes`."}
    )
    setting = fields.String(metadata={"description": "429: the setting with the limit."})
    max_bytes = fields.Integer(
        metadata={"description": "413: the size of the largest body that this route takes."}
    )


def register_error_handlers(
    app: Flask, make_page: Callable[[Exception], ResponseReturnValue | None]
) -> None:
    """Answer every error of `app`: by a page if `make_page` returns one, else as JSON."""

    def register(
        error_class: type[Exception], answer: Callable[[Any], ResponseReturnValue]
    ) -> None:
        def handle(error: Exception) -> ResponseReturnValue:
            page = make_page(error)
            return answer(error) if page is None else page

        app.register_error_handler(error_class, handle)

    register(ClarionError, _answer_clarion_error)
    register(HTTPException, _answer_http_exception)
    register(SQLAlchemyError, _answer_database_error)
    register(WrongDatabase, _answer_wrong_database)
    register(QueryTooSlow, _answer_slow_query)
    register(Exception, _answer_unexpected)


def _answer_clarion_error(error: ClarionError) -> Response:
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    wait = {} if error.retry_after_s is None else {"retry_after_s": error.retry_after_s}
    return _answer(error.status, error.sentence, {**error.facts, **wait}, headers)


def _answer_http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error  # a redirect
    status = HTTPStatus(error.code)
    kept = ("Allow", "Retry-After")
    headers = {name: value for name, value in error.get_headers() if name in kept}
    too_large = status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    facts = {"max_bytes": request.environ.get(MAX_BYTES_KEY)} if too_large else _suggest_route()
    return _answer(status, _SENTENCES.get(status, status.phrase), facts, headers)


def _suggest_route() -> dict[str, str]:
    """Return a hint with the route that a misspelt path was probably meant to be.

    A path that is right but for a slash at its end, or for GET, gets none.
    """
    error, path = request.routing_exception, request.path
    right = path.endswith("/") or (isinstance(error, MethodNotAllowed) and request.method == "GET")
    if error is None or right or len(path) > _LONGEST_PATH:
        return {}
    paths = {
        rule.rule
        for rule in current_app.url_map.iter_rules()
        if request.method in (rule.methods or ()) and "<" not in rule.rule
    }
    meant = suggest(path, paths, alike=_SAME_PATH)
    return {"hint": f"Did you mean {request.method} {meant}?"} if meant else {}


def _answer_wrong_database(error: WrongDatabase) -> Response:
    log_wrong_database(error)
    sentence = (
        "The database belongs to another instance or version. Nothing was sent; tell the operator."
    )
    return _answer_clarion_error(Unavailable(sentence, retry_after_s=60))


def _answer_slow_query(_: QueryTooSlow) -> Response:
    sentence = (
        "Looking these subscribers up took too long, and nothing was done: use fewer conditions or "
        "a tag, or try again when fewer requests run."
    )
    return _answer_clarion_error(Unavailable(sentence, retry_after_s=60))


def is_unavailable(error: BaseException) -> bool:
    """Return True if the database is unreachable, full, locked or damaged."""
    return isinstance(error, _UNAVAILABLE) or find_outage(error) is not None


def _answer_database_error(error: SQLAlchemyError) -> Response:
    """Answer 503 if the database is unavailable, else 500."""
    if not is_unavailable(error):
        return _answer_unexpected(error)
    logger.opt(exception=error).error("the database is unavailable")
    return _answer_clarion_error(
        Unavailable(
            "The database is unavailable; nothing was lost. Repeat the request, with an "
            "Idempotency-Key if it may have been carried out.",
            retry_after_s=_DATABASE_RETRY_S,
        )
    )


def _answer_unexpected(error: Exception) -> Response:
    logger.opt(exception=error).error("uncaught exception")
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _answer(status, _SENTENCES[status], {}, {})


def _answer(
    status: HTTPStatus, sentence: str, facts: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    if len(sentence) > _MAX_SENTENCE:
        sentence = sentence[:_MAX_SENTENCE] + "…"
    response = jsonify({"error": sentence, "request_id": g.get("request_id", ""), **facts})
    response.status_code = status
    response.headers.update(headers)
    return response
