"""ALLOWED_COUNTRIES and ALLOWED_NUMBER_KINDS: the numbers that may be texted."""

import re
from collections.abc import Mapping

from app.config.values import ConfigError
from app.phone.allowed import NumberKind, NumberRules
from app.phone.e164 import is_country
from app.text.typos import suggest

_SEPARATOR = re.compile(r"[\s|]+")


def read_number_rules(environ: Mapping[str, str]) -> NumberRules:
    """Read the rules: all countries and ordinary numbers only, unless set otherwise.

    ALLOWED_COUNTRIES is comma-separated: `SE,NO` for all clients, `shop:SE|NO` for one.
    """
    countries: set[str] = set()
    of_clients: dict[str, frozenset[str]] = {}
    for entry in filter(None, map(str.strip, environ.get("ALLOWED_COUNTRIES", "").split(","))):
        client, colon, value = entry.rpartition(":")
        codes = frozenset(code.upper() for code in _SEPARATOR.split(value.strip()))
        for code in sorted(codes):
            if not is_country(code):
                raise ConfigError(
                    f"ALLOWED_COUNTRIES has {code[:40]!r}, which is no country: give two letters "
                    "such as SE, or client:SE|NO"
                )
        if not colon:
            countries |= codes
        elif client.strip() in of_clients:
            raise ConfigError(f"ALLOWED_COUNTRIES has {client.strip()[:64]!r} twice: write one")
        else:
            of_clients[client.strip()] = codes
    return NumberRules(frozenset(countries) or None, of_clients, _read_kinds(environ))


def _read_kinds(environ: Mapping[str, str]) -> frozenset[NumberKind]:
    words = environ.get("ALLOWED_NUMBER_KINDS", "").replace(",", " ").lower().split()
    for word in words:
        if word not in list(NumberKind):
            meant = suggest(word, NumberKind)
            raise ConfigError(
                f"ALLOWED_NUMBER_KINDS has {word[:40]!r}"
                f"{f', perhaps {meant}' if meant else ''}: known are {', '.join(NumberKind)}"
            )
    return frozenset(map(NumberKind, words))
