"""Counts of many people come behind the page that shows them."""

import re
from html import unescape

import pytest

from app.accounts.roles import Role
from tests.web.new.drafting import fill_in, send
from tests.web.visitor import read_text, visit

# One more than a page counts before it is shown.
MANY = [f"+4670{number:07}" for number in range(1_001)]
_LIST = "left-out/opted_out"
_FIGURES = {
    "text": "1 part for each of 1,001 people",
    "audience": "Get it 1,001",
    "when": "1,001 at once",
    "confirm": "Send 1,001 texts",
    _LIST: "No one is left out",
}


@pytest.fixture
def sender(service, sandbox):
    return visit(service, Role.SENDER)


def find_counted(page):
    """Return the address that a page asks for when it is loaded, and which it links."""
    (address,) = re.findall(r'hx-get="([^"]+)" hx-trigger="load, wake"', page.text)
    assert f'<a href="{address}">' in page.text
    return unescape(address)


def test_each_step_to_many_people_is_shown_before_they_are_counted(sender):
    draft = fill_in(sender, *MANY)

    for step, figures in _FIGURES.items():
        page = sender.get(f"{draft}/{step}")
        counted = sender.get(find_counted(page))

        assert figures not in read_text(page)
        assert "People 1,001" not in read_text(page)
        assert "People 1,001" in read_text(counted) or step == _LIST
        assert figures in read_text(counted)
        assert 'hx-trigger="load, wake"' not in counted.text

    search = {"message": "Hi", "seek": MANY[-1], "go": "seek"}
    page = sender.get(send(sender, f"{draft}/text", search).location)
    assert f"As {MANY[-1]} gets it Hi" not in read_text(page)
    assert f"As {MANY[-1]} gets it Hi" in read_text(sender.get(find_counted(page)))
