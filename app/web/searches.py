"""Searches for people, whose pages have addresses, so that the way back leads to them.

What was typed is a number or a name, and addresses are in logs and in the browser's history.  The
address names a search, and the cookie has its text.
"""

import secrets
from typing import Any

from flask import request, session
from werkzeug.wrappers import Response

from app.web.guard import go_to

# A browser takes cookies of 4 kB, and each of these characters may take 16 bytes in one.
MAX_SEARCH = 60
_KEPT = 3
_SEARCHES = "searches"


def go_to_search(endpoint: str, text: str, **values: Any) -> Response:
    """Return the way to the page of a search, which is kept with the last ones before."""
    key = secrets.token_urlsafe(6)
    session[_SEARCHES] = [*session.get(_SEARCHES, []), [key, text[:MAX_SEARCH]]][-_KEPT:]
    return go_to(endpoint, search=key, **values)


def find_search() -> str:
    """Return what was typed in the search that the address names; empty if it is not kept."""
    kept: dict[str, str] = dict(session.get(_SEARCHES, []))
    return kept.get(request.args.get("search", ""), "")
