"""What must hold: behind every commit, now and then, and once all has ended."""

from collections import defaultdict
from typing import Any

from app.keywords.classify import KeywordIntent
from app.sms.broadcasts.create import SUBMITTED
from app.sms.context import Context
from app.sms.inbound.reply_texts import Reply
from app.sms.models.states import UNSENT, BatchState
from app.sms.operations.invariants import find_violations
from tests.batch_moves import MOVES
from tests.simulation.caps import Caps
from tests.simulation.claims import Claims
from tests.simulation.database import SimulatedDatabase
from tests.simulation.people import Wanted
from tests.simulation.phones import Phones
from tests.simulation.sinch import SimulatedSinch, name_copy, name_reply
from tests.simulation.world import World

_S = BatchState
_TAKEN = (_S.ACCEPTED, _S.DUPLICATE)
_NOBODY = (_S.REJECTED, _S.SUPPRESSED, _S.EXPIRED, _S.CANCELLED)
_EITHER = (_S.NEEDS_ATTENTION, _S.CLOSED_UNSENT)

_BATCHES = "SELECT id, state, attempt FROM batches ORDER BY id"
_NAME = "SELECT broadcast_id, chunk, start, level, client_reference FROM batches WHERE id = ?"
_COPIES = (
    "SELECT m.recipient, r.reference, json_extract(r.options, '$.reply') FROM messages m "
    "JOIN broadcasts r ON r.id = m.broadcast_id WHERE m.batch_id = ? ORDER BY m.recipient"
)
_SUPPRESSED = "SELECT phone FROM suppressions WHERE released_at IS NULL"


class Oracle:
    """Compares our books with what was allowed before, and with Sinch's ledger."""

    def __init__(
        self,
        world: World,
        db: SimulatedDatabase,
        sinch: SimulatedSinch,
        claims: Claims,
        caps: Caps,
    ) -> None:
        self._world, self._db, self._sinch, self._claims = world, db, sinch, claims
        self._caps = caps
        # By id, as they were last seen.
        self._known: dict[int, Any] = {}
        # Batches that an operator had sent again: an earlier attempt may be at Sinch.
        self.repeated: set[int] = set()
        self.restoring = False

    def forget(self) -> None:
        """The database is another one now."""
        self._known = {row[0]: row for row in self._db.raw.execute(_BATCHES)}

    def observe(self) -> None:
        """A commit was made: every batch stands where it may have moved to."""
        for row in self._db.raw.execute(_BATCHES).fetchall():
            known = self._known.get(row[0])
            if known != row:
                self._known[row[0]] = row
                self._follow(row, known)
        self._caps.judge_waits()

    def _follow(self, row: Any, known: Any) -> None:
        """A batch is new or has moved."""
        batch_id, state, attempt = row
        *place, reference = self._db.raw.execute(_NAME, (batch_id,)).fetchone()
        name = "batch " + ".".join(map(str, place))
        self._world.names[reference] = name
        was = f"{known[1]}/{known[2]}" if known else "new"
        self._world.note(f"{name}: {was} -> {state}/{attempt}")
        if state == _S.SENDING and attempt > (known[2] if known else 0):
            self._claims.judge(batch_id, name)
            self._caps.judge(batch_id, name)
        if known:
            before, after = ((BatchState(each[1]), each[2]) for each in (known, row))
            self._judge(batch_id, name, before, after)

    def _judge(
        self,
        batch_id: int,
        name: str,
        before: tuple[BatchState, int],
        after: tuple[BatchState, int],
    ) -> None:
        allowed = _reach(before[0])
        if after[0] not in allowed and after[0] is not before[0]:
            self._world.fail(f"{name} moved from {before[0].value} to {after[0].value}")
        if before[0] is _S.PENDING and after[0] is _S.UNKNOWN and not self.restoring:
            self._world.fail(f"{name}: pending to unknown without a restore")
        if after[1] not in (before[1], before[1] + 1):
            self._world.fail(f"{name}: attempt {before[1]} to {after[1]}")
        if before[0] is _S.NEEDS_ATTENTION and after[0] is _S.PENDING:
            self.repeated.add(batch_id)
            for _, each in self.copies_of(batch_id):
                self._sinch.allow_again(each)

    def copies_of(self, batch_id: int) -> list[tuple[str, str]]:
        """The recipients of a batch, and what their copies are called at Sinch."""
        return [
            (number, name_copy(name_reply(Reply(reply)) if reply else name, number))
            for number, name, reply in self._db.raw.execute(_COPIES, (batch_id,))
        ]

    def look(self, ctx: Context, *, thorough: bool, timely: bool) -> None:
        """The invariants; `timely` unless nobody could keep the time lately."""
        for sentence in find_violations(ctx, thorough=thorough):
            if timely or not sentence.endswith("for too long"):
                self._world.fail(f"invariant: {sentence}")

    def judge_answer(self, wanted: Wanted, answer: dict[str, Any]) -> None:
        """A client was answered: what it was told is true."""
        name = answer.get("broadcast_id")
        if wanted.told and name and wanted.told != name:
            self._world.fail(f"{wanted.name}: one key, two broadcasts")
        wanted.told = name or wanted.told
        if answer.get("message") == SUBMITTED:
            for each in wanted.recipients:
                taken = self._sinch.copies[name_copy(wanted.name, each)]
                if not (taken or each in wanted.marked or self._is_withheld(wanted, each)):
                    self._world.fail(f"{wanted.name}: told that {each} was submitted")

    def _is_withheld(self, wanted: Wanted, number: str) -> bool:
        query = (
            "SELECT 1 FROM messages m JOIN batches b ON b.id = m.batch_id "
            "JOIN broadcasts r ON r.id = b.broadcast_id "
            "WHERE r.reference = ? AND m.recipient = ? AND b.state = 'suppressed'"
        )
        return self._db.raw.execute(query, (wanted.name, number)).fetchone() is not None

    def judge_phones(self, phones: Phones) -> None:
        """All has been heard: who stopped stays so, and nobody else does."""
        jumped = "jump" in self._world.faults_were
        suppressed = {row[0] for row in self._db.raw.execute(_SUPPRESSED)}
        stopped = phones.numbers_with(KeywordIntent.STOP)
        for number in sorted(stopped | suppressed):
            if number not in stopped:
                self._world.fail(f"{number} is suppressed, and never texted STOP")
            if number not in suppressed and phones.must_end_stopped(number, jumped=jumped):
                self._world.fail(f"{number} texted STOP, and is not suppressed")

    def judge_end(self, ctx: Context, wants: list[Wanted]) -> None:
        """All has ended: nobody twice, nobody lost, and our books say what Sinch's say."""
        self.look(ctx, thorough=True, timely=True)
        raw = self._db.raw
        stuck = "SELECT reference, status FROM broadcasts WHERE completed_at IS NULL"
        for name, status in raw.execute(stuck):
            self._world.fail(f"stuck: {name} is {status}")
        query = "SELECT id, reference, public_id, status FROM broadcasts"
        stored: dict[str, list[Any]] = defaultdict(list)
        for row in raw.execute(query):
            stored[row[1]].append(row)
        for wanted in wants:
            self._judge_order(wanted, stored[wanted.name])
        unwished = (
            "SELECT b.id, b.state FROM batches b JOIN broadcasts r ON r.id = b.broadcast_id "
            "WHERE r.status = 'cancelled' AND b.state IN ('accepted', 'duplicate') "
            "AND b.sinch_id IS NOT NULL AND b.cancel_request IS NULL"
        )
        for batch_id, state in raw.execute(unwished):
            self._world.fail(f"batch {batch_id}: {state} of a cancelled broadcast, no wish")

    def _judge_order(self, wanted: Wanted, stored: list[Any]) -> None:
        if len(stored) > 1:
            self._world.fail(f"{wanted.name}: stored {len(stored)} times")
        if not stored:
            if wanted.told and not wanted.forgotten:
                self._world.fail(f"lost: {wanted.name} was accepted and is not there")
            copies = [self._sinch.copies[name_copy(wanted.name, r)] for r in wanted.recipients]
            if not wanted.forgotten and any(copies):
                self._world.fail(f"{wanted.name}: sent but not stored")
            return
        query = (
            "SELECT m.recipient, b.state, m.status, b.sinch_id "
            "FROM messages m JOIN batches b ON b.id = m.batch_id "
            "WHERE m.broadcast_id = ?"
        )
        rows = {r[0]: r[1:] for r in self._db.raw.execute(query, (stored[0][0],))}
        for each in wanted.recipients:
            state, status, sinch_id = rows.pop(each, (None, None, None))
            unresolved = wanted.to_tag and not rows and stored[0][3] == "expired"
            if state is None and stored[0][3] != "cancelled" and not unresolved:
                self._world.fail(f"lost: {each} of {wanted.name} is in no batch")
            stands = BatchState(state or "cancelled")
            self._judge_recipient(name_copy(wanted.name, each), stands)
            self._judge_message(wanted, each, stands, status, sinch_id)
        if rows:
            self._world.fail(f"{wanted.name}: nobody asked for {sorted(rows)}")

    def _judge_message(
        self,
        wanted: Wanted,
        number: str,
        state: BatchState,
        status: str | None,
        sinch_id: str | None,
    ) -> None:
        """Its end is one that a copy of it had; known wherever there is somebody to ask."""
        ends = self._sinch.reports.of_copy(wanted.name, number)
        if status not in (None, "submitted", *ends):
            self._world.fail(f"{number} is {status} in our books, at sinch {sorted(ends)}")
        if state in _TAKEN and sinch_id and status in (None, "submitted"):
            self._world.fail(f"the end of {number} is not known: {status}")

    def _judge_recipient(self, copy: str, state: BatchState) -> None:
        copies = self._sinch.copies[copy]
        if state in _TAKEN and copies < (2 if state is _S.DUPLICATE else 1):
            self._world.fail(f"lost: {copy} counts as {state.value}, Sinch has it {copies} times")
        if state in _NOBODY and copies:
            self._world.fail(f"{copy} counts as {state.value}, Sinch has it {copies} times")
        if state not in (*_TAKEN, *_NOBODY, *_EITHER):
            self._world.fail(f"stuck: {copy} is {state.value}")
        if state in _EITHER and not self._world.faults_were:
            self._world.fail(f"{copy} is {state.value}, and nothing ever went wrong")


def _reach(state: BatchState) -> frozenset[BatchState]:
    """Where one transaction may bring a batch: one move, or on from where it is unsent.

    A report proves that Sinch has it, wherever it stood; or twice, under another id.
    """
    reached = MOVES[state] | (frozenset() if state is _S.SPLIT else frozenset(_TAKEN))
    for between in UNSENT:
        if between in reached:
            reached |= MOVES[between]
    return reached
