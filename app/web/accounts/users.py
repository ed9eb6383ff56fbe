"""Pages of users, for administrators: list, create, another role, a new link, remove.

A link is shown by the answer to the form that made it: a cookie would keep it.  A reload of that
answer makes no other link.
"""

from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import current_app, flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.roles import ROLE_SENTENCES, Role
from app.accounts.users import (
    INVITATION_DAYS,
    UserRow,
    change_role,
    create_user,
    invite_user,
    list_users,
    make_link,
    remove_user,
    reset_user,
)
from app.errors import BadInput, Conflict, NotFound
from app.http.arguments import collect_errors
from app.http.reasons import capitalize
from app.web.guard import (
    current_user,
    describe_actor,
    go_to,
    is_sent_again,
    make_page_blueprint,
    page_context,
    require_role,
)
from app.web.words import clock_time

blueprint = make_page_blueprint("users")


@blueprint.get("/users")
@require_role(Role.ADMIN)
def list_all() -> str:
    """List users with their roles."""
    return _show_list("", "", {})


@blueprint.post("/users")
@require_role(Role.ADMIN)
def create() -> str | Response | tuple[str, HTTPStatus]:
    """Create a user, and show the link by which they choose a password."""
    ctx, name = page_context(), request.form.get("name", "")
    role = _read_role()
    if role is None:
        errors = {"role": "Choose one of the five."}
        return _show_list(name, "", errors), HTTPStatus.BAD_REQUEST
    if is_sent_again("Their link was", "open the user and make a new one."):
        return go_to("users.list_all")
    try:
        token = create_user(ctx.db, ctx.clock, name, role, actor=describe_actor())
    except (BadInput, Conflict) as e:
        taken = "There is a user with this name already: choose another."
        reason = collect_errors(e)["name"] if isinstance(e, BadInput) else taken
        return _show_list(name, role.value, {"name": reason}), e.status
    return _show_list("", "", {}, shown_once=_describe_link(token))


@blueprint.get("/users/<int:user_id>")
@require_role(Role.ADMIN)
def show(user_id: int) -> str:
    """Show a user: the role, and what can be done."""
    return _show_one(_find(user_id))


@blueprint.get("/users/<int:user_id>/remove")
@require_role(Role.ADMIN)
def ask_to_remove(user_id: int) -> str:
    """Show what a removal does before it is done."""
    return _show_one(_find_other(user_id), is_removing=True)


@blueprint.post("/users/<int:user_id>/remove")
@require_role(Role.ADMIN)
def remove(user_id: int) -> Response:
    """Remove a user for good, and end their sessions."""
    ctx, user = page_context(), _find_other(user_id)
    remove_user(ctx.db, ctx.clock, user.name, actor=describe_actor())
    flash(f"{user.name} is removed.\nTheir name stays on what they did.", "done")
    return go_to("users.list_all")


@blueprint.post("/users/<int:user_id>/role")
@require_role(Role.ADMIN)
def set_role(user_id: int) -> Response:
    """Give a user another role, and end their sessions."""
    ctx, user, role = page_context(), _find_other(user_id), _read_role()
    if role is None:
        raise BadInput("Choose one of the five roles.")
    if change_role(ctx.db, ctx.clock, user.name, role, actor=describe_actor()):
        flash(f"{user.name} has the role {role.value} now.\nThey have to sign in again.", "done")
    else:
        flash(f"{user.name} has the role {role.value} already.\nNothing was changed.", "done")
    return go_to("users.show", user_id=user_id)


@blueprint.post("/users/<int:user_id>/link")
@require_role(Role.ADMIN)
def make_new_link(user_id: int) -> str | Response:
    """Show a new link: void the password if there is one, and end the link before."""
    ctx, user = page_context(), _find_other(user_id)
    if is_sent_again("The new link was", "make another here."):
        return go_to("users.show", user_id=user_id)
    make = reset_user if user.has_password else invite_user
    token = make(ctx.db, ctx.clock, user.name, actor=describe_actor())
    return _show_one(_find(user_id), shown_once=_describe_link(token))


def _read_role() -> Role | None:
    value = request.form.get("role", "")
    return Role(value) if value in list(Role) else None


def _find(user_id: int) -> UserRow:
    for user in list_users(page_context().db):
        if user.id == user_id:
            return user
    raise NotFound("There is no such user.")


def _find_other(user_id: int) -> UserRow:
    """Return a user.  Raises Conflict for the one who asks, who could lock themselves out."""
    user = _find(user_id)
    if _is_self(user):
        raise Conflict("You cannot change your own access: another administrator can.")
    return user


def _is_self(user: UserRow) -> bool:
    return user.id == current_user().user_id


def _describe_state(user: UserRow, now: datetime) -> str:
    return capitalize(user.describe_state(now, partial(clock_time, now=now)))


def _describe_link(token: str) -> str:
    link = make_link(current_app.config["PAGE_URL"], token)
    once = f"It works once, within {INVITATION_DAYS} days, and is shown only now."
    return f"Give them this link: {link}\n{once}"


def _show_one(user: UserRow, *, is_removing: bool = False, shown_once: str = "") -> str:
    return render_template(
        "users/user.html",
        shown=user,
        state=_describe_state(user, page_context().now()),
        roles=ROLE_SENTENCES,
        is_self=_is_self(user),
        is_removing=is_removing,
        shown_once=shown_once,
    )


def _show_list(name: str, role: str, errors: dict[str, Any], *, shown_once: str = "") -> str:
    ctx = page_context()
    now = ctx.now()
    rows = [{"user": user, "state": _describe_state(user, now)} for user in list_users(ctx.db)]
    return render_template(
        "users/users.html",
        rows=rows,
        roles=ROLE_SENTENCES,
        name=name,
        role=role,
        errors=errors,
        shown_once=shown_once,
    )
