"""People who answer, by their number."""

import pytest

from tests.sandbox.conftest import wait_until

STOPS, STARTS, THANKS = "12015550120", "12015550121", "12015550122"
SENDER = "46700000900"


def texts(sinch):
    """Who has texted what, the oldest first."""
    return [(each["from"], each["body"]) for each in reversed(sinch.get("/inbounds")["inbounds"])]


def test_who_is_delivered_answers_by_their_number(sinch, webhook, control):
    control.set(inbound_url=webhook.url)
    sinch.send(STOPS, "12015550100", STARTS, THANKS, "46700000120")

    wait_until(lambda: len(webhook.events) == 3)

    said = [(each["type"], each["from"], each["to"], each["body"]) for each in webhook.events]
    assert sorted(said) == [
        ("mo_text", STOPS, SENDER, "STOP"),
        ("mo_text", STARTS, SENDER, "START"),
        ("mo_text", THANKS, SENDER, "Thank you ✓"),
    ]
    assert sorted(texts(sinch)) == [(STOPS, "STOP"), (STARTS, "START"), (THANKS, "Thank you ✓")]


def test_an_answer_comes_so_long_after_the_delivery(sinch, control):
    control.set(deliver_after_s=100, reply_after_s=50)
    sinch.send(STOPS)

    control.advance(140)
    assert texts(sinch) == []
    control.advance(20)
    wait_until(lambda: texts(sinch) == [(STOPS, "STOP")])


def test_nobody_answers_what_was_cancelled(sinch, control):
    control.set(dispatch_after_s=100)
    batch = sinch.send(STOPS)
    sinch.ask("DELETE", f"/batches/{batch['id']}").raise_for_status()

    control.advance(1000)
    sinch.send(THANKS)
    control.advance(1000)

    wait_until(lambda: texts(sinch))
    assert texts(sinch) == [(THANKS, "Thank you ✓")]


def test_what_was_altered_is_answered_once(sinch, control):
    control.set(dispatch_after_s=100)
    batch = sinch.send(STOPS, THANKS)
    sinch.ask("POST", f"/batches/{batch['id']}", json={"body": "other"}).raise_for_status()

    control.advance(1000)
    control.advance(1000)

    wait_until(lambda: len(texts(sinch)) == 2)


def test_a_name_cannot_be_answered(sinch, control):
    sinch.send(STOPS, **{"from": "Acme"})
    sinch.send(THANKS)

    wait_until(lambda: texts(sinch))
    assert texts(sinch) == [(THANKS, "Thank you ✓")]


@pytest.mark.parametrize(("switched", "named"), [(False, None), (True, "ref-1")])
def test_an_answer_names_the_batch_where_the_account_has_that(sinch, control, switched, named):
    control.set(reply_bears_reference=switched)
    sinch.send(STOPS, client_reference="ref-1")

    wait_until(lambda: texts(sinch))

    assert sinch.get("/inbounds")["inbounds"][0].get("client_reference") == named
