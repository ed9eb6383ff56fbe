"""The first step of a new broadcast: what they read."""

from typing import Any

from marshmallow import ValidationError
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import NotFound
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

blueprint = make_page_blueprint("new_text")


@blueprint.get("/new/<draft_id>/text")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show the text."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    return show_step("text", draft, draft_id, message=draft.body.get("message", ""))


@blueprint.post("/new/<draft_id>/text")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Response | Any:
    """Save the text."""
    message = read_text("message")
    errors = _find_errors(message)
    if errors:
        return show_step("text", _find_saved(draft_id), draft_id, errors=errors, message=message)
    return save(draft_id, {"message": message}) or go_on(draft_id, "text", "audience")


def _find_errors(message: str) -> dict[str, str]:
    if not message:
        return {"message": "Write the text."}
    try:
        BroadcastRequestSchema(only=("message",)).load({"message": message})
    except ValidationError as e:
        return collect_errors(e)
    return {}


def _find_saved(draft_id: str) -> Any:
    """Return the draft; None for a new one."""
    try:
        return find(draft_id)
    except NotFound:
        return None
