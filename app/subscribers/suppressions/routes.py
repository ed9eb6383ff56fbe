"""Routes of suppressions."""

from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response, g, request
from sqlalchemy import Row

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.body import read_blocks
from app.http.fields import NumberSchema
from app.http.files import BINARY, CSV, CSV_FILE, CSV_RESPONSE, make_csv_response, require_file
from app.http.openapi import Blueprint
from app.rate_limit import reserve_capacity
from app.subscribers.current import current_subscriber_context
from app.subscribers.suppressions import csv_files, manage
from app.subscribers.suppressions.schemas import (
    AddedSchema,
    ImportedListSchema,
    NewSuppressionSchema,
    ReleaseSchema,
    SuppressionAnswerSchema,
    SuppressionFileQuerySchema,
    SuppressionImportQuerySchema,
    SuppressionPageSchema,
    SuppressionQuerySchema,
    SuppressionViewSchema,
)

blueprint = Blueprint(
    "suppressions",
    __name__,
    url_prefix="/api",
    description="Suppressions: numbers that get no texts.",
)

_ERASED = "The person was erased, so the number is unknown."
_LIFTED = "The suppression was lifted, or the person was erased."
_JSON_LINES = "application/x-ndjson"
# A million numbers with other columns beside them.
_MAX_FILE_BYTES = 100 * 1024 * 1024


@blueprint.route("/suppressions", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(SuppressionQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, SuppressionPageSchema)
def list_suppressions(query: dict[str, Any]) -> dict[str, Any]:
    """List suppressions that match all given filters, newest first."""
    page = manage.list_suppressions(current_subscriber_context(), **query)
    return {"suppressions": page.rows, "cursor": page.cursor}


@blueprint.route("/suppressions", methods=["POST"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS, brakes=True)
@blueprint.arguments(
    NewSuppressionSchema(), example={"phone": "+46701234567", "note": "Asked by phone"}
)
@blueprint.response(HTTPStatus.OK, AddedSchema)
def add_suppressions(body: dict[str, Any]) -> manage.Added:
    """Suppress numbers.

    A text such as START does not lift it.
    """
    phones = body.get("phones") or [body["phone"]]
    return manage.add_suppressions(
        current_subscriber_context(),
        phones,
        actor=g.client.name,
        channel=manage.API,
        scope=body["scope"],
        note=body.get("note"),
    )


@blueprint.route("/suppressions/lookup", methods=["POST"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(NumberSchema(), example={"phone": "+46701234567"})
@blueprint.response(HTTPStatus.OK, SuppressionAnswerSchema)
def look_up_suppression(body: dict[str, Any]) -> dict[str, Any]:
    """Look up whether a number is suppressed; also finds the number of an erased person."""
    suppression = manage.look_up(current_subscriber_context(), body["phone"])
    return {
        "suppressed": suppression is not None and suppression.active,
        "suppression": suppression,
    }


@blueprint.route("/suppressions/<suppression_id>/release", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _ERASED)
@require_api_key(KeyScope.OVERSEE_SUBSCRIBERS)
@blueprint.arguments(ReleaseSchema(), example={"note": "Asked to get texts again"})
@blueprint.response(HTTPStatus.OK, SuppressionViewSchema)
def release_suppression(body: dict[str, Any], suppression_id: str) -> Row[Any]:
    """Lift a suppression.

    Consent to marketing is not restored.
    """
    return manage.release_suppression(
        current_subscriber_context(),
        suppression_id,
        actor=g.client.name,
        channel=manage.API,
        note=body["note"],
    )


@blueprint.route("/suppressions/<suppression_id>/confirm", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _LIFTED)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS, brakes=True)
@blueprint.response(HTTPStatus.OK, SuppressionViewSchema)
def confirm_suppression(suppression_id: str) -> Row[Any]:
    """Confirm that an ambiguous text was meant as an opt-out."""
    return manage.confirm_suppression(
        current_subscriber_context(), suppression_id, actor=g.client.name, channel=manage.API
    )


@blueprint.route("/suppressions.csv", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(SuppressionFileQuerySchema(), location="query")
@blueprint.response(
    HTTPStatus.OK, **CSV_RESPONSE, description="A line per suppression, in the format of imports."
)
def export_all_suppressions(query: dict[str, Any]) -> Response:
    """Export suppressions as a CSV file."""
    active = query["active"]
    export = partial(csv_files.export_suppressions, current_subscriber_context(), active=active)
    return make_csv_response(export, "suppressions.csv", query["csv_format"])


@blueprint.route("/suppressions/import", methods=["POST"])
@blueprint.error_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The file is larger than 100 MiB.")
@blueprint.error_response(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    f"The body is neither {CSV} nor {_JSON_LINES}, or it is compressed.",
)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS, brakes=True)
@blueprint.arguments(SuppressionImportQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, ImportedListSchema)
@blueprint.doc(requestBody={"required": True, "content": {CSV: CSV_FILE, _JSON_LINES: BINARY}})
def import_suppressions(options: dict[str, Any]) -> csv_files.ImportedList:
    """Import suppressions from a CSV or JSON lines file; repeating it changes nothing."""
    is_json = require_file(CSV, _JSON_LINES, encoding=options["encoding"]) == _JSON_LINES
    reserve_capacity()
    return csv_files.import_suppressions(
        current_subscriber_context(),
        read_blocks(request, _MAX_FILE_BYTES),
        is_json=is_json,
        actor=g.client.name,
        source="POST /api/suppressions/import",
        **options,
    )
