"""Pages of suppressions: the list, one of them, and the texts that may mean STOP."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from marshmallow import ValidationError
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import Conflict, NotFound
from app.http.reasons import capitalize
from app.phone.e164 import mask_number
from app.sms.current import current_context
from app.sms.inbound.list import find_inbounds
from app.subscribers.current import current_subscriber_context
from app.subscribers.models import Scope
from app.subscribers.profiles.search import find_by_numbers
from app.subscribers.suppressions import manage
from app.subscribers.suppressions.schemas import (
    NewSuppressionSchema,
    ReleaseSchema,
    SuppressionQuerySchema,
)
from app.web.conversations.inbox import JudgementSchema, carry_out_judgement
from app.web.guard import describe_actor, flash_refusal, go_to, make_page_blueprint, require_role
from app.web.subscribers.thread import read_inbound
from app.web.subscribers.wording import (
    NO_NOTE,
    SCOPES,
    explain_stop,
    read_number,
    say_cause,
    show_name,
    show_number,
)
from app.web.words import name_actor

blueprint = make_page_blueprint("suppression_pages")

_ROWS = 50
_FILTERS = {
    "In force": {"active": "true"},
    "Marketing alone": {"active": "true", "scope": "marketing"},
    "Lifted": {"active": "false"},
}


@blueprint.get("/people/suppressions")
@require_role(Role.VIEWER)
def list_all() -> str:
    """List numbers that get no texts, the newest first."""
    return _show_list({}, {})


@blueprint.post("/people/suppressions")
@require_role(Role.AUTHOR)
def add() -> Response | tuple[str, HTTPStatus]:
    """Stop texts to a number, which need not be that of a person we know."""
    form = {name: request.form.get(name, "") for name in ("number", "scope", "note")}
    errors: dict[str, str] = {}
    phone = ""
    try:
        phone = read_number(form["number"])
    except ValueError as e:
        errors["number"] = str(e)
    body = {"phone": phone, "scope": form["scope"], "note": form["note"]}
    try:
        given = NewSuppressionSchema().load(body)
    except ValidationError as e:
        errors |= explain_stop(e)
    if errors:
        return _show_list(form, errors), HTTPStatus.BAD_REQUEST
    stop_texts(phone, scope=given["scope"], note=given["note"])
    # The note is in a cookie.
    to = mask_number(phone)
    flash(f"Stopped.\nTexts to {to} are stopped. It is kept with your name.", "done")
    return go_to("suppression_pages.list_all")


@blueprint.get("/people/suppressions/<id:suppression_id>")
@require_role(Role.AUTHOR)
def show_one(suppression_id: str) -> str:
    """Show a suppression, with the text that caused it."""
    return _show_one(_find(suppression_id))


@blueprint.post("/people/suppressions/<id:suppression_id>/release")
@require_role(Role.OPERATOR)
def release(suppression_id: str) -> Response | tuple[str, HTTPStatus]:
    """Allow texts to a number again.  Without a note nothing is done."""
    row = _find(suppression_id)
    form = {"note": request.form.get("note", "")}
    try:
        note = ReleaseSchema().load(form)["note"]
    except ValidationError:
        return _show_one(row, note=form["note"], error=NO_NOTE), HTTPStatus.BAD_REQUEST
    try:
        allow_texts(suppression_id, note=note)
    except Conflict as e:
        flash_refusal(e)
    return go_to("suppression_pages.show_one", suppression_id=suppression_id)


@blueprint.get("/people/review")
@require_role(Role.OPERATOR)
def list_to_review() -> str:
    """List the texts that may mean STOP, the newest first."""
    return _show_review()


@blueprint.post("/people/review/<id:suppression_id>")
@require_role(Role.OPERATOR)
def judge(suppression_id: str) -> Response | tuple[str, HTTPStatus]:
    """Say what a text meant: stop all texts, or let them go on."""
    row = _find(suppression_id)
    form = {name: request.form.get(name, "") for name in ("meant", "note")}
    try:
        judgement = JudgementSchema().load(form)
    except ValidationError as e:
        error = NO_NOTE if "note" in e.messages_dict else "Choose one of the two."
        page = _show_review(wrong_id=suppression_id, note=form["note"], error=error)
        return page, HTTPStatus.BAD_REQUEST
    target = go_to("suppression_pages.list_to_review")
    if not (row.active and row.needs_review):
        flash("Nothing was done.\nThe text was judged meanwhile.", "warn")
        return target
    try:
        carry_out_judgement(row, judgement["meant"], actor=describe_actor(), note=judgement["note"])
    except Conflict as e:
        flash_refusal(e)
    return target


def stop_texts(phone: str, *, scope: Scope, note: str) -> None:
    """Suppress a number for who is signed in."""
    ctx, actor = current_subscriber_context(), describe_actor()
    manage.add_suppressions(
        ctx, [phone], actor=actor, channel=manage.PAGE, scope=scope, note=note or None
    )


def allow_texts(suppression_id: str, *, note: str) -> None:
    """Release a number for who is signed in, and say so.  Raises Conflict."""
    ctx, actor = current_subscriber_context(), describe_actor()
    manage.release_suppression(ctx, suppression_id, actor=actor, channel=manage.PAGE, note=note)
    flash("Texts may go on.\nAgreement to marketing does not come back by that.", "done")


def _find(suppression_id: str) -> Row[Any]:
    try:
        return manage.view_suppression(current_subscriber_context(), suppression_id)
    except NotFound:
        raise NotFound("There is no such opt-out.") from None


def _show_list(form: dict[str, str], errors: dict[str, str]) -> str:
    args = {"active": "true", "limit": str(_ROWS)} | request.args.to_dict()
    query = SuppressionQuerySchema().load(args)
    page = manage.list_suppressions(current_subscriber_context(), **query)
    chosen = {name: args[name] for name in ("active", "scope") if name in args}
    return render_template(
        "subscribers/suppressions.html",
        rows=_describe(page.rows),
        cursor=page.cursor,
        filters=_FILTERS,
        chosen=chosen,
        to_read=manage.count_to_review(current_subscriber_context()),
        form=form,
        errors=errors,
    )


def _show_one(row: Row[Any], *, note: str = "", error: str = "") -> str:
    (shown,) = _describe([row])
    return render_template("subscribers/suppression.html", row=shown, note=note, error=error)


def _show_review(*, wrong_id: str = "", note: str = "", error: str = "") -> str:
    page = manage.list_suppressions(
        current_subscriber_context(), limit=_ROWS, needs_review=True, active=True
    )
    return render_template(
        "subscribers/review.html",
        rows=_describe(page.rows),
        has_more=page.cursor is not None,
        wrong_id=wrong_id,
        note=note,
        error=error,
    )


def _describe(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Return suppressions with their people, and the texts that caused them."""
    ctx, now = current_subscriber_context(), current_context().now()
    people = find_by_numbers(ctx, [row.phone for row in rows if row.phone])
    texts = find_inbounds(current_context(), [row.inbound for row in rows if row.inbound])
    shown = []
    for row in rows:
        person, text = people.get(row.phone), texts.get(row.inbound)
        cause = say_cause(row, now)
        shown.append(
            {
                "id": row.public_id,
                "number": show_number(row.phone),
                "is_erased": row.phone is None,
                "name": show_name(person._asdict() if person else None),
                "person_id": person.public_id if person else None,
                "text": read_inbound(text) if text else "",
                "scope": row.scope,
                "what": SCOPES[row.scope],
                "why": capitalize(cause),
                "at": row.suppressed_at,
                "released_at": row.released_at,
                "by": name_actor(row.actor),
                "note": row.note or "",
                "needs_review": row.needs_review,
                "active": row.active,
            }
        )
    return shown
