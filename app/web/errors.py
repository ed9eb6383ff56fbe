"""Errors as pages: those of pages, and of addresses that no route has, when a browser opens them.

Errors of the API are always JSON, and so is any error for those who ask for JSON.
"""

from http import HTTPStatus

from flask import current_app, g, make_response, render_template, request
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from app.auth import PAGE, SCOPE_MARK
from app.db.engine import QueryTooSlow
from app.db.schema import WrongDatabase, log_wrong_database
from app.errors import ClarionError, is_unavailable
from app.rate_limit import TooManyRequests
from app.web.guard import PAGE_POLICY, find_user

# Where programs alone call.
_OF_PROGRAMS = ("/api/", "/webhooks/")
_HTML, _JSON = "text/html", "application/json"
_KEPT_HEADERS = ("Allow", "Retry-After")
_SENTENCES = {
    HTTPStatus.NOT_FOUND: "There is no such page.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The page does not take this.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The file or the form is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many pages were opened from here in a short time.",
}

_WAYS_OUT = {
    HTTPStatus.NOT_FOUND: "Look at the address, or begin at the overview.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The address is that of a button: go to its page and press it.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Go back, and send less at once.",
}


def make_error_page(error: Exception) -> Response | None:
    """Return the page of an error; None if its answer is JSON."""
    if not _is_page_wanted() or (isinstance(error, HTTPException) and (error.code or 0) < 400):
        return None
    status, sentence, detail = _describe(error)
    try:
        find_user()
    except (SQLAlchemyError, WrongDatabase):  # the frame is that of a page without a user
        g.user = None
    html = render_template("error.html", status=status.value, sentence=sentence, detail=detail)
    page = make_response(html, status)
    page.headers["Content-Security-Policy"] = PAGE_POLICY
    page.headers.update(_list_headers(error))
    return page


def _is_page_wanted() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, SCOPE_MARK, None) == PAGE:
        return request.accept_mimetypes.best_match((_HTML, _JSON)) != _JSON
    if view or request.path.startswith(_OF_PROGRAMS):
        return False
    return request.accept_mimetypes.best_match((_JSON, _HTML)) == _HTML


def _describe(error: Exception) -> tuple[HTTPStatus, str, str]:
    """Return the status of an error, its sentence, and what to do; log what is a fault."""
    if isinstance(error, TooManyRequests):
        wait = f"Wait {error.retry_after_s} seconds, and load the page again."
        return error.status, _SENTENCES[error.status], wait
    if isinstance(error, ClarionError):
        return error.status, error.sentence, str(error.facts.get("hint", ""))
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        return status, _SENTENCES.get(status, f"{status.phrase}."), _WAYS_OUT.get(status, "")
    if isinstance(error, QueryTooSlow):
        return (
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Looking these people up took too long, and nothing was done.",
            "Use fewer conditions or a tag, or try again when less is going on.",
        )
    if isinstance(error, WrongDatabase):
        log_wrong_database(error)
    elif is_unavailable(error):
        logger.opt(exception=error).error("the database is unavailable")
    else:
        logger.opt(exception=error).error("uncaught exception")
        return (
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "The page could not be shown because of a fault of ours.",
            f"The log has more under {g.get('request_id', '-')}.",
        )
    return (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The database cannot be used. Nothing is lost; nothing is sent.",
        "Try again in some seconds.",
    )


def _list_headers(error: Exception) -> dict[str, str]:
    if isinstance(error, HTTPException):
        return {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    wait_s = error.retry_after_s if isinstance(error, ClarionError) else None
    return {} if wait_s is None else {"Retry-After": str(wait_s)}
