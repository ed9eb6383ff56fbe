"""Lists of numbers that are not written to, in and out, of any size in the same memory.

In: CSV with a title above the numbers, or a number on each line; or JSON, a text or an object on
each line.  Out: CSV.  With a backup that is older than some suppressions goes the list of their
hashes: it says who they are to nobody, and holds those too whose number is gone.
"""

import csv
import json
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Row, bindparam, select

from app.csv_cells import Cell, simplify_title, write_lines
from app.db.base import table_of
from app.errors import BadInput
from app.phone.reader import PhoneReader
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Suppression
from app.subscribers.suppressions.manage import add_imported

MAX_NUMBERS = 1_000_000
MAX_REFUSALS_SHOWN = 1_000
_PORTION = 1_000
_PAGE = 5_000
_MAX_LINE = 64 * 1024
_HEADING = (
    "id",
    "phone",
    "scope",
    "cause",
    "needs_review",
    "suppressed_at",
    "released_at",
    "actor",
    "note",
)
_TITLES = frozenset(
    ("phone", "phone_number", "e164", "msisdn", "number", "mobile", "mobile_number", "cell",
     "cell_phone", "recipient", "to", "telephone", "tel", "telefon", "telefonnummer", "nummer",
     "mobil", "mobilnummer", "handy", "handynummer", "rufnummer", "telefono", "numero", "portable")
)  # fmt: skip

_SUPPRESSIONS = table_of(Suppression)
_NEXT = (
    select(_SUPPRESSIONS)
    .where(_SUPPRESSIONS.c.id > bindparam("after"))
    .order_by(_SUPPRESSIONS.c.id)
    .limit(_PAGE)
)


@dataclass(slots=True)
class ImportedList:
    """What came of a list: numbers read, those of them written to until now, and lines refused.

    `refusals` are (line, reason), the first of them.
    """

    numbers: int = 0
    newly_suppressed: int = 0
    refused: int = 0
    refusals: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """Note a line that was not taken."""
        self.refused += 1
        if len(self.refusals) < MAX_REFUSALS_SHOWN:
            self.refusals.append((line, reason))


def import_csv(
    ctx: SubscriberContext,
    portions: Iterable[bytes],
    *,
    actor: str,
    source: str,
    column: str | None = None,
    country: str | None = None,
    without_plus: bool = False,
) -> ImportedList:
    """Suppress the numbers of a CSV file; doing it again changes nothing.

    Raises BadInput for a file that cannot be read to its end; what stood before is done by then.
    """
    lines = _cut_lines(portions)
    first = next(lines, "")
    delimiter = ";" if first.count(";") > first.count(",") else "," if "," in first else "\t"
    rows = csv.reader(_begin_with(first, lines), delimiter=delimiter)
    reader = _make_reader(ctx, country, without_plus=without_plus)
    return _import(ctx, _read_csv(rows, column), reader, actor=actor, source=source)


def import_json_lines(
    ctx: SubscriberContext,
    portions: Iterable[bytes],
    *,
    actor: str,
    source: str,
    column: str | None = None,
    country: str | None = None,
    without_plus: bool = False,
) -> ImportedList:
    """The same of JSON, one text or one object a line."""
    cells = _read_json(_cut_lines(portions), column or "phone")
    reader = _make_reader(ctx, country, without_plus=without_plus)
    return _import(ctx, cells, reader, actor=actor, source=source)


def export_suppressions(ctx: SubscriberContext, *, active: bool | None = True) -> Iterator[str]:
    """Suppressions as a CSV file; an erased person's without a number."""
    yield write_lines([_HEADING])
    after = 0
    while True:
        with ctx.db.read() as tx:
            rows = tx.execute(_NEXT, {"after": after}).all()
        if not rows:
            return
        after = rows[-1].id
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


def _make_reader(ctx: SubscriberContext, country: str | None, *, without_plus: bool) -> PhoneReader:
    home = country or ctx.rules.default_country
    return PhoneReader(country=home, without_plus=without_plus or home is None, check=False)


def _import(
    ctx: SubscriberContext,
    cells: Iterator[tuple[int, str]],
    reader: PhoneReader,
    *,
    actor: str,
    source: str,
) -> ImportedList:
    taken, started_at = ImportedList(), ctx.now()
    while portion := list(islice(cells, _PORTION)):
        phones, faults = reader.read_column([cell for _, cell in portion])
        for place, reason in sorted(faults.items()):
            taken.refuse(portion[place][0], reason)
        good = [phone for place, phone in enumerate(phones) if place not in faults]
        taken.numbers += len(good)
        if taken.numbers + taken.refused > MAX_NUMBERS:
            raise BadInput(f"More than {MAX_NUMBERS} numbers: send them in several files")
        unique = list(dict.fromkeys(good))
        taken.newly_suppressed += add_imported(
            ctx, unique, actor=actor, at=started_at, source=source
        )
    return taken


def _cut_lines(portions: Iterable[bytes]) -> Iterator[str]:
    """The lines of a file in UTF-8, with their ends.  Raises BadInput."""
    decoder, rest = getincrementaldecoder("utf-8-sig")(), ""
    for portion in _end(portions):
        try:
            rest += decoder.decode(portion or b"", final=portion is None)
        except UnicodeDecodeError as e:
            raise BadInput("The file is not UTF-8") from e
        *whole, rest = rest.splitlines(keepends=True) or [""]
        yield from whole
        # What ends in a carriage return may go on with a line feed.
        if len(rest) > _MAX_LINE:
            raise BadInput(f"A line is longer than {_MAX_LINE} characters")
    if rest:
        yield rest


def _end(portions: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from portions
    yield None


def _begin_with(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _read_csv(rows: Any, column: str | None) -> Iterator[tuple[int, str]]:
    """The cells of the numbers' column with their lines.  Raises BadInput."""
    place: int | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if place is None:
                place, has_titles = _find_column(row, column)
                if has_titles:
                    continue
            yield rows.line_num, row[place] if place < len(row) else ""
    except csv.Error as e:
        raise BadInput(f"Line {rows.line_num} is not CSV") from e


def _find_column(titles: list[str], column: str | None) -> tuple[int, bool]:
    """Where the numbers stand, and whether the first row says so."""
    plain = [simplify_title(title) for title in titles]
    if column is not None:
        if plain.count(simplify_title(column)) != 1:
            raise BadInput("column: no column, or more than one, has this title")
        return plain.index(simplify_title(column)), True
    found = [place for place, title in enumerate(plain) if title in _TITLES]
    if len(found) == 1:
        return found[0], True
    if len(titles) == 1 and any(each.isdigit() for each in titles[0]):
        return 0, False
    raise BadInput("No column is known to hold the numbers: say which by column")


def _read_json(lines: Iterable[str], name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise BadInput(f"Line {number} is not JSON") from e
        if isinstance(value, Mapping):
            value = value.get(name)
        yield number, value if isinstance(value, str) else ""
