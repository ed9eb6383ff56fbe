"""Routes of templates."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.sms.content import templates
from app.sms.content.template_schemas import (
    TemplatePageSchema,
    TemplateQuerySchema,
    TemplateSchema,
    TemplateTextsSchema,
    TemplateViewSchema,
    show_template,
)
from app.sms.content.templates import TemplateTexts
from app.sms.current import current_context

blueprint = Blueprint(
    "templates",
    __name__,
    url_prefix="/api/templates",
    description="Templates: texts in several languages; all versions are kept.",
)

_TAKEN = "A template with this name exists; replace it instead."


@blueprint.route("", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.arguments(TemplateQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, TemplatePageSchema)
def list_templates(query: dict[str, Any]) -> dict[str, Any]:
    """List templates that are not archived, each in its newest version."""
    page = templates.list_templates(current_context(), **query)
    return {"templates": [show_template(template) for template in page.rows], "cursor": page.cursor}


@blueprint.route("", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _TAKEN)
@require_api_key(KeyScope.MANAGE_TEMPLATES)
@blueprint.arguments(
    TemplateSchema(),
    example={"name": "welcome", "texts": {"en": "Hi ${first_name}"}, "default_language": "en"},
)
@blueprint.response(HTTPStatus.CREATED, TemplateViewSchema)
def create_template(body: dict[str, Any]) -> dict[str, Any]:
    """Create a template.

    The name of an archived template continues its versions.
    """
    stored = templates.create_template(current_context(), **body, client=g.client.name)
    return show_template(stored)


@blueprint.route("/<template>", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.response(HTTPStatus.OK, TemplateViewSchema)
def read_template(template: str) -> dict[str, Any]:
    """Show the newest version of a template."""
    return show_template(templates.view_template(current_context(), template))


@blueprint.route("/<template>", methods=["PUT"])
@require_api_key(KeyScope.MANAGE_TEMPLATES)
@blueprint.arguments(
    TemplateTextsSchema(),
    example={"texts": {"en": "Hello ${first_name}"}, "default_language": "en"},
)
@blueprint.response(HTTPStatus.OK, TemplateViewSchema)
def replace_template(texts: TemplateTexts, template: str) -> dict[str, Any]:
    """Replace the texts of a template: adds a version, unless nothing changes."""
    stored = templates.replace_template(current_context(), template, texts, actor=g.client.name)
    return show_template(stored)


@blueprint.route("/<template>", methods=["DELETE"])
@require_api_key(KeyScope.MANAGE_TEMPLATES)
@blueprint.response(HTTPStatus.NO_CONTENT)
def archive_template(template: str) -> None:
    """Archive a template.

    Its versions can still be read.
    """
    templates.archive_template(current_context(), template, actor=g.client.name)


@blueprint.route("/<template>/versions/<int:version>", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.response(HTTPStatus.OK, TemplateViewSchema)
def read_template_version(template: str, version: int) -> dict[str, Any]:
    """Show a version of a template."""
    return show_template(templates.view_template(current_context(), template, version))
