import tomllib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import SubscriberRules
from app.sms.eligibility import quiet_hours_by_country
from app.sms.eligibility.quiet_hours import Window, find_window, locate_phone
from app.sms.eligibility.quiet_hours_by_country import ANYWHERE, WEEKS

MINUTE = timedelta(minutes=1)
DEFAULT = SubscriberRules()
ZONES = sorted(available_timezones() - {"localtime", "Factory", "posixrules"})
# Half an hour's summer time, two hours', a date that was skipped, Ramadan's, the far ends.
ODD_ZONES = [
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "America/Nuuk",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Asia/Beirut",
    "Africa/Cairo",
]


def quiet(*window, country="XX"):
    """Rules under which these local times are quiet in a country."""
    return SubscriberRules(quiet_hours={country: tuple(map(time.fromisoformat, window))})


def local(text, zone):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def shown(window, zone):
    """A window by the clock on the wall."""
    return tuple(
        f"{each.astimezone(ZoneInfo(zone)):%a %H:%M %z}"
        for each in (window.opens_at, window.closes_at)
    )


times = st.builds(time, st.integers(0, 23), st.integers(0, 59))
# Few that are far apart, and hours that clocks jump over or repeat.
night_times = st.sampled_from([time(h, m) for h in (0, 1, 2, 3) for m in (0, 30)])
windows = st.tuples(times | night_times, times | night_times)
changing_days = st.builds(
    date, st.integers(2025, 2035), st.sampled_from([3, 4, 9, 10, 11]), st.integers(1, 30)
)
days = st.dates(date(2025, 1, 1), date(2035, 12, 31)) | changing_days
moments = st.builds(datetime.combine, days, times, st.just(UTC))
zone_names = st.sampled_from(ZONES) | st.sampled_from(ODD_ZONES)


def _is_open(moment, zones, hours, days_off):
    """By the clock on each wall, minute by minute."""
    begins, ends = hours
    for zone in zones:
        wall = moment.astimezone(ZoneInfo(zone))
        minute = wall.hour * 60 + wall.minute
        since = (minute - (begins.hour * 60 + begins.minute)) % 1440
        if since < ((ends.hour - begins.hour) * 60 + ends.minute - begins.minute) % 1440:
            return False
        if begins != ends and wall.strftime("%A") in days_off:
            return False
    return True


def _walk(zones, hours, days_off, now):
    """The first ten open minutes in a row, and all after them until one is quiet."""
    run = None
    for number in range(11 * 24 * 60):
        moment = now + number * MINUTE
        is_open = _is_open(moment, zones, hours, days_off)
        if run is not None and (not is_open or moment == run + timedelta(days=3)):
            if moment - run >= 10 * MINUTE:
                return Window(run, moment)
            run = None
        if run is None and is_open:
            run = moment
        if run is None and number > 8 * 24 * 60:
            return None
    return None


@pytest.mark.slow
@given(zone_names, windows, moments, st.sampled_from(["DE", "FR"]))
def test_a_window_is_the_first_that_the_clock_on_the_wall_allows(zone, hours, now, country):
    rules = SubscriberRules(quiet_hours={country: hours})

    found = find_window([zone], country, now, rules)

    days_off = {"Sunday"} if country == "FR" else set()
    assert found == _walk([zone], hours, days_off, now)


@pytest.mark.slow
@given(st.lists(zone_names, min_size=2, max_size=4), windows, moments)
def test_a_window_is_open_in_every_zone_a_person_may_be_in(zones, hours, now):
    found = find_window(zones, "DE", now, SubscriberRules(quiet_hours={"*": hours}))

    assert found == _walk(zones, hours, set(), now)


def test_a_window_now_open_begins_now_and_ends_with_the_day():
    now = local("2026-03-02T09:15:30.5", "Europe/Stockholm").astimezone(UTC)

    found = find_window(["Europe/Stockholm"], "XX", now, quiet("20:00", "08:00"))

    assert found.opens_at == now
    assert shown(found, "Europe/Stockholm")[1] == "Mon 20:00 +0100"


@pytest.mark.parametrize(
    ("zone", "now", "window", "expected"),
    [
        # The clock goes from 02:00 to 03:00: a window that would begin between begins at 03:00.
        (
            "Europe/Berlin",
            "2026-03-29T00:10",
            ("22:00", "02:30"),
            ("Sun 03:00 +0200", "Sun 22:00 +0200"),
        ),
        # One that would end between ends there.
        (
            "Europe/Berlin",
            "2026-03-29T00:10",
            ("02:30", "23:00"),
            ("Sun 00:10 +0100", "Sun 03:00 +0200"),
        ),
        # The clock shows 02:00 to 03:00 twice: quiet until 02:30, and again.
        (
            "Europe/Berlin",
            "2026-10-25T00:10",
            ("22:00", "02:30"),
            ("Sun 02:30 +0200", "Sun 02:00 +0100"),
        ),
        (
            "Europe/Berlin",
            "2026-10-25T02:05+01:00",
            ("22:00", "02:30"),
            ("Sun 02:30 +0100", "Sun 22:00 +0100"),
        ),
        (
            "Europe/Berlin",
            "2026-10-25T00:10",
            ("02:00", "03:00"),
            ("Sun 00:10 +0200", "Sun 02:00 +0200"),
        ),
    ],
)
def test_a_window_keeps_to_the_clock_where_it_is_changed(zone, now, window, expected):
    moment = datetime.fromisoformat(now)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))

    found = find_window([zone], "XX", moment.astimezone(UTC), quiet(*window))

    assert shown(found, zone) == expected


def test_a_window_about_to_close_is_passed_over_for_the_next():
    now = local("2026-03-02T19:50:01", "Europe/Stockholm").astimezone(UTC)
    zones, rules = ["Europe/Stockholm"], quiet("20:00", "08:00")

    assert find_window(zones, "XX", now, rules).opens_at == now + timedelta(hours=12, seconds=599)
    assert find_window(zones, "XX", now, rules, min_open_s=599).opens_at == now


def test_without_quiet_hours_a_window_is_three_days():
    now = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    rules = quiet("00:00", "00:00", country="FR")

    found = find_window(["Europe/Paris"], "FR", now, rules)

    assert found == Window(now, now + timedelta(days=3))


def test_a_country_s_own_days_stay_when_its_hours_are_changed():
    saturday = local("2026-03-28T22:30", "Europe/Paris").astimezone(UTC)

    found = find_window(["Europe/Paris"], "FR", saturday, quiet("22:00", "09:00", country="FR"))

    assert shown(found, "Europe/Paris") == ("Mon 09:00 +0200", "Mon 22:00 +0200")


def test_hours_set_for_all_others_hold_where_none_are_set_for_the_country():
    rules = SubscriberRules(
        quiet_hours={"SE": (time(21), time(9)), "*": (time(18), time(10))}, default_zone="UTC"
    )
    now = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)

    opens = [find_window(["UTC"], each, now, rules).opens_at.hour for each in ("SE", "DE", None)]

    assert opens == [9, 10, 10]


def test_zones_half_a_day_apart_have_no_window_in_common():
    now = datetime(2026, 7, 1, tzinfo=UTC)

    found = find_window(["Pacific/Auckland", "Africa/Accra"], None, now, DEFAULT)

    assert found is None


@pytest.mark.parametrize(("day", "opens"), [(17, None), (18, "2026-09-26T19:00:00+00:00")])
def test_a_window_is_looked_for_eight_days_ahead(day, opens):
    # On its 27th New Zealand goes on to summer time: an hour of its day is then Ghana's, too.
    now = datetime(2026, 9, day, 20, tzinfo=UTC)

    found = find_window(["Pacific/Auckland", "Africa/Accra"], None, now, DEFAULT)

    assert (found and found.opens_at.isoformat()) == opens


@pytest.mark.parametrize("year", [1, 9999])
def test_at_the_ends_of_time_nothing_breaks(year):
    moment = datetime(year, 12, 28, tzinfo=UTC)

    assert find_window(["Europe/Paris"], "FR", moment, DEFAULT) is None or year == 1


def read_rules():
    """The table of hours as it is written, by country."""
    table = Path(quiet_hours_by_country.__file__).with_suffix(".toml")
    rules = tomllib.loads(table.read_text("utf-8"))["rule"]
    return {country: rule for rule in rules for country in rule["countries"]}


def write_table():
    """All rules as a Markdown table, the one of everywhere first."""
    lines = [
        "| country | weekdays | Saturday | Sunday | source |",
        "|---|---|---|---|---|",
    ]
    for country, rule in sorted(read_rules().items()):
        days = [rule.get(day, rule["hours"]) for day in ("weekdays", "saturday", "sunday")]
        source = rule["source"]
        if "read" in rule:
            source += f" [Read {rule['read']}]({rule['url']})"
        lines.append(f"| `{country}` | {' | '.join(days)} | {source} |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_docs_is_the_data():
    docs = Path(__file__).parents[3] / "docs/quiet-hours.md"

    assert write_table() in docs.read_text()


def test_every_rule_keeps_within_the_day_and_says_where_it_comes_from():
    careful = WEEKS[ANYWHERE]
    for country, rule in read_rules().items():
        week = WEEKS[country]
        hours = [each for each in week if each is not None]
        assert all(time(8) <= opens < closes <= time(21) for opens, closes in hours)
        assert len(week) == 7
        assert rule["source"]
        if "read" in rule:
            assert rule["url"].startswith("https://")
        else:
            assert week == careful


def test_a_texan_is_let_sleep_in_on_a_sunday():
    zones, country = locate_phone("+12145550123", None, DEFAULT)
    saturday_night = local("2026-06-06T23:00", "America/Chicago").astimezone(UTC)

    found = find_window(zones, country, saturday_night, DEFAULT)

    assert shown(found, "America/Chicago") == ("Sun 12:00 -0500", "Sun 20:00 -0500")
