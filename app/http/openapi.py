"""OpenAPI document: flask-smorest with our argument parser, our errors and our API key.

The document is served at /openapi.json; `app.web` serves the page that shows it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from http import HTTPStatus
from threading import Lock
from typing import Any, TypeVar

import flask_smorest
from flask import Flask, Response
from marshmallow import Schema
from werkzeug.routing import Map, UnicodeConverter

from app.auth import PUBLIC, SCOPE_MARK
from app.errors import ErrorSchema
from app.http.arguments import ArgumentsParser
from app.ids import ID_CHARACTERS

F = TypeVar("F", bound=Callable[..., Any])

_API_KEY_SCHEME = "ApiKey"
_ERRORS_MARK = "documented_errors"
_SCOPE_EXTENSION = "x-scope"

_DESCRIPTION = (
    "Clarion sends one text to one, a thousand or a million people over the Sinch SMS API, "
    "never twice, and reports what happened to each message."
)

_ERROR_DESCRIPTIONS = {
    HTTPStatus.BAD_REQUEST: "The request is invalid; `fields` gives the reasons by field.",
    HTTPStatus.UNAUTHORIZED: "The X-API-Key header is missing.",
    HTTPStatus.NOT_FOUND: "No such resource.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than this route takes.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not application/json in UTF-8.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "This Idempotency-Key was used with a different request.",
    HTTPStatus.TOO_MANY_REQUESTS: "Rate limit exceeded; retry after `Retry-After` seconds.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database is unavailable, or too many expensive requests "
    "are running; repeat the request after `Retry-After` seconds.",
}
_BODY_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_API_KEY_ERRORS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_PATH_ERRORS = (HTTPStatus.NOT_FOUND,)


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose routes document their errors and their API key by themselves."""

    ARGUMENTS_PARSER = ArgumentsParser()

    def route(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register a view, and document its name, its scope and its errors.

        The errors are those of `@require_api_key`, `@arguments` and `@error_response` on the view,
        and 404 if the rule has a variable part.  A view without `@require_api_key` or `@public`
        raises AttributeError.
        """
        register = super().route(rule, **options)

        def decorate(view: F) -> F:
            facts: dict[str, Any] = {"operationId": _make_operation_id(view.__name__)}
            responses = _describe_errors(_PATH_ERRORS if "<" in rule else [])
            scope = getattr(view, SCOPE_MARK)
            if scope != PUBLIC:
                facts |= {"security": [{_API_KEY_SCHEME: []}], _SCOPE_EXTENSION: str(scope)}
                responses |= _describe_errors(_API_KEY_ERRORS)
                refused = f"The API key is unknown or lacks the scope `{scope}`."
                responses[HTTPStatus.FORBIDDEN] = _describe_response(refused)
            responses |= getattr(view, _ERRORS_MARK, {})
            documented: F = register(self.doc(responses=responses, **facts)(view))
            return documented

        return decorate

    def arguments(
        self, schema: Schema, *, location: str = "json", **options: Any
    ) -> Callable[[F], F]:
        """Pass the parsed body or query string to the view, and document the errors of parsing."""
        parse = super().arguments(schema, location=location, **options)
        statuses = _BODY_ERRORS if location == "json" else (HTTPStatus.BAD_REQUEST,)
        return lambda view: _add_errors(parse(view), _describe_errors(statuses))

    def register_views_in_doc(self, api: "_Api", *args: Any, **names: Any) -> None:
        """Put the views into the document, but not before it is asked for."""
        api.undocumented.append(partial(super().register_views_in_doc, api, *args, **names))

    @staticmethod
    def error_response(
        status: HTTPStatus, description: str | None = None, schema: type[Schema] = ErrorSchema
    ) -> Callable[[F], F]:
        """Document an error that the view may answer; costs nothing when the view is called."""
        described = description or _ERROR_DESCRIPTIONS[status]
        return lambda view: _add_errors(view, {status: _describe_response(described, schema)})


def _make_operation_id(view_name: str) -> str:
    """Return the name that generated clients give to a call.

    >>> _make_operation_id("create_tag_broadcast")
    'createTagBroadcast'
    """
    first, *others = view_name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _describe_errors(statuses: Iterable[HTTPStatus]) -> dict[HTTPStatus, Any]:
    return {status: _describe_response(_ERROR_DESCRIPTIONS[status]) for status in statuses}


def _describe_response(description: str, schema: type[Schema] = ErrorSchema) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _add_errors(view: F, errors: Mapping[HTTPStatus, Any]) -> F:
    setattr(view, _ERRORS_MARK, {**getattr(view, _ERRORS_MARK, {}), **errors})
    return view


class _Segment(UnicodeConverter):
    """A path segment without NUL, which PostgreSQL does not accept."""

    def __init__(self, map: Map, *args: Any, **kwargs: Any) -> None:
        super().__init__(map, *args, **kwargs)
        self.regex = self.regex.replace("[^/]", "[^/\0]")


class _Id(_Segment):
    """A path segment with one of our ids; the fixed length tells it from a name."""

    def __init__(self, map: Map) -> None:
        super().__init__(map, length=ID_CHARACTERS)


class _Api(flask_smorest.Api):
    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = ErrorSchema

    def __init__(self, app: Flask, **options: Any) -> None:
        self.undocumented: list[Callable[[], None]] = []
        super().__init__(app, **options)


class _LateDocument:
    """The document, with its views put in when it is first asked for.

    Putting them in took two thirds of the time to make a service, for each command too.
    """

    def __init__(self, document: Any, undocumented: list[Callable[[], None]]) -> None:
        self._document, self._undocumented = document, undocumented
        self._lock = Lock()

    def to_dict(self) -> dict[str, Any]:
        """Return the whole document, as flask-smorest's own does."""
        with self._lock:
            while self._undocumented:
                self._undocumented.pop(0)()
        whole: dict[str, Any] = self._document.to_dict()
        return whole


def register_api(app: Flask, blueprints: Iterable[flask_smorest.Blueprint]) -> None:
    """Register the blueprints and serve their OpenAPI document.

    Call `app.errors.register_error_handlers` afterwards: flask-smorest registers one of its own.
    """
    app.config.update(
        API_TITLE="Clarion",
        API_VERSION="1",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    app.url_map.converters |= {"default": _Segment, "id": _Id}
    described = {"info": {"description": _DESCRIPTION}, "servers": [{"url": "/"}]}
    api = _Api(app, spec_kwargs=described)
    api.spec.components.security_scheme(
        _API_KEY_SCHEME,
        {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "A key of API_KEYS, in this header alone.",
        },
    )
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    api.spec = _LateDocument(api.spec, api.undocumented)
    _serve_written_once(app, api)


def _serve_written_once(app: Flask, api: flask_smorest.Api) -> None:
    """Serve the document as bytes: to write it takes as long as some hundred small requests."""

    @cache
    def write() -> bytes:
        return json.dumps(api.spec.to_dict(), ensure_ascii=False).encode()

    def serve() -> Response:
        return Response(write(), mimetype="application/json")

    app.view_functions["api-docs.openapi_json"] = serve
