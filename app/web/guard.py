"""Pages are for users who have signed in: session, role, CSRF token, security policy and frame.

A page acts for the reserved client `people`, which sees the broadcasts of all clients.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    flash,
    g,
    make_response,
    redirect,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, CSRFProtect
from marshmallow import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as WerkzeugResponse

from app.accounts.factor import is_required
from app.accounts.forms import use_form
from app.accounts.roles import ROLE_SENTENCES, Role
from app.accounts.sessions import ABSOLUTE_S, SignedIn, find_session
from app.accounts.tokens import make_token
from app.auth import PAGE, SCOPE_MARK, Client
from app.config.accounts import SecondFactor
from app.config.keys import PEOPLE_CLIENT
from app.config.scopes import KeyScope
from app.errors import BadInput, ClarionError
from app.http.body import require_whole_form
from app.sms.broadcasts.views import list_stuck
from app.sms.caps.caps import list_used_caps
from app.sms.context import Context
from app.sms.drafts.approval import list_asked
from app.sms.drafts.resend import list_asked_resends
from app.sms.inbound.threads import count_to_answer
from app.sms.operations.heartbeat import BackgroundHealth, read_health
from app.subscribers.suppressions.manage import count_to_review
from app.web import words

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Attribute of a view that says which role it requires; open pages have none.
ROLE_MARK = "required_role"
_SESSION_TOKEN = "token"  # noqa: S105  # the name, not a token
_HALF_TOKEN = "half"  # noqa: S105
# A path of ours, where a sign-in may lead: no host, no scheme.
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]{0,300}")
_READS = ("GET", "HEAD")
_FILE_MARK = "takes_file"
# The parts of a form around its file.
_FORM_BYTES = 1_000_000
# A form of someone who has not signed in: to take 500 kB apart takes a third of a second.
_OPEN_FORM_BYTES = 32_000
_PEOPLE = Client(PEOPLE_CLIENT, frozenset(KeyScope))
_csrf = CSRFProtect()


class RoleTooLow(ClarionError):
    """The user may not do this: nothing was done."""

    status = HTTPStatus.FORBIDDEN


def protect_pages(
    app: Flask, *, production: bool, is_sandbox: bool, second_factor: SecondFactor
) -> None:
    """Set up sessions and CSRF tokens.  The API has neither."""
    app.config.update(
        IS_SANDBOX=is_sandbox,
        SECOND_FACTOR=second_factor,
        SESSION_COOKIE_NAME="__Host-clarion" if production else "clarion",
        SESSION_COOKIE_SECURE=production,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=ABSOLUTE_S,
        WTF_CSRF_CHECK_DEFAULT=False,  # pages check it themselves
        WTF_CSRF_TIME_LIMIT=None,  # a form may stay open as long as its session
        WTF_CSRF_SSL_STRICT=False,  # our pages send no Referer; Sec-Fetch-Site is checked instead
    )
    _csrf.init_app(app)
    app.context_processor(_describe_frame)
    app.jinja_env.globals["make_form_token"] = make_token
    for name in words.FILTERS:
        app.jinja_env.filters[name] = getattr(words, name)


def make_page_blueprint(name: str) -> Blueprint:
    """Return a blueprint whose views are pages."""
    blueprint = Blueprint(name, __name__, template_folder="templates")
    blueprint.before_request(_begin_page)
    blueprint.after_request(_secure_page)
    blueprint.register_error_handler(ValidationError, _reject_filter)
    return blueprint


def require_role(
    role: Role, *, needs_factor: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R | Any]]:
    """Require a user with at least this role; others are sent to sign in, or refused.

    A user whose second factor is missing is led to set it up, unless `needs_factor` is False.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R | Any]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Any:
            user = find_user()
            if user is None:
                return _send_to_sign_in()
            if needs_factor and is_factor_missing(user):
                return _send_to_setup()
            if not user.role.includes(role):
                raise RoleTooLow(
                    f"Your role does not allow this: it needs the role {role.value}.",
                    hint=f"You are signed in as {user.name} with the role {user.role.value}. "
                    "An administrator can change it.",
                )
            g.client, g.actor = _PEOPLE, describe_actor()
            return view(*args, **kwargs)

        setattr(guarded, SCOPE_MARK, PAGE)
        setattr(guarded, ROLE_MARK, role)
        return guarded

    return decorate


def takes_file(view: Callable[P, R]) -> Callable[P, R]:
    """Let a form of authors hold a file as large as an import's may be."""
    setattr(view, _FILE_MARK, True)
    return view


def open_page(view: Callable[P, R]) -> Callable[P, R]:
    """Declare that a page needs no user."""
    setattr(view, SCOPE_MARK, PAGE)
    return view


def find_user() -> SignedIn | None:
    """Return the user who is signed in, read from the database once a request."""
    if "user" not in g:
        token, ctx = session.get(_SESSION_TOKEN), page_context()
        g.user = find_session(ctx.db, ctx.clock, token) if token else None
    user: SignedIn | None = g.user
    return user


def current_user() -> SignedIn:
    """Return the user of a view that requires a role."""
    user: SignedIn = g.user
    return user


def is_factor_missing(user: SignedIn) -> bool:
    """Return True if a user has to set up a second factor before anything else."""
    return not user.has_factor and is_required(current_app.config["SECOND_FACTOR"], user.role)


def await_code(token: str) -> None:
    """Keep the token of a sign-in that awaits a code in the cookie; nothing else stays."""
    session.clear()
    session[_HALF_TOKEN] = token


def find_half() -> str:
    """Return the token of a sign-in that awaits a code; empty if there is none."""
    token: str = session.get(_HALF_TOKEN, "")
    return token


def start_session(token: str) -> None:
    """Keep the token of a new session in the cookie; nothing of an earlier one stays."""
    session.clear()
    session.permanent = True
    session[_SESSION_TOKEN] = token


def forget_session() -> str | None:
    """Empty the cookie.  Returns the token of the session that it had, if any."""
    token: str | None = session.get(_SESSION_TOKEN)
    session.clear()
    g.user = None
    return token


def go_to(endpoint: str, **values: Any) -> WerkzeugResponse:
    """Return the way to a page, after a form or instead of another page."""
    return redirect(url_for(endpoint, **values), HTTPStatus.SEE_OTHER)


def flash_refusal(error: ClarionError) -> None:
    """Say on the next page that nothing was done, and why."""
    flash(f"Nothing was done.\n{error.sentence.rstrip('.')}.", "warn")


def is_sent_again(shown: str, way_out: str) -> bool:
    """Note that a form was sent whose answer shows something once.

    Returns True if it was sent before, as a reload of the answer does: the next page then says so.
    """
    token, ctx = request.form.get("once"), page_context()
    if not token:
        raise _reject_forged_form()
    if use_form(ctx.db, ctx.clock, token):
        return False
    flash(f"Nothing was done again.\n{shown} shown once. If you missed that, {way_out}", "warn")
    return True


def page_context() -> Context:
    """Return the Context of the app, for what needs no user."""
    ctx: Context = current_app.extensions["clarion"]
    ctx.require_own_database()
    return ctx


def describe_actor() -> str:
    """Return the name under which the user's actions are kept."""
    return f"{PEOPLE_CLIENT}:{current_user().name}"


def choose_next(path: str | None) -> str:
    """Return where a sign-in leads: a path of ours, or the overview."""
    return path if path and _OWN_PATH.fullmatch(path) else url_for("overview.show_overview")


def _begin_page() -> None:
    if request.method in _READS:
        return
    # Browsers say where a form comes from; others, such as scripts, have the token alone.
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise _reject_forged_form()
    _bound_form()
    require_whole_form(request)
    try:
        _csrf.protect()
    except CSRFError:
        raise _reject_forged_form() from None


def _reject_forged_form() -> BadInput:
    return BadInput(
        "The form was not sent from a page of your session, and nothing was done.",
        hint="Go back, load the page again, and send it once more.",
    )


def _bound_form() -> None:
    """Bound the form before it is read: it is small without a user, and may bring a file."""
    user = find_user()
    if user is None:
        request.max_content_length = _OPEN_FORM_BYTES
        return
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, _FILE_MARK, False) and user.role.includes(Role.AUTHOR):
        rules = page_context().subscriber_rules
        request.max_content_length = rules.import_max_bytes + _FORM_BYTES


def _secure_page(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    return response


def _describe_frame() -> dict[str, Any]:
    """Return what the frame of every page shows."""
    ctx: Context = current_app.extensions["clarion"]
    user: SignedIn | None = g.get("user")
    is_let_in = user is not None and not is_factor_missing(user)
    return {
        "user": user,
        "is_let_in": is_let_in,
        "may": lambda role: user is not None and user.role.includes(Role(role)),
        "role_sentence": ROLE_SENTENCES[user.role] if user else "",
        "is_sandbox": current_app.config["IS_SANDBOX"],
        # A function: a region that polls is shown without the frame.
        "read_service": partial(_read_service, ctx, is_let_in=is_let_in),
        "kept_days": {
            "messages": ctx.rules.messages_kept_days,
            "inbounds": ctx.rules.inbounds_kept_days,
        },
        "now": ctx.now(),
        "zone": str(words.find_zone()),
        "own_page": _find_own_page(),
    }


def _find_own_page() -> str:
    """Return the address by which the answer to a form can be loaded anew; "" if it has none."""
    adapter = current_app.create_url_adapter(request)
    is_page = adapter is not None and "GET" in adapter.allowed_methods()
    return request.full_path.rstrip("?") if is_page and request.method == "POST" else ""


def read_once(read: Callable[[Context], T], ctx: Context) -> T:
    """Return what a function reads, which is read once for a page and its frame."""
    known: dict[Callable[[Context], T], T] = g.setdefault("read", {})
    if read not in known:
        known[read] = read(ctx)
    return known[read]


def read_page_health(ctx: Context) -> BackgroundHealth:
    """Return the health of the service, which is read once for a page and its frame."""
    return read_once(read_health, ctx)


def _read_service(ctx: Context, *, is_let_in: bool) -> dict[str, Any]:
    """Return what the frame says of the service: why nothing is sent, and what waits for people."""
    health, unanswered, waiting = None, 0, 0
    if is_let_in:
        with suppress(SQLAlchemyError):  # the page itself says so
            health, unanswered = read_page_health(ctx), count_to_answer(ctx)
            # As the overview counts them: those who wrote are one thing to do.
            to_review = bool(count_to_review(ctx.subscriber_context))
            lists = (list_asked, list_asked_resends, list_stuck)
            asked = sum(len(read_once(each, ctx)) for each in lists)
            waiting = health.attention + to_review + asked + len(read_once(list_used_caps, ctx))
    return {
        "stopped": _describe_stop(health, ctx.now()) if health else None,
        "waiting": waiting,
        "unanswered": unanswered,
    }


def _describe_stop(health: BackgroundHealth, now: datetime) -> str | None:
    at = health.stopped_since
    since = f" since {words.clock_time(at, now)}" if at else ""
    if health.circuit_open:
        return f"Nothing is sent: Sinch refuses our account or token{since}."
    if health.restoring:
        return f"Nothing is sent{since}: the database came from a backup, and Sinch is being asked."
    return None


def _send_to_sign_in() -> WerkzeugResponse:
    if request.headers.get("HX-Request"):  # a region that polls: the whole page is loaded anew
        return make_response("", HTTPStatus.UNAUTHORIZED, {"HX-Refresh": "true"})
    # A sign-in that awaits a code in another window goes on.
    ended = _SESSION_TOKEN in session and bool(forget_session())
    is_read = request.method in _READS
    path = request.full_path.rstrip("?") if is_read else url_for("overview.show_overview")
    return go_to("sign_in.show_sign_in", next=path, ended=1 if ended else None)


def _send_to_setup() -> WerkzeugResponse:
    if request.headers.get("HX-Request"):
        return make_response("", HTTPStatus.FORBIDDEN, {"HX-Refresh": "true"})
    return go_to("account.show_account")


def _reject_filter(error: ValidationError) -> ResponseReturnValue:
    names = ", ".join(sorted(map(str, error.messages_dict)))
    sentence = f"The address has a filter that does not exist: {names[:100]}."
    return current_app.handle_user_exception(
        BadInput(sentence, hint="Choose a filter on the page.")
    )
