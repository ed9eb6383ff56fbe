"""The third step of a new broadcast: its sender, its kind, and its start."""

from typing import Any

from flask import request
from marshmallow import ValidationError

from app.accounts.roles import Role
from app.sms.current import current_context
from app.sms.models.states import Category
from app.sms.request.schemas import BroadcastRequestSchema
from app.web.guard import make_page_blueprint, require_role
from app.web.new.frame import (
    collect_errors,
    find,
    go_on,
    go_to_broadcast,
    read_text,
    save,
    show_step,
)

blueprint = make_page_blueprint("new_when")


@blueprint.get("/new/<draft_id>/when")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show sender, kind and start."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    body = draft.body
    return _show(draft, {"sender": body.get("sender", ""), "category": body.get("category", "")})


@blueprint.post("/new/<draft_id>/when")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Any:
    """Save sender, kind and start."""
    draft = find(draft_id)
    typed = {name: read_text(name) for name in ("sender", "category")}
    given = {name: value for name, value in typed.items() if value}
    errors = _find_errors(given)
    if errors:
        return _show(draft, typed, errors=errors)
    changes = {name: given.get(name) for name in typed}
    return save(draft_id, changes) or go_on(draft_id, "when", "confirm")


def _show(draft: Any, typed: dict[str, str], *, errors: dict[str, str] | None = None) -> Any:
    return show_step(
        "when",
        draft,
        draft.public_id,
        errors=errors,
        typed=typed,
        default_sender=current_context().default_sender,
        categories=Category,
    )


def _find_errors(given: dict[str, Any]) -> dict[str, str]:
    if request.form.get("category") not in list(Category):
        return {"category": "Choose what kind of text it is."}
    try:
        BroadcastRequestSchema(only=("message", *given)).load({"message": "-", **given})
    except ValidationError as e:
        return collect_errors(e)
    return {}
