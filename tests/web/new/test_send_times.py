"""Times at which a text is sent: a row for each zone on the day of the own clock, and in words."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.accounts.roles import Role
from tests.people import add_people
from tests.web.new.drafting import fill_in, send
from tests.web.visitor import read_text, visit

SWEDE, NEW_YORKER, JAPANESE = "+46701234567", "+12125550123", "+819012345678"
_STOCKHOLM, _NEW_YORK = ZoneInfo("Europe/Stockholm"), ZoneInfo("America/New_York")


@pytest.fixture
def service(make_service):
    return make_service(DEFAULT_TIME_ZONE="Europe/Stockholm", QUIET_HOURS="")


@pytest.fixture
def author(service, sandbox):
    return visit(service, Role.AUTHOR)


@pytest.fixture
def people(service):
    add_people(service.extensions["clarion"], [SWEDE, NEW_YORKER, JAPANESE])


def on_wednesday(hour):
    """The half hour of a Wednesday from the day after tomorrow on: weekends have other hours."""
    day = datetime.now(_STOCKHOLM) + timedelta(days=2)
    day += timedelta(days=(2 - day.weekday()) % 7)
    return day.replace(hour=hour, minute=30, second=0, microsecond=0)


def when(local, **more):
    later = {"start": "later", "day": f"{local:%Y-%m-%d}", "clock": f"{local:%H:%M}"}
    return {"category": "marketing"} | later | more


def test_a_zone_by_day_is_sent_at_once_and_one_by_night_waits(author, people):
    draft, start = fill_in(author, SWEDE, NEW_YORKER), on_wednesday(10)
    send(author, f"{draft}/when", when(start))

    page = author.get(f"{draft}/when")

    text = read_text(page)
    opens_at = start.astimezone(_NEW_YORK).replace(hour=9, minute=0).astimezone(_STOCKHOLM)
    assert "When it is sent there 1 at once, 1 waits" in text
    assert "Stockholm 1 person, Sweden 10:30 there at once" in text
    waits = f"Waits for 09:00 there {opens_at:%H:%M} here"
    assert f"New York 1 person, United States {waits}" in text
    # 10:30 is 43.75 % of the day; the hours in Sweden are 08:00 to 20:00.
    assert page.text.count('<line x1="43.75%" x2="43.75%"') == 2
    assert '<rect class="fill-sending" x="33.33%" width="50.0%"' in page.text
    dots = re.findall(r'<circle class="[^"]+" cx="([\d.]+)%"', page.text)
    there = (opens_at.hour + opens_at.minute / 60) / 24 * 100
    assert [float(dot) for dot in dots] == [43.75, pytest.approx(there, abs=0.01)]
    confirmed = read_text(author.get(f"{draft}/confirm"))
    assert "Sweden 10:30 1 1" in confirmed
    assert f"United States 09:00 in New York, {opens_at:%H:%M} here 1 1" in confirmed


def test_a_notice_is_sent_at_any_hour(author, people):
    draft = fill_in(author, SWEDE, JAPANESE)
    send(author, f"{draft}/when", when(on_wednesday(20), category="transactional"))

    text = read_text(author.get(f"{draft}/when"))

    assert "When it is sent there 2 at once" in text
    assert re.search(r"Tokyo 1 person, Japan Thu \d+ \w+( \d+)?, 0[34]:30 there at once", text)


def test_where_it_ends_before_their_day_begins_it_is_never_sent(author, people):
    draft = fill_in(author, SWEDE, NEW_YORKER)
    send(author, f"{draft}/when", when(on_wednesday(10), end="2"))

    text = read_text(author.get(f"{draft}/when"))

    assert "1 at once, 1 would not get it" in text
    assert "1 person would not get it: it ends before their day begins." in text
    assert "Their quiet hours end after it ends 1" in read_text(author.get(f"{draft}/confirm"))
    for step in ("text", "audience", "when"):
        assert "So far People 1 Parts 1 " in read_text(author.get(f"{draft}/{step}"))


def test_it_is_shown_while_it_is_chosen_and_nothing_is_saved(author, people):
    draft, start = fill_in(author, SWEDE), on_wednesday(10)

    answer = send(author, f"{draft}/when/send-times", when(start))

    text = read_text(answer)
    assert "10:30 there at once" in text
    assert f"{start:%A %-d %B %Y}, 10:30 in Europe/Stockholm, in " in text
    assert "As soon as it is confirmed" in read_text(author.get(f"{draft}/confirm"))
    missing = read_text(send(author, f"{draft}/when/send-times", {"start": "now"}))
    assert "Choose the audience and the kind, and it is shown here." in missing
    assert missing.count("So far") == 1
    past = when(datetime(2020, 1, 1, 10, tzinfo=_STOCKHOLM))
    assert "Not in the future: give a later time." in read_text(
        send(author, f"{draft}/when/send-times", past)
    )


def test_the_five_largest_zones_have_rows_and_the_others_are_counted(author, service):
    numbers = {
        "+467012345": 7,
        "+8190123456": 6,
        "+3584012345": 5,
        "+47901234": 4,
        "+45201234": 3,
        "+65912345": 2,
        "+85251234": 1,
    }
    phones = [f"{prefix}{n}{n}" for prefix, size in numbers.items() for n in range(size)]
    add_people(service.extensions["clarion"], phones)
    draft = fill_in(author, *phones, category="transactional")

    page = author.get(f"{draft}/when")

    text = read_text(page)
    assert "When it is sent there 28 at once" in text
    assert page.text.count('<svg class="track"') == 5
    assert "2 more zones, 3 people" in text
    sizes = [int(found) for found in re.findall(r"(\d+) (?:person|people), [A-Z]", text)]
    assert sum(sizes) == 25
