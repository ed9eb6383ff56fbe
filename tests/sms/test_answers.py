"""What a client is told, from outcomes that only a bad day brings together."""

import pytest

from app.errors import SendFailed, SendLater
from app.sinch.errors import SinchBusy, SinchRejected
from app.sms.answers import make_answer
from app.sms.planning import Broadcast
from app.sms.sending import BatchOutcome, BatchStatus
from app.text import measure_text

ANN = "+46701234567"


def _broadcast():
    return Broadcast(recipients=[ANN], text="x", size=measure_text("x"))


def _outcome(status, **more):
    return BatchOutcome(status=status, client_reference="cl-1", recipients=[ANN], **more)


@pytest.mark.parametrize(
    ("wish_s", "told_s"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (76.01, 77), (None, 30)]
)
def test_the_wait_told_is_whole_seconds_and_never_shorter_than_sinchs_wish(wish_s, told_s):
    busy = SinchBusy(None, None, retry_after_s=wish_s)
    outcome = _outcome(BatchStatus.BUSY, refusal=busy, retry_after_s=wish_s)

    with pytest.raises(SendLater) as later:
        make_answer(_broadcast(), [outcome], production=False)

    assert later.value.retry_after_s == told_s


def test_of_sinchs_words_only_those_it_said_are_told():
    outcome = _outcome(BatchStatus.REJECTED, refusal=SinchRejected(400, None, None))

    with pytest.raises(SendFailed) as failed:
        make_answer(_broadcast(), [outcome], production=False)

    assert failed.value.facts["details"] == {"status": 400}
