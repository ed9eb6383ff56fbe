"""English names of countries by their ISO 3166-1 code, and their time zones.  Pure.

They are those of iso3166.tab and zone.tab in the IANA time zone database, which the package tzdata
has.  libphonenumber's names take 100 MB of memory.
"""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from anyascii import anyascii
from phonenumbers import SUPPORTED_REGIONS

_NO_COUNTRY = "Numbers of no country"
# Where the table abbreviates, sorts by another word, or has no name.
_OURS = {
    "AC": "Ascension Island",
    "AS": "American Samoa",
    "BQ": "Caribbean Netherlands",
    "CD": "Democratic Republic of the Congo",
    "CF": "Central African Republic",
    "CG": "Republic of the Congo",
    "GB": "United Kingdom",
    "KP": "North Korea",
    "KR": "South Korea",
    "MF": "St Martin",
    "SX": "St Maarten",
    "SZ": "Eswatini",
    "TA": "Tristan da Cunha",
    "TC": "Turks & Caicos Islands",
    "VG": "British Virgin Islands",
    "VI": "US Virgin Islands",
    "WS": "Samoa",
    "XK": "Kosovo",
}


def name_country(code: str) -> str:
    """Return the name of a country.

    Numbers of no country, as toll-free ones of the whole world, have the code ZZ.

    >>> name_country("SE"), name_country("GB"), name_country("ZZ")
    ('Sweden', 'United Kingdom', 'Numbers of no country')
    """
    return _read_names().get(code, _NO_COUNTRY)


def list_countries() -> dict[str, str]:
    """Return the countries that have numbers: their names by code, in the order of their names."""
    names = {code: name_country(code) for code in SUPPORTED_REGIONS}
    return dict(sorted(names.items(), key=lambda item: anyascii(item[1])))


@cache
def list_zones(code: str) -> tuple[str, ...]:
    """Return the time zones of a country, the one with most of its people first.

    >>> list_zones("GB")
    ('Europe/London',)
    """
    return tuple(zone for country, _, zone, *_ in _read_table("zone.tab") if country == code)


@cache
def _read_names() -> dict[str, str]:
    rows = _read_table("iso3166.tab")
    return {code: name.replace("’", "'") for code, name in rows} | _OURS


def _read_table(name: str) -> Iterator[list[str]]:
    table = files("tzdata").joinpath("zoneinfo", name).read_text("utf-8")
    return (line.split("\t") for line in table.splitlines() if not line.startswith("#"))
