"""Whom the orders of a run go to: subscribers who agreed or not, where they live, their hours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert

from app.config import SubscriberRules
from app.db.base import table_of
from app.subscribers.models import Subscriber, SubscriberTag, Tag
from tests.simulation.database import SimulatedDatabase
from tests.simulation.world import START

_HOME = "Europe/Stockholm"
_NEAR = ("Europe/London", "Europe/Helsinki")
_BEFORE = START - timedelta(days=30)
_NONE = (time(), time())

_ADD_PEOPLE, _ADD_TAGS = insert(table_of(Subscriber)), insert(table_of(Tag))
_ADD_BORNE = insert(table_of(SubscriberTag))


@dataclass(slots=True)
class Audience:
    """The subscribers of a run, and the rules under which they get marketing."""

    rules: SubscriberRules
    zones: dict[str, str] = field(default_factory=dict)

    def is_quiet(self, number: str, moment: datetime) -> bool:
        """Whether it is quiet then by the clock on this person's wall."""
        begins, ends = self.rules.quiet_hours["*"]
        clock = moment.astimezone(self._zone(number)).time()
        if begins < ends:
            return begins <= clock < ends
        return begins > ends and not ends <= clock < begins

    def next_quiet(self, number: str, after: datetime) -> datetime | None:
        """When it gets quiet next where this person is; None when it never does."""
        begins, ends = self.rules.quiet_hours["*"]
        if begins == ends:
            return None
        zone = self._zone(number)
        today = after.astimezone(zone).date()
        days = (today + timedelta(days=day) for day in range(2))
        starts = (datetime.combine(day, begins, zone).astimezone(UTC) for day in days)
        return next(start for start in starts if start > after)

    def _zone(self, number: str) -> ZoneInfo:
        return ZoneInfo(self.zones.get(number, _HOME))


def draw_audience(random: Random, *, nights: bool) -> Audience:
    """How often they get marketing, and when: where there are nights, they are over in hours."""
    hours = _NONE
    if nights:
        begins = START + timedelta(minutes=random.randrange(0, 150, 5))
        ends = begins + timedelta(minutes=random.choice((10, 30, 90)))
        hours = (begins.time(), ends.time())
    most = random.choice((0, 1, 3))
    return Audience(SubscriberRules(quiet_hours={"*": hours}, marketing_per_day=most))


def add_subscribers(
    random: Random,
    db: SimulatedDatabase,
    audience: Audience,
    numbers: Iterable[str],
    tags: dict[str, Sequence[str]],
) -> None:
    """Most of these numbers are subscribers, most of whom agreed; who bears a tag always is one."""
    bearers = {number for borne in tags.values() for number in borne}
    rows, ids = [], dict[str, int]()
    sleepless = audience.rules.quiet_hours["*"] == _NONE
    for place, number in enumerate(dict.fromkeys(numbers), 1):
        if number not in bearers and random.random() < 0.05:
            continue
        zone = None if sleepless or random.random() < 0.5 else random.choice(_NEAR)
        if zone:
            audience.zones[number] = zone
        ids[number] = place
        rows.append(_make_row(random, place, number, zone, bears=number in bearers))
    with db.write() as tx:
        if rows:
            tx.execute(_ADD_PEOPLE, rows)
        for place, (tag, borne) in enumerate(tags.items(), 1):
            tx.execute(
                _ADD_TAGS, {"id": place, "name": tag, "double_opt_in": False, "created_at": _BEFORE}
            )
            links = [{"tag_id": place, "subscriber_id": ids[number]} for number in borne]
            tx.execute(_ADD_BORNE, [link | {"confirmed": True} for link in links])


def _make_row(
    random: Random, place: int, number: str, zone: str | None, *, bears: bool
) -> dict[str, Any]:
    return {
        "id": place,
        "public_id": f"{place:026d}",
        "phone": number,
        "active": bears or random.random() < 0.95,
        "consented_at": _BEFORE if random.random() < 0.9 else None,
        "subscribed_at": _BEFORE,
        "updated_at": _BEFORE,
        "time_zone": zone,
    }
