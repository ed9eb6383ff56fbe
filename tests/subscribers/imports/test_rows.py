"""Rows of a file as entries: each bad cell is named, good cells are as they were meant."""

from datetime import UTC, datetime

from app.csv_cells import make_harmless
from app.phone.reader import NOT_IN_USE
from app.subscribers.imports.models import ImportOptions
from app.subscribers.imports.rows import RowParser
from app.subscribers.lists.columns import map_columns
from app.subscribers.lists.reader import Heading, Row

ANN, BOB = "+46701234567", "+46701234568"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def parse(headers, *rows, **options):
    mapping = map_columns(Heading(headers, ",", 1, 2), columns={}, ignore=())
    parser = RowParser(mapping, ImportOptions(**options), zone="UTC", now=NOW)
    return parser.parse([Row(line, list(row), None) for line, row in enumerate(rows, 2)])


def test_one_bad_cell_does_not_change_how_the_others_are_read():
    parsed = parse(["phone"], [ANN], ["bad"], ["+460701234568"], ["+46001234567"], country="SE")

    assert list(parsed.entries) == [ANN, BOB]
    assert [(cell.line, cell.reason) for cell in parsed.rejected] == [
        (3, "Not a phone number."), (5, NOT_IN_USE),
    ]  # fmt: skip
    assert (parsed.rows, parsed.refused) == (4, 2)


def test_texts_are_freed_of_what_keeps_spreadsheets_from_running_them():
    texts = ["=1+1", "+a", "a;@b", "O'Neil", "'tis", " Ann ", "x" * 100]
    phones = [f"+4670123456{number}" for number in range(len(texts))]
    rows = [[phone, make_harmless(text)] for phone, text in zip(phones, texts, strict=True)]

    parsed = parse(["phone", "first name"], *rows)

    names = [row.entry.details["first_name"] for row in parsed.entries.values()]
    assert names == [text.strip() for text in texts]


def test_every_bad_cell_of_a_row_is_named_and_empty_cells_say_nothing():
    parsed = parse(["phone", "name", "lang"], [ANN, "", " "], ["", "a\0b", "xx-", "more"])

    assert parsed.entries[ANN].entry.details == {}
    assert [(cell.position, cell.cell) for cell in parsed.rejected] == [
        (-1, ""), (0, ""), (1, "a�b"), (2, "xx-"),
    ]  # fmt: skip
    assert parsed.refused == 1
