"""A flood of callbacks on messages that were really sent: repeated, shuffled, forged ones among
them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from app.db.engine import Database
from app.sms.models.batch import Batch, Message
from app.sms.models.statuses import MessageStatus
from tests.load import make_post
from tests.reporting import report
from tests.signing import sign

SECRET = "a secret that Sinch shares with the flood"
PATH = "/webhooks/sinch"
FORGED, REPEATED = 0.05, 0.3
# So many of the messages are first told of on their way.
_DISPATCHED = 0.2

# Sinch's word and code, ours, and how often of a hundred.
_ENDS = (
    ("Delivered", 0, MessageStatus.DELIVERED, 84),
    ("Failed", 150, MessageStatus.FAILED, 5),
    ("Expired", 153, MessageStatus.EXPIRED, 4),
    ("Rejected", 15, MessageStatus.REJECTED, 3),
    ("Aborted", 402, MessageStatus.ABORTED, 2),
    ("Deleted", 0, MessageStatus.DELETED, 1),
    ("Unknown", 0, MessageStatus.UNKNOWN, 1),
)
_FORGERIES = ("unsigned", "another secret", "another body")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that Sinch has taken."""

    recipient: str
    sinch_id: str
    reference: str


@dataclass
class Flood:
    """`size` callbacks on these messages, and what has to stand in the books afterwards."""

    sent: Sequence[Sent]
    size: int
    seed: int
    forged: int = 0
    genuine: int = 0
    ends: dict[str, tuple[MessageStatus, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forged = round(self.size * FORGED)
        self.genuine = self.size - self.forged
        self._draw = random.Random(self.seed)
        weights = [each[3] for each in _ENDS]
        self._ends = self._draw.choices(range(len(_ENDS)), weights, k=len(self.sent))
        for message, end in zip(self.sent, self._ends, strict=True):
            self.ends[message.recipient] = _ENDS[end][2], _ENDS[end][1]

    def requests(self) -> Iterator[bytes]:
        """The callbacks, made when they are asked for."""
        for number, (kind, place) in enumerate(self._shuffle()):
            if kind == "end":
                yield _post(
                    raw := self._tell_end(place), sign(raw, secret=SECRET, nonce=f"{number}")
                )
            elif kind == "dispatched":
                yield _post(raw := self._tell(place, "Dispatched", 401), sign(raw, secret=SECRET))
            else:
                yield self._forge(kind, place)

    def _shuffle(self) -> list[tuple[str, int]]:
        """What is told of which message: every end at least once, as many as there is room for."""
        places = range(len(self.sent))
        told = [("end", place) for place in places]
        told += [("dispatched", place) for place in places if self._draw.random() < _DISPATCHED]
        assert len(told) <= self.genuine
        told += self._draw.choices(told, k=self.genuine - len(told))
        told += [
            (self._draw.choice(_FORGERIES), self._draw.choice(places)) for _ in range(self.forged)
        ]
        self._draw.shuffle(told)
        return told

    def _forge(self, kind: str, place: int) -> bytes:
        """A callback that says of a message what did not become of it."""
        status, code, _, _ = _ENDS[(self._ends[place] + 1) % len(_ENDS)]
        raw = self._tell(place, status, code)
        if kind == "unsigned":
            return _post(raw, {})
        if kind == "another secret":
            return _post(raw, sign(raw, secret=f"{SECRET}!"))
        return _post(raw, sign(self._tell_end(place), secret=SECRET))

    def _tell_end(self, place: int) -> bytes:
        status, code, _, _ = _ENDS[self._ends[place]]
        return self._tell(place, status, code)

    def _tell(self, place: int, status: str, code: int) -> bytes:
        message = self.sent[place]
        return report(
            message.recipient, status, code, batch=message.sinch_id, reference=message.reference
        )


def count_messages(size: int) -> int:
    """How many messages a flood of this size can tell of, with its repetitions.

    >>> count_messages(50_000)
    26600
    """
    distinct = size * (1 - FORGED) * (1 - REPEATED)
    return int(distinct / (1 + _DISPATCHED) * 0.96)  # the lot may draw more of those on their way


def read_sent(db: Database) -> list[Sent]:
    """The messages that Sinch has taken."""
    query = select(Message.recipient, Batch.sinch_id, Batch.client_reference).join(
        Batch, Batch.id == Message.batch_id
    )
    with db.read() as tx:
        rows = tx.execute(query.order_by(Message.recipient))
        return [Sent(row.recipient, row.sinch_id, row.client_reference) for row in rows]


def _post(raw: bytes, headers: dict[str, str]) -> bytes:
    return make_post(PATH, raw, headers)
