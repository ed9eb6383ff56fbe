"""A CSV file as the audience of a draft: columns, numbers, values, what is wrong, erasure."""

import json

import pytest

from app.phone.reader import SHORTENED
from app.sms.drafts.people_file import (
    MAX_FILE_BYTES,
    PeopleFile,
    choose_columns,
    forget_in_file,
    list_faults,
    read_people_file,
    sort_people,
)
from app.subscribers.lists.columns import UnusableHeaders
from app.subscribers.lists.reader import UnusableFile
from tests.factories import many_numbers

ANN, BOB, CLEO = "+46701234567", "+46702345678", "+46703456789"
LIST = f"Mobil;Vorname;Ort;Åtkomst\n{ANN};Ann;Malmö;x\n070-234 56 78;Bob;;\n4.67E+10;Cleo;Lund;\n"


def read(text, *, country="SE", encoding="utf-8"):
    raw = text.encode(encoding) if isinstance(text, str) else text
    return read_people_file([raw], "list.csv", encoding="utf-8", country=country)


def faults(file, *placeholders):
    return [(fault.line, fault.header, fault.reason) for fault in list_faults(file, placeholders)]


def phones(file, *, marketing=False):
    return sort_people(file, [], marketing=marketing).phones


def test_columns_are_known_by_their_headers_and_fill_placeholders():
    file = read(LIST)

    assert file.columns == ["phone", "first_name", "Ort", "atkomst"]
    listed = sort_people(file, ["first_name", "Vorname", "ort", "colour"], marketing=False)
    assert listed.phones == [ANN, BOB]
    names = {ANN: "Ann", BOB: "Bob"}
    assert listed.parameters == {"first_name": names, "Vorname": names, "ort": {ANN: "Malmö"}}


def test_a_row_is_wrong_by_its_number_or_for_lack_of_a_value_of_the_text():
    file = read(LIST)

    assert faults(file) == [(4, "Mobil", SHORTENED)]
    assert faults(file, "Ort") == [
        (3, "Ort", "Empty, and the text has ${Ort}."),
        (4, "Mobil", SHORTENED),
    ]
    long = read(f"phone,note\n{ANN},{'a' * 161}\n")
    assert faults(long, "note") == [(2, "note", "Longer than 160 characters.")]


def test_other_columns_give_other_numbers():
    file = read(f"Home,Mobile work,Mobile private\nx,{ANN},{BOB}\n")
    columns = ["", "phone", "home"]

    assert phones(choose_columns(file, columns, country=None)) == [ANN]
    assert phones(choose_columns(file, ["", "", "phone"], country=None)) == [BOB]
    assert phones(choose_columns(file, ["", "", ""], country=None)) == []


def test_a_file_without_headers_has_columns_by_number():
    file = read(f"Ann,{ANN}\nBob,{BOB}\n")

    assert file.headers == ["Column 1", "Column 2"]
    assert phones(file) == [ANN, BOB]


def test_a_file_stays_what_it_is_when_it_is_kept():
    kept = read(LIST).to_json()

    assert kept == json.loads(json.dumps(kept))
    assert PeopleFile.from_json(kept).to_json() == kept


def test_of_a_number_that_comes_twice_the_first_values_count():
    listed = sort_people(read(f"phone,name\n{ANN},Ann\n{ANN},Anna\n"), ["name"], marketing=False)

    assert (listed.phones, listed.duplicates) == ([ANN], 1)
    assert listed.parameters == {"name": {ANN: "Ann"}}


def test_a_row_that_says_no_is_left_out_whatever_its_column_is_chosen_to_be():
    text = f"phone,Unsubscribed,SMS consent\n{ANN},yes,yes\n{BOB},,no\n{CLEO},,yes\n"
    file = choose_columns(read(text), ["phone", "", ""], country=None)

    assert phones(file) == [BOB, CLEO]
    assert phones(file, marketing=True) == [CLEO]


@pytest.mark.parametrize(
    "text",
    [
        LIST.encode("utf-16"),
        LIST.encode("utf-8-sig"),
        LIST.replace("\n", "\r\n").encode(),
        LIST.replace(";", "\t").encode(),
        f"sep=;\n{LIST}".encode(),
        LIST.replace("\n", "\n;;;\n\n").encode(),
    ],
    ids=["UTF-16", "byte order mark", "Windows", "tabs", "sep=", "blank rows"],
)
def test_files_are_read_however_a_spreadsheet_saves_them(text):
    assert phones(read(text)) == [ANN, BOB]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n\n;;\n", "the file is empty"),
        (b"PK\x03\x04" + bytes(200), "a workbook or an archive"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(range(256)), "not in utf-8"),
        (b"\0\0\0\0", "no text"),
        (b"<!doctype html><p>Sign in</p>", "a web page"),
        (b"phone," + b",".join(b"c%d" % n for n in range(600)) + b"\n", "more than 500 columns"),
        (b'phone,"name\n' + b"+46701234567,Ann\n" * 200, "cannot be read"),
        (b"phone\n" + b"a" * 200_000 + b"\n", "longer than"),
        (b"phone\n" + b"+46701234567\n" * 10_001, "more than 10,000 rows: import it"),
        (b"phone,n\n" + b"+46701234567,aaaaaaaaaa\n" * 1_000_000, "more than"),
        (b"phone\n+46701234567" + b"," * MAX_FILE_BYTES + b"\n", "more than 5 MB: import it"),
    ],
)
def test_a_file_that_is_no_list_says_why(raw, reason):
    with pytest.raises(UnusableFile, match=reason) as caught:
        read(raw)

    assert not isinstance(caught.value, UnusableHeaders)


def test_odd_rows_cost_no_other_row():
    file = read(f'phone,name\n{ANN},Ann,more\n{BOB},B\0b\n{CLEO}\n"{ANN},x\n')

    assert phones(file) == [CLEO]
    assert [(line, reason) for line, _, reason in faults(file)] == [
        (2, "More cells than headers."),
        (3, "A NUL character."),
        (5, "A quote is opened and not closed, or not doubled within quotes."),
    ]


def test_300_columns_are_only_columns():
    headers = ",".join(f"c{number}" for number in range(299))
    file = read(f"phone,{headers}\n{ANN}{',x' * 299}\n")

    assert sort_people(file, ["c298"], marketing=False).parameters == {"c298": {ANN: "x"}}


def test_formulas_and_landlines_are_read():
    file = read(f'phone,name\n="{ANN}",\'=1+1\n+4930901820,Otto\n')

    listed = sort_people(file, ["name"], marketing=False)

    assert listed.parameters["name"][ANN] == "=1+1"
    assert [row.line for row in listed.landlines] == [3]


SPELLINGS = [
    ANN,
    "46701234567",
    "0046 70 123 45 67",
    "+46 (0)70-123 45 67",
    "070-123 45 67",
    "070/1234567",
    "(070) 1234567",
    "701234567",
    "701234567.0",
    "p:+46701234567",
    '="+46701234567"',
    "+46\u00a070\u200b1234567",
    "＋４６７０１２３４５６７",
    "Ann: 0701234567!",
    "+46702345670 / +46701234567",
    "0702345670 0701234567",
    # Takes two minutes if each blank is looked at anew.
    pytest.param("0702345670" + " " * 100_000 + "0701234567", id="far away"),
]


@pytest.mark.parametrize("country", ["SE", "NO", None])
@pytest.mark.parametrize("written", SPELLINGS)
def test_a_number_is_forgotten_however_and_wherever_it_is_written(written, country):
    cell = '"' + written.replace('"', '""') + '"'
    file = read(f"phone,note\n{BOB},{cell}\n{cell},Ann\n{CLEO},0701234568\n", country=country)

    left = PeopleFile.from_json(forget_in_file(file.to_json(), ANN))

    assert [row.cells[0] for row in left.rows] == [CLEO]


@pytest.mark.parametrize(
    "note",
    [
        "12701234567",  # an order number
        "70123456700",
        "A-0701234567B",
        "INV701234567",
        "2701234567",
        "http://shop.example/70123456799",
        "07012345678",
        "1970-12-34 5670",
    ],
)
def test_a_row_stays_whose_cells_merely_have_the_digits_of_a_forgotten_number(note):
    file = read(f'phone,note\n{BOB},"{note}"\n')

    left = PeopleFile.from_json(forget_in_file(file.to_json(), ANN))

    assert [row.cells for row in left.rows] == [[BOB, note]]


def test_ten_thousand_people_are_one_file():
    numbers = many_numbers(10_000)

    assert phones(read("phone\n" + "\n".join(numbers))) == numbers
