"""Many seeds in a few processes, or one with its trace."""

import multiprocessing
import os
import sys
import time
import traceback

from loguru import logger

from tests.simulation.database import SimulatedDatabase
from tests.simulation.running import Simulation


def run_seed(seed: int, db: SimulatedDatabase) -> Simulation:
    """One run, with what it raised as a failure."""
    simulation = Simulation(seed, db)
    try:
        simulation.run()
    except Exception:
        simulation.world.fail(traceback.format_exc())
    return simulation


def run_range(seeds: range) -> list[str]:
    """What was wrong with which seed, each with the end of its trace."""
    logger.disable("app")
    db = SimulatedDatabase()
    found = []
    for seed in seeds:
        simulation = run_seed(seed, db)
        if simulation.failures:
            told = "\n".join(simulation.failures[:5])
            found.append(f"SEED={seed}\n{told}\n{simulation.world.tell(last=60)}\n")
    db.close()
    return found


def main() -> int:
    one = os.environ.get("SEED")
    if one:
        logger.disable("app")
        simulation = run_seed(int(one), SimulatedDatabase())
        print(simulation.world.tell(last=5000))
        print(simulation.world.faults_were)
        print("\n".join(simulation.failures) or "all is well")
        return len(simulation.failures) > 0
    first, count = int(sys.argv[1]), int(sys.argv[2])
    began, cpu = time.monotonic(), time.process_time()
    workers = max(1, min(int(os.environ.get("JOBS", "2")), count))
    step = min(250, -(-count // workers))
    parts = [range(s, min(s + step, first + count)) for s in range(first, first + count, step)]
    bad = 0
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for found in pool.imap(run_range, parts):
            bad += len(found)
            for text in found[:3]:
                print(text, flush=True)
    took = time.monotonic() - began
    print(f"{count} seeds, {bad} failed, {took:.0f} s, {1000 * took / count:.0f} ms each")
    return bad > 0

