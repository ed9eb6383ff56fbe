"""Routes of client webhooks: each client manages its own."""

from http import HTTPStatus
from typing import Any

from flask import current_app, g
from sqlalchemy import Row

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.sms.current import current_context
from app.sms.lifecycle.outbox import LISTENABLE
from app.webhooks.outgoing import deliveries, endpoints
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.schemas import (
    DeliveryPageSchema,
    DeliveryQuerySchema,
    DeliverySchema,
    EndpointChangeSchema,
    EndpointConflictSchema,
    EndpointPageSchema,
    EndpointSchema,
    EndpointSecretSchema,
    EndpointViewSchema,
    ReplayedSchema,
    ReplaySchema,
)
from app.webhooks.outgoing.signing import write_secret

blueprint = Blueprint(
    "client_webhooks",
    __name__,
    url_prefix="/api/webhooks",
    description="Webhooks: URLs that events of a client's broadcasts are posted to.",
)

_TOO_MANY = "The client has the maximum number of webhooks."
_SWITCHED_OFF = "The webhook is not active; see `status`."


@blueprint.route("", methods=["GET"])
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.response(HTTPStatus.OK, EndpointPageSchema)
def list_webhooks() -> dict[str, Any]:
    """List webhooks."""
    return {"webhooks": endpoints.list_endpoints(current_context())}


@blueprint.route("", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _TOO_MANY)
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.arguments(EndpointSchema(), example={"url": "https://example.com/hooks/sms"})
@blueprint.response(HTTPStatus.CREATED, EndpointSecretSchema)
def create_webhook(body: dict[str, Any]) -> dict[str, Any]:
    """Create a webhook.

    The response holds the secret, which is shown only once.
    """
    row = endpoints.create_endpoint(
        current_context(),
        _current_webhook_client(),
        client=g.client.name,
        url=body["url"],
        event_types=body.get("event_types", LISTENABLE),
        sees_numbers=_sees_numbers(),
    )
    return _show_secret(row)


@blueprint.route("/<webhook_id>", methods=["GET"])
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.response(HTTPStatus.OK, EndpointViewSchema)
def show_webhook(webhook_id: str) -> Row[Any]:
    """Show a webhook and the state of its deliveries."""
    return endpoints.view_endpoint(current_context(), webhook_id)


@blueprint.route("/<webhook_id>", methods=["PATCH"])
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.arguments(EndpointChangeSchema(), example={"enabled": True})
@blueprint.response(HTTPStatus.OK, EndpointViewSchema)
def change_webhook(change: dict[str, Any], webhook_id: str) -> Row[Any]:
    """Change URL or event types, or disable and enable a webhook."""
    row = endpoints.change_endpoint(
        current_context(),
        _current_webhook_client(),
        webhook_id,
        actor=g.client.name,
        sees_numbers=_sees_numbers(),
        **change,
    )
    current_app.extensions["wake_workers"]()
    return row


@blueprint.route("/<webhook_id>", methods=["DELETE"])
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.response(HTTPStatus.NO_CONTENT)
def delete_webhook(webhook_id: str) -> None:
    """Delete a webhook with its pending deliveries."""
    endpoints.delete_endpoint(current_context(), webhook_id, actor=g.client.name)


@blueprint.route("/<webhook_id>/rotate-secret", methods=["POST"])
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.response(HTTPStatus.OK, EndpointSecretSchema)
def rotate_secret(webhook_id: str) -> dict[str, Any]:
    """Create a new secret.

    For 24 hours events are also signed with the old one.
    """
    row = endpoints.rotate_secret(current_context(), webhook_id, actor=g.client.name)
    return _show_secret(row)


@blueprint.route("/<webhook_id>/test", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _SWITCHED_OFF, EndpointConflictSchema)
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.response(HTTPStatus.ACCEPTED, DeliverySchema)
def test_webhook(webhook_id: str) -> Row[Any]:
    """Post a test event.

    The delivery shows the result.
    """
    row = deliveries.send_test(current_context(), webhook_id)
    current_app.extensions["wake_workers"]()
    return row


@blueprint.route("/<webhook_id>/deliveries", methods=["GET"])
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.arguments(DeliveryQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, DeliveryPageSchema)
def list_deliveries(query: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """List deliveries to a webhook, newest events first.

    They are kept for 30 days.
    """
    page = deliveries.list_deliveries(current_context(), webhook_id, **query)
    return {"deliveries": page.rows, "cursor": page.cursor}


@blueprint.route("/<webhook_id>/deliveries/<delivery_id>/replay", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _SWITCHED_OFF, EndpointConflictSchema)
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.response(HTTPStatus.ACCEPTED, DeliverySchema)
def replay_delivery(webhook_id: str, delivery_id: str) -> Row[Any]:
    """Post an event again, whatever the result was."""
    row = deliveries.replay_delivery(
        current_context(), webhook_id, delivery_id, actor=g.client.name
    )
    current_app.extensions["wake_workers"]()
    return row


@blueprint.route("/<webhook_id>/replay", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _SWITCHED_OFF, EndpointConflictSchema)
@require_api_key(KeyScope.MANAGE_WEBHOOKS)
@blueprint.arguments(ReplaySchema(), example={"since": "2026-01-01T00:00:00Z"})
@blueprint.response(HTTPStatus.ACCEPTED, ReplayedSchema)
def replay_webhook(body: dict[str, Any], webhook_id: str) -> dict[str, Any]:
    """Post the failed events since a time again, or all events."""
    replayed = deliveries.replay_since(current_context(), webhook_id, **body, actor=g.client.name)
    current_app.extensions["wake_workers"]()
    return {"replayed": replayed}


def _current_webhook_client() -> WebhookHttpClient:
    webhook_client: WebhookHttpClient = current_app.extensions["webhook_client"]
    return webhook_client


def _sees_numbers() -> bool:
    return KeyScope.READ_NUMBERS in g.client.scopes


def _show_secret(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "secret": write_secret(row.secret)}
