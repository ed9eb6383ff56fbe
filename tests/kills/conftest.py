"""A Sinch that outlives every kill, and how much of it all."""

import os
import random
from collections.abc import Iterator

import pytest

from tests.kills.ledger import LedgeredSandbox, running_sandbox


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgeredSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("sinch")) as sandbox:
        yield sandbox


@pytest.fixture
def sinch(sandbox_process: LedgeredSandbox) -> Iterator[LedgeredSandbox]:
    """A sandbox in a process of its own, as fresh as at its start."""
    sandbox_process.begin()
    yield sandbox_process
    sandbox_process.control.reset()


@pytest.fixture
def size() -> int:
    """How many times as long as in the test command; `make kills SIZE=10` sets it."""
    return int(os.environ.get("KILLS", "1"))


@pytest.fixture
def seed(size: int) -> int:
    """What the dice begin with, the same at every run of the test command.

    KILLS_SEED throws those of an earlier run again; what the machine makes of them differs.
    """
    drawn = 1 if size == 1 else random.randrange(1_000_000)
    return int(os.environ.get("KILLS_SEED", drawn))
