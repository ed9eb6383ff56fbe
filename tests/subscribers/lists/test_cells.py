"""Cells as spreadsheets and people write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.phone.reader import (
    LOST_PLUS,
    NEGATIVE,
    NO_COUNTRY,
    NO_NUMBER,
    NOT_IN_USE,
    SHORTENED,
    TWO_NUMBERS,
    PhoneReader,
)
from app.subscribers.lists.cells import (
    read_boolean,
    read_datetime,
    read_language,
    read_number,
    read_tags,
    read_text,
    read_time_zone,
)

ANN = "+46701234567"
THOUSANDS = "Thousands or decimals: write it without a sign, or with fewer decimals."
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def read(reader, *arguments, **options):
    """The value, or the reason why there is none."""
    try:
        return reader(*arguments, **options)
    except ValueError as e:
        return str(e)


def read_phone(cell, **options):
    return read(PhoneReader(**options).read, cell)


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
        f"TEL: {ANN}",
        f"p:{ANN}",
        "(+46) (0)70 123 45 67",
        "+00 46 70 123 45 67",
        f"\u2068{ANN}\u2069",
        "+46\ufe0f701234567\u3164",
        "\u180e+4670123\u200b4567",
        "\u2019\t+46 (0)701234567\u00a0",
        "٠٧٠١٢٣٤٥٦٧",
        f'"{ANN}"',
        f"\u202a{ANN}\u202c",
        "+46\u00a070\u00a0123\u00a045\u00a067",
        "+46 70\u2013123\u201145 67",
        "＋４６７０１２３４５６７",
        "´0701234567",
        f"={ANN}",
        f'= "{ANN}"',
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
        ("-701234567", NEGATIVE),
        ("\u2212701234567", NEGATIVE),
        ("wa.me/46701234567", "Begins with 'wa.me/': leave only the phone number."),
        ("https://wa.me/46701234567", "Begins with 'https://wa.me/': leave only the phone number."),
        ("46701234567.0", "A number with decimals: format its column as text."),
        ("46701234567", LOST_PLUS),
        ("46 70 123 45 67", LOST_PLUS),
        ("070-123 45 67 ext 3", "A number with an extension gets no texts."),
        ("none", "Not a phone number."),
        ("#####", "Not a phone number."),
        ("+46701234567¹", "Not a phone number."),
        ("1" * 101, "Not a phone number."),
        ("+46701234567, +46701234568", TWO_NUMBERS),
        ("+46 70 123 45 67 ::: +46 70 123 45 68", TWO_NUMBERS),
        ("+46701234567 +46701234568", TWO_NUMBERS),
        ("0701234567 / 0701234568", TWO_NUMBERS),
        ("070-123 45 67 or 070-123 45 68", TWO_NUMBERS),
        (f"whatsapp:{ANN}", "Begins with 'whatsapp:': leave only the phone number."),
        (f"sms:{ANN}", "Begins with 'sms:': leave only the phone number."),
        ("+4670123456712345", "Not a phone number of 2 to 15 digits."),
        ("12", "Not a phone number of Sweden."),
        ("+46001234567", NOT_IN_USE),
        ("+999123456789", NOT_IN_USE),
        ("0700", "Not a phone number of Sweden."),
        ("00", "Not a phone number of 2 to 15 digits."),
        ("+46701234567 / +46701234568", TWO_NUMBERS),
        ("2026-11-30", "A date instead of a phone number."),
        ("30.11.2026", "A date instead of a phone number."),
        ("11/30/2026", "A date instead of a phone number."),
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


@pytest.mark.parametrize(
    ("digits", "country"),
    [
        ("491713920012", "DE"),
        ("4917604069012", "DE"),
        ("49 152 28817386", "DE"),
        ("15123456789", "DE"),  # of Austin, or without its 0 of Germany
        ("46701234567", "DE"),
        ("6285212345678", "ID"),
        ("38344123456", "XK"),
        ("8613102345678", "CN"),
        ("79123456789", "RU"),
        ("4790123456", "NO"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_digits_that_are_a_number_with_a_plus_as_well_are_not_guessed(digits, country, check):
    assert read_phone(digits, country=country, check=check) == LOST_PLUS


def test_digits_that_a_country_writes_so_are_its_own():
    assert read_phone("13102345678", country="CN") == "+8613102345678"  # as one of Los Angeles
    assert read_phone("6785551234", country="US") == "+16785551234"  # as one of Vanuatu
    assert read_phone("90123456", country="NO") == "+4790123456"
    assert read_phone("011 15 2345 6789", country="AR") == "+5491123456789"
    assert read_phone("0011 46 70 123 45 67", country="AU", check=False) == ANN


def test_without_a_plus_a_number_has_the_length_of_an_international_one():
    reason = "No number of this length is international: a national one needs a country."

    assert read_phone("701234567", without_plus=True, check=False) == reason


def test_a_lost_plus_is_put_back_only_where_that_is_said():
    assert read_phone("46701234567", without_plus=True) == ANN
    assert read_phone("46701234567", without_plus=True, country="SE") == ANN
    assert read_phone("0701234567", without_plus=True, country="SE") == ANN
    assert read_phone("0701234567", without_plus=True) == NO_COUNTRY


def test_numbers_that_are_like_none_in_use_are_taken_where_nobody_checks():
    assert read_phone("+46901234567", check=False) == "+46901234567"
    assert read_phone("+4670", check=False) == "+4670"
    assert read_phone("+8 912 345 67 92", check=False) == NOT_IN_USE  # no country has this code
    assert read_phone("０９０ー１２３４ー５６７８", country="JP") == "+819012345678"
    # The number of a customer, not one of a mobile.
    assert read_phone("M20123456", country="DK") == "Not a phone number."
    extended = "A number with an extension gets no texts."
    assert read_phone("0171-3920020-0", country="DE") == extended


def test_texts_are_measured():
    assert read_text("x" * 500) == "x" * 500
    assert read(read_text, "x" * 101, limit=100) == "Longer than 100 characters."
    assert read(read_text, "a\0b") == "Holds a NUL character."


@pytest.mark.parametrize(
    ("reader", "cell", "value"),
    [
        (read_language, "SV", "sv"),
        (read_language, "pt_br", "pt-BR"),
        (read_language, "German", "Not a language such as sv, pt-BR or zh-Hans."),
        (read_time_zone, "Europe/Berlin", "Europe/Berlin"),
        (read_time_zone, "Berlin", "Not a time zone such as Europe/Stockholm."),
        (read_boolean, "Ja", True),
        (read_boolean, "NEIN", False),
        (read_boolean, "1", True),
        (read_boolean, "maybe", "Neither true nor false."),
        (read_number, "7", 7),
        (read_number, "-1,5", -1.5),
        (read_number, "2.25", 2.25),
        (read_number, "007", "Not a number."),
        (read_number, "1e5", "Not a number."),
        (read_number, "9" * 16, "A number of more than 53 bits."),
        (read_number, "0.125", 0.125),
        (read_number, "1,000", THOUSANDS),
        (read_number, "-12.500", THOUSANDS),
        (read_boolean, "✓", True),
        (read_boolean, "ЛОЖЬ", False),
        (read_tags, "VIP; Old  customers|new", ("vip", "old customers", "new")),
        (read_tags, "a,,b,A", ("a", "b")),
        (read_tags, ";".join(f"t{n}" for n in range(101)), "More than 100 tags."),
    ],
)
def test_languages_zones_booleans_numbers_and_tags_are_read(reader, cell, value):
    assert read(reader, cell) == value


def test_a_tag_has_blanks_in_place_of_what_no_tag_may_have():
    assert read(read_tags, "a/b, * c ::: ⭐ | d&e") == ("a b", "c", "d e")
    assert read(read_tags, "x" * 65) == "A tag of more than 64 characters."


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
    assert read_datetime(cell, zone=ZoneInfo("Europe/Berlin"), now=NOW).isoformat() == moment


@pytest.mark.parametrize("cell", ["03/01/2025", "yesterday", "2025-13-01", "0001-01-01", "45000"])
def test_times_that_could_be_read_in_two_ways_or_none_are_refused(cell):
    with pytest.raises(ValueError, match="Not a time"):
        read_datetime(cell, zone=ZoneInfo("Asia/Tokyo"), now=NOW)


def test_a_time_that_the_clocks_skip_is_refused_and_a_day_without_midnight_taken():
    with pytest.raises(ValueError, match="skip this time"):
        read_datetime("2025-03-30 02:30", zone=ZoneInfo("Europe/Berlin"), now=NOW)
    for cell in ("2025-03-30 02:30+01:00", "2025-03-30 03:00", "2025-10-26 02:30"):
        assert read_datetime(cell, zone=ZoneInfo("Europe/Berlin"), now=NOW)
    assert read_datetime("2025-04-25", zone=ZoneInfo("Africa/Cairo"), now=NOW)


def test_a_time_to_come_is_no_time_of_a_consent():
    with pytest.raises(ValueError, match="In the future"):
        read_datetime("2026-03-02", zone=UTC, now=NOW)
