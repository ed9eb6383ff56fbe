"""Control URLs for tests: settings, faults, clock, inbounds, and the logs."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, jsonify, request
from marshmallow import Schema

from app.sandbox.api.access import current_plan
from app.sandbox.api.fields import parse_object
from app.sandbox.control import ledger
from app.sandbox.control.faults import read_fault
from app.sandbox.control.rules import Seconds, load_order
from app.sandbox.errors import ApiError, bad_order
from app.sandbox.numbers import is_loopback, parse_digits

if TYPE_CHECKING:
    from app.sandbox.server import SandboxServer

blueprint = Blueprint("control", __name__, url_prefix="/control")

Json = dict[str, Any]


def _current_server() -> "SandboxServer":
    server: SandboxServer = current_app.extensions["sandbox_server"]
    return server


def _parse_body() -> Json:
    """Return the JSON object in the body, whatever its content type."""
    return parse_object(request.get_data())


@blueprint.before_request
def _reject_web_pages() -> None:
    """Raise ApiError 403 for a call that a web page may have made the user's browser send."""
    own_host = urlsplit(f"//{request.host}").hostname
    origin = request.headers.get("Origin")
    if request.endpoint == "control.get_health":
        return
    if not is_loopback(own_host or "") or origin not in (None, f"http://{request.host}"):
        text = "control URLs are for this machine: send Host: 127.0.0.1 or localhost, no Origin"
        raise ApiError(HTTPStatus.FORBIDDEN, "forbidden", text)


@blueprint.get("/health")
def get_health() -> Response:
    return jsonify(status="ok")


@blueprint.get("/settings")
def get_settings() -> Response:
    return jsonify(current_plan().settings.show())


@blueprint.patch("/settings")
def change_settings() -> Response:
    """Change settings for all later batches; an invalid one leaves all as they were."""
    plan, changes = current_plan(), _parse_body()
    with plan.lock:
        plan.settings = plan.settings.change(changes)
    if "seed" in changes:
        _current_server().faults.reseed()
        plan.callbacks.reseed()
    return get_settings()


@blueprint.post("/faults")
def order_fault() -> tuple[Response, int]:
    return jsonify(_current_server().faults.add(read_fault(_parse_body()))), HTTPStatus.CREATED


@blueprint.get("/faults")
def list_faults() -> Response:
    return jsonify(faults=_current_server().faults.list_faults())


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
            raise bad_order("recipient: not a phone number")
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
    schema = Schema.from_dict({name: Seconds(required=True)})()
    return float(load_order(schema, _parse_body())[name])
