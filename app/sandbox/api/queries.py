"""Query strings of the lists, and the page they cut out."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from app.sandbox.api.fields import within
from app.sandbox.clock import parse_time
from app.sandbox.engine.outcomes import STATUSES
from app.sandbox.errors import bad_format

DEFAULT_WINDOW_S = 24 * 3600.0
DEFAULT_PAGE_SIZE = 30
MAX_PAGE_SIZE = 100

Query = MultiDict[str, str]
T = TypeVar("T")


def number_in(query: Query, name: str, *, default: int, least: int, most: int | None = None) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise bad_format(f"{name} must be a whole number: {text}")
    return within(name, int(text[:12]), least=least, most=most)


def flag_in(query: Query, name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise bad_format(f"{name} must be true or false")
    return text == "true"


def time_in(query: Query, name: str) -> float | None:
    """A time from the query; a plus sign that arrived as a blank is taken back."""
    text = query.get(name)
    if text is None:
        return None
    try:
        return parse_time(text.strip().replace(" ", "+"))
    except ValueError as e:
        raise bad_format(f"{name} is not an ISO 8601 time: {text}") from e


def window_in(query: Query, now: float) -> tuple[float, float | None]:
    """From when (a day ago unless given) until just before when."""
    start, end = time_in(query, "start_date"), time_in(query, "end_date")
    return now - DEFAULT_WINDOW_S if start is None else start, end


def list_in(query: Query, name: str) -> list[str]:
    """Entries joined by commas, given over several parameters of one name, or both."""
    parts = ",".join(query.getlist(name)).split(",")
    return [part.strip() for part in parts if part.strip()]


def statuses_in(query: Query) -> Collection[str]:
    """Status names in lower case, since clients write them in either."""
    wanted = [name.lower() for name in list_in(query, "status")]
    if unknown := set(wanted) - {name.lower() for name in STATUSES}:
        raise bad_format(f"status: unknown {', '.join(sorted(unknown))}")
    return wanted


def codes_in(query: Query) -> Collection[int]:
    codes = list_in(query, "code")
    if not all(code.isascii() and code.isdigit() for code in codes):
        raise bad_format("code must be a list of numbers")
    return [int(code[:9]) for code in codes]


def page_of(items: Sequence[T], query: Query) -> tuple[list[T], dict[str, Any]]:
    """The page asked for and how the answer describes it: its size is what it really holds."""
    page = number_in(query, "page", default=0, least=0)
    size = number_in(query, "page_size", default=DEFAULT_PAGE_SIZE, least=1, most=MAX_PAGE_SIZE)
    shown = list(items[page * size : (page + 1) * size])
    return shown, {"page": page, "page_size": len(shown), "count": len(items)}
