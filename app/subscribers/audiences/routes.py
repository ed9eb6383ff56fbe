"""Routes of saved audiences."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.subscribers.attributes import read_tag
from app.subscribers.audiences import saved
from app.subscribers.audiences.schemas import (
    SavedAudienceChangeSchema,
    SavedAudiencePageSchema,
    SavedAudienceQuerySchema,
    SavedAudienceSchema,
    SavedAudienceViewSchema,
)
from app.subscribers.current import current_subscriber_context

blueprint = Blueprint(
    "audiences",
    __name__,
    url_prefix="/api/audiences",
    description="Audiences saved by name, to be copied into broadcasts.",
)

_TAKEN = "An audience with this name exists."


@blueprint.route("", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(SavedAudienceQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, SavedAudiencePageSchema)
def list_audiences(query: dict[str, Any]) -> dict[str, Any]:
    """List saved audiences, in order of creation."""
    page = saved.list_saved(current_subscriber_context(), **query)
    return {"audiences": page.rows, "cursor": page.cursor}


@blueprint.route("", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _TAKEN)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(
    SavedAudienceSchema(), example={"name": "regulars", "audience": {"any": ["customers"]}}
)
@blueprint.response(HTTPStatus.CREATED, SavedAudienceViewSchema)
def save_audience(body: dict[str, Any]) -> Any:
    """Save an audience by a name."""
    return saved.save_audience(current_subscriber_context(), actor=g.client.name, **body)


@blueprint.route("/<audience>", methods=["PATCH"])
@blueprint.error_response(HTTPStatus.CONFLICT, _TAKEN)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(SavedAudienceChangeSchema(), example={"name": "old regulars"})
@blueprint.response(HTTPStatus.OK, SavedAudienceViewSchema)
def change_audience(change: dict[str, Any], audience: str) -> Any:
    """Rename a saved audience, or replace what it selects."""
    change = {"actor": g.client.name, **change}
    return saved.change_saved(current_subscriber_context(), read_tag(audience), **change)


@blueprint.route("/<audience>", methods=["DELETE"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.response(HTTPStatus.NO_CONTENT)
def delete_audience(audience: str) -> None:
    """Delete a saved audience; broadcasts that copied it stay."""
    saved.delete_saved(current_subscriber_context(), read_tag(audience), actor=g.client.name)
