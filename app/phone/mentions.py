"""Mentions of a number in a text: a number of these digits alone, in any spelling."""

import re
from collections.abc import Collection, Iterator

from app.phone.characters import simplify_characters
from app.phone.reader import PhoneReader

# Digits and the signs within numbers.  A digit beside them is part of something else.
_RUN = re.compile(r"(?<!\w)[+(]{0,3}[0-9](?:[0-9 ()./+\u2010-\u2015\u2212\t-]*[0-9])?(?!\w)")
# Begins with the first of several blanks: of a cell full of them each would be looked at anew.
_BETWEEN = re.compile(r"(?:(?<!\s)\s++)?/\s*|(?<!\s)\s++(?=[0+(])")
# A spreadsheet takes a number for an amount.
_DECIMALS = re.compile(r"\.0{1,2}$")
# The last digits, which all spellings have.
_TAIL = 6


class MentionFinder:
    """Finds a number as an international one, or as a national one of these countries."""

    def __init__(self, phone: str, countries: Collection[str | None]) -> None:
        self._phone, self._tail = phone, phone.removeprefix("+")[-_TAIL:]
        national = [PhoneReader(country=country, check=False) for country in {None, *countries}]
        self._readers = [*national, PhoneReader(without_plus=True, check=False)]

    def is_in(self, text: str) -> bool:
        """Return True if a text mentions the number.

        >>> finder = MentionFinder("+46701234567", ["SE"])
        >>> finder.is_in("Ann, 070-123 45 67"), finder.is_in("order 12701234567")
        (True, False)
        """
        plain = simplify_characters(text)
        if self._tail not in re.sub("[^0-9]+", "", plain):
            return False
        return any(map(self._is_number, {text, *_list_numbers(plain)}))

    def _is_number(self, written: str) -> bool:
        return any(_read(reader, written) == self._phone for reader in self._readers)


def _list_numbers(text: str) -> Iterator[str]:
    """Yield what may be numbers: runs of digits, and the parts of runs of several."""
    for run in _RUN.findall(text):
        yield run
        yield _DECIMALS.sub("", run)
        yield from _BETWEEN.split(run)


def _read(reader: PhoneReader, written: str) -> str | None:
    try:
        return reader.read(written)
    except ValueError:
        return None
