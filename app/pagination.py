"""Pages of a list: rows, and the cursor that continues behind them."""

from dataclasses import dataclass
from typing import Any

from app.errors import BadInput


@dataclass(frozen=True, slots=True)
class Page:
    """Rows in order, and the cursor that continues behind them; None at the end."""

    rows: list[Any]
    cursor: str | None


def read_cursor(cursor: str) -> int:
    """The row's id that a cursor is.  Raises BadInput."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise bad_cursor("not one that we gave")
    return int(cursor)


def bad_cursor(reason: str) -> BadInput:
    """What a wrong cursor is answered."""
    return BadInput(f"cursor: {reason}", fields={"cursor": [f"{reason.capitalize()}."]})
