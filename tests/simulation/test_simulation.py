"""Nobody twice, nobody lost, whatever goes wrong; and that the simulation would see it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing

import pytest
from sqlalchemy import func, select

from app.sms.audience.lookup import CLOCK_DOUBT
from app.sms.audience.plan import find_unplanned
from app.sms.broadcasts.store import accept_broadcast
from app.sms.operations.restore import mark_restored
from app.sms.request.model import BroadcastRequest
from app.subscribers.audiences.audience import plain_tag
from app.text.segments import measure_text
from tests.conftest import examples
from tests.environ import ROOT, clean_environ
from tests.simulation import variants
from tests.simulation.database import SimulatedDatabase
from tests.simulation.running import Simulation
from tests.simulation.seeds import find_failures, run_seed
from tests.simulation.sinch import SimulatedSinch
from tests.simulation.world import NONE, World

SEEDS = 500
# By hand other seeds than always.
FIRST = 1 if not os.environ.get("FUZZ") else int.from_bytes(os.urandom(4), "big")
# So many are tried until a mistake is found.
ENOUGH = range(1, 500)


@pytest.fixture(scope="module")
def database() -> Iterator[SimulatedDatabase]:
    db = SimulatedDatabase()
    yield db
    db.close()


def test_a_seed_replays(database: SimulatedDatabase) -> None:
    for seed in (3, 7, 11):
        first, second = run_seed(seed, database), run_seed(seed, database)

        assert first.world.tell(last=5000) == second.world.tell(last=5000)


def test_the_databases_own_chance_follows_from_the_seed(database: SimulatedDatabase) -> None:
    drawn = set()
    for _ in range(2):
        database.enter(World(3), lambda: None)
        with database.read() as tx:
            drawn.add(tx.execute(select(func.random())).scalar_one())

    assert len(drawn) == 1


def test_without_trouble_all_is_accepted_at_once(database: SimulatedDatabase) -> None:
    calm = [s for s in range(1, 200) if not World(s).faults_were]

    runs = [run_seed(seed, database) for seed in calm]

    assert len(runs) > 5
    assert [run.failures for run in runs if run.failures] == []
    assert {set(run.sinch.copies.values()) <= {1} for run in runs} == {True}
    assert sum(sum(run.sinch.copies.values()) for run in runs) > 50


def test_the_naive_loop_sends_twice() -> None:
    assert _sees("duplicate:", make_sinch=variants.RetryingSinch)


def test_a_first_byte_that_leaves_late_sends_twice() -> None:
    assert _sees("duplicate:", make_sinch=variants.LateSinch, trouble={"careless": 1.0})


@pytest.mark.parametrize(
    ("variant", "trouble", "said"),
    [
        (variants.unknown_is_sent_again, {}, "duplicate:"),
        (variants.lost_worker_is_sent_again, {"crash": 0.05}, "duplicate:"),
        (variants.absent_is_sent_again, {"lost": 0.3, "lag": 1.0}, "from unknown to pending"),
        (variants.late_verdicts_count, {"freeze": 0.15, "unreachable": 0.5}, " moved from "),
        (variants.a_restore_goes_unnoticed, {"restore": 1.0}, "duplicate:"),
        (variants.a_claim_asks_for_no_suppressions, {"texts": 1.0}, "who is suppressed"),
        (
            variants.suppressions_are_those_of_the_plan,
            {"texts": 1.0, "slow": 0.3},
            "who is suppressed",
        ),
        (variants.a_stop_waits_until_it_is_applied, {"texts": 1.0}, "whose STOP was answered"),
        (variants.those_set_aside_stay_in_the_payload, {"texts": 1.0}, "posted to "),
        (variants.marketing_knows_no_hours, {"nights": 1.0}, "in quiet hours"),
        (variants.claims_count_against_no_cap, {"caps": 1.0}, "parts over the cap of"),
        (variants.what_waits_for_a_cap_is_held, {"caps": 1.0}, "waits for a cap: held"),
        (variants.every_repeated_stop_is_answered, {"texts": 1.0}, "duplicate: stop reply"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_mistake_is_seen(
    variant: Callable[[], AbstractContextManager[None]], trouble: dict[str, float], said: str
) -> None:
    with variant():
        seen = _sees(said, trouble=trouble)

    assert seen


def _sees(
    said: str,
    *,
    make_sinch: Callable[[World], SimulatedSinch] = SimulatedSinch,
    trouble: Mapping[str, float] = NONE,
) -> bool:
    """Whether one of the first seeds fails with these words."""
    found = find_failures(ENOUGH, make_sinch=make_sinch, trouble=trouble)
    with closing(found):
        return any(said in sentence for each in found for sentence in each.failures)


def test_a_restore_finds_nothing_to_plan_in_what_is_scheduled_for_later(
    database: SimulatedDatabase,
) -> None:
    """The simulation looks for work as the code does, also when our clock was set back."""
    simulation = Simulation(3, database)
    ctx = simulation.contexts[0]
    store_for_a_tag(simulation, start_in_s=CLOCK_DOUBT.total_seconds() + 600)
    mark_restored(ctx, actor="operator")

    for time, skew, is_due in ((0.0, 0.0, False), (700.0, 0.0, True), (700.0, -900.0, False)):
        simulation.world.time, simulation.world.skew = time, skew

        assert simulation.has_unplanned() is is_due
        assert bool(find_unplanned(ctx)) is is_due


def test_work_that_is_begun_again_and_again_is_a_failure(database: SimulatedDatabase) -> None:
    class Restless(Simulation):
        def has_unplanned(self) -> bool:
            return True

    failures = Restless(3, database).run()

    assert any(sentence.startswith("no end") for sentence in failures)


# The last one: when all others of `make test` have ended, what is left of it has every processor.
@pytest.mark.timeout(3600)
def test_nobody_is_sent_to_twice_and_nobody_is_lost() -> None:
    command = [sys.executable, "-m", "tests.simulation", str(FIRST), str(examples(SEEDS))]

    # Two minutes by themselves, longer beside other tests: in a session of their own they give way.
    run = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environ({"GIVE_WAY": "1"}),
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )

    sys.stdout.write(run.stdout)
    assert run.returncode == 0, run.stderr


def store_for_a_tag(simulation: Simulation, *, start_in_s: float) -> None:
    ctx = simulation.contexts[0]
    request = BroadcastRequest(
        recipients=(),
        audience=plain_tag("vip"),
        text="Hi",
        size=measure_text("Hi"),
        send_at=ctx.seconds_from_now(start_in_s),
    )
    accept_broadcast(ctx, request, client="client")
