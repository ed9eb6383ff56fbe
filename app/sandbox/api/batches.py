"""Sinch's URLs: batches and what can be asked of them."""

from http import HTTPStatus

from flask import Response, jsonify, request

from app.sandbox.api.access import read_body, sinch_blueprint, the_plan
from app.sandbox.api.fields import Json, numbers_of
from app.sandbox.api.queries import (
    codes_in,
    flag_in,
    list_in,
    number_in,
    page_of,
    statuses_in,
    window_in,
)
from app.sandbox.clock import format_time
from app.sandbox.engine import reports
from app.sandbox.engine.batch import Batch
from app.sandbox.engine.outcomes import FINAL
from app.sandbox.errors import bad_constraint
from app.sandbox.numbers import digits_of

blueprint = sinch_blueprint("batches")

_TEXT_ONLY_DEFAULTS = {"flash_message": False}


@blueprint.post("/batches")
def create_batch() -> tuple[Response, int]:
    return jsonify(batch_json(the_plan().accept(read_body()))), HTTPStatus.CREATED


@blueprint.get("/batches")
def list_batches() -> Response:
    plan, query = the_plan(), request.args
    start, end = window_in(query, plan.clock.now())
    found = plan.listed(reference=query.get("client_reference"), start=start, end=end)
    if senders := {digits_of(sender) or sender for sender in list_in(query, "from")}:
        found = [b for b in found if b.order.fields.get("from") in senders]
    shown, page = page_of(found, query)
    return jsonify(page | {"batches": [batch_json(batch) for batch in shown]})


@blueprint.get("/batches/<batch_id>")
def show_batch(batch_id: str) -> Response:
    return jsonify(batch_json(the_plan().find(batch_id)))


@blueprint.post("/batches/<batch_id>")
def update_batch(batch_id: str) -> Response:
    return jsonify(batch_json(the_plan().update(batch_id, read_body())))


@blueprint.put("/batches/<batch_id>")
def replace_batch(batch_id: str) -> Response:
    return jsonify(batch_json(the_plan().replace(batch_id, read_body())))


@blueprint.delete("/batches/<batch_id>")
def cancel_batch(batch_id: str) -> Response:
    return jsonify(batch_json(the_plan().cancel(batch_id)))


@blueprint.post("/batches/dry_run")
def dry_run() -> Response:
    """Parts every recipient would get.  Nothing is sent."""
    plan, query = the_plan(), request.args
    listed = number_in(query, "number_of_recipients", default=100, least=0, most=1000)
    per_recipient = flag_in(query, "per_recipient")
    batch = plan.draft(read_body())
    lines = [_dry_line(batch, number) for number in plan.expand(batch.order.to)]
    answer: Json = {
        "number_of_recipients": len(lines),
        "number_of_messages": sum(line["number_of_parts"] for line in lines),
    }
    return jsonify(answer | ({"per_recipient": lines[:listed]} if per_recipient else {}))


@blueprint.post("/batches/<batch_id>/delivery_feedback")
def give_feedback(batch_id: str) -> tuple[str, int]:
    """Note who is known to have received the batch; no recipients means all of them."""
    batch = the_plan().find(batch_id)
    named = numbers_of(read_body(), "recipients", most=1000)
    if named is None:
        raise bad_constraint("recipients is required")
    if not batch.order.fields.get("feedback_enabled"):
        raise bad_constraint("feedback_enabled is not set on this batch")
    if not named and not all(entry.isdigit() for entry in batch.order.to):
        raise bad_constraint("recipients must be named on a batch to groups")
    batch.feedback.update(named or batch.recipients)
    return "", HTTPStatus.ACCEPTED


@blueprint.get("/batches/<batch_id>/delivery_report")
def show_batch_report(batch_id: str) -> Response:
    plan, query = the_plan(), request.args
    kind = query.get("type", "summary")
    if kind not in ("summary", "full"):
        raise bad_constraint("type must be summary or full")
    return jsonify(reports.batch_report(
        plan.find(batch_id), plan.clock.now(), full=kind == "full", settings=plan.settings,
        statuses=statuses_in(query), codes=codes_in(query),
    ))  # fmt: skip


@blueprint.get("/batches/<batch_id>/delivery_report/<number>")
def show_recipient_report(batch_id: str, number: str) -> Response:
    plan = the_plan()
    return jsonify(reports.current_recipient_report(
        plan.find(batch_id), number, plan.clock.now(), plan.settings
    ))  # fmt: skip


@blueprint.get("/delivery_reports")
def list_recipient_reports() -> Response:
    """Final reports of the window, newest first."""
    plan, query = the_plan(), request.args
    now = plan.clock.now()
    start, end = window_in(query, now)
    statuses, codes = statuses_in(query), codes_in(query)
    batches = plan.listed(reference=query.get("client_reference"), start=0.0, end=None)
    found = [
        (change.at, batch, place, change)
        for batch in batches
        for place in range(len(batch.recipients))
        if (change := batch.status(place, now)).status in FINAL
        and start <= (printed_at := round(change.at, 3))
        and (end is None or printed_at < end)
        and reports.is_wanted(change, statuses, codes)
    ]
    found.sort(key=lambda entry: entry[0], reverse=True)
    shown, page = page_of(found, query)
    lines = [reports.recipient_report(batch, place, change, settings=plan.settings)
             for _, batch, place, change in shown]  # fmt: skip
    return jsonify(page | {"delivery_reports": lines})


def batch_json(batch: Batch) -> Json:
    """A batch as answers show it: what was given, the defaults, and what Sinch adds."""
    settings, given = the_plan().settings, batch.order.fields
    kind = batch.order.type
    shown = (
        (_TEXT_ONLY_DEFAULTS if kind == "mt_text" else {})
        | given
        | {
            "id": batch.id,
            "to": [reports.echo(entry, settings) for entry in batch.order.to],
            "canceled": batch.cancelled_at is not None,
            "type": kind,
            "created_at": format_time(batch.created_at),
            "modified_at": format_time(batch.modified_at),
            "delivery_report": batch.order.report,
            "expire_at": format_time(batch.expire_at),
            "feedback_enabled": given.get("feedback_enabled", False),
        }
    )
    if "from" in given:
        shown["from"] = reports.echo(given["from"], settings)
    if batch.order.send_at is not None:
        shown["send_at"] = format_time(batch.order.send_at)
    return shown


def _dry_line(batch: Batch, number: str) -> Json:
    settings = the_plan().settings
    if batch.order.type == "mt_binary":
        text, parts, unicode = batch.order.fields["body"], 1, False
    else:
        filled = batch.text_for(number)
        text, unicode, parts = batch.measured(batch.template if filled is None else filled)
    names = (
        ("text", "unicode") if settings.dry_run_encodings == "text_unicode" else ("GSM", "UNICODE")
    )
    return {
        "recipient": reports.echo(number, settings),
        "body": text,
        "number_of_parts": parts,
        "encoding": names[unicode],
    }
