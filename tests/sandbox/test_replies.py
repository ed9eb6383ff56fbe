"""Magic numbers that answer."""

from tests.sandbox.conftest import wait_until

STOPS, STARTS, THANKS = "12015550120", "12015550121", "12015550122"
SENDER = "46700000900"


def texts(sinch):
    """List the senders and texts of the inbounds, oldest first."""
    inbounds = reversed(sinch.get("/inbounds")["inbounds"])
    return [(inbound["from"], inbound["body"]) for inbound in inbounds]


def test_who_is_delivered_answers_by_their_number(sinch, webhook, control):
    control.set(inbound_url=webhook.url)
    sinch.send(STOPS, "12015550100", STARTS, THANKS, "46700000120")

    wait_until(lambda: len(webhook.events) == 3)

    events = [(e["type"], e["from"], e["to"], e["body"]) for e in webhook.events]
    assert sorted(events) == [
        ("mo_text", STOPS, SENDER, "STOP"),
        ("mo_text", STARTS, SENDER, "START"),
        ("mo_text", THANKS, SENDER, "Thank you ✓"),
    ]
    assert sorted(texts(sinch)) == [(STOPS, "STOP"), (STARTS, "START"), (THANKS, "Thank you ✓")]


def test_nobody_answers_what_was_cancelled(sinch, control):
    control.set(dispatch_after_s=100)
    batch = sinch.send(STOPS)
    sinch.ask("DELETE", f"/batches/{batch['id']}").raise_for_status()

    control.advance(1000)
    sinch.send(THANKS)
    control.advance(1000)

    wait_until(lambda: texts(sinch))
    assert texts(sinch) == [(THANKS, "Thank you ✓")]


def test_a_name_cannot_be_answered(sinch, control):
    sinch.send(STOPS, **{"from": "Acme"})
    sinch.send(THANKS)

    wait_until(lambda: texts(sinch))
    assert texts(sinch) == [(THANKS, "Thank you ✓")]


def test_an_answer_comes_after_the_delivery(sinch, control):
    control.set(deliver_after_s=100)
    sinch.send(STOPS)

    control.advance(90)
    assert texts(sinch) == []
    control.advance(20)
    wait_until(lambda: texts(sinch) == [(STOPS, "STOP")])
