"""Cells that no spreadsheet runs, and that every reader of CSV gets back."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.csv_cells import format_lines, make_harmless, read_harmless, write_lines

STARTS = "=+-@\t\r＝＋－＠"


@pytest.mark.parametrize("start", STARTS)
def test_a_cell_that_begins_like_a_formula_begins_with_an_apostrophe(start):
    assert make_harmless(f"{start}cmd|'/c calc'!A1").startswith("'")


@pytest.mark.parametrize(
    "text",
    [
        " =1+1",
        "\n=1+1",
        '"=1+1',
        "a;=1+1",
        "a,=1+1",
        "a|@SUM(1)",
        "a\t-1",
        "a\r\n+1",
        "a; =1",
        'a";"=1',
        "=",
        "-",
        "+46*******67",
        "+46701234567;=1",
        "+46701234567 ",
        "-46701234567",
        "++46701234567",
    ],
)
def test_nor_may_one_hide_behind_what_a_spreadsheet_cuts_at(text):
    shown = make_harmless(text)

    assert shown != text
    assert shown.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize(
    "text",
    [
        "+46701234567",
        "+12",
        "delivered",
        "2026-03-01T12:00:05.250000+00:00",
        "cl-9123ff358e303f205c144d3e",
        "The phone was off, or out of reach.",
        "a = b",
        "",
        "•••",
    ],
)
def test_what_is_harmless_stays_as_it_is(text):
    assert make_harmless(text) == text


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(st.characters(codec="utf-8")),
    st.text(STARTS + "\"';,|\t\r\n ab1"),
)  # fmt: skip


def _begins(text):
    """Where a spreadsheet that cuts at any of these may see a cell begin."""
    yield text
    for place, character in enumerate(text):
        if character in ';,|\t\r\n"':
            yield text[place + 1 :]


@pytest.mark.slow
@given(CELLS)
def test_no_piece_of_a_cell_begins_like_a_formula(cell):
    text = cell if isinstance(cell, str) else ""
    shown = make_harmless(text)

    if shown[1:].isdigit() and shown[0] == "+":
        return
    for piece in _begins(shown):
        assert piece.lstrip(' \t\r\n"')[:1] not in [*"=+-@＝＋－＠"]


@given(CELLS)
def test_what_was_made_harmless_is_read_as_it_was(cell):
    if isinstance(cell, str) and "'" not in cell:
        assert read_harmless(make_harmless(cell)) == cell


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=5))
def test_every_reader_gets_the_cells_back(rows):
    read = list(csv.reader(io.StringIO(write_lines(rows), newline=""), strict=True))

    assert [len(row) for row in read] == [len(row) for row in rows]
    for told, row in zip(read, rows, strict=True):
        for text, cell in zip(told, row, strict=True):
            if isinstance(cell, str):
                assert text == make_harmless(cell)
            elif isinstance(cell, bool):
                assert text == ("true" if cell else "false")
            else:
                assert text == ("" if cell is None else str(cell))


def test_a_cell_takes_time_by_its_length_alone():
    cell = '"' * 50_000 + "="

    assert read_harmless(make_harmless(cell)) == cell


@pytest.mark.parametrize("delimiter", [",", ";", "tab"])
def test_a_file_for_spreadsheets_is_marked_and_its_numbers_keep_their_plus(delimiter):
    lines = write_lines([("+46701234567", "Göteborg; Ost, Süd\tWest", 7)])

    mark, *written = format_lines([lines], delimiter=delimiter, spreadsheet=True)

    assert mark == "\ufeff"
    sign = {"tab": "\t"}.get(delimiter, delimiter)
    [row] = csv.reader(io.StringIO("".join(written), newline=""), delimiter=sign)
    assert row == ['="+46701234567"', "Göteborg; Ost, Süd\tWest", "7"]
    assert read_harmless(row[0]) == "+46701234567"
