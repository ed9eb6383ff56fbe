"""Errors raised on purpose, and the one JSON shape in which every error leaves.

{"error": "<sentence>", "request_id": "…", …facts}

ClarionError
├── BadInput             400  the request breaks a rule; `fields` or another fact says which
├── KeyMissing           401
├── KeyRefused           403  unknown key, or one without the scope
├── NotFound             404  no such broadcast or batch
├── Conflict             409  not as things stand
│   ├── RequestRunning        the first request with this Idempotency-Key is at work
│   └── BroadcastRepeated     the same text has just gone to mostly the same people
├── UnsupportedBody      415
├── KeyMisused           422  an Idempotency-Key came with another request
├── SendFailed           502  Sinch refused
└── Unavailable          503  the database cannot be used now: nothing was done
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from flask import Flask, Response, g, jsonify
from loguru import logger
from marshmallow import Schema, fields
from sqlalchemy.exc import (
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)
from werkzeug.exceptions import HTTPException

from app.db.schema import WrongDatabase

_MAX_SENTENCE = 500
_DATABASE_RETRY_S = 5
_AWAY = (OperationalError, InterfaceError, InternalError, TimeoutError)

_SENTENCES = {
    HTTPStatus.NOT_FOUND: "Route not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request body too large",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests, please try again later.",
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
    """The request breaks a rule: nothing was done."""

    status = HTTPStatus.BAD_REQUEST


class KeyMissing(ClarionError):
    """No API key came with the request."""

    status = HTTPStatus.UNAUTHORIZED


class KeyRefused(ClarionError):
    """The API key is unknown or lacks the scope."""

    status = HTTPStatus.FORBIDDEN


class UnsupportedBody(ClarionError):
    """The body is not sent as application/json."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class SendFailed(ClarionError):
    """Sinch refused: nobody gets a text of this broadcast now."""

    status = HTTPStatus.BAD_GATEWAY


class NotFound(ClarionError):
    """There is no such broadcast or batch."""

    status = HTTPStatus.NOT_FOUND


class Conflict(ClarionError):
    """Not as things stand: nothing was done."""

    status = HTTPStatus.CONFLICT


class RequestRunning(Conflict):
    """The first request with this Idempotency-Key is still at work."""


class BroadcastDuplicated(Conflict):
    """The same text has just gone to mostly the same people: nothing was sent."""


class KeyMisused(ClarionError):
    """An Idempotency-Key came with another request before: nothing was done."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(ClarionError):
    """The database cannot be used now: nothing was done, the same may be sent again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class ErrorSchema(Schema):
    """What every error answer holds."""

    error = fields.String(
        required=True, metadata={"description": "What is wrong, in one sentence."}
    )
    request_id = fields.String(
        required=True, metadata={"description": "Also in X-Request-ID and in our log."}
    )
    fields_ = fields.Dict(
        data_key="fields",
        metadata={"description": "For each field at fault, the reasons."},
    )


def register_error_handlers(app: Flask) -> None:
    """Let every error of `app` leave as JSON in the one shape."""
    app.register_error_handler(ClarionError, _answer_clarion_error)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(SQLAlchemyError, _answer_database_error)
    app.register_error_handler(WrongDatabase, _answer_wrong_database)
    app.register_error_handler(Exception, _answer_unexpected)


def _answer_clarion_error(error: ClarionError) -> Response:
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return _answer(error.status, error.sentence, error.facts, headers)


def _answer_http_exception(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error  # a redirect is its own answer
    status = HTTPStatus(error.code)
    kept = ("Allow", "Retry-After")
    headers = {name: value for name, value in error.get_headers() if name in kept}
    return _answer(status, _SENTENCES.get(status, status.phrase), {}, headers)


def _answer_wrong_database(error: WrongDatabase) -> Response:
    logger.bind(reason=str(error)).critical("nothing is sent from this database")
    sentence = "This service's database is not its own; tell its operator. Nothing was sent."
    return _answer_clarion_error(Unavailable(sentence, retry_after_s=60))


def _answer_database_error(error: SQLAlchemyError) -> Response:
    """The database is away, full or locked: retried by the client; anything else is our fault."""
    if not isinstance(error, _AWAY):
        return _answer_unexpected(error)
    logger.opt(exception=error).error("the database cannot be used")
    return _answer_clarion_error(
        Unavailable(
            "The database cannot be used now; nothing was lost. Send the same request again, "
            "with an Idempotency-Key if it may have been carried out.",
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
