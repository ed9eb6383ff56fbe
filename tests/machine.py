"""State machine of batches for tests: one step at a time, under a manual clock."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, insert, select, update

from app.db.audit import AuditEntry
from app.sinch.schemas import ReportMode
from app.sms.audience.plan import plan_broadcast
from app.sms.broadcasts.schedule import start_due_broadcasts
from app.sms.broadcasts.store import accept_broadcast
from app.sms.broadcasts.views import view_by_id
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle, claim_batch
from app.sms.dispatch.outcome import SubmitResult, record_results
from app.sms.dispatch.submit import submit_batch
from app.sms.lifecycle.gates import Gates, read_gates
from app.sms.models.batch import Attempt, Batch, Gate, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, Category
from app.sms.operations.invariants import find_violations
from app.sms.request.model import BroadcastRequest, CanaryRules
from app.text.segments import measure_text
from tests.clocks import ManualClock

TEXT = "Pickup moved to 08:30"


@dataclass
class Machine:
    """A context, its clock, and what an outsider may read of the database."""

    ctx: Context
    clock: ManualClock

    @classmethod
    def over(cls, ctx: Context, **rules: Any) -> "Machine":
        """The machine of a service, under a clock that stands still; the longest waits drawn."""
        clock = ManualClock()
        own = replace(
            ctx, clock=clock, rules=replace(ctx.rules, **rules), jitter=lambda low, high: high
        )
        return cls(own, clock)

    def with_rules(self, **rules: Any) -> "Machine":
        """Return a machine with other rules."""
        return replace(self, ctx=replace(self.ctx, rules=replace(self.ctx.rules, **rules)))

    def worker(self, name: str) -> "Machine":
        """Return a machine with another worker's name."""
        return replace(self, ctx=replace(self.ctx, worker=name))

    def store(
        self,
        recipients: Sequence[str],
        *,
        size: int | None = None,
        plan: bool = True,
        text: str = TEXT,
        priority: int | None = None,
        expire_s: float | None = None,
        category: Category = Category.TRANSACTIONAL,
        delivery_report: ReportMode | None = None,
        canary: CanaryRules | None = None,
    ) -> int:
        """Store a broadcast whose batches of `size` can be claimed.  Returns its id."""
        measured = measure_text(text)
        sized = self
        if size is not None:
            rate = (size + 0.5) * measured.parts / self.ctx.rules.pace_ahead_s
            sized = self.with_rules(messages_per_second=rate)
        now = self.ctx.now()
        request = BroadcastRequest(
            recipients=list(recipients),
            text=text,
            size=measured,
            send_at=now,
            expire_at=self.ctx.seconds_from_now(expire_s) if expire_s is not None else None,
            priority=priority,
            category=category,
            delivery_report=delivery_report,
            canary=canary,
            allow_duplicate=True,
        )
        accepted = accept_broadcast(sized.ctx, request, client="tests")
        start_due_broadcasts(self.ctx)
        while plan and plan_broadcast(self.ctx, accepted.id):
            pass
        return accepted.id

    def claim(self, *, broadcast_id: int | None = None) -> Claim:
        """Claim the next batch; fails if there is none."""
        claim = claim_batch(self.ctx, broadcast_id=broadcast_id)
        assert isinstance(claim, Claim), claim
        return claim

    def idle(self) -> Idle:
        """Return why no batch is claimed; fails if one is."""
        claim = claim_batch(self.ctx)
        assert isinstance(claim, Idle), claim
        return claim

    def submit_claim(self, claim: Claim) -> SubmitResult:
        """Post a claimed batch and record the answer."""
        return submit_batch(self.ctx, claim)

    def submit(self) -> SubmitResult:
        """Claim, post and record the next batch."""
        return submit_batch(self.ctx, self.claim())

    def submit_all(self) -> list[SubmitResult]:
        """Submit batches until none may be claimed."""
        results = []
        while isinstance(claim := claim_batch(self.ctx), Claim):
            results.append(submit_batch(self.ctx, claim))
        return results

    def batches(self, broadcast_id: int | None = None) -> list[Row[Any]]:
        query = select(Batch.__table__).order_by(Batch.id)
        if broadcast_id is not None:
            query = query.where(Batch.broadcast_id == broadcast_id)
        with self.ctx.db.read() as tx:
            return list(tx.execute(query))

    def batch(self, batch_id: int | None = None) -> Row[Any]:
        """Return one batch: by id, or the only one."""
        found = [batch for batch in self.batches() if batch_id in (None, batch.id)]
        assert len(found) == 1
        return found[0]

    def states(self, broadcast_id: int | None = None) -> list[BatchState]:
        return [batch.state for batch in self.batches(broadcast_id)]

    def attempts(self, batch_id: int | None = None) -> list[Row[Any]]:
        """Return the attempts, of one batch or of all."""
        query = select(Attempt.__table__).order_by(Attempt.batch_id, Attempt.number)
        if batch_id is not None:
            query = query.where(Attempt.batch_id == batch_id)
        with self.ctx.db.read() as tx:
            return list(tx.execute(query))

    def broadcast(self, broadcast_id: int) -> Row[Any]:
        with self.ctx.db.read() as tx:
            query = select(Broadcast.__table__).where(Broadcast.id == broadcast_id)
            return tx.execute(query).one()

    def counts(self, broadcast_id: int) -> dict[str, int]:
        """Return the recipients of a broadcast by status, zeros left out."""
        counts = view_by_id(self.ctx, broadcast_id).counts
        return {status: count for status, count in counts.items() if count}

    def homes(self, broadcast_id: int) -> dict[str, int]:
        """Return the id of the batch of each recipient's message."""
        query = select(Message.recipient, Message.batch_id).where(
            Message.broadcast_id == broadcast_id
        )
        with self.ctx.db.read() as tx:
            return {row.recipient: row.batch_id for row in tx.execute(query)}

    def gates(self) -> Gates:
        with self.ctx.db.read() as tx:
            return read_gates(tx, self.ctx.rules, self.ctx.now())

    def gate(self, name: str) -> Row[Any]:
        """Return the row of a gate."""
        with self.ctx.db.read() as tx:
            return tx.execute(select(Gate.__table__).where(Gate.name == name)).one()

    def audit(self) -> list[Row[Any]]:
        with self.ctx.db.read() as tx:
            return list(tx.execute(select(AuditEntry.__table__).order_by(AuditEntry.id)))

    def corrupt(self, table: type[Any], *where: Any, **values: Any) -> None:
        """Change rows directly in the database."""
        with self.ctx.db.write() as tx:
            tx.execute(update(table).where(*where).values(**values))

    def add(self, table: type[Any], **values: Any) -> None:
        """Insert a row directly into the database."""
        with self.ctx.db.write() as tx:
            tx.execute(insert(table).values(**values))

    def violations(self) -> list[str]:
        return find_violations(self.ctx)


def record_result(ctx: Context, claim: Claim, result: SubmitResult) -> None:
    """Record the result of one claim."""
    record_results(ctx, [(claim, result)])


class Together:
    """Functions that start at the same moment, each in its own thread."""

    def __init__(self, *functions: Callable[[], object]) -> None:
        self.results: list[object] = [None] * len(functions)
        self.errors: list[BaseException] = []
        barrier = threading.Barrier(len(functions))
        self._threads = [
            threading.Thread(target=self._run, args=(barrier, number, function), daemon=True)
            for number, function in enumerate(functions)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, barrier: threading.Barrier, number: int, function: Callable[[], object]) -> None:
        try:
            barrier.wait(30)
            self.results[number] = function()
        except BaseException as e:
            self.errors.append(e)

    def join(self) -> list[object]:
        """Return the results.  Raises the first error."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        if self.errors:
            raise self.errors[0]
        return self.results
