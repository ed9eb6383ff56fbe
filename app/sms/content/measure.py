"""Sizes of texts that are filled in for each recipient.  Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat, zip_longest
from operator import add, mul
from typing import Any

from app.db.prepared import chunked
from app.sms.content.placeholders import (
    DEFAULT,
    MAX_TEXT_CHARACTERS,
    PLACEHOLDER,
    Parameters,
    PlaceholderError,
    collect_personal,
    fill_text,
    select_own,
)
from app.text.segments import (
    Encoding,
    TextSize,
    count_plain_parts,
    find_largest,
    is_gsm7,
    is_plain,
    measure_text,
)

# Recipients times placeholders of one request: a million recipients may have ten each.
MAX_FILLED = 10_000_000


class TextPattern:
    """A text with placeholders, parsed once for all its recipients."""

    def __init__(self, text: str) -> None:
        self._literal = PLACEHOLDER.sub("", text)
        self._counts = Counter(PLACEHOLDER.findall(text))
        self._format = PLACEHOLDER.sub(r"%(\1)s", text.replace("%", "%%"))

    def measure(
        self, recipients: Sequence[str], own: Parameters, defaults: Mapping[str, str]
    ) -> list[TextSize | None]:
        """Return the size of each recipient's text.

        It is None if the text is empty, is too long or lacks a value.  `own` are values by
        placeholder and recipient, `defaults` those of all others.
        """
        columns = {
            name: list(map(own.get(name, {}).get, recipients, repeat(defaults.get(name))))
            for name in self._counts
        }
        return self.measure_columns(columns, {}, len(recipients))

    def measure_columns(
        self, columns: Mapping[str, Sequence[str | None]], defaults: Mapping[str, str], rows: int
    ) -> list[TextSize | None]:
        """Return sizes as `measure` does, of values in columns; None takes the default."""
        filled, lacking = dict[str, Sequence[Any]](), set[int]()
        for name in self._counts:
            filled[name] = columns[name]
            if None in columns[name]:
                column, default = columns[name], defaults.get(name, "")
                if name not in defaults:
                    lacking.update(row for row, value in enumerate(column) if value is None)
                filled[name] = [default if value is None else value for value in column]
        sizes = self._measure_rows(filled, rows)
        for row in lacking:
            sizes[row] = None
        return sizes

    def _measure_rows(
        self, columns: Mapping[str, Sequence[str]], rows: int
    ) -> list[TextSize | None]:
        lengths, encoding = self._add_lengths(columns, rows), self._find_plain_encoding()
        costly: set[str] = set()
        if encoding is not None:
            costly = set(_list_costly(set(chain(*columns.values())), encoding))
            if not costly:
                return [_measure_plain(encoding, length) for length in lengths]
        values = zip(*columns.values(), strict=True) if columns else repeat((), rows)
        return [
            _measure_plain(encoding, length)
            if encoding is not None and costly.isdisjoint(row)
            else self._measure_filled(dict(zip(columns, row, strict=True)), length)
            for row, length in zip(values, lengths, strict=True)
        ]

    def _add_lengths(self, columns: Mapping[str, Sequence[str]], rows: int) -> list[int]:
        lengths = [len(self._literal)] * rows
        for name, column in columns.items():
            own = map(mul, map(len, column), repeat(self._counts[name]))
            lengths = list(map(add, lengths, own))
        return lengths

    def _find_plain_encoding(self) -> Encoding | None:
        """Return the encoding of all texts if their lengths alone decide about their parts."""
        if not self._literal.strip():
            return None  # one may be empty
        encoding = Encoding.GSM_7 if is_gsm7(self._literal) else Encoding.UCS_2
        return encoding if is_plain(self._literal, encoding) else None

    def _measure_filled(self, values: Mapping[str, str], length: int) -> TextSize | None:
        if length > MAX_TEXT_CHARACTERS:
            return None  # not built: it may be a hundred times as long
        text = self._format % values
        return _measure_text(text) if text.strip() else None


def _list_costly(values: set[str], encoding: Encoding) -> Iterator[str]:
    """Yield the values with a character that takes more than one septet or code unit."""
    if not is_plain("".join(values), encoding):
        yield from (value for value in values if not is_plain(value, encoding))


# Many recipients have texts alike.
_measure_text = lru_cache(maxsize=2**12)(measure_text)


@lru_cache(maxsize=2**13)
def _measure_plain(encoding: Encoding, length: int) -> TextSize | None:
    if length > MAX_TEXT_CHARACTERS:
        return None
    return TextSize(encoding, count_plain_parts(encoding, length))


def count_filled(texts: Iterable[str], parameters: Parameters) -> int:
    """Return how many values all texts need for recipients that have values of their own."""
    own = select_own(parameters)
    counts = Counter(chain.from_iterable(map(PLACEHOLDER.findall, texts)))
    return sum(counts[name] for name in own) * len(collect_personal(own))


def measure_messages(text: str, parameters: Parameters, recipients: Sequence[str]) -> TextSize:
    """Return the size of the largest message: UCS-2 if any message is, and the most parts.

    Raises PlaceholderError when a filled message is empty or longer than 2,000 characters.
    """
    pattern, own = TextPattern(text), select_own(parameters)
    defaults = {name: values[DEFAULT] for name, values in parameters.items() if DEFAULT in values}
    having = collect_personal(own)
    personal = [phone for phone in recipients if phone in having]
    # All others have one text: the first of them is where the lists begin to differ.
    others = (phone for phone, same in zip_longest(recipients, personal) if phone != same)
    sizes: set[TextSize] = set()
    for phones in chunked([*personal, *islice(others, 1)]):
        found = pattern.measure(phones, own, defaults)
        if None in found:
            phone = phones[found.index(None)]
            values = defaults | {
                name: table[phone] for name, table in own.items() if phone in table
            }
            raise PlaceholderError(f"filled in for {phone} it is {_explain(text, values)}")
        sizes.update(size for size in found if size)
    return find_largest(sizes)


def _explain(text: str, values: Mapping[str, str]) -> str:
    if fill_text(text, values).strip():
        return f"longer than {MAX_TEXT_CHARACTERS} characters"
    return "empty"
