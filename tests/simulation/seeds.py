"""Many seeds in a few processes, or one with its trace."""

import contextlib
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path

from loguru import logger

from tests.simulation.database import SimulatedDatabase
from tests.simulation.running import Simulation
from tests.simulation.sinch import SimulatedSinch
from tests.simulation.world import NONE, World

# So small that the processes end at about the same time.
_PART = 25
# Of those that fail so many are shown.
_SHOWN = 3
_SAID_EVERY = 1_000
_MODEST = 19


def run_seed(
    seed: int,
    db: SimulatedDatabase,
    *,
    make_sinch: Callable[[World], SimulatedSinch] = SimulatedSinch,
    trouble: Mapping[str, float] = NONE,
) -> Simulation:
    """One run, with what it raised as a failure."""
    simulation = Simulation(seed, db, make_sinch=make_sinch, trouble=trouble)
    logger.disable("app")
    try:
        simulation.run()
    except Exception:
        simulation.world.fail(traceback.format_exc())
    finally:
        logger.enable("app")
    return simulation


def find_failures(
    seeds: Iterable[int],
    *,
    make_sinch: Callable[[World], SimulatedSinch] = SimulatedSinch,
    trouble: Mapping[str, float] = NONE,
) -> Generator[Simulation, None, None]:
    """The runs that went wrong."""
    db = SimulatedDatabase()
    try:
        for seed in seeds:
            simulation = run_seed(seed, db, make_sinch=make_sinch, trouble=trouble)
            if simulation.failures:
                yield simulation
    finally:
        db.close()


def describe(simulation: Simulation, *, last: int) -> str:
    """What went wrong, how to see it again, and what came before."""
    world = simulation.world
    said = "\n".join(simulation.failures[:5]) or "all is well"
    return f"{world.tell(last=last)}\n{world.faults_were}\nSEED={world.seed}\n{said}"


def main(arguments: list[str]) -> int:
    """FIRST COUNT, or SEED in the environment; GIVE_WAY=1 there leaves others the processor."""
    one = os.environ.get("SEED")
    if one:
        simulation = run_seed(int(one), SimulatedDatabase())
        _say(describe(simulation, last=5000))
        return int(bool(simulation.failures))
    if os.environ.get("GIVE_WAY"):
        _give_way()
    return _run_many(int(arguments[0]), int(arguments[1]))


def _give_way() -> None:
    """Take of the processor what others leave.

    Linux may share it by session and not by process: then our own session is made modest, too.
    """
    os.nice(_MODEST)
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(_MODEST))


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n\n")
    sys.stdout.flush()


def _run_many(first: int, count: int) -> int:
    began = time.monotonic()
    end = first + count
    parts = [range(start, min(start + _PART, end)) for start in range(first, end, _PART)]
    jobs = min(int(os.environ.get("JOBS", "2")), len(parts))
    done = failed = 0
    # Not forked: threads of a library would be copied as they stand.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for part, found in zip(parts, pool.imap(_describe_failures, parts), strict=True):
            for told in found[: max(0, _SHOWN - failed)]:
                _say(told)
            failed += len(found)
            done += len(part)
            if done % _SAID_EVERY == 0 and done < count:
                _say(f"{done} of {count} seeds, {failed} failed")
        pool.close()
        pool.join()
    took_s = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = used.ru_utime + used.ru_stime
    _say(f"{count} seeds, {failed} failed, {took_s:.0f} s, {used_s:.0f} s of processor time")
    return int(failed > 0)


def _describe_failures(seeds: range) -> list[str]:
    return [describe(simulation, last=80) for simulation in find_failures(seeds)]
