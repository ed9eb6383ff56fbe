"""A file's bytes in any blocks and encodings become rows with the lines that an editor shows."""

import csv
import io
import random

import pytest

from app.subscribers.lists.reader import (
    CHUNK_CHARACTERS,
    MAX_LINE_CHARACTERS,
    MAX_ROW_LINES,
    UNCLOSED,
    FileChunk,
    RowReader,
    UnusableFile,
    read_heading,
    split_chunks,
)


def cut(raw, *, block=7, encoding="utf-8"):
    blocks = (raw[start : start + block] for start in range(0, len(raw), block))
    return list(split_chunks(blocks, encoding))


def text_of(raw, **options):
    return "".join(chunk.text for chunk in cut(raw, **options))


def open_rows(text, *, line=1):
    lines = io.StringIO(text).readlines()[line - 1 :]
    return RowReader(iter(lines), delimiter=",", first_line=line)


def read_all(text, *, most=3, line=1):
    """Rows with their lines, and what could not be read."""
    reader = open_rows(text, line=line)
    rows, unreadable = [], []
    while batch := reader.read(most):
        rows += [(row.line, row.cells) for row in batch if not row.error]
        unreadable += [(row.line, row.error) for row in batch if row.error]
    assert reader.next_line == text.count("\n") + 1
    return rows, unreadable


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        ("phone;Ort\n+46;Malmö €\n".encode(), "utf-8"),
        ("phone;Ort\n+46;Malmö €\n".encode("utf-8-sig"), "utf-8"),
        ("phone;Ort\n+46;Malmö €\n".encode("utf-8-sig"), "windows-1252"),
        ("phone;Ort\r\n+46;Malmö €\r\n".encode("utf-16"), "utf-8"),
        ("\ufeffphone;Ort\r\n+46;Malmö €".encode("utf-16-be"), "windows-1252"),
        ("phone;Ort\r\n+46;Malmö €".encode("utf-16-be"), "utf-8"),
        ("phone;Ort\r\n+46;Malmö €".encode("utf-16-le"), "windows-1252"),
        ("phone;Ort\r+46;Malmö €\r".encode("cp1252"), "windows-1252"),
    ],
)
def test_it_is_kept_in_one_encoding_with_one_kind_of_line_end(raw, encoding, block):
    assert text_of(raw, block=block, encoding=encoding) == "phone;Ort\n+46;Malmö €\n"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("phone\n+46\nMalmö\n".encode("cp1252"), "line 3 is not in utf-8"),
        (b"phone\n\x81\n", "line 2 is not in utf-8"),
        (b"PK\x03\x04 and so on", "this is a workbook or an archive"),
        (b"\0\0\0phone\n", "this is no text in UTF-8"),
        (b"p\0hone\n", "this is no text in UTF-8"),
        ("phone\n".encode("utf-16-le") + b"\0", "line 2 is not in utf-16-le"),
        ("a" * (CHUNK_CHARACTERS + 1), f"line 1 is longer than {MAX_LINE_CHARACTERS:,} characters"),
        ("a\n" + "b" * (MAX_LINE_CHARACTERS + 1) + "\nc", "line 2 is longer than"),
    ],
)
def test_what_is_no_text_is_refused(raw, reason):
    raw = raw.encode() if isinstance(raw, str) else raw

    with pytest.raises(UnusableFile, match=reason):
        cut(raw, block=100_000)


def test_a_large_file_is_cut_at_its_lines_into_pieces_that_say_where_they_begin():
    line = "+46701234567;" + "x" * 86 + "\n"
    raw = (line * 25_000).encode()

    pieces = cut(raw, block=64_000)

    assert "".join(piece.text for piece in pieces).encode() == raw
    assert len(pieces) == 3
    counted = 1
    for piece in pieces:
        assert piece.first_line == counted
        assert piece.text.endswith("\n")
        assert len(piece.text) <= CHUNK_CHARACTERS
        counted += piece.text.count("\n")


@pytest.mark.parametrize(
    ("text", "headers", "delimiter", "first_line"),
    [
        ("phone,name\n", ["phone", "name"], ",", 2),
        ("phone;name, first\n", ["phone", "name, first"], ";", 2),
        ('phone\t"a,b,c"\n', ["phone", "a,b,c"], "\t", 2),
        ("sep=;\nphone;a,b\n", ["phone", "a,b"], ";", 3),
        ("sep=|\nphone|name\n", ["phone", "name"], "|", 3),
        ("\n  \nphone\n", ["phone"], "\t", 4),
        ('"phone\nnumber";name\n1;2\n', ["phone\nnumber", "name"], ";", 3),
    ],
)
def test_the_headers_and_what_divides_them_are_found(text, headers, delimiter, first_line):
    heading = read_heading(FileChunk(1, text))

    assert (heading.headers, heading.delimiter) == (headers, delimiter)
    assert heading.first_line == first_line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n\n", "the file is empty"),
        ("sep=;\n", "the file is empty"),
        ('"phone\n', "the headers in line 1 cannot be read"),
        ("phone" + "," * 500, "more than 500 columns"),
        ("phone,a\0b", "a NUL character"),
    ],
)
def test_a_file_without_usable_headers_is_refused(text, reason):
    with pytest.raises(UnusableFile, match=reason):
        read_heading(FileChunk(1, text))


def test_no_more_is_read_at_once_than_memory_bears():
    reader = open_rows("".join(f"{number}," + "," * 120_000 + "\n" for number in range(20)))

    batches = [[row.line for row in reader.read(2_000)] for _ in range(4)]

    assert batches == [[*range(1, 10)], [*range(10, 19)], [19, 20], []]


def test_a_row_whose_every_line_closes_a_quote_and_opens_another_is_bounded():
    """csv.reader alone would join all lines to one row."""
    lines = 'a","b\n' * 20_000

    rows, unreadable = read_all('"' + lines, most=1_000)

    assert rows == []
    assert len(unreadable) == 20_000


def test_rows_keep_the_lines_of_the_file_behind_cells_of_several_lines_and_empty_lines():
    text = 'a,"b\nc\n\nd"\n\ne,"f ""g"""\nh,i\n'

    rows, unreadable = read_all(text)

    assert rows == [(1, ["a", "b\nc\n\nd"]), (6, ["e", 'f "g"']), (7, ["h", "i"])]
    assert unreadable == []


@pytest.mark.parametrize("most", [1, 2, 100])
def test_a_quote_that_is_not_closed_costs_its_own_row_and_no_other(most):
    text = 'a,1\nb,"2\nc,3\nd,4" x\ne,5\n'

    rows, unreadable = read_all(text, most=most)

    assert rows == [(1, ["a", "1"]), (3, ["c", "3"]), (4, ["d", '4" x']), (5, ["e", "5"])]
    assert unreadable == [(2, UNCLOSED)]


def _split_plainly(text):
    """The rows as csv reads each from its own line on, in no more lines than a row may have."""
    lines, rows, place = io.StringIO(text).readlines(), [], 0
    while place < len(lines):
        reader = csv.reader(lines[place : place + MAX_ROW_LINES], strict=True)
        try:
            cells, step, error = next(reader), reader.line_num, None
        except csv.Error:
            cells, step, error = next(csv.reader(lines[place : place + 1])), 1, UNCLOSED
        rows += [(place + 1, cells, error)] if lines[place] != "\n" else []
        place += step
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_rows_of_open_quotes_are_the_same_as_if_each_was_read_from_its_own_line(seed):
    lots = random.Random(seed)
    poison = lots.choice(['x","\n', 'x","y"\n', '","\n', 'a""","\n', ' "\n'])
    for _ in range(60):
        noise = "".join(lots.choices('"\n,ab', k=lots.randint(0, 40)))
        text = poison * lots.randint(0, 2 * MAX_ROW_LINES) + noise + poison * lots.randint(0, 130)
        text += "" if text.endswith("\n") else "\n"

        assert [tuple(row) for row in open_rows(text)] == _split_plainly(text), text


def test_a_quote_that_would_take_in_the_rest_of_the_file_costs_one_row():
    rows = [f"a{number},{'x' * 50}" for number in range(5_000)]
    rows[10] = 'a10,"open'

    read, unreadable = read_all("\n".join(rows) + "\n", most=2_000)

    assert [line for line, _ in read] == [line for line in range(1, 5_001) if line != 11]
    assert unreadable == [(11, UNCLOSED)]


def test_a_cell_may_have_many_lines_but_not_any_number():
    good = '"' + "\n" * (MAX_ROW_LINES - 1) + '",1\n'
    bad = '"' + "\n" * MAX_ROW_LINES + '",1\n'

    assert [line for line, _ in read_all(good + "x,2\n")[0]] == [
        1,
        MAX_ROW_LINES + 1,
    ]
    assert read_all(bad)[1][0] == (1, UNCLOSED)


@pytest.mark.parametrize("seed", range(5))
def test_wherever_it_is_taken_up_again_every_row_is_read_once(seed):
    lots = random.Random(seed)
    alphabet = ["x", "Ö", '"', ",", "\n", " ", "'", "7"]
    wanted = [
        ["".join(lots.choices(alphabet, k=lots.randrange(6))) for _ in range(3)] for _ in range(60)
    ]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(wanted)
    text = file.getvalue()

    rows, unreadable = read_all(text, most=lots.randrange(1, 9))

    assert unreadable == []
    assert [row for _, row in rows] == wanted
    taken_up = lots.choice(rows)[0]
    again, _ = read_all(text, line=taken_up)
    assert again == [(line, row) for line, row in rows if line >= taken_up]


@pytest.mark.parametrize(
    "line", ['x","\n', '"\n', "\n", ",,\n", '"' + "x" * 5_000 + '","\n', "," * 100_000 + "\n"]
)
def test_no_row_reads_ahead_more_than_a_row_may_have(line):
    """Each line of some closes a quote and opens the next: one row without an end, to csv."""
    read, ahead = 0, []

    def lines():
        nonlocal read
        for _ in range(400):
            read += 1
            yield line

    reader = RowReader(lines(), delimiter=",", first_line=1)
    while reader.next_line <= 400:
        rows = reader.read(50)
        assert sum(len(row.cells) for row in rows) <= 50 * 501
        ahead.append(read - (reader.next_line - 1))

    assert max(ahead) <= MAX_ROW_LINES
    assert reader.next_line == 401
