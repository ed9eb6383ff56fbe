"""Arguments of a request: JSON bodies and query strings, parsed strictly.

A malformed body or an invalid argument raises BadInput (400) with the reasons by field.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NoReturn

from flask import Request, g
from marshmallow import RAISE, Schema, ValidationError
from marshmallow.fields import List
from webargs.flaskparser import FlaskParser

from app.errors import BadInput, ClarionError, UnsupportedBody
from app.http.body import (
    SMALL,
    JsonBounds,
    MalformedJson,
    parse_json_object,
    read_body,
    require_charset,
    require_uncompressed,
)
from app.http.reasons import capitalize, explain_errors
from app.rate_limit import FREE_BYTES, reserve_for_body

_MAX_FIELDS = 1_000


class ArgumentsParser(FlaskParser):
    """The webargs parser of all our routes."""

    DEFAULT_VALIDATION_STATUS = HTTPStatus.BAD_REQUEST
    # An unknown query parameter, perhaps misspelt, must not be ignored.
    DEFAULT_UNKNOWN_BY_LOCATION = FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION | {"query": RAISE}

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Parse the body, and set `g.body_hashes` for an Idempotency-Key.

        Returns {} for an empty body if the schema sets `body_required = False`; `json_bounds` of
        the schema bound the body.  A query string is refused: no route takes both, and an option
        in it would be ignored.  Raises UnsupportedBody, BadInput, Overloaded, or
        RequestEntityTooLarge.
        """
        _require_no_query(req)
        if not getattr(schema, "body_required", True) and _has_no_body(req):
            _keep_hashes(req, b"", {})
            return {}
        _require_plain_json(req)
        bounds: JsonBounds = getattr(schema, "json_bounds", SMALL)
        raw = _read_json(req, bounds)
        try:
            body = parse_json_object(raw, bounds)
        except MalformedJson as e:
            raise BadInput(capitalize(str(e))) from e
        _keep_hashes(req, raw, body)
        if len(body) > _MAX_FIELDS:
            raise BadInput(f"The body has {len(body)} fields; the maximum is {_MAX_FIELDS}")
        return body

    def load_querystring(self, req: Request, schema: Schema) -> Any:
        """Read the query string.  Raises ValidationError if one that is no list comes twice."""
        lists = {name for name, field in schema.fields.items() if isinstance(field, List)}
        repeated = {name for name, values in req.args.lists() if len(values) > 1}
        errors = {name: ["Given more than once."] for name in sorted(repeated - lists)}
        if errors:
            raise ValidationError(errors)
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, **_: Any
    ) -> NoReturn:
        """Raise BadInput with the reasons by field."""
        # marshmallow's frames refer to their error, so the body would stay in memory for long.
        error.__traceback__ = None
        raise reject_fields(error, schema) from error


def reject_fields(error: ValidationError, schema: Schema | None = None) -> BadInput:
    """Return marshmallow's messages as BadInput, with the reasons by field in plain words."""
    messages: dict[str, Any] = error.messages_dict
    # webargs nests the messages below the location.
    nested = next((messages[key] for key in ("json", "query") if key in messages), None)
    if isinstance(nested, dict):
        messages = nested
    fields = explain_errors(messages, error.data, schema, is_body=True)
    first = (f"{name}: {find_first(reasons).rstrip('.')}" for name, reasons in fields.items())
    said = "; ".join(first)
    return BadInput(capitalize(said) if said.startswith("the ") else said, fields=fields)


def find_first(reasons: Any) -> str:
    """Return the first of the reasons of a field, however deep they are nested."""
    while isinstance(reasons, Mapping):
        reasons = next(iter(reasons.values()))
    return str(reasons[0]) if isinstance(reasons, list) else str(reasons)


def collect_errors(error: ValidationError | ClarionError) -> dict[str, str]:
    """Return the first reason of each field; that of a whole request has the name ""."""
    if isinstance(error, ValidationError):
        found: Mapping[str, Any] = explain_errors(error.messages_dict, error.data, None)
    else:
        found = error.facts.get("fields") or {}
    errors = {name: find_first(reasons) for name, reasons in found.items()}
    return errors or {"": str(getattr(error, "sentence", error))}


def load_fields(schema: Schema, body: Mapping[str, Any]) -> Any:
    """Load fields that came otherwise than as JSON.  Raises BadInput with the reasons by field."""
    try:
        return schema.load(body)
    except ValidationError as e:
        raise reject_fields(e, schema) from e


def _keep_hashes(req: Request, raw: bytes, body: dict[str, Any]) -> None:
    """Set `g.body_hashes` for a request with an Idempotency-Key."""
    if "Idempotency-Key" in req.headers:
        g.body_hashes = _hash_body(req, raw, body)


def _hash_body(req: Request, raw: bytes, body: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return two SHA-256 of path and body: of what the JSON means, and of its bytes.

    The first is equal for a request that is repeated with its keys in another order.  For a large
    body both are of its bytes: to sort two million keys holds the interpreter for seconds.
    """
    path = req.path.encode() + b"\0"
    exact = sha256(path + raw).digest()
    if len(raw) > FREE_BYTES:
        return exact, exact
    meant = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return sha256(path + meant.encode()).digest(), exact


def _require_no_query(req: Request) -> None:
    if req.query_string and req.args:
        errors = {name: ["Not read from the URL: put it in the body."] for name in req.args}
        raise reject_fields(ValidationError(errors))


def _has_no_body(req: Request) -> bool:
    return not req.content_length and "Transfer-Encoding" not in req.headers


def _read_json(req: Request, bounds: JsonBounds) -> bytes:
    """Read the body, for which capacity is reserved before it is read."""
    limit = min(bounds.max_bytes, req.max_content_length or bounds.max_bytes)
    # A body of unknown length counts as the smallest large one until it has been read.
    expected = min(limit, FREE_BYTES + 1) if req.content_length is None else req.content_length
    if expected <= limit:
        reserve_for_body(expected)
    raw = read_body(req, limit)
    reserve_for_body(len(raw))
    return raw


def _require_plain_json(req: Request) -> None:
    require_uncompressed(req)
    if req.mimetype != "application/json":
        raise UnsupportedBody("Send the body as Content-Type: application/json in UTF-8")
    require_charset(req, "utf-8")
