"""Who wants nothing, and who agreed to what, over HTTP."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.auth import OVERSEE_PEOPLE, READ_PEOPLE, WRITE_PEOPLE, require_api_key
from app.errors import UnsupportedBody
from app.http.fields import NumberSchema
from app.http.files import CSV, answer_csv, read_portions
from app.http.openapi import API_KEY_SCHEME, BODY_ERRORS, Blueprint
from app.rate_limit import rate_limited
from app.subscribers.current import current_subscriber_context
from app.subscribers.suppressions import manage
from app.subscribers.suppressions.csv_files import (
    export_suppressions,
    import_csv,
    import_json_lines,
)
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
    show_suppression,
)

blueprint = Blueprint(
    "suppressions",
    __name__,
    url_prefix="/api",
    description="Suppressions: numbers that are not written to; and the ledger of consent.",
)

_ERASED = {HTTPStatus.CONFLICT: "The person was erased: whose number it is, is not known."}
_LIFTED = {HTTPStatus.CONFLICT: "It was lifted, or the person was erased."}
_JSON_LINES = "application/x-ndjson"
# A million numbers, and what may stand beside them.
_MAX_FILE_BYTES = 100 * 1024 * 1024
_FILE = {"schema": {"type": "string", "format": "binary"}}


@blueprint.route("/suppressions", methods=["GET"])
@blueprint.guarded_errors(HTTPStatus.BAD_REQUEST)
@rate_limited
@require_api_key(READ_PEOPLE)
@blueprint.arguments(SuppressionQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, SuppressionPageSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def list_suppressions(query: dict[str, Any]) -> dict[str, Any]:
    """Suppressions that fit all that is given, the newest first."""
    page = manage.list_suppressions(current_subscriber_context(), **query)
    return {
        "suppressions": [show_suppression(each) for each in page.rows],
        "cursor": page.cursor,
    }


@blueprint.route("/suppressions", methods=["POST"])
@blueprint.guarded_errors(*BODY_ERRORS)
@rate_limited
@require_api_key(WRITE_PEOPLE)
@blueprint.arguments(NewSuppressionSchema())
@blueprint.response(HTTPStatus.OK, AddedSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def add_suppressions(wanted: dict[str, Any]) -> dict[str, Any]:
    """Write to these numbers no more; no text from their phones lifts it."""
    phones = wanted.get("phones") or [wanted["phone"]]
    added = manage.add_suppressions(
        current_subscriber_context(),
        phones,
        actor=g.client.name,
        channel=manage.API,
        scope=wanted["scope"],
        note=wanted.get("note"),
    )
    return {"numbers": added.numbers, "newly_suppressed": added.newly_suppressed}


@blueprint.route("/suppressions/lookup", methods=["POST"])
@blueprint.guarded_errors(*BODY_ERRORS)
@rate_limited
@require_api_key(READ_PEOPLE)
@blueprint.arguments(NumberSchema())
@blueprint.response(HTTPStatus.OK, SuppressionAnswerSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def look_up_suppression(whose: dict[str, Any]) -> dict[str, Any]:
    """Whether a number is written to; also an erased person's."""
    found = manage.look_up(current_subscriber_context(), whose["phone"])
    return {
        "suppressed": found is not None and found.active,
        "suppression": show_suppression(found) if found else None,
    }


@blueprint.route("/suppressions/<suppression_id>/release", methods=["POST"])
@blueprint.guarded_errors(*BODY_ERRORS, HTTPStatus.NOT_FOUND)
@blueprint.described_errors(_ERASED)
@rate_limited
@require_api_key(OVERSEE_PEOPLE)
@blueprint.arguments(ReleaseSchema())
@blueprint.response(HTTPStatus.OK, SuppressionViewSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def release_suppression(why: dict[str, Any], suppression_id: str) -> dict[str, Any]:
    """Write to a number again, on your word; consent to marketing does not come back by that."""
    released = manage.release_suppression(
        current_subscriber_context(),
        suppression_id,
        actor=g.client.name,
        channel=manage.API,
        note=why["note"],
    )
    return show_suppression(released)


@blueprint.route("/suppressions/<suppression_id>/confirm", methods=["POST"])
@blueprint.guarded_errors(HTTPStatus.NOT_FOUND)
@blueprint.described_errors(_LIFTED)
@rate_limited
@require_api_key(WRITE_PEOPLE)
@blueprint.response(HTTPStatus.OK, SuppressionViewSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def confirm_suppression(suppression_id: str) -> dict[str, Any]:
    """A text that could have been meant otherwise was meant as an opt-out."""
    confirmed = manage.confirm_suppression(
        current_subscriber_context(), suppression_id, actor=g.client.name, channel=manage.API
    )
    return show_suppression(confirmed)


@blueprint.route("/suppressions.csv", methods=["GET"])
@blueprint.guarded_errors(HTTPStatus.BAD_REQUEST)
@rate_limited
@require_api_key(READ_PEOPLE)
@blueprint.arguments(SuppressionFileQuerySchema(), location="query")
@blueprint.response(
    HTTPStatus.OK,
    {"type": "string"},
    content_type=CSV,
    description="A line for each suppression, which can be imported again.",
)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def export_all_suppressions(query: dict[str, Any]) -> Response:
    """Suppressions as a file for a spreadsheet."""
    return answer_csv(
        export_suppressions(current_subscriber_context(), **query), "suppressions.csv"
    )


@blueprint.route("/suppressions/import", methods=["POST"])
@blueprint.guarded_errors(*BODY_ERRORS)
@rate_limited
@require_api_key(WRITE_PEOPLE)
@blueprint.arguments(SuppressionImportQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, ImportedListSchema)
@blueprint.doc(
    security=[{API_KEY_SCHEME: []}],
    requestBody={"required": True, "content": {CSV: _FILE, _JSON_LINES: _FILE}},
)
def import_suppressions(options: dict[str, Any]) -> dict[str, Any]:
    """Take over a list of an earlier system; sending it again changes nothing."""
    ctx = current_subscriber_context()
    take = _choose_reading()
    # One more, by which a longer one without a Content-Length shows.
    request.max_content_length = _MAX_FILE_BYTES + 1
    taken = take(
        ctx,
        _read_bounded(),
        actor=g.client.name,
        source="POST /api/suppressions/import",
        **options,
    )
    refusals = [{"line": line, "reason": reason} for line, reason in taken.refusals]
    return {
        "numbers": taken.numbers,
        "newly_suppressed": taken.newly_suppressed,
        "refused": taken.refused,
        "refusals": refusals,
    }


def _choose_reading() -> Any:
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("Send the list uncompressed, without Content-Encoding")
    if request.mimetype == CSV:
        return import_csv
    if request.mimetype == _JSON_LINES:
        return import_json_lines
    raise UnsupportedBody(f"Send the list as Content-Type: {CSV} or {_JSON_LINES}")


def _read_bounded() -> Iterator[bytes]:
    """The body as it comes.  Raises RequestEntityTooLarge."""
    received = 0
    for portion in read_portions():
        received += len(portion)
        if received > _MAX_FILE_BYTES:
            raise RequestEntityTooLarge
        yield portion
