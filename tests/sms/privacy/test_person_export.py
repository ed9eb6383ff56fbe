"""The export of one person has what they were sent and what they texted."""

from app.sms.inbound.receive import fetch_inbounds
from tests.callers import Caller
from tests.people import add_people

ANN, BOB = "+46701234567", "+46707654321"


def test_an_export_has_what_a_person_was_sent_and_what_they_texted(either_service, sandbox):
    ctx = either_service.extensions["clarion"]
    caller = Caller(either_service)
    add_people(ctx, [ANN, BOB])
    caller.send(ANN, BOB, message="Hi ${name}", parameters={"name": {ANN: "Ann", BOB: "Bob"}})
    sandbox.text_from(ANN, "Thanks!")
    sandbox.text_from(BOB, "Who is this?")
    fetch_inbounds(ctx, since=ctx.seconds_from_now(-3600))
    found = caller.post("/api/subscribers/lookup", {"phone": ANN}).get_json()

    whole = caller.get(f"/api/subscribers/{found['subscriber_id']}/export").get_json()

    assert [each["text"] for each in whole["related_data"]["messages"]] == ["Hi Ann"]
    assert [each["body"] for each in whole["related_data"]["inbounds"]] == ["Thanks!"]
    assert BOB not in str(whole)
