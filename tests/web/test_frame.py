"""What every page has: why nothing is sent, and what its words mean."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.accounts.roles import ROLE_SENTENCES, Role
from app.sms.lifecycle import gates
from app.web.broadcasts.accounting import LINES
from tests.background import context_of
from tests.callers import Caller, id_of
from tests.factories import in_hours
from tests.web.visitor import read_text, visit


@pytest.fixture
def viewer(service, sandbox):
    return visit(service, Role.VIEWER)


def test_every_page_says_since_when_nothing_is_sent(service, viewer):
    ctx = context_of(service)
    assert "Nothing is sent" not in read_text(viewer.get("/people"))
    now = ctx.now()
    with ctx.db.write() as tx:
        shut = gates.read_gates(tx, ctx.rules, now)
        gates.open_circuit(tx, shut, ctx.rules, now=now, refusal={})

    refused = read_text(viewer.get("/people"))
    with ctx.db.write() as tx:
        gates.close_circuit(tx)
        gates.begin_restore(tx, now=now, last_broadcast_id=0)
    restoring = read_text(viewer.get("/people"))

    since = f"since {now:%H:%M}"
    assert f"Sinch refuses our account or token {since}. What to do" in refused
    assert f"Nothing is sent {since}: the database came from a backup" in restoring


def test_every_page_leads_to_what_its_words_mean(viewer):
    assert 'href="/words"' in viewer.get("/people").text

    text = read_text(viewer.get("/words"))

    for _, word, sentence, _ in LINES:
        assert f"{word} {sentence}" in text
    for sentence in ROLE_SENTENCES.values():
        assert sentence in text
    assert "Opted out A person wants no marketing" in text


def test_times_are_in_the_zone_that_the_footer_names(make_service, sandbox):
    service = make_service(DEFAULT_TIME_ZONE="Asia/Tokyo", DEFAULT_COUNTRY="SE")
    viewer, caller = visit(service, Role.OPERATOR), Caller(service)
    day = datetime.now(UTC) + timedelta(days=7)
    later = id_of(caller.send("+46701234567", send_at=f"{day:%Y-%m-%dT16:30:00+00:00}"))
    person = caller.post("/api/subscribers", {"phone": "+46701234567", "first_name": "Ann"})
    subscribed_at = datetime.fromisoformat(person.get_json()["subscribed_at"])

    pages = [read_text(viewer.get(path)) for path in (f"/broadcasts/{later}", "/overview")]
    list_of_people = read_text(viewer.get("/people"))

    for page in pages:
        assert re.search(rf"{day + timedelta(days=1):%a %-d %b}(?: 20\d\d)?, 01:30", page)
        assert "Times are in Asia/Tokyo unless another zone is beside them." in page
    assert f"{subscribed_at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}" in list_of_people


def test_the_footer_of_a_broadcast_says_until_when_its_text_is_kept(service, viewer, caller):
    usual = "Texts and numbers are kept for 30 days after all is reported"
    broadcast = id_of(caller.send("+46701234567", send_at=in_hours(24)))
    page = f"/broadcasts/{broadcast}"
    assert usual in read_text(viewer.get(page))
    caller.act("cancel", broadcast)

    until = datetime.fromisoformat(caller.show(broadcast)["kept_until"])

    said = f"Its texts and numbers are kept until {until:%-d %B %Y}; the counts stay."
    assert said in read_text(viewer.get(page))
    assert said in read_text(viewer.get(f"{page}/live?state=other"))
    assert usual in read_text(viewer.get("/people"))
