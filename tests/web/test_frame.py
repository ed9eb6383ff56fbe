"""What every page has: why nothing is sent, and what its words mean."""

import pytest

from app.accounts.roles import ROLE_SENTENCES, Role
from app.sms.lifecycle import gates
from app.web.broadcasts.accounting import LINES
from tests.background import context_of
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
