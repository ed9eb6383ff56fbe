"""Routes of imports: create one, upload its file, watch it."""

from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, g, request

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.body import read_blocks
from app.http.files import (
    CSV,
    CSV_FILE,
    CSV_RESPONSE,
    CsvQuerySchema,
    make_csv_response,
    require_file,
)
from app.http.openapi import Blueprint
from app.subscribers.current import current_subscriber_context
from app.subscribers.imports import service
from app.subscribers.imports.models import ImportOptions
from app.subscribers.imports.schemas import (
    ImportConflictSchema,
    ImportPageSchema,
    ImportQuerySchema,
    ImportSchema,
    ImportViewSchema,
    show_import,
)
from app.subscribers.imports.upload import store_file

blueprint = Blueprint(
    "imports", __name__, url_prefix="/api", description="Imports of subscribers from CSV files."
)

_CELLS = "line of the file, column, cell, reason."
_CONFLICT = "Not allowed in the import's current status; see `status`."


@blueprint.route("/subscribers/imports", methods=["POST"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(
    ImportSchema(), required=False, example={"country": "SE", "tags": ["customers"]}
)
@blueprint.response(HTTPStatus.CREATED, ImportViewSchema)
def create_import(options: ImportOptions) -> dict[str, Any]:
    """Create an import with its options; upload the file next."""
    ctx = current_subscriber_context()
    row = service.create_import(ctx, options, client=g.client.name)
    return show_import(row, ctx.now())


@blueprint.route("/subscribers/imports/<import_id>/file", methods=["PUT"])
@blueprint.error_response(HTTPStatus.CONFLICT, _CONFLICT, ImportConflictSchema)
@blueprint.error_response(HTTPStatus.BAD_REQUEST, "The body could not be read.")
@blueprint.error_response(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The file is larger than IMPORT_MAX_BYTES."
)
@blueprint.error_response(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is no CSV file, or it is compressed."
)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.response(HTTPStatus.ACCEPTED, ImportViewSchema)
@blueprint.doc(requestBody={"required": True, "content": {CSV: CSV_FILE}})
def upload_import_file(import_id: str) -> dict[str, Any]:
    """Upload the file of an import.

    It is stored, then imported in the background.
    """
    ctx = current_subscriber_context()
    row = service.view_import(ctx, import_id)
    require_file(CSV, encoding=row.options["encoding"])
    row = store_file(ctx, import_id, read_blocks(request, ctx.rules.import_max_bytes))
    current_app.extensions["wake_importer"]()
    return show_import(row, ctx.now())


@blueprint.route("/subscribers/imports", methods=["GET"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(ImportQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, ImportPageSchema)
def list_imports(query: dict[str, Any]) -> dict[str, Any]:
    """List imports, newest first."""
    ctx = current_subscriber_context()
    page = service.list_imports(ctx, **query)
    now = ctx.now()
    return {"imports": [show_import(row, now) for row in page.rows], "cursor": page.cursor}


@blueprint.route("/subscribers/imports/<import_id>", methods=["GET"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.response(HTTPStatus.OK, ImportViewSchema)
def read_import(import_id: str) -> dict[str, Any]:
    """Show an import and its progress."""
    ctx = current_subscriber_context()
    return show_import(service.view_import(ctx, import_id), ctx.now())


@blueprint.route("/subscribers/imports/<import_id>/refused.csv", methods=["GET"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(CsvQuerySchema(), location="query")
@blueprint.response(
    HTTPStatus.OK,
    **CSV_RESPONSE,
    description=f"A line for each of the first 10,000 rejected cells: {_CELLS}",
)
def export_import_refusals(query: dict[str, Any], import_id: str) -> Response:
    """Export the rejected cells of an import as a CSV file."""
    export = partial(service.export_refusals, current_subscriber_context(), import_id)
    return make_csv_response(export, f"refused-{import_id}.csv", **query)


@blueprint.route("/subscribers/imports/<import_id>/warnings.csv", methods=["GET"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(CsvQuerySchema(), location="query")
@blueprint.response(
    HTTPStatus.OK,
    **CSV_RESPONSE,
    description="A line for each of the first 10,000 imported rows with a landline: " + _CELLS,
)
def export_import_warnings(query: dict[str, Any], import_id: str) -> Response:
    """Export the landlines of an import as a CSV file: they get no texts in most countries."""
    ctx = current_subscriber_context()
    export = partial(service.export_refusals, ctx, import_id, warnings=True)
    return make_csv_response(export, f"warnings-{import_id}.csv", **query)


@blueprint.route("/subscribers/imports/<import_id>/cancel", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _CONFLICT, ImportConflictSchema)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS, brakes=True)
@blueprint.response(HTTPStatus.OK, ImportViewSchema)
def cancel_import(import_id: str) -> dict[str, Any]:
    """Cancel an import.

    Rows that were imported stay.
    """
    ctx = current_subscriber_context()
    return show_import(service.cancel_import(ctx, import_id), ctx.now())
