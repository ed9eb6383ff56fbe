"""CSV reader for lists of people: decodes bytes, splits them into lines, and reads row by row.

Lines end with a line feed, whatever the file had, so line numbers are those that an editor shows.
Memory is bounded by the lengths of a chunk, a line and a row; time is linear in the file's size.
"""

import codecs
import contextlib
import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import NamedTuple

from app.errors import BadInput

CHUNK_CHARACTERS = 1_000_000
MAX_LINE_CHARACTERS = 128 * 1024
# Bounds of a row that goes over several lines: an unclosed quote would take in all that follow.
MAX_ROW_LINES = 100
_MAX_ROW_CHARACTERS = MAX_LINE_CHARACTERS
_MAX_READ_CHARACTERS, _MAX_READ_LINES = 1_000_000, 20_000
_MAX_COLUMNS = 500
# Lines of a file that a worker reads, and of one that a request reads to its end.
MAX_LINES, MAX_LINES_AT_ONCE = 10_000_000, 1_200_000
# Files that are no lists, by their first bytes.
_FOREIGN = {
    b"PK\x03\x04": "a workbook or an archive",
    b"\xd0\xcf\x11\xe0": "a workbook",
    b"\x1f\x8b": "a compressed file",
    b"PK\x05\x06": "an empty archive",
    b"BZh": "a compressed file",
    b"\xfd7zXZ": "a compressed file",
    b"(\xb5/\xfd": "a compressed file",
    b"7z\xbc\xaf": "an archive",
    b"Rar!": "an archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"SQLite form": "a database",
    b"PAR1": "a table in another format",
    b"%PDF": "a PDF",
    b"{\\rtf": "a text document",
    b"BEGIN:VCARD": "address cards",
}
# Excel's first line that says the delimiter, and what an empty row consists of.
_TOLD_DELIMITER = re.compile(r'"?sep=([^"\n])"?[ \t]*\n', re.IGNORECASE)
_NO_TEXT = ' \t\n\u00a0;,|"'
# A web page, such as that of a log-in, or JSON.
_NO_TABLE = re.compile(r"\s*(?:<[!?/a-z]|\{\s*\"|\[\s*[\[{\"])", re.IGNORECASE)
DEFAULT_ENCODING = "utf-8"
# What a file may be written in, with the words that people choose it by.
ENCODINGS = {
    DEFAULT_ENCODING: "UTF-8, or what the file says of itself",
    "windows-1252": "Windows-1252, as old spreadsheets write",
    "windows-1250": "Windows-1250, Central Europe",
    "windows-1251": "Windows-1251, Cyrillic",
    "windows-1253": "Windows-1253, Greek",
    "windows-1254": "Windows-1254, Turkish",
    "windows-1255": "Windows-1255, Hebrew",
    "windows-1256": "Windows-1256, Arabic",
    "windows-1257": "Windows-1257, Baltic",
    "macintosh": "Macintosh, old Macs",
}
_HEAD_BYTES = 11
# Lines by which the separator is chosen.
_SAMPLE_LINES = 50
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Of two that are as frequent the first is taken: words hold more commas than other separators.
_DELIMITERS = "\t;,|"
# These divide cells only where they divide each of the first rows alike.
_RARE_DELIMITERS = "^~:"
# Rows below the first one in which its headers may be.
_ROWS_BELOW = 10

# What csv says of a quote that is open at the end.
_AT_END = "unexpected end of data"
UNCLOSED = "A quote is opened and not closed, or not doubled within quotes."
_TOO_MANY_COLUMNS = f"More than {_MAX_COLUMNS} cells."
TOO_MANY_CELLS = "More cells than headers."


class UnusableFile(BadInput):
    """The file cannot be read as a list of people, for a reason that the client can mend."""

    field = "file"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The file cannot be read: {reason}", fields={self.field: [f"{reason}."]})


class UnusableHeaders(UnusableFile):
    """The headers do not tell which column holds what."""

    field = "columns"


class EmptyFile(UnusableFile):
    """The file has no line with text."""


@dataclass(frozen=True, slots=True)
class FileChunk:
    """Some lines of a file, each ended by a line feed.  Lines are numbered from 1."""

    first_line: int
    text: str

    @property
    def next_line(self) -> int:
        """The number of the line after this chunk."""
        return self.first_line + self.text.count("\n")


def split_chunks(
    blocks: Iterable[bytes], encoding: str = DEFAULT_ENCODING, *, max_lines: int = MAX_LINES
) -> Iterator[FileChunk]:
    """Yield the lines of a file whose bytes come in blocks of any size.

    `encoding` is for a file without a byte order mark.  Raises UnusableFile.
    """
    blocks = iter(blocks)
    head = b""
    while len(head) < _HEAD_BYTES and (block := next(blocks, None)) is not None:
        head += block
    decoder, name = _choose_decoder(head, encoding)
    line, text = 1, ""
    for block in chain((head,), blocks, (None,)):
        if name != DEFAULT_ENCODING and name in ENCODINGS and block and _is_utf_8(block):
            raise UnusableFile(f"it is in utf-8 instead of {name}: leave out its encoding")
        try:
            text += decoder.decode(block or b"", final=block is None)
        except UnicodeDecodeError as e:
            line += text.count("\n") + bytes(e.object[: e.start]).count(b"\n")
            raise UnusableFile(
                f"line {line} is not in {name}: save the file as CSV in UTF-8, or name its encoding"
            ) from e
        while len(text) >= CHUNK_CHARACTERS:
            end = text.rfind("\n", 0, CHUNK_CHARACTERS) + 1 or len(text)
            chunk = _make_chunk(line, text[:end])
            yield chunk
            line, text = chunk.next_line, text[end:]
            if line > max_lines:
                raise UnusableFile(f"it has more than {max_lines:,} lines: send several files")
    if text:
        yield _make_chunk(line, text if text.endswith("\n") else text + "\n")


def _make_chunk(first_line: int, text: str) -> FileChunk:
    for number, line in enumerate(text.split("\n"), first_line):
        if len(line) > MAX_LINE_CHARACTERS:
            raise UnusableFile(f"line {number} is longer than {MAX_LINE_CHARACTERS:,} characters")
    return FileChunk(first_line, text)


def _is_utf_8(block: bytes) -> bool:
    """Return True for other characters than ASCII in UTF-8, which no text in an old encoding is."""
    if block.isascii():
        return False
    try:
        return not codecs.getincrementaldecoder("utf-8")().decode(block).isascii()
    except UnicodeDecodeError:
        return False


def _choose_decoder(head: bytes, encoding: str) -> tuple[io.IncrementalNewlineDecoder, str]:
    """Return the decoder of a file that begins so, and the name of its encoding."""
    for start, what in _FOREIGN.items():
        if head.upper().startswith(start.upper()):
            raise UnusableFile(f"this is {what}: save the sheet as CSV in UTF-8")
    if head.startswith(_UTF_16) and not head.startswith(codecs.BOM_UTF32_LE):
        encoding = "utf-16"
    elif head.startswith(codecs.BOM_UTF8):
        encoding = "utf-8"
    elif (unmarked := _find_utf_16(head)) is not None:
        encoding = unmarked
    elif b"\0" in head[:4]:
        raise UnusableFile("this is no text in UTF-8: save the file as CSV in UTF-8")
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    decoder = codecs.getincrementaldecoder(codec)(errors="strict")
    return io.IncrementalNewlineDecoder(decoder, translate=True), encoding


def _find_utf_16(head: bytes) -> str | None:
    """Return the encoding of a file in UTF-16 without a mark: each other byte of ASCII is NUL."""
    halves = head[: _HEAD_BYTES - 1 : 2], head[1:_HEAD_BYTES:2]
    for name, empty, filled in (("utf-16-be", *halves), ("utf-16-le", *halves[::-1])):
        if len(empty) > 1 and not any(empty) and all(filled):
            return name
    return None


class Row(NamedTuple):
    """A row and the number of its first line.

    `error` is the reason for which the row cannot be read; `cells` are then those of its first
    line, as far as they can be told apart.
    """

    line: int
    cells: list[str]
    error: str | None


class RowReader:
    """Iterator over the rows of some lines; empty lines are passed over.

    A row that cannot be read ends with its first line, so it costs no other row.
    """

    def __init__(self, lines: Iterator[str], *, delimiter: str, first_line: int) -> None:
        self._lines = lines
        self._delimiter = delimiter
        # The lines that the next row may have, and their characters.  The bound belongs here:
        # csv.reader joins lines for ever while each closes one quote and opens another.
        self._window = deque[str]()
        self._width = 0
        self._characters = 0
        # Each line of the window up to this one, but for the first, leaves an open quote open.
        self._open_through = 0
        self._opens, self._keeps_open = _compile_open(delimiter)
        self.next_line = first_line

    def __iter__(self) -> "RowReader":
        return self

    def __next__(self) -> Row:
        while (row := self._read_row()) is None:
            pass
        return row

    def read(self, limit: int) -> list[Row]:
        """Return the next rows: at most `limit`, from a bounded part of the file."""
        rows: list[Row] = []
        self._characters, last_line = 0, self.next_line + _MAX_READ_LINES
        with contextlib.suppress(StopIteration):
            while (
                len(rows) < limit
                and self._characters < _MAX_READ_CHARACTERS
                and self.next_line < last_line
            ):
                row = self._read_row()
                if row is not None:
                    rows.append(row)
        return rows

    def _read_row(self) -> Row | None:
        """Return the next row, or None for an empty line.  Raises StopIteration at the end."""
        self._fill_window()
        if self._window[0] == "\n":
            self._pass(1)
            return None
        line = self.next_line
        cells, lines, error = self._split_row()
        self._pass(lines)
        if len(cells) > _MAX_COLUMNS:
            return Row(line, cells[: _MAX_COLUMNS + 1], _TOO_MANY_COLUMNS)
        return Row(line, cells, error)

    def _split_row(self) -> tuple[list[str], int, str | None]:
        """Return the cells of the next row, the lines that it has, and why it cannot be read."""
        line = self._window[0]
        if '"' not in line:
            return line.removesuffix("\n").removesuffix("\r").split(self._delimiter), 1, None
        if not (self._open_through > self.next_line and self._stays_open(line)):
            reader = csv.reader(self._window, delimiter=self._delimiter, strict=True)
            try:
                return next(reader), reader.line_num, None
            except csv.Error as e:
                # What the attempt has read counts as read.
                self._characters += self._width
                self._open_through = self._last_line if str(e) == _AT_END else 0
        return next(csv.reader((line,), delimiter=self._delimiter)), 1, UNCLOSED

    def _stays_open(self, line: str) -> bool:
        """Return True if the next line leaves a quote open that the window does not close.

        What a line does with an open quote is the same for each row that comes to it, so that only
        the lines are looked at that the window did not have at the last attempt.
        """
        if not self._opens.fullmatch(line):
            return False
        last = self._last_line
        for place in range(self._open_through - last, 0):
            if not self._keeps_open.fullmatch(self._window[place]):
                return False
        self._open_through = last
        return True

    @property
    def _last_line(self) -> int:
        return self.next_line + len(self._window) - 1

    def _fill_window(self) -> None:
        """Read the lines that the next row may have.  Raises StopIteration if there are none."""
        window = self._window
        while len(window) < MAX_ROW_LINES and self._width < _MAX_ROW_CHARACTERS:
            line = next(self._lines, None)
            if line is None:
                break
            window.append(line)
            self._width += len(line)
        if not window:
            raise StopIteration

    def _pass(self, lines: int) -> None:
        """Go on behind some lines of the window."""
        passed = 0
        for _ in range(lines):
            passed += len(self._window.popleft())
        self._width -= passed
        self._characters += passed
        self.next_line += lines


@cache
def _compile_open(delimiter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return which lines leave a quote open: at the beginning of a row, behind an open quote."""
    sign = re.escape(delimiter)
    quoted = r'(?:[^"\r]|"")*+'
    cells = rf'(?:(?:"{quoted}"|[^"{sign}\r\n][^{sign}\r\n]*+|){sign})*+'
    return (re.compile(rf'{cells}"{quoted}'), re.compile(rf'{quoted}(?:"{sign}{cells}"{quoted})?'))


@dataclass(frozen=True, slots=True)
class Heading:
    """The first row of a file with the line it begins at, the delimiter, and the line after it.

    `below` are the first rows after it.
    """

    headers: list[str]
    delimiter: str
    line: int
    first_line: int
    below: Sequence[Row] = ()


def read_heading(chunk: FileChunk) -> Heading:
    """Return the first row that is not empty, or the one after Excel's `sep=;`.

    Raises UnusableFile, and EmptyFile where no such row exists.
    """
    lines = io.StringIO(chunk.text).readlines()
    index = _find_text(lines, 0)
    delimiter = None
    if index < len(lines) and (told := _TOLD_DELIMITER.fullmatch(lines[index])):
        delimiter = told[1]
        index = _find_text(lines, index + 1)
    if index >= len(lines):
        raise EmptyFile("the file is empty")
    if _NO_TABLE.match(lines[index]):
        raise UnusableFile("this is a web page or JSON instead of CSV: export the list as CSV")
    delimiter = delimiter or _guess_delimiter(lines[index:])
    rows = RowReader(iter(lines[index:]), delimiter=delimiter, first_line=index + 1)
    row = next(rows, None)
    if row is None:
        raise EmptyFile("the file is empty")
    if len(row.cells) > _MAX_COLUMNS:
        raise UnusableFile(f"it has more than {_MAX_COLUMNS} columns")
    if row.error:
        raise UnusableFile(f"the headers in line {row.line} cannot be read: {row.error}")
    if "\0" in "".join(row.cells):
        raise UnusableFile("its headers hold a NUL character")
    first_line = rows.next_line
    return Heading(row.cells, delimiter, row.line, first_line, rows.read(_ROWS_BELOW))


def _find_text(lines: list[str], start: int) -> int:
    """Return the first line from `start` on that has more than separators."""
    found = (number for number in range(start, len(lines)) if lines[number].strip(_NO_TEXT))
    return next(found, len(lines))


def _guess_delimiter(lines: list[str]) -> str:
    """Return the separator of the first row by which most rows have as many cells as that.

    Of several the most frequent one counts.  Separators within quotes are none, and the first row
    may hold another one: "e-mail,phone|notes".
    """
    row = ""
    for line in lines[:MAX_ROW_LINES]:
        row += line
        if row.count('"') % 2 == 0:
            break
    outside = "".join(row.split('"')[::2])
    used = [sign for sign in _DELIMITERS if sign in outside] or [
        sign for sign in _RARE_DELIMITERS if sign in outside and _fit(lines, sign) == 1
    ]
    used = used or list(_DELIMITERS)
    return max(used, key=lambda sign: (_fit(lines, sign), outside.count(sign)))


def _fit(lines: list[str], delimiter: str) -> float:
    """Return the share of the first rows that have as many cells as the very first."""
    try:
        widths = [len(row) for row in csv.reader(lines[:_SAMPLE_LINES], delimiter=delimiter) if row]
    except csv.Error:
        return 0
    return widths.count(widths[0]) / len(widths) if widths else 0
