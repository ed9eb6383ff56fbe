"""Reading phone numbers as people and spreadsheets write them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from unicodedata import normalize

from app.phone.e164 import find_in_use, normalise_number, read_national, sort_entries

T = TypeVar("T")
CellErrors = dict[int, str]
ParsedColumn = tuple[list[Any], CellErrors]

# What a spreadsheet makes of a long number: 4.67012E+10, in some languages with a comma.
_SHORTENED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+", re.IGNORECASE)


_DECIMAL = re.compile(r"\+?[0-9]{5,}[.,][0-9]{1,2}")


_AS_FORMULA = re.compile(r'="(.*)"', re.DOTALL)


# Marks of direction and blanks of no width, that copying from elsewhere brings along.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


_SEPARATORS = re.compile(r"[\s()\[\].\-/\u2010-\u2015\u2212]+")


_TRUNK_ZERO = re.compile(r"[(\[]\s*0\s*[)\]]")


_DIGITS = re.compile(r"\+?[0-9]+")


NO_NUMBER = "No phone number."


SHORTENED = "A spreadsheet has shortened this number: its digits are lost."


LOST_PLUS = "Perhaps an international number that lost its plus: say so by without_plus."


NO_COUNTRY = "Neither + nor 00 in front: a national number needs a country."


NOT_IN_USE = "No country has numbers like this one."


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneReader:
    """How numbers are read: those without + or 00 as ones of `country`, or as international ones
    that have lost it; `check` asks libphonenumber whether there are any like it."""

    country: str | None = None
    without_plus: bool = False
    check: bool = True

    def read_column(self, cells: Sequence[str]) -> ParsedColumn:
        """Numbers in E.164; an empty cell is a fault, too."""
        clean = sort_entries(list(cells))
        if clean.invalid:
            return read_each(cells, self.read)
        if not self.check:
            return clean.numbers, {}
        numbers = [find_in_use(number) for number in clean.numbers]
        if None not in numbers:
            return numbers, {}
        return numbers, {
            place: NOT_IN_USE for place, number in enumerate(numbers) if number is None
        }

    def read(self, cell: str) -> str:
        """The number in E.164.  Raises ValueError that says what is wrong.

        >>> PhoneReader(country="SE").read("070-123 45 67")
        '+46701234567'
        >>> PhoneReader().read("0046 (0)70 123 45 67")
        '+46701234567'
        """
        number = self._read_digits(_strip_number(cell))
        if normalise_number(number) is None:
            raise ValueError("Not a phone number of 2 to 15 digits.")
        if not self.check:
            return number
        in_use = find_in_use(number)
        if in_use is None:
            raise ValueError(NOT_IN_USE)
        return in_use

    def _read_digits(self, written: str) -> str:
        if not written:
            raise ValueError(NO_NUMBER)
        if _SHORTENED.fullmatch(written):
            raise ValueError(SHORTENED)
        if _DECIMAL.fullmatch(written):
            raise ValueError("A number with decimals: format its column as text.")
        international = written.startswith(("+", "00"))
        bare = _SEPARATORS.sub("", _TRUNK_ZERO.sub("", written) if international else written)
        if not _DIGITS.fullmatch(bare):
            raise ValueError("Not a phone number.")
        if bare.startswith("+"):
            return bare
        if bare.startswith("00"):
            return "+" + bare[2:]
        return self._complete(bare)

    def _complete(self, digits: str) -> str:
        if self.without_plus and not digits.startswith("0"):
            return "+" + digits
        if self.country is None:
            raise ValueError(NO_COUNTRY)
        number = read_national(digits, self.country)
        if number is None:
            raise ValueError(f"Not a phone number of {self.country}.")
        # A 1 in front is dialled within North America, too.
        if number == "+" + digits and not number.startswith("+1"):
            raise ValueError(LOST_PLUS)
        return number


def _strip_number(cell: str) -> str:
    """A cell without what spreadsheets, browsers and address books put around a number."""
    text = _UNSEEN.sub("", normalize("NFKC", cell)).strip()
    formula = _AS_FORMULA.fullmatch(text)
    if formula:
        text = formula[1].strip()
    return text.removeprefix("'").removeprefix("tel:").strip()


def read_each(cells: Sequence[str], read: Callable[[str], T]) -> ParsedColumn:
    values: list[T | None] = []
    faults: CellErrors = {}
    for place, cell in enumerate(cells):
        try:
            values.append(read(cell))
        except ValueError as e:
            values.append(None)
            faults[place] = str(e)
    return values, faults
