"""Pages of the own account: second factor and password.

A secret and recovery codes are shown once, by the answer to the form that made them: the database
cannot show them again.  A reload of that answer makes no others.
"""

from http import HTTPStatus
from typing import Any

import segno
from flask import current_app, flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.factor import (
    CodeRefused,
    begin_setup,
    confirm_setup,
    count_recovery_codes,
    is_required,
    make_uri,
    turn_off,
)
from app.accounts.own import PasswordRefused, TypedPassword, change_password, renew_recovery_codes
from app.accounts.roles import Role
from app.errors import BadInput, Conflict
from app.http.arguments import collect_errors
from app.web.accounts.sign_in import read_code, read_new_password
from app.web.guard import (
    current_user,
    flash_refusal,
    go_to,
    is_sent_again,
    make_page_blueprint,
    page_context,
    require_role,
    start_session,
)

blueprint = make_page_blueprint("account")

# Light modules around a QR code, which readers need.
_QUIET_MODULES = 4


@blueprint.get("/account")
@require_role(Role.VIEWER, needs_factor=False)
def show_account() -> str:
    """Show the user's role, second factor, and the form for another password."""
    return _show_account({})


@blueprint.post("/account/factor")
@require_role(Role.VIEWER, needs_factor=False)
def set_up_factor() -> str:
    """Make a new secret and show it, this once."""
    user, ctx = current_user(), page_context()
    if not user.has_factor and is_sent_again(
        "The secret was", "begin again; if your app has it, type its code."
    ):
        return render_template("account/setup.html", error="")
    secret = begin_setup(ctx.db, current_app.config["SECRET_KEY"], user.user_id)
    uri = make_uri(secret, user.name)
    groups = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return render_template("account/setup.html", uri=uri, groups=groups, qr=draw_qr(uri), error="")


@blueprint.post("/account/factor/confirm")
@require_role(Role.VIEWER, needs_factor=False)
def confirm_factor() -> str | Response | tuple[str, HTTPStatus]:
    """Turn the second factor on, and show the recovery codes, this once."""
    user, ctx, code = current_user(), page_context(), request.form.get("code", "")
    try:
        codes = confirm_setup(
            ctx.db, ctx.clock, current_app.config["SECRET_KEY"], user.user_id, code
        )
    except BadInput as e:
        page = render_template("account/setup.html", error=collect_errors(e)["code"])
        return page, HTTPStatus.BAD_REQUEST
    except Conflict as e:
        flash_refusal(e)
        return go_to("account.show_account")
    return render_template("account/codes.html", codes=codes, is_new=True)


@blueprint.post("/account/factor/codes")
@require_role(Role.VIEWER)
def make_new_codes() -> str | Response | tuple[str, HTTPStatus]:
    """Show new recovery codes, this once, by the present password; the old ones are void."""
    user, ctx = current_user(), page_context()
    if is_sent_again("The new codes were", "make new ones here."):
        return go_to("account.show_account")
    try:
        codes = renew_recovery_codes(ctx.db, ctx.clock, user.user_id, _read_password())
    except PasswordRefused as e:
        return _show_account({"codes-password": e.sentence}), e.status
    return render_template("account/codes.html", codes=codes, is_new=False)


@blueprint.post("/account/factor/off")
@require_role(Role.VIEWER)
def turn_factor_off() -> Response | tuple[str, HTTPStatus]:
    """Remove the second factor by a code."""
    user, ctx = current_user(), page_context()
    try:
        turn_off(ctx.db, ctx.clock, user.user_id, read_code())
    except CodeRefused as e:
        return _show_account({"code": e.sentence}), e.status
    flash(
        "The second factor is off.\nThe codes of your app and the recovery codes are void.", "done"
    )
    return go_to("account.show_account")


@blueprint.post("/account/password")
@require_role(Role.VIEWER, needs_factor=False)
def set_password() -> Response | tuple[str, HTTPStatus]:
    """Change the password by the present one."""
    user, ctx = current_user(), page_context()
    try:
        new = read_new_password()
        token = change_password(ctx.db, ctx.clock, user.user_id, _read_password(), new)
    except PasswordRefused as e:
        return _show_account({"present": e.sentence}), e.status
    except BadInput as e:
        return _show_account(collect_errors(e)), e.status
    start_session(token)
    flash("The password is changed.\nYou are signed out everywhere but here.", "done")
    return go_to("account.show_account")


def _read_password() -> TypedPassword:
    return TypedPassword(request.form.get("present", ""), request.remote_addr or "")


def draw_qr(text: str) -> dict[str, Any]:
    """Return a QR code as an SVG path of unit squares, and the modules of a side."""
    matrix = segno.make(text, error="m", micro=False).matrix
    squares = (
        f"M{x + _QUIET_MODULES} {y + _QUIET_MODULES}h1v1h-1z"
        for y, row in enumerate(matrix)
        for x, is_dark in enumerate(row)
        if is_dark
    )
    return {"path": "".join(squares), "side": len(matrix) + 2 * _QUIET_MODULES}


def _show_account(errors: dict[str, str]) -> str:
    user, ctx = current_user(), page_context()
    rule = current_app.config["SECOND_FACTOR"]
    left = count_recovery_codes(ctx.db, user.user_id) if user.has_factor else 0
    return render_template(
        "account/account.html",
        errors=errors,
        codes_left=left,
        is_required=is_required(rule, user.role),
    )
