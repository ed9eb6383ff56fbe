"""Sending a broadcast again to those not reached: what it comes to, its approval, and the press."""

from typing import Any

from flask import current_app, flash, request, url_for
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.config.keys import PEOPLE_CLIENT
from app.errors import BadInput, Conflict
from app.sms.broadcasts.resend import find_resend, quote_resend
from app.sms.broadcasts.views import BroadcastView
from app.sms.current import current_context
from app.sms.drafts.resend import (
    approve_resend,
    ask_resend,
    find_resend_approval,
    needs_resend_approval,
    resend_as_user,
)
from app.web.broadcasts.accounting import Accounting
from app.web.guard import (
    current_user,
    describe_actor,
    flash_refusal,
    make_page_blueprint,
    require_role,
)
from app.web.new.figures import add_amounts, read_micros, say_about
from app.web.new.frame import go_to_broadcast
from app.web.words import people, texts

blueprint = make_page_blueprint("resends")

# What it costs to send again is counted behind the page for more people; there it is asked for.
_FEW, _COUNTED = 1_000, "counted"


@blueprint.post("/broadcasts/<broadcast_id>/resend")
@require_role(Role.SENDER)
def send(broadcast_id: str) -> Response:
    """Send to those not reached whom another try may reach, once."""
    ctx, user, shown = current_context(), current_user().name, _read_people()
    try:
        answer = resend_as_user(ctx, broadcast_id, shown, client=PEOPLE_CLIENT, user=user)
    except (Conflict, BadInput) as e:
        flash_refusal(e)
        return go_to_broadcast(broadcast_id)
    current_app.extensions["wake_workers"]()
    flash(f"Sent again to {people(answer['recipients'])}.\nThis is the new broadcast.", "done")
    return go_to_broadcast(answer["broadcast_id"])


@blueprint.post("/broadcasts/<broadcast_id>/resend/ask")
@require_role(Role.SENDER)
def ask(broadcast_id: str) -> Response:
    """Ask a second person to approve that it is sent again."""
    try:
        ask_resend(current_context(), broadcast_id, user=current_user().name)
        flash("Asked.\nThe overview shows it to everybody who may approve it.", "done")
    except (Conflict, BadInput) as e:
        flash_refusal(e)
    return go_to_broadcast(broadcast_id)


@blueprint.post("/broadcasts/<broadcast_id>/resend/approve")
@require_role(Role.SENDER)
def approve(broadcast_id: str) -> Response:
    """Approve what a colleague asked for."""
    ctx, user, shown = current_context(), current_user().name, _read_people()
    try:
        approve_resend(ctx, broadcast_id, shown, user=user, actor=describe_actor())
        flash("Approved.\nIt can be sent now.", "done")
    except (Conflict, BadInput) as e:
        flash_refusal(e)
    return go_to_broadcast(broadcast_id)


def _read_people() -> int:
    """Return how many people the button named."""
    return request.form.get("people", 0, int)


def describe_resend(view: BroadcastView, accounting: Accounting) -> dict[str, Any] | None:
    """Return how many of those not reached are worth another try, or who has sent it again."""
    lines = [line for line in accounting.lines if line.kind == "not-reached"]
    figure = sum(sub.figure for line in lines for sub in line.subs if sub.again)
    if not figure or view.row.completed_at is None or view.row.purged_at is not None:
        return None
    ctx = current_context()
    resent = find_resend(ctx, view.row.public_id)
    asked = find_resend_approval(ctx, view.row.id)
    return {
        "figure": figure,
        "awaited": view.counts["submitted"],
        "resent": resent,
        "by": resent and (resent.created_by or f"the client {resent.client}"),
        "needs_approval": needs_resend_approval(ctx, asked, figure),
        # A question about fewer people than there are now has to be asked anew.
        "approvable": add_amounts(texts(figure), asked and asked.figures),
        "asked": asked if asked and not asked.approved_by and asked.people == figure else None,
        "approved_by": asked and asked.approved_by,
        "is_own": bool(asked and asked.asked_by == current_user().name),
    }


def describe_cost(broadcast_id: str, figure: int) -> dict[str, str]:
    """Return what it would cost to send again, or the page that has it, which comes behind."""
    if figure > _FEW and _COUNTED not in request.args:
        page = url_for("broadcasts.show_broadcast", broadcast_id=broadcast_id)
        return {"later": f"{page}?{_COUNTED}=1"}
    try:
        quote = quote_resend(current_context(), broadcast_id)
    except (Conflict, BadInput):  # it has just been sent again, or a report has come
        return {}
    cost, left = quote.cost, figure - quote.estimate.recipients.total()
    about = say_about(read_micros(cost.micros), cost.currency) if cost.currency else ""
    fewer = f"{people(left)} would be left out now: they have opted out or may not get it."
    return {"cost": about, "fewer": fewer if left > 0 else ""}
