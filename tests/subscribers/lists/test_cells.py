"""Cells as spreadsheets and people write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.csv_cells import make_harmless
from app.phone.reader import LOST_PLUS, NO_COUNTRY, NO_NUMBER, NOT_IN_USE, SHORTENED, PhoneReader
from app.subscribers.lists.cells import (
    parse_datetime,
    read_booleans,
    read_languages,
    read_names,
    read_numbers,
    read_tags,
    read_zones,
)

ANN = "+46701234567"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SWEDEN = PhoneReader(country="SE")


def read_phone(cell, **options):
    values, faults = PhoneReader(**options).read_column([cell])
    return faults[0] if faults else values[0]


@pytest.mark.parametrize(
    "cell",
    [
        ANN,
        f" {ANN} ",
        "+46 70 123 45 67",
        "+46-70-123 45 67",
        "+46 (70) 123.45.67",
        "+46 (0)70 123 45 67",
        "+460701234567",
        "0046701234567",
        "0046 (0) 70-123 45 67",
        "070-123 45 67",
        "0701234567",
        "701234567",
        f"'{ANN}",
        "'0701234567",
        f'="{ANN}"',
        '="0701234567"',
        f"tel:{ANN}",
        f"\u202a{ANN}\u202c",
        "+46\u00a070\u00a0123\u00a045\u00a067",
        "+46 70\u2013123\u201145 67",
        "＋４６７０１２３４５６７",
    ],
)
def test_a_number_is_read_however_it_is_written(cell):
    assert read_phone(cell, country="SE") == ANN


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", NO_NUMBER),
        ("   ", NO_NUMBER),
        ("4.67012E+10", SHORTENED),
        ("4,67012E+10", SHORTENED),
        ("+4.67E+10", SHORTENED),
        ("46701234567.0", "A number with decimals: format its column as text."),
        ("46701234567", LOST_PLUS),
        ("46 70 123 45 67", LOST_PLUS),
        ("070-123 45 67 ext 3", "Not a phone number."),
        ("none", "Not a phone number."),
        ("#####", "Not a phone number."),
        ("+46701234567, +46701234568", "Not a phone number."),
        ("+4670123456712345", "Not a phone number of 2 to 15 digits."),
        ("12", "Not a phone number of SE."),
        ("+46001234567", NOT_IN_USE),
        ("+999123456789", NOT_IN_USE),
        ("0700", "Not a phone number of SE."),
    ],
)
def test_what_is_no_number_is_refused_with_the_reason(cell, reason):
    assert read_phone(cell, country="SE") == reason


def test_a_national_number_needs_a_country():
    assert read_phone("0701234567") == NO_COUNTRY
    assert read_phone("46701234567") == NO_COUNTRY
    assert read_phone("(201) 555-0123", country="US") == "+12015550123"
    assert read_phone("1-201-555-0123", country="US") == "+12015550123"
    assert read_phone("011 46 70 123 45 67", country="US") == ANN


def test_a_lost_plus_is_put_back_only_where_that_is_said():
    assert read_phone("46701234567", without_plus=True) == ANN
    assert read_phone("46701234567", without_plus=True, country="SE") == ANN
    assert read_phone("0701234567", without_plus=True, country="SE") == ANN
    assert read_phone("0701234567", without_plus=True) == NO_COUNTRY


def test_numbers_that_are_like_none_in_use_are_taken_where_nobody_checks():
    assert read_phone("+46001234567", check=False) == "+46001234567"
    assert read_phone("+4670", check=False) == "+4670"


def test_one_bad_cell_does_not_change_how_the_others_are_read():
    cells = [ANN, "bad", "+460701234568", "+46001234567"]

    values, faults = SWEDEN.read_column(cells)

    assert values == [ANN, None, "+46701234568", None]
    assert faults == {1: "Not a phone number.", 3: NOT_IN_USE}


def test_texts_are_stripped_measured_and_freed_of_what_keeps_spreadsheets_from_running_them():
    harmless = [make_harmless(text) for text in ("=1+1", "+a", "a;@b", "O'Neil", "'tis")]

    assert read_names([" Ann ", "", "x" * 100, *harmless]) == (
        ["Ann", None, "x" * 100, "=1+1", "+a", "a;@b", "O'Neil", "'tis"], {},
    )  # fmt: skip
    assert read_names(["Ann", "x" * 101, "a\0b"])[1] == {
        1: "Longer than 100 characters.",
        2: "Holds a NUL character.",
    }


def test_languages_zones_truths_numbers_and_tags_are_read():
    assert read_languages(["SV", "pt_br", "", "German"]) == (
        ["sv", "pt-BR", None, None], {3: "Not a language such as sv, pt-BR or zh-Hans."},
    )  # fmt: skip
    assert read_zones(["Europe/Berlin", "Berlin", ""])[1] == {
        1: "Not a time zone such as Europe/Stockholm."
    }
    assert read_booleans(["Ja", "NEIN", "1", "", "maybe"]) == (
        [True, False, True, None, None], {4: "Neither true nor false."},
    )  # fmt: skip
    values, faults = read_numbers(["7", "-1,5", "2.25", "", "007", "9" * 16, "1e5"])
    assert values == [7, -1.5, 2.25, None, None, None, None]
    assert faults == {4: "Not a number.", 5: "A number of more than 53 bits.", 6: "Not a number."}
    assert read_tags(["VIP; Old  customers|new", "", "a,,b,A", "a/b"])[0] == [
        ("vip", "old customers", "new"), (), ("a", "b"), (),
    ]  # fmt: skip
    assert list(read_tags(["ok", "a/b", ";".join(f"t{n}" for n in range(101))])[1]) == [1, 2]


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2025-03-01T08:30:00Z", "2025-03-01T08:30:00+00:00"),
        ("2025-03-01 08:30+02:00", "2025-03-01T06:30:00+00:00"),
        ("2025-03-01 08:30", "2025-03-01T07:30:00+00:00"),
        ("2025-07-01", "2025-06-30T22:00:00+00:00"),
        ("1.3.2025", "2025-02-28T23:00:00+00:00"),
        ("01.03.2025 8:30", "2025-03-01T07:30:00+00:00"),
    ],
)
def test_times_are_read_in_the_zone_of_the_service_unless_they_have_their_own(cell, moment):
    assert parse_datetime(cell, zone=ZoneInfo("Europe/Berlin"), now=NOW).isoformat() == moment


@pytest.mark.parametrize("cell", ["03/01/2025", "yesterday", "2025-13-01", "0001-01-01", "45000"])
def test_times_that_could_be_read_in_two_ways_or_none_are_refused(cell):
    with pytest.raises(ValueError, match="Not a time"):
        parse_datetime(cell, zone=ZoneInfo("Asia/Tokyo"), now=NOW)


def test_a_time_to_come_is_no_time_of_a_consent():
    with pytest.raises(ValueError, match="In the future"):
        parse_datetime("2026-03-02", zone=UTC, now=NOW)
