"""What must hold: behind every commit, now and then, and once all has ended."""

from collections import defaultdict
from typing import Any

from app.sms.answers import SUBMITTED
from app.sms.context import Context
from app.sms.invariants import find_violations
from app.sms.states import MOVES, UNSENT, BatchState
from tests.simulation.database import SimulatedDatabase
from tests.simulation.people import Wanted
from tests.simulation.sinch import SimulatedSinch
from tests.simulation.world import World

_S = BatchState
_TAKEN = (_S.ACCEPTED, _S.DUPLICATE)
_NOBODY = (_S.REJECTED, _S.EXPIRED, _S.CANCELLED)
_EITHER = (_S.NEEDS_ATTENTION, _S.CLOSED_UNSENT)

_BATCHES = (
    "SELECT id, state, attempt, broadcast_id, chunk, start, level, client_reference "
    "FROM batches ORDER BY id"
)


class Oracle:
    """Compares our books with what was allowed before, and with Sinch's ledger."""

    def __init__(self, world: World, db: SimulatedDatabase, sinch: SimulatedSinch) -> None:
        self._world, self._db, self._sinch = world, db, sinch
        self._known: dict[int, tuple[BatchState, int]] = {}
        self._seen: list[Any] = []
        # Batches that an operator had sent again: an earlier attempt may be at Sinch.
        self.repeated: set[int] = set()
        self.restoring = False

    def forget(self) -> None:
        """The database is another one now."""
        self._seen = []
        self._known = {
            row[0]: (BatchState(row[1]), row[2]) for row in self._db.raw.execute(_BATCHES)
        }

    def observe(self) -> None:
        """A commit was made: every batch stands where it may have moved to."""
        rows = self._db.raw.execute(_BATCHES).fetchall()
        if rows == self._seen:
            return
        self._seen = rows
        for row in rows:
            before, after = self._known.get(row[0]), (BatchState(row[1]), row[2])
            if before == after:
                continue
            self._known[row[0]] = after
            name = "batch " + ".".join(map(str, row[3:7]))
            self._world.names[row[7]] = name
            was = f"{before[0].value}/{before[1]}" if before else "new"
            self._world.note(f"{name}: {was} -> {after[0].value}/{after[1]}")
            if before:
                self._judge(row, name, before, after)

    def _judge(
        self, row: Any, name: str, before: tuple[BatchState, int], after: tuple[BatchState, int]
    ) -> None:
        allowed = _reach(before[0])
        if after[0] not in allowed and after[0] is not before[0]:
            self._world.fail(f"{name} moved from {before[0].value} to {after[0].value}")
        if before[0] is _S.PENDING and after[0] is _S.UNKNOWN and not self.restoring:
            self._world.fail(f"{name}: pending to unknown without a restore")
        if after[1] not in (before[1], before[1] + 1):
            self._world.fail(f"{name}: attempt {before[1]} to {after[1]}")
        if before[0] is _S.NEEDS_ATTENTION and after[0] is _S.PENDING:
            self.repeated.add(row[0])
            for each in self._recipients_of(row[0]):
                self._sinch.allowed[each] = max(
                    self._sinch.may_have(each) + 1, self._sinch.allowed.get(each, 1)
                )

    def _recipients_of(self, batch_id: int) -> list[str]:
        query = "SELECT recipient FROM messages WHERE batch_id = ? ORDER BY recipient"
        return [row[0] for row in self._db.raw.execute(query, (batch_id,))]

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
                if not self._sinch.copies[each] and each not in wanted.marked:
                    self._world.fail(f"{wanted.name}: told that {each} was submitted")

    def judge_end(self, ctx: Context, wants: list[Wanted]) -> None:
        """All has ended: nobody twice, nobody lost, and our books say what Sinch's say."""
        self.look(ctx, thorough=True, timely=True)
        raw = self._db.raw
        stuck = "SELECT reference, status FROM broadcasts WHERE finished_at IS NULL"
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
            "AND b.sinch_id IS NOT NULL AND b.wish IS NULL"
        )
        for batch_id, state in raw.execute(unwished):
            self._world.fail(f"batch {batch_id}: {state} of a cancelled broadcast, no wish")

    def _judge_order(self, wanted: Wanted, stored: list[Any]) -> None:
        if len(stored) > 1:
            self._world.fail(f"{wanted.name}: stored {len(stored)} times")
        if not stored:
            if wanted.told and not wanted.forgotten:
                self._world.fail(f"lost: {wanted.name} was accepted and is not there")
            if not wanted.forgotten and any(self._sinch.copies[r] for r in wanted.recipients):
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
            if state is None and stored[0][3] != "cancelled":
                self._world.fail(f"lost: {each} of {wanted.name} is in no batch")
            self._judge_recipient(each, BatchState(state or "cancelled"))
            self._judge_message(each, BatchState(state or "cancelled"), status, sinch_id)
        if rows:
            self._world.fail(f"{wanted.name}: nobody asked for {sorted(rows)}")

    def _judge_message(
        self, number: str, state: BatchState, status: str | None, sinch_id: str | None
    ) -> None:
        """Its end is one that a copy of it had; known wherever there is somebody to ask."""
        ends = self._sinch.reports.of_number(number)
        if status not in (None, "submitted", *ends):
            self._world.fail(f"{number} is {status} in our books, at sinch {sorted(ends)}")
        if state in _TAKEN and sinch_id and status in (None, "submitted"):
            self._world.fail(f"the end of {number} is not known: {status}")

    def _judge_recipient(self, number: str, state: BatchState) -> None:
        copies = self._sinch.copies[number]
        if state in _TAKEN and copies < (2 if state is _S.DUPLICATE else 1):
            self._world.fail(f"lost: {number} counts as {state.value}, Sinch has it {copies} times")
        if state in _NOBODY and copies:
            self._world.fail(f"{number} counts as {state.value}, Sinch has it {copies} times")
        if state not in (*_TAKEN, *_NOBODY, *_EITHER):
            self._world.fail(f"stuck: {number} is {state.value}")
        if state in _EITHER and not self._world.faults_were:
            self._world.fail(f"{number} is {state.value}, and nothing ever went wrong")


def _reach(state: BatchState) -> frozenset[BatchState]:
    """Where one transaction may bring a batch: one move, or on from where it is unsent.

    A report proves that Sinch has it, wherever it stood; or twice, under another id.
    """
    reached = MOVES[state] | (frozenset() if state is _S.SPLIT else frozenset(_TAKEN))
    for between in UNSENT:
        if between in reached:
            reached |= MOVES[between]
    return reached
