"""The hours of marketing by country, as data, each with where it is written.  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time

# From when to when marketing may come, by the local clock; until midnight is until 00:00, equal
# times are the whole day.  None: not on that day.
Hours = tuple[time, time] | None
# Monday first.
Week = tuple[Hours, ...]

ANYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietRule:
    """The hours of a country.

    `confirmed` when we have read its source, or what somebody else quotes of it; else the hours
    are the careful ones of everywhere.
    """

    country: str
    week: Week
    source: str
    url: str
    read: date | None
    confirmed: bool
    note: str = ""


def _rule(
    country: str,
    hours: str,
    *,
    source: str,
    url: str,
    read: str,
    saturday: str | None = None,
    sunday: str | None = None,
    confirmed: bool = True,
    note: str = "",
) -> QuietRule:
    weekday = _read_hours(hours)
    weekend = (_read_hours(each) if each else weekday for each in (saturday, sunday))
    return QuietRule(
        country=country,
        week=(weekday,) * 5 + tuple(weekend),
        source=source,
        url=url,
        read=date.fromisoformat(read) if read else None,
        confirmed=confirmed,
        note=note,
    )


def _read_hours(text: str) -> Hours:
    if text == "none":
        return None
    opens, closes = text.split("-")
    return time.fromisoformat(opens), time.fromisoformat(closes)


def _by_country(rules: Iterable[QuietRule]) -> dict[str, QuietRule]:
    return {rule.country: rule for rule in rules}


RULES = _by_country(
    (
        _rule(
            ANYWHERE,
            "08:00-20:00",
            source="our own careful choice",
            url="",
            read="",
            confirmed=False,
        ),
        _rule(
            "FR",
            "08:00-20:00",
            sunday="none",
            source="charter of Business Messaging, af2m",
            url="https://af2m.org/la-charte-de-deontologie-applicable-aux-services-de-business-messaging-est-effective-depuis-le-1er-septembre-2024",
            read="2026-11-27",
            note="Working days, 08:00 to 22:00; holidays are not known to us.",
        ),
    )
)
