"""OpenAPI document: flask-smorest with our argument parser, our errors and our API key.

The document is served at /openapi.json; `app.web` serves the page that shows it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar

import flask_smorest
from flask import Flask, Response
from flask_smorest.spec import openapi_cli
from marshmallow import Schema
from werkzeug.routing import Map, UnicodeConverter

from app.auth import PUBLIC, SCOPE_MARK, public
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


_CONVERTERS = {"default": _Segment, "id": _Id}


class _Api(flask_smorest.Api):
    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = ErrorSchema


class _Document:
    """The OpenAPI document, made when it is first asked for.

    flask-smorest makes it in an app of its own: it takes twice as long as all else that makes a
    service, also one that runs a command.
    """

    def __init__(self, blueprints: Sequence[flask_smorest.Blueprint]) -> None:
        self.blueprints = blueprints

    @cached_property
    def spec(self) -> Any:
        """The document; `flask openapi` looks for it by this name."""
        app = Flask(__name__)
        app.config.update(API_TITLE="Clarion", API_VERSION="1", OPENAPI_VERSION="3.0.3")
        app.url_map.converters |= _CONVERTERS
        described = {"info": {"description": _DESCRIPTION}, "servers": [{"url": "/"}]}
        api = _Api(app, spec_kwargs=described)
        api.spec.components.security_scheme(
            _API_KEY_SCHEME,
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-Key",
                "description": "A key of API_KEYS or of `flask keys`, in this header alone.",
            },
        )
        for blueprint in self.blueprints:
            api.register_blueprint(blueprint)
        return api.spec

    @cached_property
    def written(self) -> bytes:
        """The document as JSON: to write it takes as long as some hundred small requests."""
        return json.dumps(self.spec.to_dict(), ensure_ascii=False).encode()


def register_api(app: Flask, blueprints: Iterable[flask_smorest.Blueprint]) -> None:
    """Register the blueprints and serve their OpenAPI document."""
    app.url_map.converters |= _CONVERTERS
    document = _Document(tuple(blueprints))
    for blueprint in document.blueprints:
        app.register_blueprint(blueprint)
    app.cli.add_command(openapi_cli)
    app.extensions["flask-smorest"] = {"apis": {"": {"ext_obj": document}}}

    @public
    def serve_document() -> Response:
        return Response(document.written, mimetype="application/json")

    app.add_url_rule("/openapi.json", "openapi_document", serve_document)
