"""Routes that document themselves: flask-smorest with our JSON parser and our errors.

The document is served at /openapi.json; the page that shows it is `app.web`'s.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from hashlib import sha256
from http import HTTPStatus
from itertools import islice
from threading import RLock
from typing import Any, NoReturn, TypeVar

import flask_smorest
from apispec import APISpec
from flask import Flask, Request, g
from marshmallow import RAISE, Schema, ValidationError, fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.routing import Map, Rule, UnicodeConverter

from app.errors import BadInput, ErrorSchema, UnsupportedBody
from app.http.json_body import MalformedJson, parse_json_object
from app.ids import ID_CHARACTERS

F = TypeVar("F", bound=Callable[..., Any])

API_KEY_SCHEME = "ApiKey"

_MAX_FIELDS = 1_000
_MAX_FIELDS_SHOWN = 100
_MAX_NAME_SHOWN = 64

_DESCRIPTION = (
    "Clarion sends one text to one, a thousand or a million people over the Sinch SMS API, "
    "never twice, and can say for every one of them what happened."
)

_ERROR_DESCRIPTIONS = {
    HTTPStatus.BAD_REQUEST: "The request breaks a rule; `fields` names it.",
    HTTPStatus.UNAUTHORIZED: "No API key.",
    HTTPStatus.FORBIDDEN: "An unknown API key, or one without the scope.",
    HTTPStatus.NOT_FOUND: "There is none with this id.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than MAX_BODY_BYTES.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not application/json in UTF-8.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "This Idempotency-Key came with another request before.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot be used now; Retry-After says when to "
    "send the same again.",
    HTTPStatus.TOO_MANY_REQUESTS: "Over the rate limit; Retry-After says when to come back.",
}

# Of every route that takes a JSON body.
BODY_ERRORS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_GUARDED = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


class JsonParser(FlaskParser):
    """Reads bodies with the strict parser and answers what is wrong with them as our 400."""

    DEFAULT_VALIDATION_STATUS = HTTPStatus.BAD_REQUEST
    # A question with a slip in it would be answered as if nothing had been asked.
    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": RAISE}

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The body as an object; without one, an empty one where the schema does not need it.

        Raises UnsupportedBody or BadInput.
        """
        if not getattr(schema, "body_required", True) and _has_no_body(req):
            g.body_hash = hash_body(req, b"")
            return {}
        _refuse_other_types(req)
        try:
            raw = _read_body(req)
            g.body_hash = hash_body(req, raw)
            body = parse_json_object(raw)
        except MalformedJson as e:
            raise BadInput(_as_sentence(str(e))) from e
        if len(body) > _MAX_FIELDS:
            raise BadInput(f"The body has {len(body)} fields: no request has so many")
        return body

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """What stands behind the `?`.

        Raises ValidationError for a name that comes twice and is no list's.
        """
        lists = {name for name, field in schema.fields.items() if isinstance(field, fields.List)}
        several = {name for name, values in req.args.lists() if len(values) > 1}
        twice = sorted(several - lists)
        if twice:
            raise ValidationError({name: ["Given more than once."] for name in twice})
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, **_: Any
    ) -> NoReturn:
        """Raise BadInput that names each field at fault and the reasons."""
        raise reject_fields(error) from error


def reject_fields(error: ValidationError) -> BadInput:
    """The BadInput that tells marshmallow's messages, keyed by field."""
    # webargs wraps what it finds in the body in a level of its own.
    told: dict[str, Any] = error.messages_dict
    wrapped = next((told[place] for place in ("json", "query") if place in told), None)
    messages = wrapped if isinstance(wrapped, dict) else told
    shown = islice(messages.items(), _MAX_FIELDS_SHOWN)
    messages = {_shorten(str(name)): reasons for name, reasons in shown}
    reasons = (f"{name}: {_first_reason(each).rstrip('.')}" for name, each in messages.items())
    sentence = "; ".join(reasons)
    return BadInput(_as_sentence(sentence), fields=messages)


def hash_body(req: Request, raw: bytes) -> bytes:
    """What tells one request of a client from another: path and body."""
    return sha256(req.path.encode() + b"\0" + raw).digest()


def _has_no_body(req: Request) -> bool:
    return not req.content_length and "Transfer-Encoding" not in req.headers


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_NAME_SHOWN else name[: _MAX_NAME_SHOWN - 1] + "…"


def _first_reason(reasons: Any) -> str:
    while isinstance(reasons, Mapping):
        reasons = next(iter(reasons.values()))
    return str(reasons[0]) if isinstance(reasons, list) else str(reasons)


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def _read_body(req: Request) -> bytes:
    """The body.  Raises RequestEntityTooLarge, by its length or once that many bytes came."""
    try:
        raw = req.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as e:  # the WSGI server's own, for chunks that are none
        raise BadInput("The body could not be read") from e
    # Without a Content-Length werkzeug stops reading at the limit and says nothing.
    if req.content_length is None and len(raw) == req.max_content_length:
        raise RequestEntityTooLarge
    return raw


def _refuse_other_types(req: Request) -> None:
    if req.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("Send the body uncompressed, without Content-Encoding")
    charset = req.mimetype_params.get("charset", "utf-8").lower()
    if req.mimetype != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedBody("Send the body as Content-Type: application/json in UTF-8")


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose JSON bodies are read strictly."""

    ARGUMENTS_PARSER = JsonParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._untold: list[Callable[[], None]] = []
        super().__init__(*args, **kwargs)

    def _store_endpoint_docs(self, *args: Any, **options: Any) -> None:
        # What it copies for each route takes a tenth of a start, and only the document needs it.
        self._untold.append(partial(super()._store_endpoint_docs, *args, **options))

    def register_views_in_doc(self, *args: Any, **options: Any) -> None:
        """Put its routes into the document."""
        while self._untold:
            self._untold.pop(0)()
        super().register_views_in_doc(*args, **options)

    def documented_errors(self, *statuses: HTTPStatus) -> Callable[[F], F]:
        """Document the errors that any route of ours may answer."""
        return self.described_errors({each: _ERROR_DESCRIPTIONS[each] for each in statuses})

    def guarded_errors(self, *more: HTTPStatus) -> Callable[[F], F]:
        """Document the errors of every route with a key, and more."""
        return self.documented_errors(*_GUARDED, *more)

    def described_errors(
        self, descriptions: Mapping[HTTPStatus, str], schema: type[Schema] = ErrorSchema
    ) -> Callable[[F], F]:
        """Document errors of one route's own, in words of its own."""

        def decorate(view: F) -> F:
            # As `alt_response` does, which copies for each answer what is documented so far: that
            # was a quarter of a start.
            documented = view.__dict__.setdefault("_apidoc", {}).setdefault("response", {})
            answers = documented.setdefault("responses", {})
            for status, description in descriptions.items():
                told = {"schema": schema(), "description": description, "content_type": None}
                answers.setdefault(status, []).append(told)
            return view

        return decorate


class _Segment(UnicodeConverter):
    """A piece of a path that any database can be asked for: PostgreSQL takes no NUL."""

    def __init__(self, map: Map, *args: Any, **kwargs: Any) -> None:
        super().__init__(map, *args, **kwargs)
        self.regex = self.regex.replace("[^/]", "[^/\0]")


class _Id(_Segment):
    """One of our ids: so a name of a fixed length is never taken for one."""

    def __init__(self, map: Map) -> None:
        super().__init__(map, length=ID_CHARACTERS)


class _Route(Rule):
    """A route that gets the code which makes its URL when that is first asked for.

    Nothing of ours asks, and for all routes it takes longer than all else of an application.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        @cache
        def make() -> Callable[..., tuple[str, str]]:
            return super(_Route, self)._compile_builder(append_unknown)

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            return make()(rule, **values)

        return build


class Api(flask_smorest.Api):
    """The OpenAPI document of the service; error answers stay with `app.errors`.

    It is put together when it is first asked for: that takes longer than all else of a start.
    """

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = ErrorSchema

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._undocumented: list[tuple[flask_smorest.Blueprint, dict[str, Any]]] = []
        self._documenting = RLock()
        super().__init__(*args, **kwargs)

    @property
    def spec(self) -> APISpec:
        """The document, of all that is registered so far."""
        with self._documenting:
            while self._undocumented:
                blueprint, options = self._undocumented.pop(0)
                blueprint.register_views_in_doc(self, self._app, self._spec, **options)
                self._spec.tag({"name": options["name"], "description": blueprint.description})
            return self._spec

    @spec.setter
    def spec(self, spec: APISpec) -> None:
        self._spec = spec

    def register_blueprint(
        self,
        blp: flask_smorest.Blueprint,
        *,
        parameters: list[dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Serve its routes; they stand in the document once that is asked for."""
        name = options.get("name", blp.name)
        self._app.extensions["flask-smorest"]["blp_name_to_api"][name] = self
        self._app.register_blueprint(blp, **options)
        self._undocumented.append((blp, {"name": name, "parameters": parameters}))

    def _register_error_handlers(self) -> None:
        """None of its own."""

    def _register_responses(self) -> None:
        """None by the names of all statuses: each route describes its answers itself."""


def make_api(app: Flask) -> Api:
    """The Api that documents the blueprints registered with it."""
    app.config.update(
        API_TITLE="Clarion",
        API_VERSION="1",
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    app.url_rule_class = _Route
    app.url_map.converters |= {"default": _Segment, "id": _Id}
    api = Api(app, spec_kwargs={"info": {"description": _DESCRIPTION}})
    api.spec.components.security_scheme(
        API_KEY_SCHEME, {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    )
    return api
