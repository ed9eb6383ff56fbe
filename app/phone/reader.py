"""Reader of phone numbers as people and spreadsheets write them."""

import re
from dataclasses import dataclass
from unicodedata import normalize

from app.phone.e164 import find_in_use, normalise_number, read_national

# Scientific notation of a spreadsheet, as 4.67012E+10; in some languages with a comma.
_SHORTENED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+", re.IGNORECASE)
_DECIMAL = re.compile(r"\+?[0-9]{5,}[.,][0-9]{1,2}")
_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
# Direction marks and blanks of no width, which come along when a number is copied.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
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
    """Options for reading numbers.

    A number without + or 00 is one of `country`, or if `without_plus` an international one that
    lost its plus.  With `check` libphonenumber has to know numbers like it.
    """

    country: str | None = None
    without_plus: bool = False
    check: bool = True

    def read(self, cell: str) -> str:
        """Return the number in E.164.  Raises ValueError with the reason.

        >>> PhoneReader(country="SE").read("070-123 45 67")
        '+46701234567'
        >>> PhoneReader().read("0046 (0)70 123 45 67")
        '+46701234567'
        """
        number = normalise_number(cell) or normalise_number(self._read_digits(_strip(cell)))
        if number is None:
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
        # Within North America a 1 is dialled in front of national numbers, too.
        if number == "+" + digits and not number.startswith("+1"):
            raise ValueError(LOST_PLUS)
        return number


def _strip(cell: str) -> str:
    """Return a cell without what spreadsheets, browsers and address books put around a number."""
    text = _INVISIBLE.sub("", normalize("NFKC", cell)).strip()
    formula = _FORMULA.fullmatch(text)
    if formula:
        text = formula[1].strip()
    return text.removeprefix("'").removeprefix("tel:").strip()
