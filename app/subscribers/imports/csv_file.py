"""The file of an import: taken in as it comes, kept in pieces of whole lines, read row by row.

It is kept in UTF-8 with line feeds, whatever it came in, so that a line's number says where to go
on, and is the one that an editor shows.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice

CHUNK_CHARACTERS = 1_000_000
# A row may go over so many lines; a quote that is not closed would take in all that follow.
MAX_ROW_LINES = 100
_MAX_TITLES_CHARACTERS = 64 * 1024
_MAX_COLUMNS = 500
# What is read at once, in one piece of memory.
_MAX_PORTION_CHARACTERS = 1_000_000
_WORKBOOK = b"PK\x03\x04"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32_LE = codecs.BOM_UTF32_LE
# Where two are as frequent, the first: in words there are more commas than others.
_SEPARATORS = "\t;,"

UNCLOSED = "A quote is opened and not closed, or not doubled within quotes."


class UnusableFile(ValueError):
    """It cannot be read as lines of CSV; the message is a sentence for the client."""


@dataclass(frozen=True, slots=True)
class FileChunk:
    """Some lines, each ended by a line feed; of the file's the first has number 1."""

    first_line: int
    text: str


class LineSplitter:
    """Makes pieces of a file's bytes, which may come in any portions.

    `encoding` is for a file without a mark of its own.  Raises UnusableFile.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._head = b""
        self._decoder: io.IncrementalNewlineDecoder | None = None
        self._waiting: list[str] = []
        self._characters = 0
        self._line = 1

    @property
    def lines(self) -> int:
        """How many lines the pieces have that were given out."""
        return self._line - 1

    def add(self, portion: bytes) -> Iterator[FileChunk]:
        """The pieces that are complete with this portion."""
        if self._decoder is None:
            self._head += portion
            if len(self._head) < 4:
                return
            portion, self._head = self._head, b""
            self._decoder = _choose_decoder(portion, self._encoding)
        self._decode(self._decoder, portion, final=False)
        while self._characters >= CHUNK_CHARACTERS:
            yield self._cut()

    def end(self) -> Iterator[FileChunk]:
        """The last piece."""
        decoder = self._decoder or _choose_decoder(self._head, self._encoding)
        self._decode(decoder, self._head, final=True)
        while self._characters >= CHUNK_CHARACTERS:
            yield self._cut()
        text = "".join(self._waiting)
        if text:
            yield self._give(text if text.endswith("\n") else text + "\n")

    def _decode(
        self, decoder: io.IncrementalNewlineDecoder, portion: bytes, *, final: bool
    ) -> None:
        try:
            text = decoder.decode(portion, final=final)
        except UnicodeDecodeError as e:
            before = sum(each.count("\n") for each in self._waiting)
            line = self._line + before + bytes(e.object[: e.start]).count(b"\n")
            raise UnusableFile(
                f"line {line} is not in {self._encoding}: save the file as CSV in UTF-8, or say "
                "in which encoding it is"
            ) from e
        self._waiting.append(text)
        self._characters += len(text)

    def _cut(self) -> FileChunk:
        text = "".join(self._waiting)
        end = text.rfind("\n", 0, CHUNK_CHARACTERS) + 1
        if not end:
            raise UnusableFile(f"line {self._line} is longer than {CHUNK_CHARACTERS:,} characters")
        self._waiting, self._characters = [text[end:]], len(text) - end
        return self._give(text[:end])

    def _give(self, text: str) -> FileChunk:
        piece = FileChunk(self._line, text)
        self._line += text.count("\n")
        return piece


def _choose_decoder(head: bytes, encoding: str) -> io.IncrementalNewlineDecoder:
    if head.startswith(_WORKBOOK):
        raise UnusableFile("this is a workbook or an archive: save the sheet as CSV in UTF-8")
    if head.startswith(_UTF_16) and not head.startswith(_UTF_32_LE):
        encoding = "utf-16"
    elif head.startswith(codecs.BOM_UTF8) or encoding == "utf-8":
        encoding = "utf-8-sig"
    if encoding != "utf-16" and b"\0" in head[:4]:
        raise UnusableFile("this is no text in UTF-8: save the file as CSV in UTF-8")
    return io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)(errors="strict"), translate=True
    )


@dataclass(frozen=True, slots=True)
class Heading:
    """The titles of a file, what divides them, and the line after them."""

    headers: list[str]
    delimiter: str
    first_line: int


def read_heading(piece: FileChunk) -> Heading:
    """The first line that is not empty, or the one after Excel's `sep=;`.  Raises UnusableFile."""
    lines = io.StringIO(piece.text[:_MAX_TITLES_CHARACTERS]).readlines()
    place = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    delimiter = None
    if place < len(lines) and lines[place].lower().startswith("sep=") and len(lines[place]) == 6:
        delimiter = lines[place][4]
        place += 1
    if place >= len(lines):
        raise UnusableFile("the file is empty")
    if delimiter is None:
        delimiter = _guess_delimiter(lines[place:])
    rows = csv.reader(lines[place:], delimiter=delimiter, strict=True)
    try:
        headers = next(rows)
    except csv.Error as e:
        raise UnusableFile(f"the titles in line {place + 1} cannot be read: {UNCLOSED}") from e
    if len(headers) > _MAX_COLUMNS:
        raise UnusableFile(f"it has more than {_MAX_COLUMNS} columns")
    if "\0" in "".join(headers):
        raise UnusableFile("its titles hold a NUL character")
    return Heading(headers, delimiter, place + 1 + rows.line_num)


def _guess_delimiter(lines: list[str]) -> str:
    """What divides the titles most often, outside of quotes."""
    headers = ""
    for line in lines[:MAX_ROW_LINES]:
        headers += line
        if headers.count('"') % 2 == 0:
            break
    outside = "".join(headers.split('"')[::2])
    return max(_SEPARATORS, key=outside.count)


@dataclass(slots=True)
class RowBatch:
    """Some rows and their lines; of rows that cannot be read, the line and the reason.

    `next_line` is where the rest begins; `ended` when there is none.
    """

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    next_line: int = 0
    ended: bool = False


class RowReader:
    """Reads a kept file from a line on; `load` gives the piece that a line is in, None at the end.

    Empty lines are passed over.
    """

    def __init__(
        self, load: Callable[[int], FileChunk | None], *, delimiter: str, line: int
    ) -> None:
        self._load = load
        self._delimiter = delimiter
        self._line = line
        self._buffer: list[str] = []
        self._first = line
        self._at_end = False

    def read(self, most: int) -> RowBatch:
        """The next rows, at most so many."""
        self._drop_read()
        most = self._bound(most)
        portion = self._read_quickly(most) or self._read_carefully(most)
        self._line = portion.next_line
        portion.ended = not self._fill(portion.next_line)
        return portion

    def _bound(self, most: int) -> int:
        """So many rows, or as many as are no more characters than a portion may have."""
        self._fill(self._line + most)
        lengths = [len(line) for line in self._buffer[:most]]
        if sum(lengths) <= _MAX_PORTION_CHARACTERS:
            return most
        fitting = sum(total <= _MAX_PORTION_CHARACTERS for total in accumulate(lengths))
        return max(1, fitting)

    def _read_quickly(self, most: int) -> RowBatch | None:
        """The rows; None where one of them needs a closer look."""
        reader = csv.reader(self._lines_from(self._line), delimiter=self._delimiter, strict=True)
        try:
            rows = list(islice(reader, most))
        except csv.Error:
            return None
        taken = reader.line_num
        if taken == len(rows):
            lines = list(range(self._line, self._line + taken))
        else:
            lines, line = [], self._line
            for row in rows:
                lines.append(line)
                height = 1 + sum(cell.count("\n") for cell in row)
                if height > MAX_ROW_LINES:
                    return None
                line += height
        if [] in rows:
            lines = [line for line, row in zip(lines, rows, strict=True) if row]
            rows = [row for row in rows if row]
        return RowBatch(rows, lines, next_line=self._line + taken)

    def _read_carefully(self, most: int) -> RowBatch:
        """Row by row: one that cannot be read ends with its first line."""
        portion = RowBatch(next_line=self._line)
        for _ in range(most):
            line = portion.next_line
            if not self._fill(line):
                break
            self._fill(line + MAX_ROW_LINES)
            start = line - self._first
            source = self._buffer[start : start + MAX_ROW_LINES]
            reader = csv.reader(source, delimiter=self._delimiter, strict=True)
            try:
                row = next(reader)
            except csv.Error:
                portion.unreadable.append((line, UNCLOSED))
                portion.next_line = line + 1
                continue
            if row:
                portion.rows.append(row)
                portion.lines.append(line)
            portion.next_line = line + reader.line_num
        return portion

    def _lines_from(self, line: int) -> Iterable[str]:
        return chain(self._buffer[line - self._first :], self._following())

    def _following(self) -> Iterator[str]:
        """The lines behind the buffer, which takes them in."""
        place = len(self._buffer)
        while self._fill(self._first + place):
            yield from self._buffer[place:]
            place = len(self._buffer)

    def _fill(self, line: int) -> bool:
        """Have this line in the buffer; whether there is one."""
        while not self._at_end and line >= self._first + len(self._buffer):
            wanted = self._first + len(self._buffer)
            piece = self._load(wanted)
            if piece is None:
                self._at_end = True
            else:
                self._buffer += io.StringIO(piece.text).readlines()[wanted - piece.first_line :]
        return line < self._first + len(self._buffer)

    def _drop_read(self) -> None:
        del self._buffer[: self._line - self._first]
        self._first = self._line
