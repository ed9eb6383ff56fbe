"""Pages to sign in, to sign out and to set a first password."""

from http import HTTPStatus

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.accounts.sessions import SignInRefused, end_all_sessions, end_session, sign_in
from app.accounts.users import accept_invitation, find_invitation
from app.errors import BadInput
from app.web.guard import (
    choose_next,
    find_user,
    forget_session,
    make_page_blueprint,
    open_page,
    page_context,
    require_role,
    start_session,
)

blueprint = make_page_blueprint("sign_in")


@blueprint.get("/login")
@open_page
def show_sign_in() -> Response | str:
    """Show the form to sign in, or go on where a user is signed in already."""
    target = choose_next(request.args.get("next"))
    if find_user():
        return redirect(target, HTTPStatus.SEE_OTHER)
    return render_template("sign_in.html", next=target, ended="ended" in request.args, name="")


@blueprint.post("/login")
@open_page
def sign_user_in() -> Response | tuple[str, HTTPStatus]:
    """Sign a user in.  One answer is for unknown names and wrong passwords."""
    name, target = request.form.get("name", ""), choose_next(request.form.get("next"))
    ctx = page_context()
    try:
        token = sign_in(
            ctx.db,
            ctx.clock,
            name,
            request.form.get("password", ""),
            address=request.remote_addr or "",
        )
    except SignInRefused as e:
        page = render_template("sign_in.html", next=target, name=name, wait_s=e.wait_s)
        return page, HTTPStatus.UNAUTHORIZED
    start_session(token)
    return redirect(target, HTTPStatus.SEE_OTHER)


@blueprint.post("/logout")
@open_page
def sign_out() -> Response:
    """End this session."""
    if token := forget_session():
        end_session(page_context().db, token)
    return redirect(url_for("sign_in.show_sign_in"), HTTPStatus.SEE_OTHER)


@blueprint.post("/logout/everywhere")
@require_role(Role.VIEWER)
def sign_out_everywhere() -> Response:
    """End all sessions of the user."""
    if user := find_user():
        end_all_sessions(page_context().db, user.user_id)
    forget_session()
    return redirect(url_for("sign_in.show_sign_in"), HTTPStatus.SEE_OTHER)


@blueprint.get("/invite/<token>")
@open_page
def show_invitation(token: str) -> str:
    """Show the form for the first password of a user."""
    ctx = page_context()
    user = find_invitation(ctx.db, ctx.clock, token)
    return render_template("invite.html", token=token, user_name=user.name, errors={})


@blueprint.post("/invite/<token>")
@open_page
def set_password(token: str) -> Response | tuple[str, HTTPStatus]:
    """Set the first password of a user, and sign the user in."""
    ctx = page_context()
    user = find_invitation(ctx.db, ctx.clock, token)
    password = request.form.get("password", "")
    try:
        if password != request.form.get("password_again", ""):
            raise BadInput("differs", fields={"password_again": ["The two differ: type it twice."]})
        accept_invitation(ctx.db, ctx.clock, token, password)
        session_token = sign_in(
            ctx.db, ctx.clock, user.name, password, address=request.remote_addr or ""
        )
    except BadInput as e:
        errors = {name: reasons[0] for name, reasons in e.facts["fields"].items()}
        page = render_template("invite.html", token=token, user_name=user.name, errors=errors)
        return page, HTTPStatus.BAD_REQUEST
    except (
        SignInRefused
    ):  # wrong tries under this name: the password is set, and the user signs in later
        return redirect(url_for("sign_in.show_sign_in"), HTTPStatus.SEE_OTHER)
    start_session(session_token)
    return redirect(url_for("overview.show_overview"), HTTPStatus.SEE_OTHER)
