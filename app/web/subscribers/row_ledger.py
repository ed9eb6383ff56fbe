"""The ledger of an import: lines that add up to every row of its file."""

from typing import Any

from sqlalchemy import Row

from app.subscribers.imports.models import ImportStatus
from app.web.words import share

# Count of an import, kind and word of its mark, sentence.
_LINES = (
    ("created", "delivered", "New", "People who were not known."),
    (
        "updated",
        "delivered",
        "Changed",
        "Something new was in the row; empty cells took none away.",
    ),
    ("unchanged", "waiting", "Unchanged", "The file said nothing new."),
    ("merged", "sending", "Merged", "A number that an earlier row of the file had."),
)
_REFUSED = ("not-reached", "Refused", "A cell could not be read, or the person objected later.")
_NOT_WRITTEN = ("stopped", "Not written", "All or nothing was chosen, and the import did not end.")
_BY_OTHERS = ("stopped", "Not written", "All or nothing was chosen, and another row was refused.")


def account_for_rows(row: Row[Any], shown: dict[str, Any]) -> dict[str, Any]:
    """Return lines with all rows that were read, and their sum; `shown` counts those written."""
    lines = [_make_line(shown[name], row.rows, *words) for name, *words in _LINES]
    written = sum(shown[name] for name, *_ in _LINES)
    rest = row.rows - written - row.refused
    words = _BY_OTHERS if row.status is ImportStatus.REFUSED else _NOT_WRITTEN
    lines += [_make_line(rest, row.rows, *words), _make_line(row.refused, row.rows, *_REFUSED)]
    return {
        "rows": [line for line in lines if line["figure"]],
        "total": {"sentence": "All rows that were read", "figure": row.rows},
    }


def _make_line(figure: int, total: int, kind: str, word: str, sentence: str) -> dict[str, Any]:
    part = share(figure, total)
    return {"kind": kind, "word": word, "sentence": sentence, "figure": figure, "share": part}
