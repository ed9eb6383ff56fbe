"""Nobody twice, nobody lost, whatever goes wrong; and that the simulation would see it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.conftest import examples
from tests.processes import ROOT, clean_environ
from tests.simulation import variants
from tests.simulation.database import SimulatedDatabase
from tests.simulation.seeds import find_failures, run_seed
from tests.simulation.sinch import SimulatedSinch
from tests.simulation.world import World

SEEDS = 2_000
# By hand other seeds than always.
FIRST = 1 if not os.environ.get("FUZZ") else int.from_bytes(os.urandom(4), "big")
# So many are tried until a mistake is found.
ENOUGH = range(1, 1_000)


@pytest.fixture(scope="module")
def database() -> Iterator[SimulatedDatabase]:
    db = SimulatedDatabase()
    yield db
    db.close()


@pytest.mark.timeout(900)
def test_nobody_is_sent_to_twice_and_nobody_is_lost() -> None:
    command = [sys.executable, "-m", "tests.simulation", str(FIRST), str(examples(SEEDS))]

    run = subprocess.run(
        command, cwd=ROOT, env=clean_environ({}), capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_a_seed_replays(database: SimulatedDatabase) -> None:
    for seed in (3, 7, 11):
        first, second = run_seed(seed, database), run_seed(seed, database)

        assert first.world.tell(last=5000) == second.world.tell(last=5000)


def test_without_trouble_all_is_accepted_at_once(database: SimulatedDatabase) -> None:
    calm = [s for s in range(1, 200) if not World(s).faults_were]

    runs = [run_seed(seed, database) for seed in calm]

    assert len(runs) > 5
    assert [run.failures for run in runs if run.failures] == []
    assert {set(run.sinch.copies.values()) == {1} for run in runs} == {True}


@pytest.mark.parametrize(
    "make_sinch", [variants.RetryingSinch, variants.LateSinch], ids=lambda each: each.__name__
)
def test_a_mistake_at_the_wire_is_seen_as_a_text_sent_twice(
    make_sinch: Callable[[World], SimulatedSinch],
) -> None:
    found = _find_duplicate(make_sinch=make_sinch)

    assert found


@pytest.mark.parametrize(
    "variant",
    [
        variants.unknown_is_sent_again,
        variants.lost_worker_is_sent_again,
        variants.any_attempt_is_recorded,
        variants.absent_is_sent_again,
        variants.a_restore_goes_unnoticed,
    ],
    ids=lambda each: each.__name__,
)
def test_a_mistake_in_the_machine_is_seen_as_a_text_sent_twice(
    variant: Callable[[], AbstractContextManager[None]],
) -> None:
    with variant():
        found = _find_duplicate()

    assert found


def _find_duplicate(*, make_sinch: Callable[[World], SimulatedSinch] = SimulatedSinch) -> bool:
    """Whether one of the first seeds sends somebody a text twice."""
    failures = find_failures(ENOUGH, make_sinch=make_sinch)
    found = any("duplicate:" in said for each in failures for said in each.failures)
    failures.close()  # type: ignore[attr-defined]
    return found
