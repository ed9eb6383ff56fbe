"""What the list of batches proves when Sinch did not confirm a POST."""

import json
import time

import pytest

from app.logs import configure_logging
from tests.background import look_at
from tests.factories import broadcast_to
from tests.wire import RawServer, respond, send_raw

ANN, BOB = "+46701234567", "+46707654321"
IDS = ["01JX0000000000000000000002", "01JX0000000000000000000001"]


class LossySinch:
    """Takes every POST without an answer, and lists of it what a test says."""

    def __init__(self, *listed, answer_delete="200 OK", canceled=False, delay_s=0.0):
        self.listed, self.answer_delete, self.canceled = listed, answer_delete, canceled
        self.delay_s = delay_s
        self.server = RawServer(self._answer)

    def _answer(self, connection):
        request = self.server.requests[-1]
        if request.startswith(b"POST"):
            self.reference = json.loads(request.partition(b"\r\n\r\n")[2])["client_reference"]
            send_raw(b"")(connection)
        elif request.startswith(b"DELETE"):
            time.sleep(self.delay_s)
            body = json.dumps({"id": IDS[0], "to": [], "canceled": True}).encode()
            respond(self.answer_delete, body)(connection)
        else:
            batches = [
                {
                    "id": batch_id,
                    "to": to,
                    "client_reference": self.reference,
                    "canceled": self.canceled,
                }
                for batch_id, to in self.listed
            ]
            respond("200 OK", json.dumps({"count": len(batches), "batches": batches}).encode())(
                connection
            )

    def calls(self, method):
        return [request for request in self.server.requests if request.startswith(method)]


@pytest.fixture
def service():
    """The service of the last `send`."""
    return []


@pytest.fixture
def send(make_service, auth, service):
    def send(sinch, *recipients, **settings):
        with sinch.server.running():
            service[:] = [make_service(SINCH_REGION_URL=sinch.server.url, **settings)]
            client = service[0].test_client()
            return client.post("/api/broadcast", headers=auth, json=broadcast_to(*recipients))

    return send


@pytest.fixture
def waiting(service, auth):
    """Why each batch waits for an operator."""

    def read():
        answer = service[0].test_client().get("/api/batches/attention", headers=auth)
        return [batch["reason"] for batch in answer.get_json()["batches"]]

    return read


def test_one_batch_with_our_recipients_in_any_spelling_is_ours(send, waiting):
    sinch = LossySinch((IDS[0], ["46707654321", "+46701234567"]))

    answer = send(sinch, ANN, BOB)

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete"
    assert answer.get_json()["batch_ids"] == IDS[:1]
    assert waiting() == []
    assert len(sinch.calls(b"POST")) == 1


@pytest.mark.parametrize("to", [["46701234567"], ["46701234567", "46707654321", "46700000001"], []])
def test_a_batch_with_other_recipients_proves_nothing_and_waits_for_an_operator(
    send, service, waiting, to
):
    sinch = LossySinch((IDS[0], to))

    answer = send(sinch, ANN, BOB)

    told = answer.get_json()
    assert answer.status_code == 202
    assert (told["status"], told["batch_id"]) == ("complete_needs_attention", None)
    assert "an operator must decide" in told["message"]
    assert look_at(service[0], answer)["counts"]["unconfirmed"] == 2
    assert waiting() == ["mismatch"]
    assert len(sinch.calls(b"POST")) == 1


@pytest.mark.parametrize("answer_delete", ["200 OK", "409 Conflict", "500 Oops"])
def test_two_batches_are_told_as_a_duplicate_and_the_later_one_is_cancelled(
    send, service, capsys, answer_delete
):
    configure_logging("INFO")
    both = [(batch_id, ["46701234567"]) for batch_id in IDS]
    sinch = LossySinch(*both, answer_delete=answer_delete)

    answer = send(sinch, ANN)

    told = answer.get_json()
    assert answer.status_code == 202
    assert told["status"] == "complete_needs_attention"
    assert told["batch_ids"] == [IDS[1]]
    assert look_at(service[0], answer)["batches"] == {"duplicate": 1}
    assert look_at(service[0], answer)["counts"]["submitted"] == 1
    (cancel,) = sinch.calls(b"DELETE")
    assert f"/batches/{IDS[0]} ".encode() in cancel
    assert len(sinch.calls(b"POST")) == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (alert,) = [line["message"] for line in lines if line["level"] == "error"]
    assert alert == "sinch has this batch more than once: its broadcast is halted"


def test_a_batch_that_was_cancelled_is_no_proof_that_it_goes_out(send, waiting):
    sinch = LossySinch((IDS[0], ["46701234567"]), canceled=True)

    answer = send(sinch, ANN)

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete_needs_attention"
    assert waiting() == ["mismatch"]


def test_cancelling_a_surplus_does_not_keep_the_client_waiting(send):
    ids = [f"01JX000000000000000000000{n}" for n in range(6)]
    sinch = LossySinch(*((batch_id, ["46701234567"]) for batch_id in ids), delay_s=30)

    started = time.monotonic()
    answer = send(sinch, ANN, SINCH_READ_TIMEOUT_S="20")
    took_s = time.monotonic() - started

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete_needs_attention"
    assert len(sinch.calls(b"DELETE")) == 5
    assert took_s < 10  # and not the half-minute of one cancellation


@pytest.mark.parametrize("order", [1, -1])
def test_two_batches_of_which_one_is_not_ours_prove_nothing_and_none_is_cancelled(
    send, waiting, order
):
    ours, others = ["46701234567"], ["46707654321"]
    sinch = LossySinch(*zip(IDS, [ours, others][::order], strict=True))

    answer = send(sinch, ANN)

    assert answer.status_code == 202
    assert answer.get_json()["status"] == "complete_needs_attention"
    assert answer.get_json()["batch_id"] is None
    assert waiting() == ["mismatch"]
    assert sinch.calls(b"DELETE") == []
