"""Numbers that may be texted: countries, and kinds of numbers that cost more.  Pure."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache

from phonenumbers import PhoneMetadata

from app.phone.country import find_country
from app.phone.e164 import CALLING_CODES, find_calling_code

# Inmarsat, satellite systems, and networks of no country.
_SATELLITE_CODES = ("870", "881", "882", "883")
# In a longer number the last three digits decide nothing, so that a cache serves a million numbers.
_SHORT = 11
_TAIL = "000"


class NumberKind(StrEnum):
    """Kinds of numbers that may cost many times the price of a text."""

    PREMIUM = "premium"
    SHARED_COST = "shared_cost"
    SATELLITE = "satellite"


@dataclass(frozen=True, slots=True)
class NumberRules:
    """The numbers that may be texted.

    `countries` are codes of ISO 3166-1, None for all; `client_countries` narrow them for a client;
    `kinds` are those that are allowed beside ordinary numbers.
    """

    countries: frozenset[str] | None = None
    client_countries: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kinds: frozenset[NumberKind] = frozenset()

    def find_refused_kinds(self, numbers: Sequence[str]) -> list[str]:
        """Return the numbers of kinds that cost more and are not allowed."""
        kinds = map(find_kind, numbers)
        return [
            number
            for number, kind in zip(numbers, kinds, strict=True)
            if kind is not None and kind not in self.kinds
        ]

    def find_refused_countries(
        self, numbers: Sequence[str], client: str | None, of_key: Collection[str] | None = None
    ) -> list[str]:
        """Return the numbers of countries that this client may not text, with a key of these."""
        lists = (self.countries, self.client_countries.get(client or ""), of_key)
        limits = [set(countries) for countries in lists if countries is not None]
        if not limits:
            return []
        allowed = set.intersection(*limits)
        return [number for number in numbers if find_country(number) not in allowed]


def find_kind(number: str) -> NumberKind | None:
    """Return the kind of an E.164 number that costs more; None for an ordinary one.

    >>> find_kind("+46701234567"), find_kind("+449098790000"), find_kind("+870773111632")
    (None, <NumberKind.PREMIUM: 'premium'>, <NumberKind.SATELLITE: 'satellite'>)
    """
    return _look_up(number[: -len(_TAIL)] + _TAIL if len(number) > _SHORT else number)


@lru_cache(maxsize=2**17)
def _look_up(number: str) -> NumberKind | None:
    code = find_calling_code(number)
    if code is None:
        return None
    if code in _SATELLITE_CODES:
        return NumberKind.SATELLITE
    national = number[1 + len(code) :]
    kinds = (kind for pattern, kind in _list_patterns(code) if pattern.fullmatch(national))
    return next(kinds, None)


@cache
def _list_patterns(code: str) -> tuple[tuple[re.Pattern[str], NumberKind | None], ...]:
    """Return the patterns of national numbers, in the order in which libphonenumber asks them.

    Those of all countries of a calling code are one: no ordinary number of one of them is another's
    premium number, and to find the country takes ten times as long.
    """
    of_regions = (PhoneMetadata.metadata_for_region(key, None) for key in CALLING_CODES[int(code)])
    of_code = PhoneMetadata.metadata_for_nongeo_region(int(code), None)
    metadata = [found for found in (*of_regions, of_code) if found]
    descriptions = {
        NumberKind.PREMIUM: [found.premium_rate for found in metadata],
        None: [found.toll_free for found in metadata],
        NumberKind.SHARED_COST: [found.shared_cost for found in metadata],
    }
    patterns = {
        kind: [own.national_number_pattern for own in found if own and own.national_number_pattern]
        for kind, found in descriptions.items()
    }
    return tuple((re.compile("|".join(found)), kind) for kind, found in patterns.items() if found)
