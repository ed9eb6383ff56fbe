"""One seed from its first step to its last check."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.config import SendingRules
from app.db.base import table_of
from app.db.prepared import PreparedInsert
from app.errors import RequestRunning
from app.failpoints import failpoints
from app.sms.broadcasts.control import (
    cancel_at_sinch,
    cancel_broadcast,
    pause_broadcast,
    resume_broadcast,
)
from app.sms.broadcasts.schedule import (
    expire_overdue_broadcasts,
    start_due_broadcasts,
)
from app.sms.context import Context
from app.sms.dispatch.burst import Burst, submit_next
from app.sms.dispatch.circuit_breaker import close_circuit_by_hand, probe_circuit, retry_held
from app.sms.dispatch.submit import expire_leases
from app.sms.inbound.opt_out import suppress_at_once
from app.sms.inbound.receive import fetch_inbounds_when_due
from app.sms.lifecycle.finalize import finalize_stale
from app.sms.models.reports import Event
from app.sms.operations.restore import end_restore_when_done, mark_restored
from app.sms.recovery.attention import Decision, resolve_batch
from app.sms.recovery.unknown_outcome import reconcile_due_batches
from app.sms.reports.reconcile import fetch_due_reports
from app.webhooks.incoming.apply import apply_events
from app.worker.jobs import plan_next
from app.worker.jobs import sweep as whole_sweep
from tests.simulation.audience import add_subscribers, draw_audience
from tests.simulation.caps import Caps
from tests.simulation.claims import Claims
from tests.simulation.database import SimulatedDatabase, Trouble
from tests.simulation.glance import Glance, glance
from tests.simulation.oracle import Oracle
from tests.simulation.people import Wanted, act, ask, decide, make_orders, may_ask_again
from tests.simulation.phones import Phones, Text
from tests.simulation.sinch import SimulatedSinch, name_copy
from tests.simulation.world import NONE, Crash, SimulatedClock, World

PROCESSES = 2
_SENDERS = 2
# Trouble ends after so many steps at the latest.
_TROUBLE_STEPS = 1_200
# Once all is calm these take their time: work that is begun again and again, and does nothing, is a
# failure.  A restored database with many batches in doubt asks for hundreds of lists a minute.
_CALM_STEPS, _CALM_STEPS_S = 20_000, 300.0
# Once nothing goes wrong any more, so long may it take until all has ended.
_CALM_S = 4 * 3600.0
# Of all runs; in the others reports are asked for.
_CALLED_BACK = 0.6
_FAILPOINTS = ("C0", "C1", "C3", "C4", "C5", "C6", "C7", "C9", "E1")

_KEEP_EVENT = PreparedInsert(table_of(Event))
PARTS: dict[str, Callable[[Context], object]] = {
    "lease_until": expire_leases,
    "send_at": start_due_broadcasts,
    "expires_at": expire_overdue_broadcasts,
    "circuit": probe_circuit,
    "held_until": retry_held,
    "next_reconcile_at": reconcile_due_batches,
    "restoring": end_restore_when_done,
    "wishes": cancel_at_sinch,
    "stragglers": finalize_stale,
    "next_report_at": fetch_due_reports,
    "unsettled": finalize_stale,
}


class _Burst(Burst):
    """As many batches at once as the seed says, whatever the time they took."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    @property
    def size(self) -> int:
        return self._size


class Simulation:
    """One run.  `failures` are sentences, none when all is well."""

    def __init__(
        self,
        seed: int,
        db: SimulatedDatabase,
        *,
        make_sinch: Callable[[World], SimulatedSinch] = SimulatedSinch,
        trouble: Mapping[str, float] = NONE,
    ) -> None:
        self.world = world = World(seed, trouble)
        self.db = db
        self.sinch = make_sinch(world)
        self._audience = draw_audience(world.random, nights="nights" in world.faults.odds)
        self._phones = Phones(world, self.sinch, self._hear, self._list_texts)
        self._claims = Claims(world, db, self.sinch, self._audience, self._phones)
        self._caps = Caps(world)
        self.oracle = Oracle(world, db, self.sinch, self._claims, self._caps)
        db.enter(world, self.oracle.observe)
        self._caps.enter(db)
        sent_by = self._draw_rules()
        # A broadcast may have been cut under other settings than it is sent by.
        unpaced = replace(sent_by, messages_per_second=None)
        rules = [sent_by, world.random.choice((sent_by, unpaced))]
        self._accepting = [self._make_context(n, rules[0]) for n in range(PROCESSES)]
        self.contexts = [self._make_context(n, rules[1]) for n in range(PROCESSES)]
        self._bursts = [_Burst(world.random.choice((1, 1, 2, 4))) for _ in range(PROCESSES)]
        self._wants = make_orders(world, self.sinch.bad)
        numbers = [number for wanted in self._wants for number in wanted.recipients]
        tags = {wanted.name: wanted.recipients for wanted in self._wants if wanted.to_tag}
        add_subscribers(world.random, db, self._audience, numbers, tags)
        if world.random.random() < _CALLED_BACK:
            self.sinch.reports.tell = self._hear
        else:
            self._phones.called_back = False
        self._listing = False
        self._blocked_until = 0.0
        self._sweeping = False
        self._swept_at = -100.0
        self._glanced_at = -1
        self._seen: Glance
        self._calm = False

    @property
    def failures(self) -> list[str]:
        return self.world.failures

    def _draw_rules(self) -> SendingRules:
        """Few recipients a batch, with a pace that hardly waits, or one that does."""
        random = self.world.random
        size = random.choice((1, 2, 3, 5))
        rate = random.choice((None, 1000.0, 1000.0, 0.5))
        return SendingRules(
            messages_per_second=rate,
            pace_ahead_s=size / rate if rate else 2.0,
            budget_s=random.choice((2.0, 20.0)),
            commit_retry_s=random.choice((1.0, 20.0)),
        )

    def _make_context(self, process: int, rules: SendingRules) -> Context:
        return Context(
            db=self.db,
            sinch=self.sinch,
            rules=rules,
            default_sender="+12015550199",
            worker=f"p{process}",
            instance_id="tests",
            viewer=self._caps.viewer,
            subscriber_rules=self._audience.rules,
            clock=SimulatedClock(self.world),
            jitter=self.world.random.uniform,
        )

    # The run

    def run(self) -> list[str]:
        """Trouble first, then calm until all has ended; what was wrong."""
        world = self.world
        try:
            self._plan_trouble()
            horizon = world.random.choice((300.0, 1200.0, 3600.0))
            self._go_on_until(lambda: world.time >= horizon, most_steps=_TROUBLE_STEPS)
            if not world.failures:
                self._calm_down()
                self._go_on_until_done()
            if not world.failures:
                self.oracle.judge_end(self.contexts[0], self._wants)
                self.oracle.judge_phones(self._phones)
        finally:
            failpoints.arm(None)
            world.crash()
        return world.failures

    def _plan_trouble(self) -> None:
        world, random = self.world, self.world.random
        for wanted in self._wants:
            world.seconds_from_now(random.uniform(0, 200), self._make_asker(wanted))
            if wanted.key and random.random() < 0.2:
                world.seconds_from_now(random.uniform(0, 200), self._make_asker(wanted))
        self._phones.plan([each for wanted in self._wants for each in wanted.recipients])
        self._caps.plan(self.contexts[0], self._do)
        if "people" in world.faults.odds:
            for _ in range(random.choice((1, 2, 5))):
                world.seconds_from_now(random.uniform(0, 900), self._meddle)
        if "restore" in world.faults.odds:
            at = random.uniform(1, 250)
            world.seconds_from_now(
                at, lambda: self._back_up(random.choice((1.0, 30.0, 300.0, 900.0)))
            )
        for _ in range(6):
            world.seconds_from_now(random.uniform(0, 3600), self._attend)

    def _calm_down(self) -> None:
        """Nothing goes wrong any more, and what waits for people gets them."""
        world = self.world
        world.note("CALM")
        self._calm = True
        world.faults.stop()
        failpoints.arm(None)
        self.sinch.mend()
        self._caps.calm_down()
        self._began_calm_at = world.time

    def _go_on_until_done(self) -> None:
        world = self.world
        began_at = world.time
        while not self._go_on_until(self._is_done, most_steps=_CALM_STEPS):
            if world.time - began_at < _CALM_STEPS_S:
                world.fail(f"no end: {_CALM_STEPS} steps within {world.time - began_at:.0f} s")
            began_at = world.time

    def _is_done(self) -> bool:
        world = self.world
        if world.time - self._began_calm_at > _CALM_S:
            return True
        return not (self._glance().is_open or world.tasks or world.next_event_at() is not None)

    def _go_on_until(self, is_over: Callable[[], bool], *, most_steps: int) -> bool:
        """Step by step; whether it was over in time."""
        world, random = self.world, self.world.random
        for _ in range(most_steps):
            if world.failures or is_over():
                return True
            world.time += random.uniform(0.0, 0.02)
            world.fire_events()
            self._make_trouble()
            if self._calm:
                self._serve()
            ready = [task for task in world.tasks if task.ready_at <= world.time]
            begun = self._find_work()
            pick = random.randrange(len(ready) + len(begun)) if ready or begun else None
            if pick is None:
                self._skip()
            elif pick < len(ready):
                world.go_on(ready[pick])
            else:
                begun[pick - len(ready)]()
        return False

    def _skip(self) -> None:
        """Nothing can go on: let time pass until something can."""
        world = self.world
        times = [task.ready_at for task in world.tasks]
        event_at = world.next_event_at()
        if event_at is not None:
            times.append(event_at)
        seen = self._glance()
        if seen.lookup_at is not None and self._count("plan") < 2:
            times.append(seen.lookup_at - world.skew)
        if seen.events_at is not None and self._count("book") < 2:
            times.append(seen.events_at - world.skew)
        if seen.pending and self._count("send") < _SENDERS:
            times.append(self._blocked_until)
        sweep_at = self._find_sweep()
        if sweep_at is not None and not self._sweeping:
            times.append(sweep_at)
        world.time = max(world.time, min(times, default=world.time + 60.0))

    def _make_trouble(self) -> None:
        world, random, faults = self.world, self.world.random, self.world.faults
        if faults.strike(random, "crash"):
            world.crash(random.randrange(PROCESSES))
        if faults.strike(random, "failpoint"):
            failpoints.arm(random.choice(_FAILPOINTS), random.choice((1, 1, 2)), _crash)
        if faults.strike(random, "jump"):
            world.skew = random.uniform(-1, 1) * random.choice((2.0, 60.0, 2400.0))
            world.note(f"our clock is off by {world.skew:.0f} s")
        if random.random() < 0.004:
            self.oracle.look(self.contexts[0], thorough=random.random() < 0.3, timely=False)

    # What there is to do

    def _glance(self) -> Glance:
        if self._glanced_at != self.db.commits:
            self._seen = glance(self.db.raw)
            self._glanced_at = self.db.commits
        return self._seen

    def _find_work(self) -> list[Callable[[], object]]:
        world, seen = self.world, self._glance()
        found: list[Callable[[], object]] = []
        free = seen.pending and self._count("send") < _SENDERS
        if free and world.time >= self._blocked_until:
            found.append(lambda: self._begin("send", self._send))
        if self.has_unplanned() and self._count("plan") < 2:
            found.append(lambda: self._begin("plan", plan_next))
        if self._has_events() and self._count("book") < 2:
            found.append(lambda: self._begin("book", apply_events))
        sweep_at = self._find_sweep()
        if sweep_at is not None and sweep_at <= world.time and not self._sweeping:
            self._sweeping = True
            late_s = world.random.uniform(0, 15)
            world.seconds_from_now(late_s, self._sweep)
            if world.random.random() < 0.2:
                world.seconds_from_now(late_s + 0.01, self._sweep)
        return found

    def has_unplanned(self) -> bool:
        seen, world = self._glance(), self.world
        doubted = seen.lookup_at is not None and seen.lookup_at - world.skew <= world.time
        return seen.unplanned or doubted

    def _has_events(self) -> bool:
        due = self._glance().events_at
        return due is not None and due - self.world.skew <= self.world.time

    def _hear(self, raw: bytes, text: Text | None = None) -> None:
        """A callback: stored before it is answered, and repeated unless it was."""
        done: list[bool] = []

        def store(ctx: Context) -> None:
            with ctx.db.write() as tx:
                suppress_at_once(tx, ctx, [raw])
                _KEEP_EVENT.run(tx, [{"received_at": ctx.now(), "raw": raw, "tries": 0}])
            done.append(True)
            if text is not None:
                text.answered = True

        def again() -> None:
            if not done:
                wait_s = self.world.random.choice((5.0, 40.0))
                self.world.seconds_from_now(wait_s, lambda: self._hear(raw, text))

        self._begin("hear", store, over=again)

    def _list_texts(self) -> None:
        """Sinch's list is asked for now and then, as long as a text of it is not known."""
        if self._listing or self._knows_all_texts():
            return
        self._listing = True

        def over() -> None:
            self._listing = False
            self.world.seconds_from_now(self.world.random.uniform(301, 600), self._list_texts)

        self._begin("list", fetch_inbounds_when_due, over=over)

    def _knows_all_texts(self) -> bool:
        known = self.db.raw.execute("SELECT count(*) FROM inbounds").fetchone()[0]
        return bool(known == len(self.sinch.inbounds))

    def _count(self, name: str) -> int:
        return sum(task.kind == name for task in self.world.tasks)

    def _find_sweep(self) -> float | None:
        """When the next sweep has something to do; the others are left out."""
        seen = self._glance()
        moment = seen.next_moment
        at = None if moment is None else moment - self.world.skew
        if not seen.untimed:
            return at
        again_at = self._swept_at + 15.0
        return again_at if at is None else min(at, again_at)

    def _begin(
        self,
        name: str,
        work: Callable[[Context], object],
        *,
        over: Callable[[], None] | None = None,
    ) -> None:
        process = self.world.random.randrange(PROCESSES)
        ctx = self.contexts[process]

        def carry_out() -> None:
            try:
                work(ctx)
            except Trouble as e:
                self.world.note(f"database: {e.orig}")
            except Exception as e:
                self.world.fail(f"{name}: unforeseen {type(e).__name__}: {e}")
            if over:
                over()

        self.world.start(name, process, carry_out, crashed=over)

    def _send(self, ctx: Context) -> None:
        found = submit_next(ctx, self._bursts[self.contexts.index(ctx)])
        now = ctx.now()
        if isinstance(found, datetime):
            self._blocked_until = self.world.time + min((found - now).total_seconds(), 60.0)
        elif found is False:
            self._blocked_until = self.world.time + 15.0

    def _sweep(self) -> None:
        """The parts that have something to do, one after the other, or all there are."""
        seen, world = self._glance(), self.world
        due = [name for name, at in seen.moments.items() if at - world.skew <= world.time]
        names = [name for name in PARTS if name in (*due, *seen.untimed)]

        def work(ctx: Context) -> None:
            if self.world.random.random() < 0.05:
                whole_sweep(ctx)
                return
            for name in names:
                try:
                    PARTS[name](ctx)
                except Trouble as e:
                    self.world.note(f"{name}: {e.orig}")

        def over() -> None:
            self._sweeping = False
            self._swept_at = self.world.time

        self._begin("sweep", work, over=over)

    # People

    def _make_asker(self, wanted: Wanted) -> Callable[[], None]:
        return lambda: self._ask(wanted)

    def _ask(self, wanted: Wanted) -> None:
        world = self.world
        if wanted.forgotten:
            return  # a key goes with its broadcast: whoever asks again, asks anew
        process = world.random.randrange(PROCESSES)

        def again() -> None:
            if may_ask_again(wanted):
                world.seconds_from_now(world.random.uniform(0.1, 40), self._make_asker(wanted))

        def work() -> None:
            try:
                ask(world, self._accepting[process], wanted, self.oracle.judge_answer)
            except (Trouble, RequestRunning):
                again()
            except Exception as e:
                world.fail(f"{wanted.name}: unforeseen {type(e).__name__}: {e}")

        world.start(f"ask-{wanted.name}", process, work, crashed=again)

    def _meddle(self) -> None:
        random = self.world.random
        rows = self.db.raw.execute("SELECT public_id FROM broadcasts ORDER BY id").fetchall()
        if not rows:
            return
        public_id = random.choice(rows)[0]
        deed = random.choice((pause_broadcast, resume_broadcast, cancel_broadcast))
        self._do(deed.__name__, lambda ctx: deed(ctx, public_id, actor="somebody"))
        if random.random() < 0.1:
            self._do("close", lambda ctx: close_circuit_by_hand(ctx, actor="operator"))

    def _do(self, name: str, deed: Callable[[Context], object]) -> None:
        self._begin(name, lambda ctx: act(self.world, lambda: deed(ctx)))

    def _attend(self) -> None:
        """An operator decides about a batch that waits for a decision."""
        query = (
            "SELECT id, client_reference FROM batches WHERE state = 'needs_attention' ORDER BY id"
        )
        rows = self.db.raw.execute(query).fetchall()
        if not rows:
            return
        batch_id, reference = self.world.random.choice(rows)
        found = self.oracle.copies_of(batch_id)
        copies = [self.sinch.copies[copy] for _, copy in found]
        decision = decide(self.world, copies, careless="careless" in self.world.faults.odds)
        if decision is Decision.MARK_SENT:
            called = {copy for _, copy in found}
            for wanted in self._wants:
                wanted.marked.update(
                    each for each in wanted.recipients if name_copy(wanted.name, each) in called
                )
        self._do(
            f"resolve-{decision.value}",
            lambda ctx: resolve_batch(ctx, reference, decision, actor="operator", note="looked"),
        )

    def _serve(self) -> None:
        """In calm times people do at once what is theirs to do."""
        if self.world.tasks:
            return
        self._caps.raise_due(self._do)
        if self._glance().attention:
            self._attend()
        query = (
            "SELECT public_id FROM broadcasts WHERE status IN ('paused', 'halted', 'missed_start') "
            "AND completed_at IS NULL ORDER BY id"
        )
        for (public_id,) in self.db.raw.execute(query).fetchall():
            self._resume(public_id)

    def _resume(self, public_id: str) -> None:
        self._do("resume", lambda ctx: resume_broadcast(ctx, public_id, actor="operator"))

    def _back_up(self, after_s: float) -> None:
        kept = self.db.copy()
        self.world.note("BACKUP")
        self.world.seconds_from_now(after_s, lambda: self._put_back(kept))

    def _put_back(self, kept: Any) -> None:
        """Stop everything, put the backup back, and tell so before anything is started on it."""
        world = self.world
        if self._calm:
            return
        world.crash()
        world.note("RESTORE")
        self.db.put_back(kept)
        kept.close()
        self.db.commits += 1
        self.oracle.forget()
        self._claims.restored = True
        names = {row[0] for row in self.db.raw.execute("SELECT reference FROM broadcasts")}
        for wanted in self._wants:
            if wanted.tries and wanted.name not in names:
                wanted.forgotten = True
        self._mark_restored()
        world.seconds_from_now(400.0, self._list_texts)
        if "jump" in world.faults.odds:
            self._phones.may_be_answered_again()

    def _mark_restored(self) -> None:
        """The command of that name, until it has gone through; nobody else works meanwhile."""
        world = self.world
        self.oracle.restoring = True
        done: list[bool] = []

        def work() -> None:
            try:
                mark_restored(self.contexts[0], actor="operator")
                done.append(True)
            except Trouble as e:
                world.note(f"restored: {e.orig}")

        while not done and not world.failures:
            task = world.start("restored", 0, work)
            while not task.thread.dead:
                world.time = max(world.time, task.ready_at)
                world.go_on(task)


def _crash() -> None:
    raise Crash
