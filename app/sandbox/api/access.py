"""Shared by all of Sinch's URLs: plan, token check and error answers."""

import hmac
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException

from app.sandbox.api.fields import Json, parse_object
from app.sandbox.engine.service_plan import ServicePlan
from app.sandbox.errors import ApiError


def check_token(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Take the plan from the values of a URL.  Raises ApiError 401 for another's, or its token."""
    settings, plan_id = current_plan().settings, (values or {}).pop("plan_id", None)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    matches = hmac.compare_digest(token.strip().encode(), settings.token.encode())
    if scheme.lower() != "bearer" or not matches or plan_id != settings.plan_id:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "unauthorized", "wrong token for this plan")


def current_plan() -> ServicePlan:
    plan: ServicePlan = current_app.extensions["sandbox_plan"]
    return plan


def parse_body() -> Json:
    """Return the JSON object in the body.  Raises ApiError 415 for another content type."""
    if request.mimetype != "application/json":
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the content type must be application/json",
        )
    return parse_object(request.get_data())


def register_errors(app: Flask) -> None:
    app.register_error_handler(ApiError, _answer_api_error)
    app.register_error_handler(HTTPException, _answer_http_error)


def _answer_api_error(error: ApiError) -> tuple[Response, int]:
    return jsonify(code=error.code, text=error.text), error.status


def _answer_http_error(error: HTTPException) -> tuple[Response, int]:
    answer = jsonify(code=error.name.lower().replace(" ", "_"), text=error.description)
    if allowed := getattr(error, "valid_methods", None):
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer, error.code or HTTPStatus.INTERNAL_SERVER_ERROR
