"""Whatever the zones, days and hours: by night no marketing leaves, nor can Sinch deliver it."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from app.config import SubscriberRules
from app.sms.broadcasts.schedule import expire_overdue_broadcasts
from app.sms.models.states import Category
from tests.conftest import draw_lots, examples
from tests.factories import many_numbers
from tests.people import add_people
from tests.picky import Picky

_ZONES = sorted(
    each for each in available_timezones() if "/" in each and not each.startswith(("Etc", "right"))
)
_LORD_HOWE = "Australia/Lord_Howe"  # whose clock changes by half an hour
_STEP = timedelta(minutes=1)


class _Night:
    """Local hours of the day in which nothing may happen, as a clock on the wall shows them."""

    def __init__(self, begins, ends):
        self.begins, self.ends = begins, ends

    def holds(self, moment, zone):
        shown = moment.astimezone(ZoneInfo(zone)).time()
        if self.begins <= self.ends:
            return self.begins <= shown < self.ends
        return shown >= self.begins or shown < self.ends


def _draw_night(lot):
    begins, ends = lot.choice([
        (time(20), time(8)),
        (time(21, 30), time(9)),
        (time(0), time(7)),
        (time(1, 30), time(2, 30)),  # within the hours that clocks skip or repeat
        (time(13), time(14)),
        (time(9), time(8, 30)),  # open for half an hour a day
    ])  # fmt: skip
    return _Night(begins, ends)


def _draw_moment(lot, zone):
    """A moment of the next ten years, often around a change of the clocks."""
    day = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=lot.randrange(3_600))
    if lot.random() < 0.6:
        info, days = ZoneInfo(zone), range(370)
        offsets = [(day + timedelta(days=n)).astimezone(info).utcoffset() for n in days]
        changes = [n for n in days[1:] if offsets[n] != offsets[n - 1]]
        day += timedelta(days=changes[0] - 1 if changes else 0)
    return day + timedelta(minutes=lot.randrange(1_440))


@pytest.mark.parametrize("seed", range(examples(10)))
def test_no_marketing_leaves_or_arrives_by_night(make_machine, database_url, seed):
    lot = draw_lots(seed)
    night = _draw_night(lot)
    zones = [lot.choice([*_ZONES, _LORD_HOWE, "Europe/Berlin"]) for _ in range(6)]
    people = dict(zip(many_numbers(6), zones, strict=True))
    sinch = Picky()
    with sinch.server.running():
        machine = make_machine(database_url, sinch.server.url)
        rules = SubscriberRules(quiet_hours={"*": (night.begins, night.ends)})
        object.__setattr__(machine.ctx, "subscriber_rules", rules)
        machine.clock.set(_draw_moment(lot, zones[0]))
        for number, zone in people.items():
            add_people(machine.ctx, [number], time_zone=zone)
        life_s = lot.choice([3_600, 86_400, 2 * 86_400])
        broadcast = machine.store(list(people), category=Category.MARKETING, expire_s=life_s)
        _send_until_nothing_waits(machine, sinch, people, night, broadcast)

    assert machine.violations() == []
    counts = machine.counts(broadcast)
    assert counts.get("submitted", 0) + counts.get("expired", 0) == len(people), (seed, counts)


def _send_until_nothing_waits(machine, sinch, people, night, broadcast):
    ends_at = machine.broadcast(broadcast).expires_at
    for _ in range(40):
        before = len(sinch.taken)
        now = machine.ctx.now()
        machine.submit_all()
        for sent in sinch.taken[before:]:
            _look_at(sent, now, people, night)
        expire_overdue_broadcasts(machine.ctx)
        idle = machine.idle()
        if idle.not_before is None:
            return
        machine.clock.set(min(idle.not_before, ends_at))
    raise AssertionError("it never ends")


def _look_at(sent, now, people, night):
    """At each minute from its submission to its end, by every recipient's own clock."""
    ends_at = datetime.fromisoformat(sent["expire_at"])
    assert ends_at > now
    moment = now
    while moment < ends_at:
        for number in sent["to"]:
            assert not night.holds(moment, people[f"+{number.lstrip('+')}"]), (number, moment)
        moment += _STEP
