"""Routes of subscribers.  Phone numbers are in bodies only, never in URLs."""

from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.files import CSV_RESPONSE, CsvQuerySchema, audit_export, make_csv_response
from app.http.openapi import Blueprint
from app.subscribers.current import current_subscriber_context
from app.subscribers.profiles import crud, queries
from app.subscribers.profiles.bulk import upsert_subscribers as upsert
from app.subscribers.profiles.entry import SubscriberEntry
from app.subscribers.profiles.export_csv import export_subscribers
from app.subscribers.profiles.person_export import export_person
from app.subscribers.profiles.response_schemas import (
    BulkAnswerSchema,
    BulkRefusedSchema,
    PersonExportSchema,
    SubscriberConflictSchema,
    SubscriberPageSchema,
    SubscriberViewSchema,
)
from app.subscribers.profiles.schemas import (
    BulkSchema,
    DetailsSchema,
    LookupSchema,
    SubscriberQuerySchema,
    SubscriberSchema,
)

blueprint = Blueprint(
    "subscribers",
    __name__,
    url_prefix="/api",
    description="Subscribers: people who get broadcasts.",
)

_KNOWN = "A subscriber with this number exists; see `subscriber_id`."
_REFUSED = "Entries are invalid; nothing was changed."


@blueprint.route("/subscribers", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(SubscriberQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, SubscriberPageSchema)
def list_subscribers(query: dict[str, Any]) -> dict[str, Any]:
    """List subscribers that match all given filters, in order of creation."""
    page = queries.list_subscribers(current_subscriber_context(), **query)
    return {"subscribers": page.rows, "cursor": page.cursor}


@blueprint.route("/subscribers", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _KNOWN, SubscriberConflictSchema)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(
    SubscriberSchema(),
    example={"phone": "+46701234567", "first_name": "Ann", "tags": ["customers"]},
)
@blueprint.response(HTTPStatus.CREATED, SubscriberViewSchema)
def create_subscriber(entry: SubscriberEntry) -> dict[str, Any]:
    """Create a subscriber."""
    return crud.create_subscriber(current_subscriber_context(), entry, actor=g.client.name)


@blueprint.route("/subscribers/bulk", methods=["POST"])
@blueprint.error_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
@blueprint.error_response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
@blueprint.error_response(HTTPStatus.BAD_REQUEST, _REFUSED, BulkRefusedSchema)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(
    BulkSchema(), example={"subscribers": [{"phone": "+46701234567", "first_name": "Ann"}]}
)
@blueprint.response(HTTPStatus.OK, BulkAnswerSchema)
def upsert_subscribers(body: dict[str, Any]) -> dict[str, Any]:
    """Create or update up to 10,000 subscribers, with at most 100 new tags.

    All are checked first and then written in slices, so that other requests need not wait.
    """
    return upsert(current_subscriber_context(), actor=g.client.name, **body)


@blueprint.route("/subscribers/lookup", methods=["POST"])
@blueprint.error_response(HTTPStatus.NOT_FOUND, "No subscriber has this number.")
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(LookupSchema(), example={"phone": "+46701234567"})
@blueprint.response(HTTPStatus.OK, SubscriberViewSchema)
def look_up_subscriber(body: dict[str, Any]) -> dict[str, Any]:
    """Find the subscriber with a number."""
    return queries.look_up_subscriber(current_subscriber_context(), **body)


@blueprint.route("/subscribers/<id:subscriber_id>", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.response(HTTPStatus.OK, SubscriberViewSchema)
def show_subscriber(subscriber_id: str) -> dict[str, Any]:
    """Show a subscriber."""
    return queries.view_subscriber(current_subscriber_context(), subscriber_id)


@blueprint.route("/subscribers/<id:subscriber_id>", methods=["PATCH"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(DetailsSchema(), example={"first_name": "Anna"})
@blueprint.response(HTTPStatus.OK, SubscriberViewSchema)
def change_subscriber(change: dict[str, Any], subscriber_id: str) -> dict[str, Any]:
    """Change the given fields.

    null clears a field; attributes are merged, tags are replaced.
    """
    return crud.change_subscriber(
        current_subscriber_context(), subscriber_id, actor=g.client.name, **change
    )


@blueprint.route("/subscribers/<id:subscriber_id>", methods=["DELETE"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.response(HTTPStatus.NO_CONTENT)
def delete_subscriber(subscriber_id: str) -> None:
    """Delete a subscriber.

    Suppression and consent ledger of the number stay.
    """
    crud.delete_subscriber(current_subscriber_context(), subscriber_id, actor=g.client.name)


@blueprint.route("/subscribers/<id:subscriber_id>/export", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.response(HTTPStatus.OK, PersonExportSchema)
def export_subscriber(subscriber_id: str) -> dict[str, Any]:
    """Export all data about a person as one document."""
    sources = current_app.extensions.get("person_sources", ())
    person = export_person(current_subscriber_context(), subscriber_id, sources)
    audit_export(f"subscriber {subscriber_id}")
    return person


@blueprint.route("/subscribers.csv", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(CsvQuerySchema(), location="query")
@blueprint.response(
    HTTPStatus.OK, **CSV_RESPONSE, description="A line per subscriber, in the format of imports."
)
def export_all_subscribers(query: dict[str, Any]) -> Response:
    """Export all subscribers as a CSV file."""
    export = partial(export_subscribers, current_subscriber_context())
    return make_csv_response(export, "subscribers.csv", **query)
