"""Query strings of the lists, and the page that they select."""

from collections.abc import Sequence
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from app.sandbox.api.fields import require_range
from app.sandbox.clock import parse_time
from app.sandbox.errors import bad_format

RETENTION_S = 14 * 24 * 3600.0
_DEFAULT_WINDOW_S = 24 * 3600.0
_DEFAULT_PAGE_SIZE = 30
_MAX_PAGE_SIZE = 100

Query = MultiDict[str, str]
T = TypeVar("T")


def read_number(
    query: Query, name: str, *, default: int, minimum: int, maximum: int | None = None
) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise bad_format(f"{name} must be a whole number: {text}")
    return require_range(name, int(text[:12]), minimum=minimum, maximum=maximum)


def read_window(query: Query, now: float) -> tuple[float, float | None]:
    """Return the start of the window, inclusive, and its end, exclusive.

    It starts a day ago unless the query says otherwise, and never before the retention's end.
    """
    start, end = _read_time(query, "start_date"), _read_time(query, "end_date")
    return max(now - _DEFAULT_WINDOW_S if start is None else start, now - RETENTION_S), end


def _read_time(query: Query, name: str) -> float | None:
    """Read a time; a blank in it counts as the plus sign that was not escaped."""
    text = query.get(name)
    if text is None:
        return None
    try:
        return parse_time(text.strip().replace(" ", "+"))
    except ValueError as e:
        raise bad_format(f"{name} is not an ISO 8601 time: {text}") from e


def paginate(items: Sequence[T], query: Query) -> tuple[list[T], dict[str, Any]]:
    """Return the items of the requested page, and the fields that describe the page."""
    page = read_number(query, "page", default=0, minimum=0)
    page_size = read_number(
        query, "page_size", default=_DEFAULT_PAGE_SIZE, minimum=1, maximum=_MAX_PAGE_SIZE
    )
    shown = list(items[page * page_size : (page + 1) * page_size])
    return shown, {"page": page, "page_size": len(shown), "count": len(items)}
