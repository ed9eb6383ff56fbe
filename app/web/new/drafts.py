"""Pages of drafts: the list, the beginning of a new one, its end."""

from typing import Any

from flask import flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.ids import make_id
from app.sms.broadcasts.query_schemas import BroadcastQuerySchema
from app.sms.current import current_context
from app.sms.drafts.again import copy_broadcast
from app.sms.drafts.store import DraftSent, delete_draft, list_drafts
from app.web.guard import current_user, describe_actor, go_to, make_page_blueprint, require_role
from app.web.new.frame import go_to_broadcast, go_to_step
from app.web.new.text import select_typed, show_text

blueprint = make_page_blueprint("drafts")


@blueprint.get("/drafts")
@require_role(Role.AUTHOR)
def list_all() -> str:
    """List drafts, the newest first."""
    query = BroadcastQuerySchema(only=("cursor",)).load(request.args.to_dict())
    page = list_drafts(current_context(), **query)
    return render_template(
        "new/drafts.html", rows=page.rows, cursor=page.cursor, cursor_given="cursor" in query
    )


@blueprint.get("/new")
@require_role(Role.AUTHOR)
def begin() -> Any:
    """Show the first step of a new draft.  It is made when it is saved, and once."""
    draft_id = make_id(current_context().now())
    return show_text(None, draft_id, select_typed(None))


@blueprint.post("/broadcasts/<broadcast_id>/draft")
@require_role(Role.AUTHOR)
def use_again(broadcast_id: str) -> Response:
    """Make a draft of a broadcast, once for each time that its page is shown."""
    draft_id = request.form.get("draft", "")
    try:
        sentences = copy_broadcast(
            current_context(), broadcast_id, draft_id, user=current_user().name
        )
    except DraftSent as e:
        return go_to_broadcast(e.facts["broadcast_id"])
    flash(f"Copied.\n{' '.join(sentences) or 'Choose its start: that is not copied.'}", "done")
    return go_to_step(draft_id, "text")


@blueprint.post("/new/<draft_id>/delete")
@require_role(Role.AUTHOR)
def delete(draft_id: str) -> Response:
    """Delete a draft."""
    try:
        delete_draft(current_context(), draft_id, actor=describe_actor())
    except DraftSent as e:
        return go_to_broadcast(e.facts["broadcast_id"])
    flash("Deleted.\nThe draft is gone.", "done")
    return go_to("drafts.list_all")
