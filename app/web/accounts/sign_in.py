"""Pages to sign in, to sign out and to set a first password."""

from http import HTTPStatus

from flask import current_app, redirect, render_template, request
from werkzeug.wrappers import Response

from app.accounts.factor import CodeRefused, TypedCode
from app.accounts.roles import Role
from app.accounts.sessions import (
    CodeAwaited,
    SignInRefused,
    SignInTooLate,
    end_all_sessions,
    end_session,
    finish_sign_in,
    is_code_awaited,
    sign_in,
)
from app.accounts.users import accept_invitation, find_invitation
from app.errors import BadInput, reject_field
from app.http.arguments import collect_errors
from app.web.guard import (
    await_code,
    choose_next,
    current_user,
    find_half,
    find_user,
    forget_session,
    go_to,
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
    ended, late = "ended" in request.args, "late" in request.args
    return render_template("sign_in.html", next=target, ended=ended, late=late, name="")


@blueprint.post("/login")
@open_page
def sign_user_in() -> Response | tuple[str, HTTPStatus]:
    """Sign a user in, or ask for a code.  One answer is for unknown names and wrong passwords."""
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
        page = render_template("sign_in.html", next=target, name=name, refused=e)
        return page, HTTPStatus.UNAUTHORIZED
    if isinstance(token, CodeAwaited):
        await_code(token.token)
        return go_to("sign_in.ask_for_code", next=target)
    start_session(token)
    return redirect(target, HTTPStatus.SEE_OTHER)


@blueprint.get("/login/code")
@open_page
def ask_for_code() -> Response | str:
    """Show the form for a code of the app, or for a recovery code."""
    target, ctx = choose_next(request.args.get("next")), page_context()
    if find_user():
        return redirect(target, HTTPStatus.SEE_OTHER)
    if not is_code_awaited(ctx.db, ctx.clock, find_half()):
        return _ask_again(target)
    return render_template("account/code.html", next=target, recovery="recovery" in request.args)


@blueprint.post("/login/code")
@open_page
def check_code() -> Response | tuple[str, HTTPStatus]:
    """Begin a session by a code, after the password."""
    target, ctx = choose_next(request.form.get("next")), page_context()
    try:
        token = finish_sign_in(ctx.db, ctx.clock, find_half(), read_code())
    except SignInTooLate:
        return _ask_again(target)
    except CodeRefused as e:
        recovery = "recovery" in request.form
        page = render_template("account/code.html", next=target, recovery=recovery, refused=e)
        return page, HTTPStatus.UNAUTHORIZED
    start_session(token)
    return redirect(target, HTTPStatus.SEE_OTHER)


def read_code() -> TypedCode:
    """Return the code of the form."""
    secret_key: str = current_app.config["SECRET_KEY"]
    return TypedCode(request.form.get("code", ""), request.remote_addr or "", secret_key)


def read_new_password() -> str:
    """Return the new password of the form.  Raises BadInput unless it was typed twice alike."""
    password = request.form.get("password", "")
    if password != request.form.get("password_again", ""):
        raise reject_field("password_again", "The two differ: type it twice")
    return password


def _ask_again(target: str) -> Response:
    """Ask for the password again.  The cookie stays: it may have a session by now."""
    return go_to("sign_in.show_sign_in", next=target, late=1)


@blueprint.post("/logout")
@open_page
def sign_out() -> Response:
    """End this session."""
    if token := forget_session():
        end_session(page_context().db, token)
    return go_to("sign_in.show_sign_in")


@blueprint.post("/logout/everywhere")
@require_role(Role.VIEWER, needs_factor=False)
def sign_out_everywhere() -> Response:
    """End all sessions of the user."""
    end_all_sessions(page_context().db, current_user().user_id)
    forget_session()
    return go_to("sign_in.show_sign_in")


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
    try:
        password = read_new_password()
        accept_invitation(ctx.db, ctx.clock, token, password)
        session_token = sign_in(
            ctx.db, ctx.clock, user.name, password, address=request.remote_addr or ""
        )
    except BadInput as e:
        errors = collect_errors(e)
        page = render_template("invite.html", token=token, user_name=user.name, errors=errors)
        return page, HTTPStatus.BAD_REQUEST
    except SignInRefused:  # after wrong tries: the password is set, and the user signs in later
        return go_to("sign_in.show_sign_in")
    if isinstance(session_token, CodeAwaited):  # set up meanwhile, in another window
        return go_to("sign_in.show_sign_in")
    start_session(session_token)
    return go_to("overview.show_overview")
