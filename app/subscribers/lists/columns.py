"""Recognition of columns by their headers: `words.toml` has those of many languages.

This is the one place that guesses which column holds what: fields of subscribers for an import,
phone numbers for opt-out lists and `flask send --csv`.  Pure.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from anyascii import anyascii

from app.csv_cells import simplify_header
from app.phone.e164 import normalise_number
from app.subscribers.attributes import ATTRIBUTE, ATTRIBUTE_NAME, MAX_ATTRIBUTES
from app.subscribers.lists.reader import Heading, Row, UnusableHeaders

PHONE, FIRST_NAME, LAST_NAME, NAME = "phone", "first_name", "last_name", "name"
LANGUAGE, TIME_ZONE, TAGS, ACTIVE = "language", "time_zone", "tags", "active"
CONSENT_WORDING, CONSENT_SOURCE, CONSENT_AT = "consent_wording", "consent_source", "consent_at"
MAX_HEADER_SHOWN = 64

WORDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    table: {name: [simplify_header(word) for word in words] for name, words in named.items()}
    for table, named in tomllib.loads(
        Path(__file__).with_name("words.toml").read_text("utf-8")
    ).items()
}
_HEADERS = WORDS["headers"]
FIELDS = tuple(_HEADERS)
_RANKS = {
    header: (field, rank)
    for field, headers in _HEADERS.items()
    for rank, header in enumerate(headers)
}
# Words by which a header such as "Phone 1" or "Mobile (private)" names a phone number.
_PHONE_WORDS = frozenset(
    ("phone", "mobile", "cell", "handy", "mobil", "telefon", "telephone", "tel", "portable",
     "movil", "celular", "telefono", "msisdn", "mobilnummer", "telefonnummer", "cellulare", "mob",
     "telefoon", "mobiel", "telefone", "telemovel", "telefonu", "puhelin", "matkapuhelin", "gsm",
     "телефон", "телефона", "телефону")
)  # fmt: skip
# With words beside them as in "Phone (mobile)", "Mobile 1" or "Handy privat", these are mobiles.
_MOBILE_WORDS = frozenset(
    ("mobile", "cell", "cellphone", "cellular", "handy", "mobil", "mobilnummer", "gsm", "portable",
     "movil", "celular", "cellulare", "mobiel", "telemovel", "matkapuhelin", "мобильныи")
)  # fmt: skip
_BESIDE_MOBILE = _MOBILE_WORDS | _PHONE_WORDS | frozenset(
    ("number", "no", "nr", "num", "nummer", "numero", "numer", "1", "private", "privat", "prive",
     "personal", "home", "work", "business", "main", "primary", "contact", "person", "de", "value")
)  # fmt: skip
# Beside another phone column these are choices: "SMS: yes".
_WEAK_PHONES = frozenset(("sms", "whats_app"))
# Numbers under these headers are international, with or without a plus.
_INTERNATIONAL = frozenset(("msisdn", "e164"))
# Words by which a phone is of another person: such a column is taken only if it is named.
_OTHERS = frozenset(WORDS["others"]["words"])
# Columns of our own export that an import cannot set.
_EXPORT_ONLY = frozenset(("id", "subscriber_id", "consented_at", "subscribed_at", "updated_at"))
# A header that means the whole name, or beside the other part of a name this part.
_NAME_PARTS = dict.fromkeys(
    ("name", "namn", "nom", "naam", "navn", "nimi", "nev", "nume"), LAST_NAME
)
_NAME_PARTS |= dict.fromkeys(("nombre", "nome", "adı"), FIRST_NAME)
_TICKS = dict.fromkeys("✓✔✅☑☒🗹√○◯〇●", "true") | dict.fromkeys("✗✘❌✖×✕☐□", "false")
_BELOW = "its headers seem to be in line {}: remove the lines above"
_SAME = "two columns of phone numbers have one header: rename or remove one"
# What a header has beside a word for phones if a row's person has several.
_NUMBER_BEHIND = re.compile("_?[0-9]$")
_FURTHER = frozenset(
    ("other", "second", "secondary", "alt", "alternate", "alternative", "additional", "backup")
)
# Headers have fewer digits than a phone number.
_NUMBER_DIGITS = 5
_DIGITS = re.compile(f"[0-9]{{{_NUMBER_DIGITS}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """The field of each column: one of FIELDS, `attributes.NAME`, or None for an ignored column.

    `first_line` is the line after the headers.  `is_international` is True if the header of the
    phone numbers says that they are international even without a plus.
    """

    headers: tuple[str, ...]
    fields: tuple[str | None, ...]
    delimiter: str
    first_line: int
    is_international: bool

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as the database keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the mapping that `to_json` wrote."""
        return cls(**{**kept, "headers": tuple(kept["headers"]), "fields": tuple(kept["fields"])})


def map_columns(
    heading: Heading, *, columns: Mapping[str, str], ignore: Sequence[str]
) -> ColumnMapping:
    """Return the fields of the columns of a subscribers' file.

    `columns` gives headers by field, `ignore` lists the headers of columns to leave out; the rest
    is guessed.  Raises UnusableHeaders.
    """
    headers = strip_headers(heading)
    plain = [simplify_header(header) for header in headers]
    fields = _apply_options(headers, columns, ignore)
    _guess_fields(fields, plain)
    _guess_name_part(fields, plain)
    fields = [
        name_attribute(header) if field == "" else field
        for header, field in zip(headers, fields, strict=True)
    ]
    _require_phones(heading, fields)
    _require_usable(headers, fields)
    return ColumnMapping(
        headers=headers,
        fields=tuple(fields),
        delimiter=heading.delimiter,
        first_line=heading.first_line,
        is_international=is_international(headers[fields.index(PHONE)]),
    )


def strip_headers(heading: Heading) -> tuple[str, ...]:
    """Return the headers of a file without the blanks around them."""
    return tuple(header.strip() for header in heading.headers)


def find_phone_column(
    first_row: Sequence[str], column: str | None = None, *, below: Sequence[Row] = ()
) -> tuple[int, bool]:
    """Return the column of the phone numbers, and True if the first row holds headers.

    `column` is the header to look for.  Without one the header has to name phone numbers, and no
    other column may; in a first row of data, one cell has to be a number.  `below` are rows in
    which the headers may be instead.  Raises UnusableHeaders.
    """
    if column is not None:
        indexes = find_header(first_row, column)
        if len(indexes) != 1:
            count = "more than one" if indexes else "no"
            raise UnusableHeaders(f"the file has {count} column {show_header(column)}")
        return indexes[0], True
    numbers = [index for index, cell in enumerate(first_row) if _holds_number(cell)]
    if numbers:
        indexes = [index for index in numbers if normalise_number(first_row[index])] or numbers
    else:
        plain = [simplify_header(header) for header in first_row]
        indexes = _find_phone_headers(plain)
        if len(indexes) == 1:
            _require_person(plain, indexes[0])
            indexes += [index for index, header in enumerate(plain) if _is_further(header)]
    if len(indexes) != 1:
        if line := _find_headers_below(below):
            raise UnusableHeaders(_BELOW.format(line))
        if indexes and len({first_row[index].strip() for index in indexes}) == 1:
            raise UnusableHeaders(_SAME)
        shown = " | ".join(_cut(header.strip()) for header in first_row[:10])
        raise UnusableHeaders(
            f"which column holds the phone numbers? Name its header with column: {shown}"
        )
    return indexes[0], not numbers


def has_headers(first_row: Sequence[str]) -> bool:
    """Return True unless a cell of the first row is a phone number."""
    return not any(map(_holds_number, first_row))


def _require_person(plain: Sequence[str], index: int) -> None:
    """Raise UnusableHeaders in a log of texts: its numbers may be ours instead of the people's."""
    directions = WORDS["directions"]
    if plain[index] in directions["to"] and not set(plain).isdisjoint(directions["from"]):
        raise UnusableHeaders(
            "it has a column of senders beside that of recipients: name the one that holds the "
            "people's numbers with column (phone in columns, for subscribers)"
        )


def is_international(header: str) -> bool:
    """Return True if the header says that its numbers are international even without a plus."""
    return simplify_header(header) in _INTERNATIONAL


def _holds_number(cell: str) -> bool:
    """Return True for a cell of digits rather than letters, unlike "Opt-outs until 2026-11-01"."""
    digits = sum(character.isdigit() for character in cell)
    return digits >= _NUMBER_DIGITS and digits > sum(character.isalpha() for character in cell)


def _find_phone_headers(plain: Sequence[str]) -> list[int]:
    """Return the columns named like a phone number, the best first; else those with such a word."""
    ranks = [_find_rank(header) for header in plain]
    exact = [(rank, index) for index, (field, rank) in enumerate(ranks) if field == PHONE]
    strong = [(rank, index) for rank, index in exact if plain[index] not in _WEAK_PHONES]
    exact = strong or exact
    return [index for _, index in sorted(exact)] or [
        index
        for index, header in enumerate(plain)
        if _is_phone_of_person(header.split("_")) and not _DIGITS.search(header)
    ]


def _is_further(header: str) -> bool:
    """Return True for one more phone of the row's person, such as "Phone 2" or "Other mobile"."""
    words = [word for word in _NUMBER_BEHIND.sub("", header).split("_") if word not in _FURTHER]
    bare = "_".join(words)
    return bare != header and _find_rank(bare)[0] == PHONE and _find_rank(header)[0] != PHONE


def _is_phone_of_person(words: Sequence[str]) -> bool:
    """Return True for a phone of the row's person, unlike "Agent phone" or "Emergency tel"."""
    return not _PHONE_WORDS.isdisjoint(words) and _OTHERS.isdisjoint(words)


def _apply_options(
    headers: Sequence[str], columns: Mapping[str, str], ignore: Sequence[str]
) -> list[str | None]:
    """Return the field that the options give each column; empty text where they give none."""
    fields: list[str | None] = ["" if header else None for header in headers]
    for header in ignore:
        for index in find_header(headers, header):
            fields[index] = None
    for field, header in columns.items():
        indexes = find_header(headers, header)
        if len(indexes) != 1:
            reason = "names more than one column" if indexes else "is not in the file"
            raise UnusableHeaders(f"columns: the header {show_header(header)} {reason}")
        if fields[indexes[0]]:
            raise UnusableHeaders(f"columns: {show_header(header)} is given for two fields")
        fields[indexes[0]] = field
    return fields


def find_header(headers: Sequence[str], wanted: str) -> list[int]:
    """Return the columns with this header, else those with one that looks like it."""
    exact = [index for index, header in enumerate(headers) if header.strip() == wanted.strip()]
    plain = simplify_header(wanted)
    return exact or [
        index for index, header in enumerate(headers) if plain and simplify_header(header) == plain
    ]


def find_field(headers: Sequence[str], field: str) -> list[int]:
    """Return the columns whose headers are known for this field, such as Vorname for first_name."""
    ranks = (_RANKS.get(simplify_header(header), ("", 0)) for header in headers)
    return [index for index, (known, _) in enumerate(ranks) if known == field]


def _find_rank(header: str) -> tuple[str, float]:
    """Return the field that a header is known for, and its rank among the headers of that field.

    A mobile by its words comes right behind "mobile".
    """
    words = set(header.split("_"))
    if header not in _RANKS and words & _MOBILE_WORDS and words <= _BESIDE_MOBILE:
        return PHONE, _RANKS["mobile"][1] + 0.5
    return _RANKS.get(header, ("", 0))


def _guess_fields(fields: list[str | None], plain: Sequence[str]) -> None:
    """Replace the empty texts among `fields` as far as the headers are known."""
    open_columns = [index for index, field in enumerate(fields) if field == ""]
    best: dict[str, tuple[float, int]] = {}
    for index in open_columns:
        field, rank = _find_rank(plain[index])
        if plain[index] in _EXPORT_ONLY:
            fields[index] = None
        elif field and field not in fields:
            best[field] = min(best.get(field, (rank, index)), (rank, index))
    for field, (_, index) in best.items():
        fields[index] = field
    if PHONE not in fields:
        named = _find_phone_headers([plain[index] for index in open_columns])
        if len(named) == 1:
            fields[open_columns[named[0]]] = PHONE
    elif PHONE in best:
        _require_person(plain, best[PHONE][1])


def _guess_name_part(fields: list[str | None], plain: Sequence[str]) -> None:
    """Make a column of whole names beside one of their parts the other part, or ignore it."""
    if NAME in fields and (FIRST_NAME in fields or LAST_NAME in fields):
        index = fields.index(NAME)
        part = _NAME_PARTS.get(plain[index], "")
        fields[index] = part if part and part not in fields else None


def name_attribute(header: str) -> str:
    """Return the attribute that a column holds.

    >>> name_attribute("Shoe size"), name_attribute("attributes.City"), name_attribute("Город")
    ('attributes.shoe_size', 'attributes.City', 'attributes.gorod')
    """
    name = header.removeprefix(ATTRIBUTE)
    if not ATTRIBUTE_NAME.fullmatch(name):
        name = re.sub(r"[^a-z0-9_]+", "_", simplify_header(anyascii(name)))[:32].strip("_")
    return ATTRIBUTE + name


def _require_phones(heading: Heading, fields: Sequence[str | None]) -> None:
    """Raise UnusableHeaders with what to do, unless one column holds the phone numbers."""
    plain = [simplify_header(header) for header in heading.headers]
    shown = ", ".join(show_header(header.strip()) for header in heading.headers[:10])
    is_data = any(map(normalise_number, heading.headers))
    if PHONE in fields and not is_data:
        if plain.count(plain[fields.index(PHONE)]) == 1:
            return
        reason = _SAME
    elif is_data or not has_headers(heading.headers):
        raise UnusableHeaders("its first row is no row of headers: put one above it: phone,name")
    elif line := _find_headers_below(heading.below):
        reason = _BELOW.format(line)
    elif len(_find_phone_headers(plain)) > 1:
        reason = "more than one column may hold the phone numbers; name one with columns"
    else:
        reason = "no column is known to hold phone numbers; name one with columns"
    raise UnusableHeaders(f"{reason}. The headers: {shown}")


def _find_headers_below(below: Sequence[Row]) -> int | None:
    """Return the line of a row below the first one in which a header names phone numbers."""
    rows = (row for row in below if has_headers(row.cells))
    return next(
        (row.line for row in rows if _find_phone_headers([*map(simplify_header, row.cells)])), None
    )


def _require_usable(headers: Sequence[str], fields: Sequence[str | None]) -> None:
    counts = Counter(field for field in fields if field)
    for header, field in zip(headers, fields, strict=True):
        if field == ATTRIBUTE:
            raise UnusableHeaders(
                f"the header {show_header(header)} makes no name of an attribute: "
                "give it one with columns, or ignore it"
            )
        if field and counts[field] > 1:
            raise UnusableHeaders(
                f"more than one column is {field}: choose one with columns, or ignore one"
            )
    if sum(field.startswith(ATTRIBUTE) for field in counts) > MAX_ATTRIBUTES:
        raise UnusableHeaders(f"more than {MAX_ATTRIBUTES} columns are attributes: ignore some")


def simplify_cell(cell: str) -> str:
    """Return an answer in the form of WORDS["cells"]; ticks and crosses are answers, too.

    >>> simplify_cell("Opted-out"), simplify_cell("✔"), simplify_cell("☐")
    ('opted_out', 'true', 'false')
    """
    return _TICKS.get(cell.strip().rstrip("\ufe0f")) or simplify_header(cell)


def show_header(header: str) -> str:
    """Return a header for a sentence, cut where it is long."""
    return f"'{_cut(header)}'"


def _cut(header: str) -> str:
    return header if len(header) <= MAX_HEADER_SHOWN else header[: MAX_HEADER_SHOWN - 1] + "…"
