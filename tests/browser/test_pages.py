"""The pages in a real browser, over a real service and sandbox: what they say is what is."""

import random
import time
from collections import Counter

import pytest

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.factories import broadcast_to, many_numbers

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

MANY = 5_000
# More than are sent before the stop.
TOO_MANY = 60_000
WITHIN_S = 40.0


def draw_seed():
    """Return a seed that pytest shows when the test fails."""
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201
    return seed


def send(clarion, count=MANY, *, seed, start=0, **more):
    """Send to ordinary numbers, of which 3 % fail and 1 % stay unknown.  Returns the id.

    One report for each batch, because thousands of callbacks would take seconds.
    """
    clarion.sandbox.set(outcome_probabilities={"Failed": 0.03, "Unknown": 0.01}, seed=seed)
    more |= {"delivery_report": "full", "allow_duplicate": True}
    body = broadcast_to(*many_numbers(count, start=start), **more)
    answer = clarion.service.post(body)
    assert answer.status_code == 202, answer.text
    return answer.json()["broadcast_id"]


def count_at_sinch(clarion):
    """Return how many texts the sandbox has by what became of them."""
    ends = Counter()
    for batch in clarion.sandbox.batches():
        for status in clarion.sandbox.report(batch["id"])["statuses"]:
            ends[status["status"]] += status["count"]
    return ends


def wait_for(is_done):
    deadline = time.monotonic() + WITHIN_S
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_broadcast_is_watched_until_it_is_done_and_adds_up_at_every_moment(clarion, open_browser):
    person = open_browser()
    person.sign_in_from(clarion.invite(Role.SENDER))
    clarion.sandbox.set(messages_per_second=600)
    broadcast_id = send(clarion, reference="Spring opening", seed=draw_seed())
    page = person.page
    page.reload()
    page.get_by_role("link", name="Spring opening").click()

    seen = set()
    deadline = time.monotonic() + WITHIN_S
    while not clarion.look(broadcast_id)["all_reported_at"]:
        lines, below, asked_for = person.read_ledger()
        assert (sum(lines.values()), asked_for) == (MANY, MANY), lines
        assert sum(below.values()) == sum(lines.get(name, 0) for name in _EXPLAINED), (lines, below)
        countries, together, missing, delivered = person.read_countries()
        assert [sum(figures) for figures in zip([0, 0], *countries, strict=True)] == together
        assert together[0] + missing == delivered, (together, missing, delivered)
        seen.add(tuple(lines.items()))
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    page.evaluate("htmx.trigger('#live', 'wake')")
    page.get_by_text("All reports were in.").wait_for()

    lines, _, _ = person.read_ledger()
    truth = count_at_sinch(clarion)
    assert lines == {
        "Delivered": truth["Delivered"],
        "May have it": truth["Unknown"],
        "Not reached": truth["Failed"],
    }
    assert truth.total() == MANY
    assert len(seen) > 1, "the page has not moved"
    page.get_by_text(f"{truth['Delivered']:,} of 5,000 people got it").wait_for()
    assert page.get_by_role("link", name="Stop…").count() == 0


# The lines that have lines below them for all of their people.
_EXPLAINED = ("May have it", "Not reached", "Stopped", "Left out")


@pytest.mark.parametrize(
    ("scripts", "width"), [(True, 1280), (False, 360)], ids=["script", "no script, phone"]
)
def test_a_stop_at_any_moment_is_told_as_it_was(clarion, open_browser, scripts, width):
    seed = draw_seed()
    chance = random.Random(seed)
    person = open_browser(width=width, scripts=scripts)
    person.sign_in_from(clarion.invite(Role.SENDER))
    page = person.page
    # So slowly that some are still in Sinch's queue, and are called back.
    clarion.sandbox.set(messages_per_second=chance.choice([300, 600, 1_500]))
    broadcast_id = send(clarion, TOO_MANY, reference="Autumn sale", seed=seed)
    page.goto(f"{clarion.service.url}/overview")
    page.get_by_role("link", name="Autumn sale").click()
    page.wait_for_timeout(chance.uniform(0, 1_000))
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("Nothing more is handed to Sinch until it is resumed.").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("The texts that wait are handed to Sinch.").wait_for()
    page.wait_for_timeout(chance.uniform(0, 1_000))

    page.get_by_role("link", name="Stop…").click()
    page.get_by_label("Why?").fill("Wrong opening time")
    page.get_by_role("button", name="Stop, and do not send the").click()
    page.get_by_text("Stopped in").wait_for()

    assert page.get_by_text("stopped it: “Wrong opening time”").count() == 2

    wait_for(lambda: clarion.look(broadcast_id)["all_reported_at"])
    page.reload()
    lines, below, asked_for = person.read_ledger()
    truth = count_at_sinch(clarion)
    called_back = truth["Aborted"] + truth["Canceled"] + truth["Cancelled"]
    assert (sum(lines.values()), asked_for) == (TOO_MANY, TOO_MANY)
    assert below.get("Never handed to Sinch.", 0) == TOO_MANY - truth.total() > 0
    assert below.get("Called back from Sinch.", 0) == called_back
    assert lines["Delivered"] == truth["Delivered"]
    assert lines.get("Not reached", 0) == truth["Failed"]
    assert lines.get("May have it", 0) == truth["Unknown"]
