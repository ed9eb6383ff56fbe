"""The first step of a new broadcast: what they read, counted while it is written."""

from http import HTTPStatus
from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for
from marshmallow import ValidationError
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.accounts.users import find_phone, set_phone
from app.config.keys import PEOPLE_CLIENT
from app.errors import BadInput, ClarionError, Conflict, NotFound
from app.http.arguments import collect_errors
from app.ids import make_id
from app.phone.reader import PhoneReader
from app.sms.current import current_context
from app.sms.drafts.count import count_text, fill_for_person, find_cheaper
from app.sms.drafts.send import send_test
from app.sms.request.schemas import BroadcastRequestSchema
from app.subscribers.profiles.queries import look_up_subscriber
from app.text.lookalikes import suggest_gsm_text
from app.web.guard import current_user, describe_actor, make_page_blueprint, require_role
from app.web.new.figures import describe_cheaper, describe_count
from app.web.new.frame import (
    find,
    go_on,
    go_to_broadcast,
    read_text,
    save,
    say_error,
    show_step,
)

blueprint = make_page_blueprint("new_text")


@blueprint.get("/new/<draft_id>/text")
@require_role(Role.AUTHOR)
def show(draft_id: str) -> Any:
    """Show the text, and how a person of the audience gets it."""
    draft = find(draft_id)
    if draft.broadcast:
        return go_to_broadcast(draft.broadcast)
    message = draft.body.get("message", "")
    person = max(0, request.args.get("person", 1, int))
    counted, ctx = count(draft, message, person=person), current_context()
    phone = find_phone(ctx.db, current_user().user_id)
    trial = make_id(ctx.now())
    return show_step(
        "text", draft, draft_id, message=message, counted=counted, phone=phone, trial=trial
    )


@blueprint.post("/new/<draft_id>/text")
@require_role(Role.AUTHOR)
def change(draft_id: str) -> Response | Any:
    """Save the text, in its cheaper spelling if that is asked for."""
    message, go = read_text("message"), request.form.get("go", "")
    errors = _find_errors(message)
    if errors:
        draft = _find_saved(draft_id)
        return show_step("text", draft, draft_id, errors=errors, message=message, counted=None)
    if go == "cheaper":
        message = suggest_gsm_text(message) or message
    if saved := save(draft_id, {"message": message}):
        return saved
    if go == "test":
        return _send_test(draft_id)
    if go == "cheaper" or go.startswith("person-"):
        person = go.removeprefix("person-") if go != "cheaper" else None
        target = url_for("new_text.show", draft_id=draft_id, person=person)
        return redirect(target, HTTPStatus.SEE_OTHER)
    return go_on(draft_id, "text", "audience")


@blueprint.post("/new/<draft_id>/text/count")
@require_role(Role.AUTHOR)
def show_count(draft_id: str) -> str:
    """Count what is in the box now; nothing is saved."""
    counted = count(_find_saved(draft_id), read_text("message"))
    return render_template(
        "new/count.html", counted=counted, is_answer=True, said=request.form.get("said", "")
    )


def _send_test(draft_id: str) -> Response:
    """Send the text to the user's own number, and say what came of it."""
    ctx, user = current_context(), current_user()
    back = redirect(url_for("new_text.show", draft_id=draft_id), HTTPStatus.SEE_OTHER)
    try:
        phone = PhoneReader(country=ctx.subscriber_rules.default_country).read(read_text("phone"))
    except ValueError as e:
        flash(f"No test was sent.\nYour own number: {e}", "warn")
        return back
    set_phone(ctx.db, ctx.clock, user.user_id, phone, actor=describe_actor())
    try:
        broadcast_id = send_test(
            ctx,
            find(draft_id),
            phone,
            read_text("trial"),
            client=PEOPLE_CLIENT,
            user=user.name,
            production=current_app.config["PRODUCTION"],
        )
    except (ClarionError, ValidationError) as e:
        flash(f"No test was sent.\n{say_error(e)}", "warn")
        return back
    flash(f"A test is on its way to {phone}.\nIt is the broadcast {broadcast_id}.", "done")
    return back


def count(draft: Any, message: str, *, person: int = 1) -> dict[str, Any] | None:
    """Return the count of a text in words, or what is wrong with it; None without a text."""
    if not message:
        return None
    ctx = current_context()
    try:
        counted = count_text(ctx, draft, message)
        cheaper = find_cheaper(ctx, draft, message)
        copy = fill_for_person(ctx, draft, message, number=person)
    except (ValidationError, BadInput, NotFound, Conflict) as e:
        return {"wrong": say_error(e)}
    return {
        "count": describe_count(counted),
        "cheaper": describe_cheaper(counted, cheaper),
        "characters": cheaper.characters,
        "example": copy,
        "name": _find_name(copy.phone) if copy else "",
    }


def _find_name(phone: str) -> str:
    """Return the name of the person with this number, else the number."""
    try:
        found = look_up_subscriber(current_context().subscriber_context, phone)
    except NotFound:
        return phone
    names = (found["first_name"], found["last_name"])
    return " ".join(filter(None, names)) or phone


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
