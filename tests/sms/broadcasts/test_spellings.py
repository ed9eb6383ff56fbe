"""One person under several spellings of a number: nobody suppressed gets a text under another."""

import pytest

from app.sms.dispatch.outcome import SubmitResult
from app.sms.models.states import Outcome
from tests.factories import AUTH, broadcast_to
from tests.machine import record_result
from tests.reporting import ends, inbound, inbounds, report, tell

# The one spelling, and another that reaches the same phone.
SPELLINGS = [
    ("+46701740683", "+460701740683"),
    ("+46701740683", "+4600701740683"),
    ("+447911123456", "+4407911123456"),
    ("+4917123456789", "+49017123456789"),
    ("+525512345678", "+5215512345678"),
    ("+525512345678", "+52015512345678"),
    ("+5491123456789", "+541123456789"),
    ("+5491123456789", "+54111523456789"),
    ("+79123456789", "+789123456789"),
    ("+36201234567", "+3606201234567"),
    ("+34612345678", "+340612345678"),
    ("+5511987654321", "+551187654321"),
    ("+6922351234", "+69212351234"),
    ("+2250748123456", "+22548123456"),
    ("+2290197123457", "+22997123457"),
    ("+46701740683", "\u202a+46701740683\u202c"),
]


@pytest.fixture
def post(client, auth):
    def post(path, **body):
        answer = client.post(path, headers=auth, json=body)
        assert answer.status_code in (200, 202), answer.text
        return answer.get_json()

    return post


@pytest.mark.parametrize(("number", "spelling"), SPELLINGS)
def test_a_suppression_holds_for_every_spelling(client, post, sandbox, number, spelling):
    for suppressed, recipient in ((number, spelling), (spelling, number)):
        post("/api/suppressions", phone=suppressed)

        client.post("/api/broadcast", headers=AUTH, json=broadcast_to(recipient))

        assert sandbox.recipients() == []
        assert post("/api/suppressions/lookup", phone=recipient)["suppressed"]


@pytest.mark.parametrize(("number", "spelling"), SPELLINGS)
def test_one_person_under_two_spellings_is_one_recipient(post, sandbox, number, spelling):
    answer = post("/api/broadcast", **broadcast_to(spelling, number))

    assert (answer["recipients"], answer["duplicates_removed"]) == (1, 1)
    assert sandbox.recipients() == [number]


def test_parameters_may_spell_a_recipient_in_another_way(post, at_sinch):
    body = broadcast_to("+460701740683", message="Hi ${name}")

    post("/api/broadcast", **body, parameters={"name": {"+46701740683": "Ann"}})

    assert at_sinch()[0]["parameters"] == {"name": {"+46701740683": "Ann"}}


def test_numbers_whose_country_writes_the_zero_keep_it(post, sandbox):
    numbers = ["+390612345678", "+2250701234567", "+2290197123457"]

    post("/api/broadcast", **broadcast_to(*numbers))

    assert sandbox.recipients() == numbers


def test_reports_and_texts_in_another_spelling_are_of_the_recipient(machine):
    broadcast = machine.store(["+525512345678", "+5491123456789"])
    claim = machine.claim(broadcast_id=broadcast)
    record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01A"))

    for other in ("5215512345678", "541123456789"):
        tell(machine.ctx, report(other, "Delivered", batch="01A"))
    tell(machine.ctx, inbound("5215512345678", "STOP"))

    assert {status for status, _ in ends(machine.ctx, broadcast).values()} == {"delivered"}
    assert [(row.sender, row.broadcast_id) for row in inbounds(machine.ctx)] == [
        ("+525512345678", broadcast)
    ]


def test_a_subscriber_is_one_under_every_spelling(client, post):
    given = [{"phone": "+460701740683"}, {"phone": "+46701740683"}]

    twice = client.post("/api/subscribers/bulk", headers=AUTH, json={"subscribers": given})
    post("/api/subscribers/bulk", subscribers=given[:1])
    found = post("/api/subscribers/lookup", phone="+4600701740683")

    assert twice.status_code == 400
    assert twice.get_json()["refusals"][0]["fields"] == {"phone": ["Given before in this request."]}
    assert found["phone"] == "+46701740683"
