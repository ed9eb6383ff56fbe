"""What must hold of every claim, in the commit that makes it, and of the request that it becomes.

Nobody is in it who has stopped; marketing is for those who agreed, by day, and not too often.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.sms.models.states import BatchState
from tests.simulation.audience import Audience
from tests.simulation.database import SimulatedDatabase
from tests.simulation.phones import Phones
from tests.simulation.sinch import SimulatedSinch
from tests.simulation.world import SimulatedClock, World

_S = BatchState
_PERHAPS_SENT = (
    _S.SENDING,
    _S.ACCEPTED,
    _S.DUPLICATE,
    _S.UNKNOWN,
    _S.NEEDS_ATTENTION,
    _S.CLOSED_UNSENT,
)
_BATCH = """
SELECT b.client_reference, r.category = 'marketing', json_extract(r.options, '$.reply')
FROM batches b JOIN broadcasts r ON r.id = b.broadcast_id WHERE b.id = ?
"""
_PEOPLE = """
SELECT m.recipient, x.scope, s.active, s.consented_at FROM messages m
LEFT JOIN suppressions x ON x.phone = m.recipient AND x.released_at IS NULL
LEFT JOIN subscribers s ON s.phone = m.recipient
WHERE m.batch_id = ? ORDER BY m.recipient
"""
_MARKETING = f"""
SELECT count(*) FROM messages m JOIN batches b ON b.id = m.batch_id
JOIN broadcasts r ON r.id = b.broadcast_id
WHERE m.recipient = ? AND r.category = 'marketing'
AND b.state IN ({", ".join(f"'{state.value}'" for state in _PERHAPS_SENT)})
"""


@dataclass(slots=True)
class _Claimed:
    """Whom a batch was claimed for, whether as marketing, and when by our clock."""

    recipients: list[str]
    is_marketing: bool
    at: datetime


class Claims:
    """Looks at claims and at requests on behalf of the people they are for."""

    def __init__(
        self,
        world: World,
        db: SimulatedDatabase,
        sinch: SimulatedSinch,
        audience: Audience,
        phones: Phones,
    ) -> None:
        self._world, self._db, self._audience, self._phones = world, db, audience, phones
        self._clock = SimulatedClock(world)
        self._jumps = "jump" in world.faults.odds
        self._claimed: dict[str, _Claimed] = {}
        # After a backup is put back nobody remembers all that was sent.
        self.restored = False
        sinch.watch = self.judge_request

    def judge(self, batch_id: int, name: str) -> None:
        """A commit has just claimed this batch."""
        raw = self._db.raw
        reference, is_marketing, reply = raw.execute(_BATCH, (batch_id,)).fetchone()
        people = raw.execute(_PEOPLE, (batch_id,)).fetchall()
        now = self._clock.now()
        numbers = [row[0] for row in people]
        self._claimed[reference] = _Claimed(numbers, bool(is_marketing), now)
        if reply:
            return
        for number, scope, active, consented_at in people:
            if scope == "all" or (scope and is_marketing):
                self._world.fail(f"{name}: claimed for {number}, who is suppressed")
            if self._phones.has_stopped(number, jumped=self._jumps):
                self._world.fail(f"{name}: claimed for {number}, whose STOP was answered")
            if is_marketing:
                self._judge_marketing(name, number, bool(active and consented_at), now)

    def _judge_marketing(self, name: str, number: str, agreed: bool, now: datetime) -> None:
        if not agreed:
            self._world.fail(f"{name}: marketing for {number}, who did not agree")
        if self._audience.is_quiet(number, now):
            self._world.fail(f"{name}: claimed for {number} in quiet hours")
        most = self._audience.rules.marketing_per_day
        had = self._db.raw.execute(_MARKETING, (number,)).fetchone()[0]
        if most and had > most and not self.restored:
            self._world.fail(f"{name}: the marketing text no. {had} for {number}")

    def judge_request(self, body: bytes) -> None:
        """A request leaves: it is for those of the claim, and by day until its end."""
        fields = json.loads(body)
        claimed = self._claimed[fields["client_reference"]]
        if sorted(fields["to"]) != claimed.recipients:
            self._world.fail(f"posted to {fields['to']}, claimed for {claimed.recipients}")
        if claimed.is_marketing:
            self._judge_times(claimed.recipients, claimed.at, fields["expire_at"])

    def _judge_times(self, numbers: Sequence[str], claimed_at: datetime, expire_at: str) -> None:
        ends = datetime.fromisoformat(expire_at)
        for number in numbers:
            if not self._jumps and self._audience.is_quiet(number, self._clock.now()):
                self._world.fail(f"posted to {number} in quiet hours")
            night = self._audience.next_quiet(number, claimed_at)
            if night is not None and ends > night:
                self._world.fail(f"may reach {number} in quiet hours, until {expire_at}")
