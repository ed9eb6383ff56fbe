"""Times at which a text is sent: the largest zones on the day of the own clock, and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from app.config import SubscriberRules
from app.phone.country import UNKNOWN
from app.phone.country_names import name_country
from app.sms.drafts.count import DraftCount
from app.sms.eligibility.quiet_hours import Location, find_one_zone, find_window, list_open_spans
from app.web.words import clock_time, people

MAX_DRAWN = 5


@dataclass(frozen=True, slots=True)
class _Day:
    """A day of the own clock, as a track from 0 to 100 per cent."""

    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, at: datetime, zone: tzinfo) -> "_Day":
        """Return the day of a time, which may have 23 or 25 hours."""
        midnight = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC))

    def place(self, at: datetime) -> float:
        """Return the position of a time; past the day's end it is more than 100."""
        return round((at - self.begins) / (self.ends - self.begins) * 100, 2)


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """People of a zone: open `spans`, `start` and `sent` as positions on the track, and words.

    `sent` is None if that is on another day, or never; `kind` is that of a mark.
    """

    place: str
    country: str
    people: int
    spans: list[tuple[float, float]]
    start: float
    sent: float | None
    kind: str
    words: str
    after: str


def describe_send_times(
    counted: DraftCount, starts_at: datetime, zone: ZoneInfo, rules: SubscriberRules
) -> dict[str, Any]:
    """Return the rows of all zones, the most people first, and their sums."""
    times = counted.estimate.send_times.most_common()
    rows = [
        _make_row(location, send_at, number, starts_at=starts_at, zone=zone, rules=rules)
        for (location, send_at), number in times
    ]
    return {
        "rows": rows[:MAX_DRAWN],
        "more": rows[MAX_DRAWN:],
        "at_once": sum(row.people for row in rows if row.kind == "delivered"),
        "wait": sum(row.people for row in rows if row.kind == "clock"),
        "never": sum(row.people for row in rows if row.kind == "not-reached"),
        "counted": counted.counted if counted.counted < counted.people else None,
        "people": counted.people,
    }


def say_send_times(
    zones: Sequence[Mapping[str, Any]], country: str, start: datetime, here: tzinfo
) -> str:
    """Return when a quoted text is sent in a country: in its largest zone, and that there are more.

    `zones` are those of a quote as the API shows it.

    >>> at = datetime(2026, 12, 3, 9, 30, tzinfo=UTC)
    >>> zones = [{"zone": "Europe/London", "country": "GB", "send_at": at}]
    >>> say_send_times(zones, "GB", at, ZoneInfo("Europe/Stockholm"))
    '09:30 in London'
    """
    ours = [
        group
        for group in zones
        if (group["country"] or UNKNOWN) == country and group["send_at"] is not None
    ]
    if not ours:
        return ""
    at, zone = ours[0]["send_at"], ours[0]["zone"]
    own_start = start.astimezone(here)
    words = own = clock_time(at.astimezone(here), own_start)
    if zone is not None:
        local = clock_time(at.astimezone(ZoneInfo(zone)), own_start)
        words = own if local == own else f"{local} in {_name_city(zone)}"
        words += f", {own} here" if at > start and local != own else ""
    more = len(ours) - 1
    return words + (f", {more} more {'zone' if more == 1 else 'zones'}" if more else "")


def _make_row(
    location: Location,
    send_at: datetime | None,
    number: int,
    *,
    starts_at: datetime,
    zone: ZoneInfo,
    rules: SubscriberRules,
) -> ZoneRow:
    country, day = name_country(location[1] or UNKNOWN), _Day.of(starts_at, zone)
    own = find_one_zone(location, send_at or starts_at)
    kind, words, after = "not-reached", _say_never(location, number, starts_at, rules), ""
    if send_at is not None:
        kind, words, after = _say_send_time(send_at, starts_at, there=own, here=zone)
    sent = None if send_at is None else day.place(send_at)
    return ZoneRow(
        place=_name_city(own) if own else f"{country}, several zones",
        country=country,
        people=number,
        spans=[
            (day.place(opens_at), round(day.place(closes_at) - day.place(opens_at), 2))
            for opens_at, closes_at in list_open_spans(location, day.begins, day.ends, rules)
        ],
        start=day.place(starts_at),
        sent=sent if sent is not None and sent <= 100 else None,
        kind=kind,
        words=words,
        after=after,
    )


def _say_never(location: Location, number: int, starts_at: datetime, rules: SubscriberRules) -> str:
    in_time = find_window(*location, starts_at, rules) is not None
    reason = "it ends before their day begins" if in_time else "it is always quiet there"
    return f"{people(number)} would not get it: {reason}."


def _say_send_time(
    send_at: datetime, starts_at: datetime, *, there: str | None, here: ZoneInfo
) -> tuple[str, str, str]:
    """Return the kind of the mark, its words, and more; several zones have our own time."""
    start = starts_at.astimezone(here)
    own = clock_time(send_at.astimezone(here), start)
    local = f"{own} here"
    if there is not None:
        local = f"{clock_time(send_at.astimezone(ZoneInfo(there)), start)} there"
    if send_at <= starts_at:
        return "delivered", local, "at once"
    return "clock", f"Waits for {local}", f"{own} here" if there is not None else ""


def _name_city(zone: str) -> str:
    """Return the city of a zone's name.

    >>> _name_city("America/Argentina/Buenos_Aires"), _name_city("UTC")
    ('Buenos Aires', 'UTC')
    """
    return zone.rpartition("/")[2].replace("_", " ")
