"""Reader of phone numbers as people and spreadsheets write them."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace

import phonenumbers

from app.phone.characters import simplify_characters
from app.phone.country_names import name_country
from app.phone.e164 import (
    MAX_CHARACTERS,
    find_calling_code,
    find_in_use,
    is_national_mobile,
    is_possible,
    normalise_number,
    read_national,
    write_national,
)

# Scientific notation of a spreadsheet, as 4.67012E+10; in some languages with a comma.
_SHORTENED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+", re.IGNORECASE)
_NEGATIVE = re.compile(r"[-\u2212][0-9]")
_DECIMAL = re.compile(r"\+?[0-9]{5,}[.,][0-9]{1,2}")
_FORMULA = re.compile(r'= ?("?)([^"]*)\1')
# Marks that keep a spreadsheet from taking a number for one, quotes, and what is around a number of
# a list or of mail.
_QUOTES = "'\"`\u00b4\u2018\u2019\u201c\u201d<>{},;📞📱☎"
# tel: of RFC 3966, what people write like it, and p:, with which Meta guards a number.
_NUMBER_SCHEMES = (
    *("tel", "p", "phone", "callto", "mobile", "mobil", "mob", "cell", "telefon", "handy"),
    *("m", "t", "ph"),
)
_SCHEME = re.compile(
    r"([A-Za-z][A-Za-z.+-]{0,15}:|(?:https?://)?[A-Za-z.]{1,30}/[A-Za-z/?=]{0,30})\s*(?://)?(?=[+(0-9])"
)
_SEPARATORS = re.compile(r"[ \t()\[\].\-/\u2010-\u2015\u2212\u30fc]+")
_DIGITS = re.compile(r"\+?[0-9]+")
_EXTENSION = re.compile(r"(?:[;#x]|ext|app?|int|durchwahl)[.=]*\s*[0-9]{1,6}", re.IGNORECASE)
# Behind a number that is in use alone, without a word: "+46701234567-12", "(12)", "/ 02".
_TAIL = re.compile(r"(.*[0-9])[ )]*[ (/\-\u2010-\u2015\u2212]+([0-9]{1,4})[ )]*")
# Two numbers, even where no other character than those of one number is between them.
_TWO_NUMBERS = re.compile(r"[0-9]{7}[ /-]+0[0-9]{6}|(?:[0-9][ -]?){7}\s*/\s*0(?:[ -]?[0-9]){6}")
_BETWEEN_NUMBERS = re.compile(r"[^0-9+() .\-/]+|(?<=[0-9])[ /]*(?=\+)")
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12][0-9]|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)[0-9]{2}"
_DATE = re.compile(
    rf"{_YEAR}([-/.]){_MONTH}\1{_DAY}|{_DAY}([-/.]){_MONTH}\2{_YEAR}|{_MONTH}([-/]){_DAY}\3{_YEAR}"
)
_MANY_DIGITS = re.compile(r"(?:[0-9][^0-9]{0,3}){6}")

# More than a number has with what is dialled in front of it; libphonenumber would try them all.
_MAX_DIGITS = 25
_NO_E164 = "Not a phone number of 2 to 15 digits."

_EXTENDED = "A number with an extension gets no texts."
NO_NUMBER = "No phone number."
SHORTENED = (
    "A spreadsheet has shortened this number: its digits are lost. Set its column to text and save "
    "the file anew."
)
NEGATIVE = (
    "A negative number: a spreadsheet has subtracted, as in +46-701234567. Set its column to text "
    "and enter it anew."
)
LOST_PLUS = (
    "Perhaps an international number that lost its plus: write it with its plus or its 0, or say "
    "that the whole list has lost them."
)
NO_COUNTRY = "Neither + nor 00 in front: a national number needs a country."
NOT_IN_USE = "No country has numbers like this one."
TWO_NUMBERS = "More than one number: leave the one to send to."
_NORTH_AMERICA = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneReader:
    """Options for reading numbers.

    A number without + or 00 is one of `country`, or if `without_plus` an international one that
    lost its plus.  With `may_lack_plus` digits get a plus if they are a number with it alone.  With
    `check` libphonenumber has to know numbers like it, with `check_national` those that come
    without + or 00: which number they mean is a guess.
    """

    country: str | None = None
    without_plus: bool = False
    may_lack_plus: bool = False
    check: bool = True
    check_national: bool = False

    def read(self, cell: str) -> str:
        """Return the number in its one spelling.  Raises ValueError with the reason.

        >>> PhoneReader(country="SE").read("070-123 45 67")
        '+46701234567'
        >>> PhoneReader().read("0046 (0)70 123 45 67")
        '+46701234567'
        """
        number = normalise_number(cell) or self._read_written(_strip(cell))
        if number is None:
            raise ValueError(_NO_E164)
        if find_calling_code(number) is None or (self.check and find_in_use(number) is None):
            raise ValueError(NOT_IN_USE)
        return number

    def _read_written(self, written: str) -> str | None:
        """Return the number of a cell; digits behind one that is in use alone are an extension."""
        number = normalise_number(self._read_digits(written))
        tail = _TAIL.fullmatch(written)
        if tail and number and (len(tail[2]) == 1 or find_in_use(number) is None):
            shorter: str | None = None
            with suppress(ValueError):
                shorter = replace(self, check=True).read(tail[1])
            if shorter:
                raise ValueError(_EXTENDED)
        return number

    def guess(self, cell: str) -> str | None:
        """Return the number that a cell perhaps means, to spare its person: it may lack its plus.

        >>> PhoneReader(country="DE").guess("491713920012")
        '+491713920012'
        """
        for reader in (self, replace(self, without_plus=True)):
            with suppress(ValueError):
                return reader.read(cell)
        return None

    def _read_digits(self, written: str) -> str:
        if not written:
            raise ValueError(NO_NUMBER)
        if _SHORTENED.fullmatch(written):
            raise ValueError(SHORTENED)
        if _NEGATIVE.match(written):
            raise ValueError(NEGATIVE)
        if _DECIMAL.fullmatch(written):
            raise ValueError("A number with decimals: format its column as text.")
        if _DATE.fullmatch(written):
            raise ValueError("A date instead of a phone number.")
        bare = _SEPARATORS.sub("", written)
        if not _DIGITS.fullmatch(bare) or _TWO_NUMBERS.search(written):
            raise ValueError(_explain(written))
        if len(bare) > _MAX_DIGITS:
            raise ValueError(_NO_E164)
        if bare.startswith("+"):
            return "+" + bare[1:].removeprefix("00")
        if bare.startswith("00"):
            return self._read_dialled("+" + bare[2:], bare)
        if self.without_plus and not bare.startswith("0"):
            return _require_possible("+" + bare)
        return self._read_national(bare)

    def _read_dialled(self, number: str, digits: str) -> str:
        """Return what 00 and a number dial: some countries dial abroad by 00 and more."""
        abroad = self.country and not find_in_use(number) and read_national(digits, self.country)
        return abroad if abroad and find_in_use(abroad) else number

    def _read_national(self, digits: str) -> str:
        """Return the number of the country that these digits are.

        They are not guessed where they are also a number that lost its plus, unless the country
        writes its numbers exactly so.
        """
        if self.country is None:
            if self.may_lack_plus and find_in_use("+" + digits) and not is_national_mobile(digits):
                return "+" + digits
            raise ValueError(NO_COUNTRY)
        number = read_national(digits, self.country)
        code = str(phonenumbers.country_code_for_region(self.country))
        if code != _NORTH_AMERICA and not digits.startswith("0") and find_in_use("+" + digits):
            is_usual = number and find_in_use(number) and write_national(number) == digits
            if digits.startswith(code) or not is_usual:
                raise ValueError(LOST_PLUS)
        if number is None:
            raise ValueError(f"Not a phone number of {name_country(self.country)}.")
        if self.check_national and find_in_use(number) is None:
            raise ValueError(NOT_IN_USE)
        return number


def _require_possible(number: str) -> str:
    if not is_possible(number):
        raise ValueError(
            "No number of this length is international: a national one needs a country."
        )
    return number


def _strip(cell: str) -> str:
    """Return a cell without what spreadsheets, browsers and address books put around a number."""
    if len(cell) > MAX_CHARACTERS:
        raise ValueError("Not a phone number.")
    text = simplify_characters(cell).strip()
    formula = _FORMULA.fullmatch(text)
    text = (formula[2] if formula else text).strip().strip(_QUOTES).strip()
    scheme = _SCHEME.match(text)
    if scheme is None:
        return text
    if scheme[1].lower().rstrip(".:") not in _NUMBER_SCHEMES:
        raise ValueError(f"Begins with {scheme[0].strip()[:20]!r}: leave only the phone number.")
    return text[scheme.end() :]


def _explain(written: str) -> str:
    """Return the reason why a cell is not a phone number."""
    parts = _BETWEEN_NUMBERS.split(written)
    if sum(bool(_MANY_DIGITS.search(part)) for part in parts) > 1 or _TWO_NUMBERS.search(written):
        return TWO_NUMBERS
    if _EXTENSION.search(written):
        return _EXTENDED
    return "Not a phone number."
