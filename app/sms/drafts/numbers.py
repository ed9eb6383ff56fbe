"""Numbers that people paste: one per line, or separated by commas and semicolons."""

import re
from dataclasses import dataclass, field

from app.phone.e164 import remove_duplicates
from app.phone.reader import PhoneReader

# Of a draft, pasted or in its file: more belong in an import.
MAX_NUMBERS = 10_000
_BETWEEN = re.compile(r"[,;\t]")
_MAX_SHOWN = 40


@dataclass(frozen=True, slots=True)
class WrongEntry:
    """An entry that is no phone number, with its line and the reason."""

    line: int
    entry: str
    reason: str


@dataclass(slots=True)
class PastedNumbers:
    """Numbers in E.164, each once, how many came again, and what is no number."""

    numbers: list[str] = field(default_factory=list)
    duplicates: int = 0
    wrong: list[WrongEntry] = field(default_factory=list)


def read_pasted(text: str, *, country: str | None) -> PastedNumbers:
    """Return what was pasted.  National numbers are those of `country`.

    >>> read_pasted("070-123 45 67, +46701234567", country="SE").numbers
    ['+46701234567']
    """
    reader, found, read = PhoneReader(country=country, check=False), PastedNumbers(), list[str]()
    for line, written in enumerate(text.splitlines(), 1):
        for entry in filter(None, map(str.strip, _BETWEEN.split(written))):
            try:
                read.append(reader.read(entry))
            except ValueError as e:
                found.wrong.append(WrongEntry(line, entry[:_MAX_SHOWN], str(e)))
    found.numbers = remove_duplicates(read)
    found.duplicates = len(read) - len(found.numbers)
    return found
