"""What each column of a file is for, by its title: in English, German, Swedish, French, Spanish.

A column that is for nothing else holds an attribute, named by its title.  Pure.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from app.csv_cells import simplify_title
from app.subscribers.attributes import ATTRIBUTE, ATTRIBUTE_NAME, MAX_ATTRIBUTES

PHONE, FIRST_NAME, LAST_NAME, NAME = "phone", "first_name", "last_name", "name"
LANGUAGE, TIME_ZONE, TAGS, ACTIVE = "language", "time_zone", "tags", "active"
CONSENT_WORDING, CONSENT_SOURCE, CONSENT_AT = "consent_wording", "consent_source", "consent_at"
MAX_HEADER_SHOWN = 64

# The best first: where two columns could be it, it is the one that stands earlier here.
_TITLES: Mapping[str, tuple[str, ...]] = {
    PHONE: (
        "phone_number", "phone", "e164", "msisdn", "mobile_number", "mobile_phone", "mobile_no",
        "mobile", "cell_phone", "cell_phone_number", "cellphone", "cell", "phone_no",
        "handynummer", "handy", "handy_nr", "mobilnummer", "mobiltelefonnummer", "mobiltelefon",
        "mobilfunknummer", "mobilfunk", "mobil_nr", "mobilnr", "mobil",
        "telephone_mobile", "telephone_portable", "numero_de_portable", "numero_de_mobile",
        "portable", "gsm", "numero_de_movil", "telefono_movil", "movil", "numero_de_celular",
        "celular", "telephone_number", "telephone", "tel", "telefonnummer", "telefonnr", "tel_nr",
        "telefon", "rufnummer", "numero_de_telephone", "no_de_telephone", "no_tel",
        "numero_de_telefono", "telefono", "recipient", "number", "nummer", "numero",
    ),
    FIRST_NAME: (
        "first_name", "firstname", "given_name", "given_names", "forename", "vorname", "rufname",
        "fornamn", "tilltalsnamn", "prenom", "prenoms", "nombre_de_pila", "primer_nombre",
    ),
    LAST_NAME: (
        "last_name", "lastname", "surname", "family_name", "nachname", "familienname", "zuname",
        "efternamn", "nom_de_famille", "apellido", "apellidos",
    ),
    NAME: (
        "name", "full_name", "fullname", "display_name", "contact_name", "customer_name",
        "vollstandiger_name", "namn", "fullstandigt_namn", "nom_complet", "nom",
        "nombre_completo", "nombre_y_apellidos", "nombre",
    ),
    LANGUAGE: (
        "language", "language_code", "lang", "locale", "sprache", "sprak", "langue", "idioma",
    ),
    TIME_ZONE: (
        "time_zone", "timezone", "tz", "zeitzone", "tidszon", "fuseau_horaire", "zona_horaria",
        "huso_horario",
    ),
    TAGS: (
        "tags", "tag", "labels", "groups", "group", "segments", "segment", "schlagworte",
        "gruppen", "gruppe", "etiketter", "taggar", "grupper", "grupp", "etiquettes", "groupes",
        "groupe", "etiquetas", "grupos", "grupo",
    ),
    ACTIVE: ("active", "is_active", "aktiv", "actif", "activo"),
    CONSENT_WORDING: (
        "consent_wording", "consent_text", "opt_in_text", "opt_in_wording",
        "einwilligungstext", "wortlaut_der_einwilligung", "samtyckestext",
        "texte_du_consentement", "texto_del_consentimiento", "texto_de_consentimiento",
    ),
    CONSENT_SOURCE: (
        "consent_source", "opt_in_source", "einwilligungsquelle", "quelle_der_einwilligung",
        "herkunft_der_einwilligung", "samtyckeskalla", "source_du_consentement",
        "origen_del_consentimiento", "fuente_del_consentimiento",
    ),
    CONSENT_AT: (
        "consent_at", "consent_time", "consent_date", "consented_on", "opt_in_at", "opt_in_date",
        "opt_in_time", "einwilligung_am", "datum_der_einwilligung", "zeitpunkt_der_einwilligung",
        "einwilligungsdatum", "samtyckesdatum", "samtycke_datum", "date_du_consentement",
        "fecha_del_consentimiento", "fecha_de_consentimiento",
    ),
}  # fmt: skip
FIELDS = tuple(_TITLES)
_RANKS = {
    header: (field, rank)
    for field, headers in _TITLES.items()
    for rank, header in enumerate(headers)
}
# A title that none of these is may still have a word of it, as "Phone 1" or "Mobile (private)".
_PHONE_WORDS = frozenset(
    ("phone", "mobile", "cell", "handy", "mobil", "telefon", "telephone", "portable", "movil",
     "celular", "telefono", "msisdn", "mobilnummer", "telefonnummer")
)  # fmt: skip
# Their numbers have no plus, and are international all the same.
_INTERNATIONAL = frozenset(("msisdn", "e164"))
# Ours to say, in what we export.
_OURS = frozenset(("id", "subscriber_id", "consented_at", "subscribed_at", "updated_at"))
# What the other part of a name is called where one part goes by this title alone.
_PARTS = {"name": LAST_NAME, "namn": LAST_NAME, "nom": LAST_NAME, "nombre": FIRST_NAME}


class UnusableHeaders(ValueError):
    """The titles do not say what the columns are for; the message is a sentence for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """What each column is for: one of FIELDS, `attributes.NAME`, or None for nothing.

    `first_line` is the line after the titles; `is_international` where the title of the numbers
    says that they are, plus or not.
    """

    headers: tuple[str, ...]
    fields: tuple[str | None, ...]
    delimiter: str
    first_line: int
    is_international: bool

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "headers": list(self.headers),
            "fields": list(self.fields),
            "delimiter": self.delimiter,
            "first_line": self.first_line,
            "is_international": self.is_international,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """From how it is kept."""
        return cls(
            headers=tuple(kept["headers"]),
            fields=tuple(kept["fields"]),
            delimiter=kept["delimiter"],
            first_line=kept["first_line"],
            is_international=kept["is_international"],
        )


def map_columns(
    headers: Sequence[str],
    *,
    delimiter: str,
    first_line: int,
    columns: Mapping[str, str],
    ignore: Sequence[str],
) -> ColumnMapping:
    """What the columns with these titles are for.

    `columns` names the titles of fields of which it is known; `ignore` those of columns that are
    for nothing.  Raises UnusableTitles.
    """
    stripped = tuple(header.strip() for header in headers)
    chosen = _choose(stripped, columns, ignore)
    plain = [simplify_title(header) for header in stripped]
    left = [place for place, field in enumerate(chosen) if field == ""]
    _guess(chosen, plain, left)
    for place in left:
        if chosen[place] == "":
            chosen[place] = _name_attribute(stripped[place])
    _refuse_unusable(stripped, chosen)
    return ColumnMapping(
        headers=stripped,
        fields=tuple(chosen),
        delimiter=delimiter,
        first_line=first_line,
        is_international=plain[chosen.index(PHONE)] in _INTERNATIONAL,
    )


def _choose(
    headers: Sequence[str], columns: Mapping[str, str], ignore: Sequence[str]
) -> list[str | None]:
    """What was said of each column; empty text for what nobody said anything of."""
    chosen: list[str | None] = ["" if header else None for header in headers]
    for header in ignore:
        for place in _find(headers, header):
            chosen[place] = None
    for field, header in columns.items():
        places = _find(headers, header)
        if len(places) != 1:
            often = "stands more than once" if places else "is not there"
            raise UnusableHeaders(f"columns: the title {show_header(header)} {often}")
        if chosen[places[0]]:
            raise UnusableHeaders(f"columns: {show_header(header)} is given for two fields")
        chosen[places[0]] = field
    return chosen


def _find(headers: Sequence[str], wanted: str) -> list[int]:
    exact = [place for place, header in enumerate(headers) if header == wanted.strip()]
    plain = simplify_title(wanted)
    return exact or [
        place for place, header in enumerate(headers) if plain and simplify_title(header) == plain
    ]


def _guess(chosen: list[str | None], plain: Sequence[str], left: Sequence[int]) -> None:
    """Say of the columns that are left which field each is, as far as its title tells."""
    best: dict[str, tuple[int, int]] = {}
    for place in left:
        header = plain[place]
        if header in _OURS:
            chosen[place] = None
            continue
        field, rank = _RANKS.get(header, ("", 0))
        if field and field not in chosen and (field not in best or rank < best[field][0]):
            best[field] = rank, place
    for field, (_, place) in best.items():
        chosen[place] = field
    if PHONE not in chosen:
        alike = [place for place in left if _PHONE_WORDS.intersection(plain[place].split("_"))]
        if len(alike) == 1:
            chosen[alike[0]] = PHONE
    if NAME in chosen and (FIRST_NAME in chosen or LAST_NAME in chosen):
        place = chosen.index(NAME)
        part = _PARTS.get(plain[place], "")
        # Beside its parts a whole name tells nothing more.
        chosen[place] = part if part and part not in chosen else None


def _name_attribute(header: str) -> str:
    """The attribute that a column holds.

    >>> _name_attribute("Shoe size"), _name_attribute("attributes.City"), _name_attribute("City")
    ('attributes.shoe_size', 'attributes.City', 'attributes.City')
    """
    name = header.removeprefix(ATTRIBUTE)
    if not ATTRIBUTE_NAME.fullmatch(name):
        name = re.sub(r"[^a-z0-9_]+", "_", simplify_title(name))[:32].strip("_")
    return ATTRIBUTE + name


def _refuse_unusable(headers: Sequence[str], chosen: Sequence[str | None]) -> None:
    if PHONE not in chosen:
        shown = ", ".join(show_header(header) for header in headers[:10])
        raise UnusableHeaders(
            f"no column is known to hold phone numbers; say which by columns. The titles: {shown}"
        )
    counted = Counter(field for field in chosen if field)
    for place, field in enumerate(chosen):
        if field == ATTRIBUTE:
            raise UnusableHeaders(
                f"the title {show_header(headers[place])} makes no name of an attribute: "
                "give it one by columns, or ignore it"
            )
        if field and counted[field] > 1:
            raise UnusableHeaders(
                f"more than one column is {field}: say which by columns, or ignore one"
            )
    if sum(field.startswith(ATTRIBUTE) for field in counted) > MAX_ATTRIBUTES:
        raise UnusableHeaders(f"more than {MAX_ATTRIBUTES} columns are attributes: ignore some")


def show_header(header: str) -> str:
    """A title in a sentence, cut where it is long."""
    shown = header if len(header) <= MAX_HEADER_SHOWN else header[: MAX_HEADER_SHOWN - 1] + "…"
    return f"'{shown}'"
