"""What every one of Sinch's URLs has in common: the plan, the token, the form of errors."""

import hmac
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from app.sandbox.api.fields import Json, read_object
from app.sandbox.engine.plan import Plan
from app.sandbox.errors import Refused


def sinch_blueprint(name: str) -> Blueprint:
    """URLs under the plan, for those who have its token."""
    blueprint = Blueprint(name, __name__, url_prefix="/xms/v1/<plan_id>")
    blueprint.url_value_preprocessor(_check_token)
    return blueprint


def the_plan() -> Plan:
    plan: Plan = current_app.extensions["sandbox_plan"]
    return plan


def read_body() -> Json:
    """The JSON object sent.  Refused with 415 when it is not called JSON."""
    if request.mimetype != "application/json":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the content type must be application/json",
        )
    return read_object(request.get_data())


def register_errors(app: Flask) -> None:
    app.register_error_handler(Refused, _answer_refused)
    app.register_error_handler(HTTPException, _answer_http_error)


def _check_token(endpoint: str | None, values: dict[str, Any] | None) -> None:
    settings, plan_id = the_plan().settings, (values or {}).pop("plan_id", None)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(token.strip().encode(), settings.token.encode())
    if scheme.lower() != "bearer" or not right or plan_id != settings.plan_id:
        raise Refused(HTTPStatus.UNAUTHORIZED, "unauthorized", "wrong token for this plan")


def _answer_refused(error: Refused) -> tuple[Response, int]:
    return jsonify(code=error.code, text=error.text), error.status


def _answer_http_error(error: HTTPException) -> tuple[Response, int]:
    answer = jsonify(code=error.name.lower().replace(" ", "_"), text=error.description)
    if allowed := getattr(error, "valid_methods", None):
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer, error.code or HTTPStatus.INTERNAL_SERVER_ERROR
