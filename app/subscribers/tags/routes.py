"""Routes of tags."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.subscribers.attributes import read_tag
from app.subscribers.current import current_subscriber_context
from app.subscribers.tags import tags
from app.subscribers.tags.schemas import (
    TagChangeSchema,
    TagDeletedSchema,
    TagPageSchema,
    TagQuerySchema,
    TagSchema,
    TagSubscribersChangedSchema,
    TagSubscribersSchema,
    TagViewSchema,
)

blueprint = Blueprint("tags", __name__, url_prefix="/api/tags", description="Tags of subscribers.")

_TAKEN = "A tag with this name exists."


@blueprint.route("", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.arguments(TagQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, TagPageSchema)
def list_tags(query: dict[str, Any]) -> dict[str, Any]:
    """List tags and their number of subscribers, in order of creation."""
    page = tags.list_tags(current_subscriber_context(), **query)
    return {"tags": page.rows, "cursor": page.cursor}


@blueprint.route("", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _TAKEN)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(TagSchema(), example={"name": "customers"})
@blueprint.response(HTTPStatus.CREATED, TagViewSchema)
def create_tag(body: dict[str, Any]) -> dict[str, Any]:
    """Create a tag.

    Assigning an unknown tag also creates it, without double opt-in.
    """
    return tags.create_tag(current_subscriber_context(), actor=g.client.name, **body)


@blueprint.route("/<tag>", methods=["GET"])
@require_api_key(KeyScope.READ_SUBSCRIBERS)
@blueprint.response(HTTPStatus.OK, TagViewSchema)
def show_tag(tag: str) -> dict[str, Any]:
    """Show a tag and its number of subscribers."""
    return tags.view_tag(current_subscriber_context(), read_tag(tag))


@blueprint.route("/<tag>", methods=["PATCH"])
@blueprint.error_response(HTTPStatus.CONFLICT, _TAKEN)
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(TagChangeSchema(), example={"double_opt_in": False})
@blueprint.response(HTTPStatus.OK, TagViewSchema)
def change_tag(change: dict[str, Any], tag: str) -> dict[str, Any]:
    """Rename a tag, or switch its double opt-in."""
    return tags.change_tag(
        current_subscriber_context(), read_tag(tag), actor=g.client.name, **change
    )


@blueprint.route("/<tag>", methods=["DELETE"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.response(HTTPStatus.OK, TagDeletedSchema)
def delete_tag(tag: str) -> dict[str, int]:
    """Delete a tag and remove it from all subscribers."""
    return {
        "removed": tags.delete_tag(current_subscriber_context(), read_tag(tag), actor=g.client.name)
    }


@blueprint.route("/<tag>/subscribers", methods=["POST"])
@require_api_key(KeyScope.WRITE_SUBSCRIBERS)
@blueprint.arguments(TagSubscribersSchema(), example={"add": [], "remove": []})
@blueprint.response(HTTPStatus.OK, TagSubscribersChangedSchema)
def change_tag_subscribers(body: dict[str, Any], tag: str) -> dict[str, int]:
    """Add subscribers to a tag, and remove others."""
    return tags.change_tag_subscribers(
        current_subscriber_context(), read_tag(tag), actor=g.client.name, **body
    )
