"""Sinch's URLs: batches, dry run, delivery reports and inbounds."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify, request

from app.sandbox.api.access import check_token, current_plan, parse_body
from app.sandbox.api.fields import Json
from app.sandbox.api.queries import paginate, read_window
from app.sandbox.clock import format_time
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.parts import count_parts
from app.sandbox.engine.reports import build_batch_report
from app.sandbox.errors import bad_constraint

blueprint = Blueprint("sinch", __name__, url_prefix="/xms/v1/<plan_id>")
blueprint.url_value_preprocessor(check_token)


@blueprint.post("/batches")
def create_batch() -> tuple[Response, int]:
    return jsonify(_show_batch(current_plan().accept(parse_body()))), HTTPStatus.CREATED


@blueprint.get("/batches")
def list_batches() -> Response:
    plan, query = current_plan(), request.args
    start, end = read_window(query, plan.clock.now())
    batches = plan.list_batches(
        client_reference=query.get("client_reference"), start=start, end=end
    )
    shown, page = paginate(batches, query)
    return jsonify(page | {"batches": [_show_batch(batch) for batch in shown]})


@blueprint.get("/batches/<batch_id>")
def get_batch(batch_id: str) -> Response:
    return jsonify(_show_batch(current_plan().find_batch(batch_id)))


@blueprint.delete("/batches/<batch_id>")
def cancel_batch(batch_id: str) -> Response:
    return jsonify(_show_batch(current_plan().cancel(batch_id)))


@blueprint.post("/batches/dry_run")
def dry_run() -> Response:
    """Count the parts that all recipients would get.  Nothing is sent."""
    batch = current_plan().draft(parse_body())
    texts = [batch.fill_text(number) for number in batch.recipients]
    parts = sum(count_parts(batch.text if text is None else text) for text in texts)
    return jsonify(number_of_recipients=len(texts), number_of_messages=parts)


@blueprint.get("/batches/<batch_id>/delivery_report")
def get_delivery_report(batch_id: str) -> Response:
    plan, report_type = current_plan(), request.args.get("type", "summary")
    if report_type not in ("summary", "full"):
        raise bad_constraint("type must be summary or full")
    batch = plan.find_batch(batch_id)
    return jsonify(build_batch_report(batch, plan.clock.now(), full=report_type == "full"))


@blueprint.get("/inbounds")
def list_inbounds() -> Response:
    plan, query = current_plan(), request.args
    start, end = read_window(query, plan.clock.now())
    shown, page = paginate(plan.inbounds.list_received(start=start, end=end), query)
    return jsonify(page | {"inbounds": [inbound.json for inbound in shown]})


def _show_batch(batch: Batch) -> Json:
    """Return the given fields, the defaults, and the fields that Sinch adds."""
    shown = {"flash_message": False, "type": "mt_text", "delivery_report": "none"}
    shown |= batch.request.fields
    shown |= {
        "id": batch.id,
        "to": list(batch.request.recipients),
        "canceled": batch.cancelled_at is not None,
        "created_at": format_time(batch.created_at),
        "modified_at": format_time(batch.cancelled_at or batch.created_at),
        "expire_at": format_time(batch.expire_at),
    }
    if batch.request.send_at is not None:
        shown["send_at"] = format_time(batch.request.send_at)
    return shown
