"""Routes of batches that need an operator's decision."""

from http import HTTPStatus
from typing import Any

from flask import current_app, g
from marshmallow import Schema, fields, validate

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.fields import MessageText, required
from app.http.openapi import Blueprint
from app.sms.current import current_context
from app.sms.recovery.attention import MAX_NOTE_CHARACTERS, Decision, find_attention, resolve_batch
from app.sms.recovery.schemas import AttentionPageSchema, BatchConflictSchema, BatchStateSchema

blueprint = Blueprint(
    "batches",
    __name__,
    url_prefix="/api/batches",
    description="Batches of unknown outcome.",
)


class DecisionSchema(Schema):
    """An operator's decision about a batch."""

    decision = fields.Enum(
        Decision,
        **required(
            "mark_sent: the batch was sent. resend: submit it again; its recipients "
            "may get the text twice. give_up: do nothing more."
        ),
        by_value=True,
    )
    note = MessageText(
        **required("The reason, for the audit log. No personal data."),
        validate=validate.Length(1, MAX_NOTE_CHARACTERS),
    )


@blueprint.route("/attention", methods=["GET"])
@require_api_key(KeyScope.OPERATE)
@blueprint.response(HTTPStatus.OK, AttentionPageSchema)
def list_batches_for_attention() -> dict[str, Any]:
    """List the batches that need a decision: the oldest 1,000."""
    rows = find_attention(current_context())
    return {
        "waiting": rows[0].waiting if rows else 0,
        "batches": rows,
    }


@blueprint.route("/<client_reference>/resolve", methods=["POST"])
@blueprint.error_response(
    HTTPStatus.CONFLICT,
    "The batch needs no decision, or its broadcast is cancelled.",
    BatchConflictSchema,
)
@require_api_key(KeyScope.OPERATE)
@blueprint.arguments(
    DecisionSchema(), example={"decision": "mark_sent", "note": "Seen in the dashboard of Sinch"}
)
@blueprint.response(HTTPStatus.OK, BatchStateSchema)
def decide_about_batch(decision: dict[str, Any], client_reference: str) -> dict[str, Any]:
    """Decide about a batch.

    The decision is kept in the audit log.
    """
    state = resolve_batch(
        current_context(),
        client_reference,
        decision["decision"],
        actor=g.client.name,
        note=decision["note"],
    )
    current_app.extensions["wake_workers"]()
    return {"client_reference": client_reference, "state": state}
