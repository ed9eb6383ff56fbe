"""Opt-out lists: import of CSV and NDJSON files, export as CSV, at a bounded memory.

An import reads a phone column, with a header or without one, or a text or an object on each line
of NDJSON.  Beside a backup goes the list of hashes of `hashed_lists`, which names no person.
"""

import io
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select

from app.csv_cells import Cell, write_lines
from app.db.base import table_of
from app.db.prepared import chunked
from app.errors import BadInput
from app.pagination import read_pages
from app.phone.reader import PhoneReader
from app.subscribers.context import SubscriberContext
from app.subscribers.lists.columns import show_header
from app.subscribers.lists.permissions import NOT_LEFT, Permission
from app.subscribers.lists.phone_list import ListedPhone, PhoneList, open_phone_list
from app.subscribers.lists.reader import MAX_LINES_AT_ONCE, split_chunks
from app.subscribers.models import Suppression
from app.subscribers.suppressions.manage import add_imported

MAX_NUMBERS = 1_000_000
MAX_REFUSALS_SHOWN = 1_000
# Of a file with more refused lines nothing is taken: it is another file, or lacks its country.
_MAX_REFUSED = 100_000
_PAGE = 5_000
_HEADING = (
    "id", "phone", "scope", "cause", "needs_review", "suppressed_at", "released_at", "actor",
    "note",
)  # fmt: skip


@dataclass(slots=True)
class ImportedList:
    """Result of an import: numbers read, numbers newly suppressed, lines refused.

    `refusals` are the first refused lines with their reasons.
    """

    numbers: int = 0
    newly_suppressed: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """Count a refused line, and keep its reason if it is one of the first."""
        self.refused += 1
        if len(self.refusals) < MAX_REFUSALS_SHOWN:
            self.refusals.append({"line": line, "reason": reason})


def import_suppressions(
    ctx: SubscriberContext,
    blocks: Iterable[bytes],
    *,
    is_json: bool,
    actor: str,
    source: str,
    column: str | None = None,
    country: str | None = None,
    encoding: str = "utf-8",
    without_plus: bool = False,
) -> ImportedList:
    """Suppress the numbers of a CSV file, or of NDJSON: one text or one object a line.

    Repeating it changes nothing.  Raises BadInput for a file that cannot be read to its end, and
    then no number is suppressed.
    """
    result, started_at = ImportedList(), ctx.now()
    home = country or ctx.rules.default_country
    if is_json:
        phones = PhoneList(_read_json(blocks, column or "phone"))
    else:
        phones = open_phone_list(blocks, column=column, encoding=encoding)
    without_plus = without_plus or phones.is_international
    reader = PhoneReader(
        country=home,
        without_plus=without_plus,
        may_lack_plus=home is None,
        check=False,
        check_national=True,
    )
    numbers = _read_numbers(phones, reader, result)
    result.numbers = len(numbers)
    for part in chunked(numbers):
        unique = list(dict.fromkeys(f"+{number}" for number in part))
        result.newly_suppressed += add_imported(
            ctx, unique, actor=actor, at=started_at, source=source
        )
    return result


def export_suppressions(ctx: SubscriberContext, *, active: bool | None = True) -> Iterator[str]:
    """Yield suppressions as a CSV file; those of erased people have no number."""
    yield write_lines([_HEADING])
    table = table_of(Suppression)
    for rows in read_pages(ctx.db, select(table), table.c.id, size=_PAGE):
        wanted = (row for row in rows if active in (None, row.released_at is None))
        yield write_lines(_make_row(row) for row in wanted)


def _make_row(row: Row[Any]) -> tuple[Cell, ...]:
    return (
        row.public_id,
        row.phone,
        row.scope.value,
        row.cause.value,
        row.needs_review,
        row.suppressed_at.isoformat(),
        row.released_at.isoformat() if row.released_at else None,
        row.actor,
        row.note,
    )


def _read_numbers(phones: PhoneList, reader: PhoneReader, result: ImportedList) -> "array[int]":
    """Return the numbers of a whole list without their plus, eight bytes each.

    Raises BadInput for too many, and what reading the file raises.
    """
    numbers = array("Q")
    for row in phones.rows:
        try:
            if row.permission is Permission.GIVEN:
                raise ValueError(NOT_LEFT.format(show_header(row.said_by)))
            numbers.append(int(reader.read(row.cell)))
        except ValueError as e:
            result.refuse(row.line, str(e))
            if result.refused > _MAX_REFUSED:
                raise BadInput(
                    f"More than {_MAX_REFUSED:,} lines are no phone numbers, and nothing was "
                    f"suppressed. Line {row.line}: {e}"
                ) from e
        if len(numbers) + result.refused > MAX_NUMBERS:
            raise BadInput(f"More than {MAX_NUMBERS} numbers: send them in several files")
    return numbers


def _read_json(blocks: Iterable[bytes], name: str) -> Iterator[ListedPhone]:
    chunks = split_chunks(blocks, max_lines=MAX_LINES_AT_ONCE)
    lines = (line for chunk in chunks for line in io.StringIO(chunk.text))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise BadInput(f"Line {number} is not JSON") from e
        if isinstance(value, Mapping):
            value = value.get(name)
        # The digits of a number are read as those of a cell are.
        value = str(value) if type(value) is int else value
        yield ListedPhone(number, value if isinstance(value, str) else "")
