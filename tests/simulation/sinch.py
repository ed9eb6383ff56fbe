"""A stand-in for Sinch that fails in every way the real one may, and keeps the true ledger."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.failpoints import failpoints
from app.sinch.client import SinchClient
from app.sinch.errors import (
    SinchAnswerUnusable,
    SinchBusy,
    SinchMisconfigured,
    SinchOutcomeUnknown,
    SinchRejected,
    SinchUnreachable,
)
from app.sinch.schemas import BatchReport, PreparedBatch, SentBatch, SinchBatch, SinchInbound
from app.sms.inbound.reply_texts import Reply, choose_reply
from tests.simulation.reports import Reports
from tests.simulation.world import START, World

_PATIENCE_S = 20.0
_REPLY = " reply"


def name_reply(reply: Reply) -> str:
    """What our answer to a person's text is called."""
    return reply.value + _REPLY


_OWN = {choose_reply(reply, "en"): name_reply(reply) for reply in Reply}


def name_text(text: str) -> str:
    """The order that a text is of: what stands before its colon; or which answer of ours it is."""
    return _OWN.get(text) or text.partition(":")[0]


def name_copy(name: str, number: str) -> str:
    """A person's copy of an order's text: each of the ledger's counts is of one of these."""
    return f"{name} {number}" if name else number


@dataclass(slots=True)
class Taken:
    """A batch that Sinch took."""

    id: str
    reference: str
    recipients: tuple[str, ...]
    at: float
    visible_at: float
    canceled: bool = False


class SimulatedSinch(SinchClient):
    """What the state machine calls; `copies` counts how often each person's copy was accepted.

    `watch` sees each request as it leaves; `inbounds` are texts from phones and when they came.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.taken: list[Taken] = []
        self.reports = Reports(world)
        self.copies: Counter[str] = Counter()
        # How many more may still come of requests on their way.
        self.coming: Counter[str] = Counter()
        self.bad: set[str] = set()
        self.allowed: dict[str, int] = {}
        self.inbounds: list[tuple[float, SinchInbound]] = []
        self.watch: Callable[[bytes], None] = lambda body: None
        random = world.random
        on = world.faults.odds
        self._lag_s = random.choice((1.0, 20.0, 300.0, 1500.0, 4000.0)) if "lag" in on else 0.0
        self._gone_after_s = random.choice((0.0, 30.0, 600.0))
        start = random.uniform(0, 300)
        length = random.choice((5.0, 60.0, 600.0))
        self._refuses = (start, start + length) if "outage" in on else (0.0, 0.0)
        self._refusal = random.choice((401, 402, 403, 404))
        # An account may be allowed to read its lists and yet not to send.
        self._refuses_questions = random.random() < 0.6
        start = random.uniform(0, 300)
        self._dark = (start, start + length) if "dark" in on else (0.0, 0.0)

    def close(self) -> None:
        """Nothing is open."""

    def mend(self) -> None:
        """From now on all goes well."""
        self._refuses = self._dark = (0.0, 0.0)
        self._lag_s = 0.0
        for batch in self.taken:
            batch.visible_at = min(batch.visible_at, self.world.time)

    def may_have(self, copy: str) -> int:
        """How many there are of a copy, or may come of requests that are on their way."""
        return self.copies[copy] + self.coming[copy]

    def may_get(self, copy: str) -> int:
        """How often a copy may be accepted: once; an answer of ours as often as asked for."""
        return self.allowed.get(copy, 0 if _REPLY in copy else 1)

    def allow(self, copy: str) -> None:
        """Let a copy come once more."""
        self.allowed[copy] = self.may_get(copy) + 1

    def allow_again(self, copy: str) -> None:
        """Let a copy come once more, whatever is still on its way: an operator wants it."""
        if _REPLY in copy:  # answers to several texts are one to this ledger
            self.allow(copy)
        self.allowed[copy] = max(self.may_have(copy) + 1, self.may_get(copy))

    # Acting

    def send_batch(
        self,
        batch: PreparedBatch,
        *,
        within_s: float | None = None,
        begin_within_s: float | None = None,
    ) -> SentBatch:
        world, random = self.world, self.world.random
        began = world.time
        fields = json.loads(batch.body)
        recipients, name = tuple(fields["to"]), name_text(fields["body"])
        world.cross()
        if begin_within_s is not None and world.time - began > begin_within_s:
            raise SinchUnreachable("too late to begin")
        kind = world.faults.draw_post(random)
        if self._is_within(self._dark) or kind == "unreachable":
            world.note(f"POST {batch.client_reference} unreachable")
            raise SinchUnreachable("no connection")
        written_at = world.time
        self.watch(batch.body)
        answer = self._process(batch.client_reference, recipients, name, kind)
        told = type(answer).__name__ if isinstance(answer, Exception) else f"201 {answer.id}"
        world.note(f"POST {batch.client_reference} to {len(recipients)} {kind or ''}: {told}")
        failpoints.reach("C4")
        world.cross()
        waited_s = world.time - written_at
        # A process that was frozen may still find the answer waiting for it.
        if waited_s > min(within_s or _PATIENCE_S, _PATIENCE_S) and random.random() < 0.5:
            raise SinchOutcomeUnknown("no answer in time")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel_batch(self, batch_id: str, *, within_s: float | None = None) -> SinchBatch:
        world = self.world
        world.cross()
        if self._is_within(self._dark):
            raise SinchUnreachable("no connection")
        if world.faults.strike(world.random, "cancel_error"):
            raise SinchOutcomeUnknown("HTTP 503")
        self._refuse_questions()
        batch = self._find(batch_id)
        if world.time - batch.at > self._gone_after_s:
            raise SinchOutcomeUnknown("HTTP 409")
        batch.canceled = True
        self.reports.stop(batch_id)
        world.note(f"DELETE {batch_id}")
        world.cross()
        if world.faults.strike(world.random, "cancel_lost"):
            raise SinchOutcomeUnknown("no answer")
        return self._show(batch)

    # Asking

    def list_batches(
        self, *, client_reference: str, created_after: datetime, within_s: float = 10.0
    ) -> list[SinchBatch]:
        world, random = self.world, self.world.random
        self._open_question()
        as_of = world.time
        if world.faults.strike(random, "list_stale"):
            as_of -= random.uniform(0, 600)
        found = [
            self._show(batch)
            for batch in self.taken
            if batch.reference == client_reference and batch.visible_at <= as_of
        ]
        found = [each for each in found if each.created_at and each.created_at >= created_after]
        world.note(f"list {client_reference}: {len(found)}")
        world.cross()
        return found

    def fetch_batch(self, batch_id: str, *, within_s: float = 10.0) -> SinchBatch:
        self._open_question()
        return self._show(self._find(batch_id))

    def fetch_full_report(self, batch_id: str) -> BatchReport:
        self._open_question()
        batch = self._find(batch_id)
        report = self.reports.list_batch(batch_id, batch.reference)
        self.world.cross()
        return report

    def list_inbounds(
        self, *, received_after: datetime, within_s: float = 30.0
    ) -> list[SinchInbound]:
        self._open_question()
        as_of = self.world.time
        found = [
            said
            for at, said in self.inbounds
            if at <= as_of and START + timedelta(seconds=at) >= received_after
        ]
        self.world.note(f"list of texts: {len(found)}")
        self.world.cross()
        return found[::-1]

    def check(self, *, within_s: float = 3.0) -> None:
        self._open_question()

    def _open_question(self) -> None:
        world, random = self.world, self.world.random
        world.cross()
        if self._is_within(self._dark) or world.faults.strike(random, "list_error"):
            raise SinchAnswerUnusable("no clean answer")
        if world.faults.strike(random, "list_busy"):
            raise SinchBusy(None, None, retry_after_s=None)
        self._refuse_questions()

    def _refuse_questions(self) -> None:
        if self._refuses_questions and self._is_within(self._refuses):
            raise SinchMisconfigured(self._refusal, "unauthorized", "no")

    # What Sinch does

    def _process(
        self, reference: str, recipients: Sequence[str], name: str, kind: str | None
    ) -> SentBatch | Exception:
        """Take the request or not; what is answered."""
        random = self.world.random
        if kind == "busy":
            retry_after_s = random.choice((None, 0.0, 1.0, 30.0, 900.0))
            return SinchBusy(None, None, retry_after_s=retry_after_s)
        if kind in ("reset", "error_before"):
            return SinchOutcomeUnknown("HTTP 503 or none")
        if self._is_within(self._refuses):
            return SinchMisconfigured(self._refusal, "unauthorized", "no")
        if self.bad.intersection(recipients):
            return SinchRejected(400, "syntax_invalid_parameter_format", "one of them")
        if kind == "refused":
            return SinchRejected(400, "syntax_constraint_violation", "not this text")
        if kind == "late":
            self._take_later(reference, recipients, name)
            return SinchOutcomeUnknown("no answer")
        if kind == "doubled":
            for each in recipients:
                self.allow(name_copy(name, each))
            self._take(reference, recipients, name)
        taken = self._take(reference, recipients, name)
        if kind in ("lost", "error_after"):
            return SinchOutcomeUnknown("HTTP 502 or none")
        if kind == "odd":
            return ArithmeticError("nobody foresaw this")
        return SentBatch(id=None if kind == "no_id" else taken.id)

    def _take_later(self, reference: str, recipients: Sequence[str], name: str) -> None:
        copies = [name_copy(name, each) for each in recipients]
        self.coming.update(copies)

        def arrive() -> None:
            self.coming.subtract(copies)
            self._take(reference, recipients, name)

        self.world.seconds_from_now(self.world.random.choice((2.0, 30.0, 400.0, 2500.0)), arrive)

    def _take(self, reference: str, recipients: Sequence[str], name: str = "") -> Taken:
        """The ledger's entry; a copy that is in it too often is what must never be."""
        world, random = self.world, self.world.random
        seen_after_s = random.uniform(0, self._lag_s)
        number = f"S{len(self.taken) + 1}"
        taken = Taken(number, reference, tuple(recipients), world.time, world.time + seen_after_s)
        self.taken.append(taken)
        self.reports.follow(number, reference, taken.recipients, name)
        world.note(f"TAKEN {number} {reference} {recipients[0]} +{len(recipients) - 1}")
        for each in recipients:
            copy = name_copy(name, each)
            self.copies[copy] += 1
            if self.copies[copy] > self.may_get(copy):
                world.fail(f"duplicate: {copy} was accepted {self.copies[copy]} times")
        return taken

    def _is_within(self, window: tuple[float, float]) -> bool:
        return window[0] <= self.world.time < window[1]

    def _find(self, batch_id: str) -> Taken:
        for batch in self.taken:
            if batch.id == batch_id and batch.visible_at <= self.world.time:
                return batch
        raise SinchMisconfigured(404, None, None)

    def _show(self, batch: Taken) -> SinchBatch:
        return SinchBatch(
            id=batch.id,
            client_reference=batch.reference,
            recipients=batch.recipients,
            canceled=batch.canceled,
            created_at=self.world.tell_time(batch.at),
        )
