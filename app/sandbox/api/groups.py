"""Sinch's URLs: groups and inbounds."""

from http import HTTPStatus

from flask import Response, jsonify, request

from app.sandbox.api.access import read_body, sinch_blueprint, the_plan
from app.sandbox.api.queries import list_in, page_of, window_in
from app.sandbox.engine.groups import group_json
from app.sandbox.engine.reports import echo
from app.sandbox.numbers import digits_of

_DAY_S = 24 * 3600.0

blueprint = sinch_blueprint("groups_and_inbounds")


@blueprint.get("/inbounds")
def list_inbounds() -> Response:
    plan, query = the_plan(), request.args
    now = plan.clock.now()
    start, end = window_in(query, now)
    start = max(start, now - plan.settings.retention_days * _DAY_S)
    found = [i for i in reversed(plan.inbounds.all()) if start <= i.received_at]
    if end is not None:
        found = [i for i in found if i.received_at < end]
    if wanted := {digits_of(number) for number in list_in(query, "to")}:
        found = [i for i in found if i.json["to"] in wanted]
    if (reference := query.get("client_reference")) is not None:
        found = [i for i in found if i.json.get("client_reference") == reference]
    shown, page = page_of(found, query)
    return jsonify(page | {"inbounds": [inbound.json for inbound in shown]})


@blueprint.get("/inbounds/<inbound_id>")
def show_inbound(inbound_id: str) -> Response:
    plan = the_plan()
    since = plan.clock.now() - plan.settings.retention_days * _DAY_S
    return jsonify(plan.inbounds.find(inbound_id, since=since).json)


@blueprint.post("/groups")
def create_group() -> tuple[Response, int]:
    plan = the_plan()
    with plan.lock:
        group = plan.groups.create(read_body(), plan.clock.now())
    return jsonify(group_json(group)), HTTPStatus.CREATED


@blueprint.get("/groups")
def list_groups() -> Response:
    shown, page = page_of(the_plan().groups.all(), request.args)
    return jsonify(page | {"groups": [group_json(group) for group in shown]})


@blueprint.get("/groups/<group_id>")
def show_group(group_id: str) -> Response:
    return jsonify(group_json(the_plan().groups.find(group_id)))


@blueprint.post("/groups/<group_id>")
def update_group(group_id: str) -> Response:
    plan = the_plan()
    with plan.lock:
        return jsonify(group_json(plan.groups.update(group_id, read_body(), plan.clock.now())))


@blueprint.put("/groups/<group_id>")
def replace_group(group_id: str) -> Response:
    plan = the_plan()
    with plan.lock:
        return jsonify(group_json(plan.groups.replace(group_id, read_body(), plan.clock.now())))


@blueprint.delete("/groups/<group_id>")
def delete_group(group_id: str) -> tuple[str, int]:
    plan = the_plan()
    with plan.lock:
        plan.groups.delete(group_id)
    return "", HTTPStatus.OK


@blueprint.get("/groups/<group_id>/members")
def list_members(group_id: str) -> Response:
    plan = the_plan()
    return jsonify([echo(n, plan.settings) for n in plan.groups.find(group_id).members])
