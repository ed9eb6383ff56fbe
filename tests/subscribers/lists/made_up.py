"""Made-up lists after the grammar of real exports: people, spellings of numbers, encodings.

Each cell is made from a number in E.164, so what a list names is known without our reader.
"""

import csv
import io
import random
from dataclasses import dataclass

import phonenumbers

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-8", "windows-1252")
DELIMITERS = ",;\t|"
LINE_ENDS = ("\n", "\r\n")
PHONES = ("phone", "Phone Number", "Mobile", "Telefon", "Handy", "Mobilnummer", "Teléfono móvil",
          "Téléphone", "e-mail,phone", "Cell")  # fmt: skip
OTHERS = ("Name", "City", "Notes", "Order number", "Vorname", "Größe", "Total", "Tags")
NOTES = ("Ann Lee", "Göteborg", "12 345,67", "a,b;c", 'said "hi"', "2026-03-01", "", "Straße 5",
         "10115", "VIP|new", "line\nbreak", "+", "-", "=1+1", "O'Neil")  # fmt: skip
COUNTRIES = ("SE", "DE", "US", "GB", "FR", "ES", "IT", "NO", "DK", "AT", "CH", "NL", "PL", "BR",
             "MX", "AR", "RU", "CN", "IN", "ID", "JP", "KR", "AU", "ZA", "CI", "BJ", "XK", "HU",
             "BY", "LT")  # fmt: skip
INVISIBLE = ("\u200b", "\u202a", "\u202c", "\ufe0f", "\u2068", "\u00ad", "\u3164")


@dataclass(frozen=True)
class MadeUp:
    """A file, its country if it is told, and the numbers that it names."""

    raw: bytes
    encoding: str
    country: str | None
    named: frozenset[str]


def make_number(lots: random.Random, country: str) -> str:
    """A mobile of a country, in E.164 by libphonenumber."""
    example = phonenumbers.example_number_for_type(country, 1)
    start = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)[:-4]
    while True:
        number = start + "".join(lots.choice("0123456789") for _ in range(4))
        if phonenumbers.is_valid_number(phonenumbers.parse(number, None)):
            return number


def spell(lots: random.Random, number: str, *, at_home: bool) -> str:
    """A spelling of a number as people, programs and spreadsheets write it, or damage it.

    Without its plus a number is written `at_home` alone: elsewhere its digits may be another's.
    """
    parsed = phonenumbers.parse(number, None)
    code, rest = str(parsed.country_code), number[1 + len(str(parsed.country_code)) :]
    formats = phonenumbers.PhoneNumberFormat
    international = phonenumbers.format_number(parsed, formats.INTERNATIONAL)
    national = phonenumbers.format_number(parsed, formats.NATIONAL)
    dialled = "".join(filter(str.isdigit, national))
    trunk = dialled.removesuffix(rest) if dialled.endswith(rest) else ""
    ways = (
        number,
        international,
        international.replace(" ", lots.choice("-. \u00a0")),
        "00" + number[1:],
        f"+{code} ({trunk}){rest}" if trunk else number,
        f"+{code}{trunk}{rest}",
        *((national, dialled, rest, number[1:]) if at_home else ()),
        f"'{number}",
        f'="{number}"',
        f"tel:{number}",
        f"p:{number}",
        f" {number} ",
        number[:4] + lots.choice(INVISIBLE) + number[4:],
        f"{number[1:]}.0",
        f"{float(number[1:]):.5E}",
        f"{number} ext 5",
        f"{number} / {number}",
        "",
        "unknown",
    )
    return lots.choice(ways)


def make_list(lots: random.Random) -> MadeUp:
    """A list with one column of numbers among others, or of numbers alone."""
    country = lots.choice(COUNTRIES)
    homes = [lots.choice((*[country] * 4, *COUNTRIES)) for _ in range(lots.randrange(1, 6))]
    numbers = [make_number(lots, home) for home in homes]
    header = lots.choice(PHONES)
    others = lots.sample(OTHERS, lots.randrange(0, 4))
    index = lots.randrange(len(others) + 1)
    rows = [[*others[:index], header, *others[index:]]]
    for home, number in zip(homes, numbers, strict=True):
        cells = [lots.choice(NOTES) for _ in others]
        rows.append([*cells[:index], spell(lots, number, at_home=home == country), *cells[index:]])
    if not others and lots.random() < 0.3:
        del rows[0]
    text = _write(lots, rows)
    encoding = lots.choice(ENCODINGS)
    try:
        raw = text.encode(encoding)
    except UnicodeEncodeError:
        raw, encoding = text.encode(), "utf-8"
    told = "windows-1252" if encoding == "windows-1252" else "utf-8"
    return MadeUp(raw, told, lots.choice((country, country, None)), frozenset(numbers))


def _write(lots: random.Random, rows: list[list[str]]) -> str:
    delimiter, end = lots.choice(DELIMITERS), lots.choice(LINE_ENDS)
    quoting = lots.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    start = lots.choice(("", "", "", end, f"sep={delimiter}{end}"))
    return start + written.getvalue() + lots.choice(("", end))
