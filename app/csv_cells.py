"""CSV output whose cells no spreadsheet runs as formulas, and comparison of headers.  Pure.

A spreadsheet takes a cell that begins like a formula for one: https://owasp.org/www-community/attacks/CSV_Injection
Where it cuts a line at semicolons or tabs, such a cell may begin in the middle of one of ours.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import combining, normalize

# Numbers as we write them: the worst a spreadsheet does to one is to drop its plus.
_NUMBER = re.compile(r"\+[0-9]{2,15}")
# Where a cell may begin for a program that cuts a line at other signs, and what a formula begins
# with, behind blanks and quotes.
_CUTS = frozenset(';,|\t\r\n"')
_FORMULA_STARTS = frozenset("=+-@\t\r＝＋－＠")
_INNER_START = re.compile(r"[;,|\t\r\n\"]")
# A number as a formula that is a text: a spreadsheet would drop its plus.
_TEXT_FORMULA = re.compile(r'="(\+[0-9]{2,15})"')
# What databases, spreadsheets and programs write where there is no value.
_NO_VALUES = frozenset(
    ("\\N", "NULL", "null", "(null)", "(NULL)", "<null>", "[NULL]", "None", "nan", "NaN",
     "N/A", "n/a", "undefined", "<nil>", "[object Object]", "-", "--", "–", "—")
)  # fmt: skip
# An error of a spreadsheet in any language, and the name of a field that was not filled in.
_NO_VALUE = re.compile(
    r"#(?:[^\W\d_a-z]{3,10}[!?]|DIV/0!|N/[AD]|NV|Н/Д|I/T|SAKNAS!?)"
    r"|\{\{[^{}]*\}\}|\$\{[^{}]*\}|\*\|[^|]*\|\*|%%[^%]*%%|%[A-Z_]+%|\[\[[^\[\]]*\]\]|<%[^%]*%>"
    r"|(?i:[\[{]+(?:first|last|full|given|user|customer)?[ _]?name[\]}]+)"
)
_NO_VALUE_STARTS = frozenset("#{$*%[<")
# Signs between cells, by the names that options have for them.
DELIMITERS = {",": ",", ";": ";", "tab": "\t"}
Cell = str | int | float | bool | None


class _Echo:
    """A file whose `write` returns the line."""

    def write(self, line: str) -> str:
        """Return the line."""
        return line


_WRITER = csv.writer(_Echo(), lineterminator="\r\n")


def make_harmless(text: str) -> str:
    """Return a text as a cell that no spreadsheet runs.

    >>> make_harmless("=1+1"), make_harmless("a;@SUM(A1)"), make_harmless("+46701234567")
    ("'=1+1", "a;'@SUM(A1)", '+46701234567')
    """
    if text[:1].isalnum() and not _INNER_START.search(text):
        return text  # nearly always, at a tenth of the cost
    if _NUMBER.fullmatch(text) or _FORMULA_STARTS.isdisjoint(text):
        return text
    starts = _find_formulas(text, between="")
    return "".join(f"'{mark}" if index in starts else mark for index, mark in enumerate(text))


def read_given(cell: str) -> str:
    """Return the value of a cell, empty where a program wrote a word for none.

    "Null" is a name of people, "{{first_name}}" is none.

    >>> read_given(" Ann "), read_given("NULL"), read_given("#WERT!"), read_given("Null")
    ('Ann', '', '', 'Null')
    """
    value = read_harmless(cell).strip()
    if value in _NO_VALUES or (value[:1] in _NO_VALUE_STARTS and _NO_VALUE.fullmatch(value)):
        return ""
    return value


def read_harmless(cell: str) -> str:
    """Undo make_harmless, and the guard of a number; other cells stay unchanged.

    >>> read_harmless("'=1+1"), read_harmless("a;'@SUM(A1)"), read_harmless("it's 5")
    ('=1+1', 'a;@SUM(A1)', "it's 5")
    >>> read_harmless('="+46701234567"')
    '+46701234567'
    """
    guarded = cell.startswith("=") and _TEXT_FORMULA.fullmatch(cell)
    if guarded:
        return guarded[1]
    if "'" not in cell or _FORMULA_STARTS.isdisjoint(cell):
        return cell
    starts = _find_formulas(cell, between="'")
    return "".join(mark for index, mark in enumerate(cell) if mark != "'" or index not in starts)


def _find_formulas(text: str, *, between: str) -> set[int]:
    """Return the indexes at which a cell may begin that is a formula.

    Blanks, quotes and the characters of `between` may be ahead of the formula.  The text is read
    once, from its end: a pattern that looks ahead from each index takes the square of the time.
    """
    found, ahead = set[int](), False
    for index in range(len(text) - 1, -1, -1):
        mark = text[index]
        passes = mark == '"' or mark in between or mark.isspace()
        ahead = mark in _FORMULA_STARTS or (ahead and passes)
        if ahead and (index == 0 or text[index - 1] in _CUTS):
            found.add(index)
    return found


def write_lines(rows: Iterable[Sequence[Cell]]) -> str:
    r"""Return rows as lines of CSV (RFC 4180) whose cells are harmless.

    >>> write_lines([("+46701234567", None, True, "one, two")])
    '+46701234567,,true,"one, two"\r\n'
    """
    return "".join(_WRITER.writerow([_show(cell) for cell in row]) for row in rows)


def format_lines(
    pieces: Iterable[str], *, delimiter: str = ",", spreadsheet: bool = False
) -> Iterator[str]:
    """Yield whole lines of CSV with another of DELIMITERS, and as spreadsheets need them.

    They take a file without a byte order mark for one in windows-1252, and a number for a sum.
    """
    if delimiter == "," and not spreadsheet:
        yield from pieces
        return
    if spreadsheet:
        yield "\ufeff"
    writer = csv.writer(_Echo(), delimiter=DELIMITERS[delimiter], lineterminator="\r\n")
    for piece in pieces:
        rows = csv.reader(io.StringIO(piece, newline=""))
        yield "".join(writer.writerow(map(_guard, row) if spreadsheet else row) for row in rows)


def _guard(cell: str) -> str:
    return f'="{cell}"' if _NUMBER.fullmatch(cell) else cell


def show_plainly(cell: Cell) -> str:
    """Return a cell as text, before it is made harmless.

    >>> show_plainly(None), show_plainly(False), show_plainly(7.5)
    ('', 'false', '7.5')
    """
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _show(cell: Cell) -> str:
    return make_harmless(cell) if isinstance(cell, str) else show_plainly(cell)


def simplify_header(header: str) -> str:
    """Return a header in the form that headers are compared in.

    >>> [*map(simplify_header, (" Téléphone (mobile) ", "firstName", "SMSFlag"))]
    ['telephone_mobile', 'first_name', 'sms_flag']
    """
    split = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", header)
    bare = "".join(mark for mark in normalize("NFKD", split) if not combining(mark))
    return re.sub(r"[\W_]+", "_", bare.casefold()).strip("_")
