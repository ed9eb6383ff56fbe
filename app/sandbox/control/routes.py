"""Control URLs for tests: settings, faults, clock, inbounds, and the logs."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, jsonify, request

from app.sandbox.api.access import current_plan
from app.sandbox.api.fields import parse_object
from app.sandbox.control import ledger
from app.sandbox.control.faults import BadFault, read_fault
from app.sandbox.control.settings import BadSetting
from app.sandbox.errors import ApiError
from app.sandbox.numbers import parse_digits

if TYPE_CHECKING:
    from app.sandbox.server import SandboxServer

blueprint = Blueprint("control", __name__, url_prefix="/control")

Json = dict[str, Any]

_TEN_YEARS_S = 3650 * 24 * 3600


def _current_server() -> "SandboxServer":
    server: SandboxServer = current_app.extensions["sandbox_server"]
    return server


def _parse_body() -> Json:
    """Return the JSON object in the body, whatever its content type."""
    try:
        return parse_object(request.get_data())
    except ApiError as e:
        raise _bad_request(e.text) from e


@blueprint.get("/health")
def get_health() -> Response:
    return jsonify(status="ok")


@blueprint.get("/settings")
def get_settings() -> Response:
    return jsonify(current_plan().settings.as_json())


@blueprint.patch("/settings")
def change_settings() -> Response:
    """Change settings for all later batches; an invalid one leaves all as they were."""
    plan, changes = current_plan(), _parse_body()
    with plan.lock:
        try:
            plan.settings = plan.settings.change(changes)
        except BadSetting as e:
            raise _bad_request(str(e)) from e
    if "seed" in changes:
        _current_server().faults.reseed()
        plan.callbacks.reseed()
    return get_settings()


@blueprint.post("/faults")
def order_fault() -> tuple[Response, int]:
    try:
        fault = _current_server().faults.add(read_fault(_parse_body()))
    except BadFault as e:
        raise _bad_request(str(e)) from e
    return jsonify(fault.as_json()), HTTPStatus.CREATED


@blueprint.get("/faults")
def list_faults() -> Response:
    faults = _current_server().faults.list_faults()
    return jsonify(faults=[fault.as_json() for fault in faults])


@blueprint.delete("/faults")
def clear_faults() -> tuple[str, int]:
    _current_server().faults.clear()
    return "", HTTPStatus.NO_CONTENT


@blueprint.post("/refuse")
def refuse_connections() -> Response:
    """Refuse connections from this answer on, for `for_s` seconds."""
    for_s = _read_seconds("for_s")
    _current_server().refuse(for_s)
    return jsonify(for_s=for_s)


@blueprint.post("/clock")
def advance_clock() -> Response:
    plan = current_plan()
    plan.advance(_read_seconds("advance_s"))
    return jsonify(now=plan.clock.now())


@blueprint.post("/inbounds")
def receive_inbound() -> tuple[Response, int]:
    """Receive a text or MMS from a phone: store it and post it to the callback URL."""
    return jsonify(current_plan().receive_inbound(_parse_body())), HTTPStatus.CREATED


@blueprint.get("/requests")
def list_requests() -> Response:
    return jsonify(requests=_current_server().request_log.list_requests())


@blueprint.get("/callbacks")
def list_callbacks() -> Response:
    return jsonify(callbacks=current_plan().callbacks.list_attempts())


@blueprint.get("/ledger")
def get_ledger() -> Response:
    """Return the accepted batches, or the view that `recipient`, `summary` or `copies` selects."""
    plan, query = current_plan(), request.args
    with plan.lock:
        batches = list(plan.batches.values())
    if "summary" in query:
        return jsonify(ledger.summarize(batches))
    if "copies" in query:
        return jsonify(copies=ledger.list_copies(batches))
    if "recipient" in query:
        number = parse_digits("+" + query["recipient"].strip().lstrip("+"))
        if number is None:
            raise _bad_request("recipient: not a phone number")
        return jsonify(batches=ledger.list_batch_ids(number, batches))
    return jsonify(batches=[ledger.show_batch(batch) for batch in batches])


@blueprint.post("/reset")
def reset() -> tuple[str, int]:
    """Return to the state at the start: no batches, no faults, the first settings."""
    server = _current_server()
    current_plan().reset()
    server.faults.clear()
    server.faults.reseed()
    server.request_log.clear()
    return "", HTTPStatus.NO_CONTENT


def _read_seconds(name: str) -> float:
    value = _parse_body().get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _bad_request(f"{name}: must be seconds")
    if not 0 <= value <= _TEN_YEARS_S:
        raise _bad_request(f"{name}: must be from 0 to {_TEN_YEARS_S} seconds, ten years")
    return float(value)


def _bad_request(text: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "bad_order", text)
