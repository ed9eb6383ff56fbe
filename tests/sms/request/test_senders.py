"""A client is limited to the senders that ALLOWED_SENDERS gives it, wherever it names one."""

import pytest

from tests.background import work_off
from tests.callers import OTHER_KEY, PATIENT, TWO_UNWALLED, Caller, id_of

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(
        API_KEYS=TWO_UNWALLED, ALLOWED_SENDERS="tests: ACME | +46701230000", **PATIENT
    )


def test_a_client_sends_as_its_own_and_as_the_default(service, sandbox):
    caller = Caller(service)

    answers = [caller.send(ANN, **more) for more in (
        {"sender": "ACME"}, {"sender": "+46701230000"}, {}, {"sender": "+12015550199"}
    )]  # fmt: skip

    assert [answer.status_code for answer in answers] == [202] * 4


@pytest.mark.parametrize("path", ["/api/broadcast", "/api/broadcast/quote"])
@pytest.mark.parametrize("sender", ["EvilCorp", "acme", "+46701230001", "12345"])
def test_another_sender_is_an_error_of_the_field_that_names_those_allowed(
    service, sandbox, path, sender
):
    order = {"recipients": [ANN], "message": "Hello", "sender": sender}

    answer = Caller(service).post(path, order)

    assert answer.status_code == 400
    (reason,) = answer.get_json()["fields"]["sender"]
    assert f"tests may not send as {sender}: use +46701230000, ACME" in reason
    assert sandbox.posts() == 0


def test_a_client_that_the_setting_does_not_name_may_use_any(service, sandbox):
    assert Caller(service, OTHER_KEY).send(ANN, sender="EvilCorp").status_code == 202


def test_who_resends_anothers_broadcast_needs_its_sender(service, sandbox):
    sandbox.order_fault(on="POST /batches", status=400, code="syntax_x")
    refused = Caller(service, OTHER_KEY).send(ANN, sender="EvilCorp")

    answer = Caller(service).post(
        f"/api/broadcasts/{id_of(refused)}/resend-undelivered", {"include_permanent": True}
    )

    assert answer.status_code == 400
    assert "sender" in answer.get_json()["fields"]


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_sender_that_sinch_refuses_delays_its_own_broadcast_alone(service, sandbox, status):
    shop, crm = Caller(service, OTHER_KEY), Caller(service)
    sandbox.order_fault(
        on="POST /batches", status=status, code="unheard_of", body_has='"from":"EvilCorp"',
        times=None,
    )  # fmt: skip

    refused = shop.send(ANN, sender="EvilCorp")
    served = [crm.send(BOB), shop.send(BOB, sender="Shop")]
    work_off(service)

    assert (refused.status_code, refused.get_json()["status"]) == (202, "held")
    assert [answer.get_json()["status"] for answer in served] == ["complete"] * 2
    assert shop.show(refused)["counts"]["held"] == 1
    assert service.test_client().get("/ready").get_json().get("sending") != "stopped"
    assert sandbox.recipients() == [BOB, BOB]
