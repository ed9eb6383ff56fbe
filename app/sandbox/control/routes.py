"""The tester's URLs: switches, faults, time, people's texts, and everything that was seen."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, jsonify, request

from app.sandbox.api.access import the_plan
from app.sandbox.api.fields import read_object
from app.sandbox.control import ledger
from app.sandbox.control.faults import BadFault, Faults, read_fault
from app.sandbox.control.settings import BadSetting
from app.sandbox.errors import Refused
from app.sandbox.numbers import digits_of

if TYPE_CHECKING:
    from app.sandbox.server import SandboxServer

blueprint = Blueprint("control", __name__, url_prefix="/control")

Json = dict[str, Any]

_LONGEST_S = 3650 * 24 * 3600


def the_server() -> "SandboxServer":
    server: SandboxServer = current_app.extensions["sandbox_server"]
    return server


def the_faults() -> Faults:
    return the_server().faults


def read_control() -> Json:
    """The JSON object sent, called JSON or not; infinite numbers and half characters are none."""
    try:
        return read_object(request.get_data())
    except Refused as e:
        raise _bad(e.text) from e


@blueprint.get("/health")
def show_health() -> Response:
    return jsonify(status="ok")


@blueprint.get("/settings")
def show_settings() -> Response:
    return jsonify(the_plan().settings.as_json())


@blueprint.patch("/settings")
def change_settings() -> Response:
    """Move switches for everything accepted from now on; all of them or none."""
    plan, changes = the_plan(), read_control()
    with plan.lock:
        try:
            plan.settings = plan.settings.changed(changes)
        except BadSetting as e:
            raise _bad(str(e)) from e
    if "seed" in changes:
        the_faults().reseed()
        plan.postman.reseed()
    return show_settings()


@blueprint.post("/faults")
def order_fault() -> tuple[Response, int]:
    try:
        fault = the_faults().order(read_fault(read_control()))
    except BadFault as e:
        raise _bad(str(e)) from e
    return jsonify(fault.as_json()), HTTPStatus.CREATED


@blueprint.get("/faults")
def list_faults() -> Response:
    return jsonify(faults=[fault.as_json() for fault in the_faults().all()])


@blueprint.delete("/faults")
def clear_faults() -> tuple[str, int]:
    the_faults().clear()
    return "", HTTPStatus.NO_CONTENT


@blueprint.post("/refuse")
def refuse_connections() -> Response:
    """Close the listening socket; when this answer arrives, connections are refused."""
    for_s = _seconds(read_control(), "for_s")
    the_server().refuse(for_s)
    return jsonify(for_s=for_s)


@blueprint.post("/clock")
def advance_clock() -> Response:
    plan, seconds = the_plan(), _seconds(read_control(), "advance_s")
    plan.advance(seconds)
    return jsonify(now=plan.clock.now())


@blueprint.post("/inbounds")
def receive_inbound() -> tuple[Response, int]:
    """Let a person text the plan's number: stored, and posted where inbounds go."""
    return jsonify(the_plan().receive(read_control())), HTTPStatus.CREATED


@blueprint.get("/requests")
def list_requests() -> Response:
    return jsonify(requests=the_server().arrivals.all())


@blueprint.get("/callbacks")
def list_callbacks() -> Response:
    return jsonify(callbacks=the_plan().postman.tries())


@blueprint.get("/ledger")
def show_ledger() -> Response:
    """Accepted batches; ``recipient``, ``summary`` or ``copies`` ask for one view of them."""
    plan = the_plan()
    with plan.lock:
        batches = list(plan.batches.values())
    if "summary" in request.args:
        return jsonify(ledger.summarise(batches))
    if "copies" in request.args:
        return jsonify(copies=ledger.copies_in_order(batches))
    if (recipient := request.args.get("recipient")) is not None:
        number = digits_of("+" + recipient.strip().lstrip("+"))
        if number is None:
            raise _bad("recipient: not a phone number")
        return jsonify(ledger.copies_of(number, batches))
    return jsonify(batches=[ledger.describe(batch) for batch in batches],
                   recipients=ledger.batches_by_recipient(batches))  # fmt: skip


@blueprint.post("/reset")
def reset() -> tuple[str, int]:
    """Back to the state at the start: nothing accepted, no faults, switches as started."""
    server = the_server()
    the_plan().reset()
    server.faults.clear()
    server.faults.reseed()
    server.arrivals.clear()
    return "", HTTPStatus.NO_CONTENT


def _seconds(body: Json, name: str) -> float:
    value = body.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _bad(f"{name}: must be seconds")
    if not 0 <= value <= _LONGEST_S:
        raise _bad(f"{name}: must be from 0 to {_LONGEST_S} seconds, ten years")
    return float(value)


def _bad(text: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "bad_order", text)
