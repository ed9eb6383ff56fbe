"""A broadcast's life against a model of a few lines: where each batch stands, and the counts."""

import json
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from loguru import logger

from app.config import SendingRules
from app.sinch.errors import (
    SinchAnswerUnusable,
    SinchBusy,
    SinchMisconfigured,
    SinchOutcomeUnknown,
    SinchRejected,
    SinchUnreachable,
)
from app.sinch.schemas import SentBatch
from app.sms.broadcasts.control import cancel_broadcast, pause_broadcast, resume_broadcast
from app.sms.broadcasts.store import accept_broadcast
from app.sms.broadcasts.views import view_broadcast
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, claim_batch
from app.sms.dispatch.submit import submit_batch
from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE
from app.sms.models.states import BatchState
from app.sms.operations.invariants import find_violations
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.request.model import BroadcastRequest
from app.text.segments import measure_text
from app.worker.jobs import sweep
from tests.conftest import examples
from tests.simulation.database import SimulatedDatabase
from tests.simulation.sinch import SimulatedSinch
from tests.simulation.world import SimulatedClock, World

_S = BatchState
_BATCHES, _SIZE = 3, 2
_LIFE_S = 6 * 3600.0
_ANSWERS = st.sampled_from(["taken", "lost", "nothing", "away", "busy", "refused", "number"])


class ObedientSinch(SimulatedSinch):
    """Answers each POST as it was told to, and lists all it took unless it is `blind`."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.order = "taken"
        self.blind = False

    def send_batch(self, batch, *, within_s=None, begin_within_s=None):  # type: ignore[no-untyped-def]
        numbers = _numbers_of(batch.body)
        if self.order == "away":
            raise SinchUnreachable("no connection")
        if self.order == "busy":
            raise SinchBusy(None, None, retry_after_s=5.0)
        if self.order == "refused":
            raise SinchRejected(400, "syntax_constraint_violation", "not this text")
        if self.order == "number":
            raise SinchRejected(400, "syntax_invalid_parameter_format", "one of them")
        if self.order == "nothing":
            raise SinchOutcomeUnknown("no answer")
        if self.order == "shut":
            raise SinchMisconfigured(401, "unauthorized", "no")
        taken = self._take(batch.client_reference, numbers)
        if self.order == "lost":
            raise SinchOutcomeUnknown("no answer")
        return SentBatch(id=taken.id)

    def list_batches(self, *, client_reference, created_after, within_s=10.0):  # type: ignore[no-untyped-def]
        if self.blind:
            raise SinchAnswerUnusable("no clean answer")
        return super().list_batches(
            client_reference=client_reference, created_after=created_after, within_s=within_s
        )


class Life(RuleBasedStateMachine):
    """One broadcast of three batches; `batches` is what the model says of each."""

    db: SimulatedDatabase

    def __init__(self) -> None:
        super().__init__()
        logger.disable("app")
        self.world = World(0)
        self.world.faults.stop()
        self.sinch = ObedientSinch(self.world)
        self.sinch.mend()
        self.db.enter(self.world, lambda: None)
        rules = SendingRules(messages_per_second=1000.0, pace_ahead_s=_SIZE / 1000.0)
        self.ctx = Context(
            db=self.db,
            sinch=self.sinch,
            rules=rules,
            default_sender="+12015550199",
            worker="life",
            instance_id="tests",
            clock=SimulatedClock(self.world),
            jitter=lambda low, high: high,
        )
        self.status = "active"
        self.judged = -1  # behind how many commits the books were last seen to balance
        self.batches: dict[str, BatchState] = {}
        self.claims: list[Claim] = []
        self.resent: set[str] = set()
        self._accept()

    def _accept(self) -> None:
        order = BroadcastRequest(
            recipients=[f"+4670000{n:04d}" for n in range(_BATCHES * _SIZE)],
            text="The bus leaves at 08:30",
            size=measure_text("The bus leaves at 08:30"),
            expire_at=self.ctx.now() + timedelta(seconds=_LIFE_S),
        )
        accepted = accept_broadcast(self.ctx, order, client="client")
        self.public_id = accepted.public_id
        rows = self._rows()
        self.batches = {reference: _S.PENDING for reference, _ in rows}
        assert isinstance(accepted.first, Claim)
        self._note_claim(accepted.first)

    def _rows(self) -> list[tuple[str, str]]:
        query = "SELECT client_reference, state FROM batches ORDER BY id"
        return list(self.db.raw.execute(query))

    def _note_claim(self, claim: Claim) -> None:
        assert self.batches[claim.reference] is _S.PENDING
        self.batches[claim.reference] = _S.SENDING
        self.claims.append(claim)

    # What happens

    @precondition(lambda self: self.status == "active" and _S.PENDING in self.batches.values())
    @rule()
    def claim(self) -> None:
        self.world.time += 70.0  # beyond every wait of the gates, well within a lease

        found = claim_batch(self.ctx)

        assert isinstance(found, Claim)
        self._note_claim(found)

    @precondition(lambda self: self.claims)
    @rule(answer=_ANSWERS, which=st.integers(0, 9))
    def post(self, answer: str, which: int) -> None:
        claim = self.claims.pop(which % len(self.claims))
        late = self.world.time - claim.claimed_at >= self.ctx.rules.first_byte_within_s
        self.sinch.order = answer

        submit_batch(self.ctx, claim)

        self._expect_verdict(claim, "away" if late else answer)

    def _expect_verdict(self, claim: Claim, answer: str) -> None:
        reference = claim.reference
        before = self.batches[reference]
        if answer == "taken":
            if before in (_S.SENDING, _S.UNKNOWN, _S.NEEDS_ATTENTION, _S.PENDING):
                self.batches[reference] = _S.ACCEPTED
            return
        if before is not _S.SENDING:
            return
        if answer in ("lost", "nothing"):
            self.batches[reference] = _S.UNKNOWN
        elif answer in ("away", "busy"):
            self._expect_unsent(reference)
        elif answer == "refused" or claim.size == 1:
            again = reference in self.resent
            self.batches[reference] = _S.CLOSED_UNSENT if again else _S.REJECTED
        else:
            self.batches[reference] = _S.SPLIT
            for half, _ in self._rows():
                if half not in self.batches:
                    self._expect_unsent(half)

    def _expect_unsent(self, reference: str) -> None:
        ended = _S.CLOSED_UNSENT if reference in self.resent else _S.CANCELLED
        self.batches[reference] = ended if self.status == "cancelled" else _S.PENDING

    @rule(seconds=st.sampled_from([1.0, 60.0, 130.0, 1000.0]), blind=st.booleans())
    def time_passes(self, seconds: float, blind: bool) -> None:
        self.world.time += seconds
        self.sinch.blind = blind

        sweep(self.ctx)

        self._follow_questions()

    def _follow_questions(self) -> None:
        """What a question may make of what is not known; everything else stays."""
        for reference, state in self._rows():
            before, after = self.batches[reference], BatchState(state)
            if before is after:
                continue
            if before is _S.SENDING and after in (_S.UNKNOWN, _S.ACCEPTED):
                assert self._is_overdue(reference)
                before = _S.UNKNOWN
            at_sinch = any(taken.reference == reference for taken in self.sinch.taken)
            if before in (_S.UNKNOWN, _S.NEEDS_ATTENTION) and after is _S.ACCEPTED:
                assert at_sinch
            elif before is _S.PENDING and self._is_expired():
                again = reference in self.resent
                assert after is (_S.CLOSED_UNSENT if again else _S.EXPIRED)
            else:
                assert after in (_S.UNKNOWN, _S.NEEDS_ATTENTION, _S.DUPLICATE)
                assert before is _S.UNKNOWN or after is not _S.UNKNOWN
            self.batches[reference] = after

    def _is_overdue(self, reference: str) -> bool:
        claim = next(each for each in self.claims if each.reference == reference)
        return self.world.time - claim.claimed_at >= self.ctx.rules.lease_s

    def _is_expired(self) -> bool:
        return self.world.time >= _LIFE_S - 1.0

    @precondition(lambda self: self.status == "active" and self._is_unfinished())
    @rule()
    def pause(self) -> None:
        pause_broadcast(self.ctx, self.public_id, actor="client")
        self.status = "paused"

    @precondition(lambda self: self.status == "paused" and self._is_unfinished())
    @rule()
    def resume(self) -> None:
        resume_broadcast(self.ctx, self.public_id, actor="client")
        self.status = "active"

    @precondition(lambda self: self.status != "cancelled" and self._is_unfinished())
    @rule()
    def cancel(self) -> None:
        cancel_broadcast(self.ctx, self.public_id, actor="client")

        self.status = "cancelled"
        for reference, state in self.batches.items():
            if state is _S.PENDING:
                self._expect_unsent(reference)

    @precondition(lambda self: _S.NEEDS_ATTENTION in self.batches.values())
    @rule(decision=st.sampled_from(Decision))
    def resolve(self, decision: Decision) -> None:
        reference = next(r for r, s in self.batches.items() if s is _S.NEEDS_ATTENTION)
        if decision is Decision.RESEND and self.status == "cancelled":
            decision = Decision.GIVE_UP

        resolve_batch(self.ctx, reference, decision, actor="operator", note="looked")

        if decision is Decision.RESEND:
            self.resent.add(reference)
            for taken in self.sinch.taken:
                if taken.reference == reference:
                    self._allow(taken.recipients)
            if not self._is_unfinished() and self.status == "paused":
                self.status = "active"
        self.batches[reference] = {
            Decision.MARK_SENT: _S.ACCEPTED,
            Decision.RESEND: _S.PENDING,
            Decision.GIVE_UP: _S.CLOSED_UNSENT,
        }[decision]

    def _allow(self, recipients: tuple[str, ...]) -> None:
        for each in recipients:
            self.sinch.allowed[each] = self.sinch.copies[each] + 1

    def _is_unfinished(self) -> bool:
        opened = (_S.PENDING, _S.SENDING, _S.UNKNOWN)
        return any(state in opened for state in self.batches.values())

    # What is seen

    @invariant()
    def every_batch_stands_where_the_model_says(self) -> None:
        assert {r: BatchState(s) for r, s in self._rows()} == self.batches

    @invariant()
    def the_counts_are_the_models(self) -> None:
        expected: Counter[str] = Counter()
        sizes = dict(self.db.raw.execute("SELECT client_reference, size FROM batches").fetchall())
        for reference, state in self.batches.items():
            if state is not _S.SPLIT:
                expected[STATUS_BY_BATCH_STATE[state]] += sizes[reference]
        counts = view_broadcast(self.ctx, self.public_id).counts
        assert {word: n for word, n in counts.items() if n} == dict(expected)

    @invariant()
    def nobody_was_sent_to_twice(self) -> None:
        assert self.world.failures == []

    @invariant()
    def the_books_balance(self) -> None:
        if self.db.commits == self.judged:
            return
        self.judged = self.db.commits
        found = [each for each in find_violations(self.ctx) if not each.endswith("for too long")]
        assert found == []

    def teardown(self) -> None:
        logger.enable("app")


def _numbers_of(body: bytes) -> list[str]:
    return list(json.loads(body)["to"])


def test_a_broadcast_lives_as_its_model_says() -> None:
    Life.db = SimulatedDatabase()
    try:
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=examples(25),
                stateful_step_count=25,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        Life.db.close()
